//! Reads TLS contexts.

use super::model::{DownstreamTls, Secret, TrustedRoots, UpstreamTls};
use super::{Any, Message, Place, other_extension, source};

const SOCKETS: &str = "envoy.extensions.transport_sockets";

/// Reads the `transport_socket` of a cluster. The flags of the protocol options are set later.
pub(super) fn upstream(cluster: &Message<'_>) -> Option<UpstreamTls> {
    let (_, any) = transport_socket(cluster, "UpstreamTlsContext")?;
    let context = any.message("UpstreamTlsContext")?;
    let sni = context.optional_string("sni");
    let mut roots = TrustedRoots::Anyone;
    if let Some(common) = context.message("common_tls_context", "CommonTlsContext") {
        roots = common.get("validation_context").and_then(|place| trusted_roots(&place)).unwrap_or(roots);
        let elsewhere = ["validation_context_sds_secret_config", "combined_validation_context"];
        for other in elsewhere.iter().filter_map(|field| common.get(field)) {
            other.warn("the shim supports only validation_context: it uses the system's root certificates");
            roots = TrustedRoots::System;
        }
        let known = ["h2", "http/1.1"];
        for place in common.items("alpn_protocols") {
            if place.string().is_some_and(|name| !known.contains(&name.as_str())) {
                place.warn("not honoured: the shim offers only the protocol of the cluster");
            }
        }
        common.done();
    }
    context.done();
    Some(UpstreamTls { sni, auto_sni: false, auto_san_validation: false, roots })
}

/// Reads the `transport_socket` of a filter chain. `Err` means that it exists and the shim cannot use it.
pub(super) fn downstream(chain: &Message<'_>) -> Result<Option<DownstreamTls>, ()> {
    let Some((place, any)) = transport_socket(chain, "DownstreamTlsContext") else { return Ok(None) };
    let context = any.message("DownstreamTlsContext").ok_or(())?;
    let tls = match context.message("common_tls_context", "CommonTlsContext") {
        Some(common) => certificate(&place, common),
        None => {
            place.error("no certificate: \"common_tls_context.tls_certificates\" is missing");
            None
        }
    };
    context.done();
    tls.map(Some).ok_or(())
}

/// Returns the configuration of the socket, if it has the type of this side of a connection.
fn transport_socket<'a>(message: &Message<'a>, side: &str) -> Option<(Place<'a>, Any<'a>)> {
    let place = message.get("transport_socket")?;
    let socket = place.message("TransportSocket")?;
    socket.required_string("name");
    let given = socket.get("typed_config");
    socket.done();
    let any = match given {
        Some(given) => Some(given.any()?.unwrapped()?),
        None => None,
    };
    let type_name = any.as_ref().map_or("", |any| any.type_name.as_str());
    match type_name.strip_prefix(SOCKETS).unwrap_or_default() {
        ".raw_buffer.v3.RawBuffer" => None,
        name if name.strip_prefix(".tls.v3.") == Some(side) => any.map(|any| (place, any)),
        ".tls.v3.UpstreamTlsContext" | ".tls.v3.DownstreamTlsContext" => {
            place.error(format!("{type_name} is for the other side of a connection: use {SOCKETS}.tls.v3.{side}"));
            None
        }
        _ => {
            other_extension(&place, any.as_ref(), SOCKETS, "it uses plain TCP");
            None
        }
    }
}

fn trusted_roots(place: &Place<'_>) -> Option<TrustedRoots> {
    let context = place.message("CertificateValidationContext")?;
    let system = context.get("system_root_certs");
    let given = context.get("trusted_ca");
    context.done();
    let Some(given) = given else { return system.map(|_| TrustedRoots::System) };
    let pem = source::bytes(&given)?;
    if !has_pem(&pem, "CERTIFICATE-----") {
        given.error("it contains no certificate in PEM format");
        return None;
    }
    Some(TrustedRoots::Pem(pem))
}

fn certificate(place: &Place<'_>, common: Message<'_>) -> Option<DownstreamTls> {
    let alpn = common.strings("alpn_protocols");
    let certificates = common.messages("tls_certificates", "TlsCertificate");
    common.done();
    let mut certificates = certificates.into_iter();
    let Some(first) = certificates.next() else {
        place.error("no certificate: \"common_tls_context.tls_certificates\" is empty");
        return None;
    };
    for other in certificates {
        other.place.warn("the shim uses only the first certificate: ignored");
    }
    let key_place = first.get("private_key");
    let pem = |field: &'static str, ending: &str| {
        let given = first.required(field)?;
        let pem = source::bytes(&given)?;
        if !has_pem(&pem, ending) {
            given.error(format!("it contains no \"-----BEGIN …{ending}\""));
            return None;
        }
        Some(pem)
    };
    let (chain, key) = (pem("certificate_chain", "CERTIFICATE-----"), pem("private_key", "PRIVATE KEY-----"));
    first.done();
    let tls = DownstreamTls { certificate_chain: chain?, private_key: Secret(key?), alpn };
    if let Err(error) = crate::config::tls::server(&tls) {
        let text = match error.downcast_ref() {
            Some(rustls::Error::InconsistentKeys(_)) => "the key does not belong to the certificate".to_owned(),
            _ => format!("certificate and key cannot be used: {error:#}"),
        };
        key_place.unwrap_or_else(|| place.clone()).error(text);
        return None;
    }
    Some(tls)
}

fn has_pem(bytes: &[u8], ending: &str) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.lines().any(|line| line.trim_end().starts_with("-----BEGIN ") && line.trim_end().ends_with(ending))
}
