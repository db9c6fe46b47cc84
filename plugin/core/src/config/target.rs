//! Checks URLs that are called, and keeps their secrets out of messages.

use http::{HeaderName, HeaderValue, Uri};

use super::error::Errors;
use super::raw;
use crate::delivery::EndpointId;
use crate::delivery::outbox::Tag;
use crate::handler::Target;

/// Where a URL leads and which cluster carries it, and the user and password in it.
pub(super) fn target(
    path: &str,
    url: &str,
    callouts: &raw::Callouts,
    errors: &mut Errors,
) -> Option<(Target, Option<String>)> {
    if url.is_empty() {
        return None;
    }
    let uri: Option<Uri> = url.parse().ok();
    let parts = uri.as_ref().and_then(|uri| {
        let scheme = match uri.scheme_str()? {
            scheme if scheme.eq_ignore_ascii_case("http") => "http",
            scheme if scheme.eq_ignore_ascii_case("https") => "https",
            _ => return None,
        };
        uri.host().filter(|host| !host.is_empty())?;
        // What is no port may be a password whose slash was not escaped.
        let host_and_port = uri.authority()?.as_str().rsplit('@').next()?;
        if port_of(host_and_port).is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
            return None;
        }
        Some((scheme, uri.authority()?, uri.host()?, uri.path_and_query()))
    });
    let Some((scheme, authority, host, path_and_query)) = parts else {
        errors.add(path, format!("{:?} is not an absolute http or https URL", without_secrets(url)));
        return None;
    };
    let (user_info, authority) = match authority.as_str().rsplit_once('@') {
        Some((user_info, authority)) => (Some(user_info.to_owned()), authority),
        None => (None, authority.as_str()),
    };
    let clusters = &callouts.clusters;
    let default = if scheme == "https" { &callouts.https_cluster } else { &callouts.http_cluster };
    let cluster = clusters.get(authority).or_else(|| clusters.get(host)).unwrap_or(default);
    let path_and_query = path_and_query.map_or("/", |target| target.as_str());
    let path_and_query =
        if path_and_query.starts_with('/') { path_and_query.to_owned() } else { format!("/{path_and_query}") };
    let target = Target {
        endpoint: EndpointId::new(scheme, authority, &path_and_query),
        tag: Tag::of(authority),
        scheme,
        authority: authority.to_owned(),
        path_and_query,
        cluster: cluster.clone(),
    };
    Some((target, user_info))
}

/// `Authorization` for a URL with `user:password@`, as Go's client sends it.
pub(super) fn basic(user_info: &str) -> String {
    use base64::Engine as _;
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(user_info).collect();
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decoded))
}

/// A URL for an error message: scheme and host, since user, path and query may be secrets. Where it is not clear which
/// part is which, only the scheme.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let end = url.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')).unwrap_or(url.len());
        return match url.get(..end) {
            Some(host) if end == url.len() => host.to_owned(),
            Some(host) if !url.contains('@') => format!("{host}/…"),
            _ => "…".to_owned(),
        };
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let more = rest.get(authority.len()..).unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if more.contains('@') || port_of(host).is_some_and(|port| port.parse::<u16>().is_err()) {
        return format!("{scheme}://…");
    }
    format!("{scheme}://{host}{}", if more.is_empty() { "" } else { "/…" })
}

/// What stands behind a host's colon.
fn port_of(host: &str) -> Option<&str> {
    match host.rsplit_once(']') {
        Some((_, behind)) => behind.strip_prefix(':'),
        None => host.split_once(':').map(|(_, port)| port),
    }
}

/// A header's name in lower case, where name and value are legal.
pub(super) fn legal_header(place: &str, name: &str, value: &str, errors: &mut Errors) -> Option<String> {
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        (Ok(name), Ok(_)) => return Some(name.as_str().to_owned()),
        (Err(_), _) => errors.add(place, "not a header name"),
        (_, Err(_)) => errors.add(place, "its value has characters that a header cannot have (line breaks, NUL, …)"),
    }
    None
}
