//! Reads the HTTP connection manager.

use std::net::IpAddr;
use std::time::Duration;

use super::model::{ConnectionManager, EscapedSlashes, WasmFilter};
use super::{Message, Names, Place, other_extension, plugin, protocol, route};

const HTTP: &str = "envoy.extensions.filters.http";
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) fn connection_manager(message: Message<'_>, clusters: &Names) -> Option<ConnectionManager> {
    let stat_prefix = message.required_string("stat_prefix");
    let routes = match message.required_one_of(&["route_config", "rds", "scoped_routes"]) {
        Some(("route_config", place)) => place.message("RouteConfiguration").map(|m| route::configuration(m, clusters)),
        Some((_, place)) => {
            place.warn("the shim supports only route_config: it answers every request with 404");
            Some(route::Configuration::default())
        }
        None => None,
    };
    let slashes = [
        "IMPLEMENTATION_SPECIFIC_DEFAULT",
        "KEEP_UNCHANGED",
        "REJECT_REQUEST",
        "UNESCAPE_AND_REDIRECT",
        "UNESCAPE_AND_FORWARD",
    ];
    let escaped_slashes = match message.choice("path_with_escaped_slashes_action", &slashes) {
        2 => EscapedSlashes::RejectRequest,
        3 => EscapedSlashes::UnescapeAndRedirect,
        4 => EscapedSlashes::UnescapeAndForward,
        _ => EscapedSlashes::KeepUnchanged,
    };
    let manager = ConnectionManager {
        stat_prefix: stat_prefix.unwrap_or_default(),
        normalize_path: message.bool("normalize_path"),
        merge_slashes: message.bool("merge_slashes"),
        escaped_slashes,
        use_remote_address: message.bool("use_remote_address"),
        xff_num_trusted_hops: message.u32("xff_num_trusted_hops").unwrap_or_default(),
        server_name: message.optional_string("server_name").unwrap_or_else(|| "envoy".to_owned()),
        route_config_name: String::new(),
        virtual_hosts: Vec::new(),
        skip_xff_append: message.bool("skip_xff_append"),
        internal_networks: internal_networks(&message),
        preserve_request_id: message.bool("preserve_external_request_id"),
        responds_request_id: message.bool("always_set_request_id_in_response"),
        request_timeout: message.duration("request_timeout").unwrap_or_default(),
        generate_request_id: message.optional_bool("generate_request_id").unwrap_or(true),
        suppress_envoy_headers: false,
        http1: protocol::http1(&message),
        upgrades: protocol::upgrades(&message),
        max_stream_duration: Duration::ZERO,
        filters: Vec::new(),
        stream_idle_timeout: message.duration("stream_idle_timeout").unwrap_or(STREAM_IDLE_TIMEOUT),
    };
    let mut max_stream_duration = Duration::ZERO;
    if let Some(common) = message.message("common_http_protocol_options", "CommonHttpProtocolOptions") {
        max_stream_duration = common.duration("max_stream_duration").unwrap_or_default();
        common.done();
    }
    let (filters, suppress_envoy_headers) = http_filters(&message);
    message.done();
    let routes = routes?;
    Some(ConnectionManager {
        filters,
        suppress_envoy_headers,
        max_stream_duration,
        route_config_name: routes.name,
        virtual_hosts: routes.virtual_hosts,
        ..manager
    })
}

/// Reads `internal_address_config`. Without it, no client is internal.
fn internal_networks(message: &Message<'_>) -> Vec<(IpAddr, u32)> {
    let Some(config) = message.message("internal_address_config", "InternalAddressConfig") else { return Vec::new() };
    let ranges = config.messages("cidr_ranges", "CidrRange").into_iter().filter_map(|range| {
        let prefix = range.required("address_prefix")?;
        let address = prefix.string()?.parse();
        if address.is_err() {
            prefix.error("not an IP address");
        }
        let length = range.u32("prefix_len").unwrap_or_default();
        range.done();
        Some((address.ok()?, length))
    });
    let ranges = ranges.collect();
    // The shim has no clients on unix sockets.
    config.done();
    ranges
}

/// An entry of `http_filters`.
enum Filter {
    Wasm(Box<WasmFilter>),
    Router { is_disabled: bool, suppress_envoy_headers: bool },
    Skipped,
}

/// Reads the wasm filters, and whether the router suppresses Envoy's own headers.
fn http_filters(message: &Message<'_>) -> (Vec<WasmFilter>, bool) {
    let places = message.items("http_filters");
    let (mut filters, mut suppresses) = (Vec::new(), false);
    let Some(last) = places.len().checked_sub(1) else {
        message.place.error("\"http_filters\" is missing: without a router no request is answered");
        return (filters, suppresses);
    };
    for (index, place) in (0_usize..).zip(&places) {
        match http_filter(place) {
            Some(Filter::Router { .. }) if index < last => place.error("the router must be the last filter"),
            Some(Filter::Router { is_disabled: true, .. }) => {
                place.error("the router, the last filter, cannot be disabled")
            }
            Some(Filter::Router { suppress_envoy_headers, .. }) => suppresses = suppress_envoy_headers,
            None => {}
            Some(Filter::Wasm(_) | Filter::Skipped) if index == last => {
                place.error("the last filter must be the router, envoy.filters.http.router");
            }
            Some(Filter::Wasm(filter)) => filters.push(*filter),
            Some(Filter::Skipped) => {}
        }
    }
    (filters, suppresses)
}

/// Reads a filter. `None` means that errors were reported.
fn http_filter(place: &Place<'_>) -> Option<Filter> {
    let message = place.message("HttpFilter")?;
    let name = message.required_string("name");
    let is_disabled = message.bool("disabled");
    let is_optional = message.bool("is_optional");
    let config = message.one_of(&["typed_config", "config_discovery"]);
    message.done();
    let any = match config {
        Some(("typed_config", config)) => config.any()?.unwrapped()?,
        Some((_, config)) => {
            config.warn("the shim does not support configuration discovery: the filter is skipped");
            return Some(Filter::Skipped);
        }
        None => {
            other_extension(place, None, HTTP, "skipped");
            return None;
        }
    };
    match any.type_name.strip_prefix(HTTP).unwrap_or_default() {
        ".router.v3.Router" => {
            let router = any.message("Router")?;
            let suppress_envoy_headers = router.bool("suppress_envoy_headers");
            router.done();
            Some(Filter::Router { is_disabled, suppress_envoy_headers })
        }
        ".wasm.v3.Wasm" => {
            let wasm = any.message("Wasm")?;
            let config = wasm.required("config");
            wasm.done();
            let plugin = plugin::plugin(&config?)?;
            Some(Filter::Wasm(Box::new(WasmFilter { filter_name: name?, disabled: is_disabled, plugin })))
        }
        _ if is_optional && !super::exists(&any, HTTP) => Some(Filter::Skipped),
        _ => {
            other_extension(place, Some(&any), HTTP, "skipped")?;
            Some(Filter::Skipped)
        }
    }
}
