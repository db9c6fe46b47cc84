//! Reads the `HttpProtocolOptions` of clusters.

use super::{Any, Message, Place};

const TYPE: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The options that the shim supports.
pub(super) struct ProtocolOptions<'a> {
    pub(super) place: Place<'a>,
    pub(super) auto_sni: bool,
    pub(super) auto_san_validation: bool,
    pub(super) http2: bool,
    pub(super) trailers: bool,
    /// `max_requests_per_connection`.
    pub(super) max_requests: Option<Place<'a>>,
}

/// Reads `http_protocol_options.enable_trailers`.
pub(super) fn trailers(message: &Message<'_>) -> bool {
    let Some(options) = message.message("http_protocol_options", "Http1ProtocolOptions") else { return false };
    let enabled = options.bool("enable_trailers");
    options.done();
    enabled
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
        max_requests: None,
    };
    if let Some(common) = message.message("common_http_protocol_options", "CommonHttpProtocolOptions") {
        options.max_requests = common.get("max_requests_per_connection");
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
        Some(("http_protocol_options", _)) => options.trailers = trailers(&config),
        Some(("http2_protocol_options", _)) => options.http2 = true,
        Some((_, place)) => place.warn("the shim does not support HTTP/3: it uses HTTP/1.1"),
        None => {}
    }
    config.done();
}
