//! Checks URLs of targets, and keeps their secrets out of messages.

use crate::config::calls::header;
use crate::config::calls::url::CallUrl;
use crate::config::error::Errors;
use crate::config::raw;
use crate::delivery::{EndpointId, Scheme, Tag, Target};

/// The target of a URL with its cluster, and the user and password in the URL.
pub fn target(
    path: &str,
    url: &str,
    callouts: &raw::Callouts,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Option<(Target, Option<String>)> {
    if url.is_empty() {
        return None;
    }
    let CallUrl { scheme, user_info, host, authority, path_and_query, notices } = match CallUrl::parse(url) {
        Ok(read) => read,
        Err(fault) => {
            errors.add(path, format!("{:?} {fault}", without_secrets(url)));
            return None;
        }
    };
    for notice in notices {
        warnings.add(path, notice);
    }
    let named = |wanted: &str| {
        let mut clusters = callouts.clusters.iter();
        clusters.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, cluster)| cluster)
    };
    let default = if scheme == Scheme::Https { &callouts.https_cluster } else { &callouts.http_cluster };
    let cluster = named(&authority).or_else(|| named(&host)).unwrap_or(default);
    let target = Target {
        endpoint: EndpointId::new(scheme.as_str(), &authority, &path_and_query),
        tag: Tag::of(&authority),
        scheme,
        authority,
        path_and_query,
        cluster: cluster.clone(),
    };
    Some((target, user_info))
}

/// The `Authorization` header for a URL with `user:password@`, as Go's client sends it.
pub fn basic(user_info: &str) -> String {
    use base64::Engine as _;
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(user_info).collect();
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decoded))
}

/// The form of a URL in error messages: scheme and host, because user, path and query may be secrets. If the parts are
/// unclear, only the scheme.
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

/// The text after a host's colon.
fn port_of(host: &str) -> Option<&str> {
    match host.rsplit_once(']') {
        Some((_, behind)) => behind.strip_prefix(':'),
        None => host.split_once(':').map(|(_, port)| port),
    }
}

/// A header's name in lower case, if its name and value are valid.
pub fn legal_header(place: &str, name: &str, value: &str, errors: &mut Errors) -> Option<String> {
    match (header::name(name), header::is_value(value)) {
        (Some(name), true) => return Some(name),
        (None, _) => errors.add(place, "not a header name"),
        (_, false) => errors.add(place, "its value has characters that a header cannot have (line breaks, NUL, …)"),
    }
    None
}
