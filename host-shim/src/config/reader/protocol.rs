//! Reads the protocol options of listeners and clusters.

use std::time::Duration;

use super::model::Http1;
use super::{Any, Message, Place};

/// The default of `idle_timeout`.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

const TYPE: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The options that the shim supports.
pub(super) struct ProtocolOptions<'a> {
    pub(super) place: Place<'a>,
    pub(super) auto_sni: bool,
    pub(super) auto_san_validation: bool,
    pub(super) http2: bool,
    pub(super) trailers: bool,
    /// `idle_timeout`.
    pub(super) idle_timeout: Duration,
    /// `max_requests_per_connection`.
    pub(super) max_requests: Option<Place<'a>>,
    /// `max_stream_duration`.
    pub(super) max_stream_duration: Duration,
}

/// Reads `http_protocol_options`.
pub(super) fn http1(message: &Message<'_>) -> Http1 {
    let Some(options) = message.message("http_protocol_options", "Http1ProtocolOptions") else {
        return Http1::default();
    };
    let read = Http1 {
        trailers: options.bool("enable_trailers"),
        accepts_http10: options.bool("accept_http_10"),
        default_host: options.string("default_host_for_http_10"),
    };
    options.done();
    read
}

/// Reads `upgrade_configs` of a connection manager.
pub(super) fn upgrades(manager: &Message<'_>) -> Vec<(String, bool)> {
    let configs = manager.items("upgrade_configs");
    let read = configs.iter().filter_map(|place| {
        let config = place.message("HttpConnectionManager.UpgradeConfig")?;
        let protocol = config.string("upgrade_type").to_ascii_lowercase();
        let is_enabled = config.optional_bool("enabled").unwrap_or(true);
        config.done();
        Some((protocol, is_enabled))
    });
    read.collect()
}

/// Whether HTTP/2 is used: if its options are there.
pub(super) fn http2(options: Option<Place<'_>>) -> bool {
    let Some(place) = options else { return false };
    if place.entries().iter().any(|(_, value)| !value.node.is_default()) {
        place.warn("not honoured: the shim uses HTTP/2 with the settings of its HTTP library");
    }
    true
}

/// Reads the entry of `typed_extension_protocol_options` for HTTP.
pub(super) fn options<'a>(cluster: &Message<'a>) -> Option<ProtocolOptions<'a>> {
    let mut options = None;
    for (name, place) in cluster.entries("typed_extension_protocol_options") {
        let any = place.any().and_then(Any::unwrapped);
        match any {
            Some(any) if name == TYPE && any.type_name == TYPE => {
                options = any.message("HttpProtocolOptions").map(|message| http_options(place, message));
            }
            Some(any) if name == TYPE || any.type_name == TYPE => {
                place.error(format!("the name and the type must both be {TYPE}"));
            }
            Some(_) => place.warn("the shim supports only the protocol options of HTTP: ignored"),
            None => {}
        }
    }
    options
}

fn http_options<'a>(place: Place<'a>, message: Message<'a>) -> ProtocolOptions<'a> {
    let mut options = ProtocolOptions {
        place,
        auto_sni: false,
        auto_san_validation: false,
        http2: false,
        trailers: false,
        idle_timeout: IDLE_TIMEOUT,
        max_requests: None,
        max_stream_duration: Duration::ZERO,
    };
    if let Some(common) = message.message("common_http_protocol_options", "CommonHttpProtocolOptions") {
        options.idle_timeout = common.duration("idle_timeout").unwrap_or(IDLE_TIMEOUT);
        options.max_requests = common.get("max_requests_per_connection");
        options.max_stream_duration = common.duration("max_stream_duration").unwrap_or_default();
        common.done();
    }
    if let Some(upstream) = message.message("upstream_http_protocol_options", "UpstreamHttpProtocolOptions") {
        options.auto_sni = upstream.bool("auto_sni");
        options.auto_san_validation = upstream.bool("auto_san_validation");
        upstream.done();
    }
    match message.required_one_of(&["explicit_http_config", "use_downstream_protocol_config", "auto_config"]) {
        Some(("explicit_http_config", place)) => explicit(&place, &mut options),
        Some((_, place)) => place.warn("the shim does not choose the protocol: it uses HTTP/1.1"),
        None => {}
    }
    message.done();
    options
}

fn explicit(place: &Place<'_>, options: &mut ProtocolOptions<'_>) {
    let Some(config) = place.message("ExplicitHttpConfig") else { return };
    let kinds = ["http_protocol_options", "http2_protocol_options", "http3_protocol_options"];
    match config.required_one_of(&kinds) {
        Some(("http_protocol_options", _)) => options.trailers = http1(&config).trailers,
        Some(("http2_protocol_options", place)) => options.http2 = http2(Some(place)),
        Some((_, place)) => place.warn("the shim does not support HTTP/3: it uses HTTP/1.1"),
        None => {}
    }
    config.done();
}
