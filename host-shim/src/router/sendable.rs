//! The checks of Envoy's codec before it sends a request.

use super::replies::reply;
use crate::base::Headers;
use crate::traffic::{LocalReply, flags};

/// Returns Envoy's reply if the codec refuses to send a request.
pub fn unsendable(headers: &Headers) -> Option<LocalReply> {
    missing(headers).or_else(|| invalid(headers)).map(|reason| refused(&reason))
}

/// Makes Envoy's reply to a request that its codec refuses.
pub fn refused(reason: &str) -> LocalReply {
    let details = format!("filter_removed_required_request_headers{{{}}}", reason.replace(' ', "_"));
    reply(503, reason, &details, flags::DOWNSTREAM_PROTOCOL_ERROR)
}

/// Whether a request without a body needs a `content-length` in HTTP/1.
pub fn needs_length(headers: &Headers) -> bool {
    // These methods usually have no body.
    let has_none = matches!(headers.get_str(":method"), Some("GET" | "HEAD" | "DELETE" | "TRACE" | "CONNECT"));
    !has_none && headers.get("content-length").is_none()
}

fn missing(headers: &Headers) -> Option<String> {
    let lacks = |name: &str| headers.get(name).is_none();
    let is_connect = headers.get(":method") == Some(b"CONNECT");
    let name = match is_connect {
        _ if lacks(":method") => ":method",
        true if lacks(":authority") => ":authority",
        true if !lacks(":path") && lacks(":protocol") => ":protocol",
        true if !lacks(":protocol") && lacks(":path") => ":path",
        false if lacks(":path") => ":path",
        _ => return None,
    };
    Some(format!("missing required header: {name}"))
}

fn invalid(headers: &Headers) -> Option<String> {
    headers.iter().find_map(|(name, value)| {
        let bare = name.strip_prefix(b":").unwrap_or(name);
        let what = if !bare.iter().all(|byte| is_in_name(*byte)) {
            "name: "
        } else if !value.iter().all(|byte| is_in_value(*byte)) {
            "value for: "
        } else {
            return None;
        };
        Some(format!("invalid header {what}{}", escaped(name)))
    })
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_in_value(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Escapes a name as in JSON.
fn escaped(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    serde_json::to_string(&name).map(|text| text.trim_matches('"').to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_names_what_it_refuses() {
        let refusal = |pairs: &[(&str, &str)]| {
            unsendable(&pairs.iter().map(|(name, value)| (*name, *value)).collect())
                .map(|reply| String::from_utf8_lossy(&reply.body).into_owned())
        };
        let missing = |name: &str| Some(format!("missing required header: {name}"));
        assert_eq!(refusal(&[(":path", "/")]), missing(":method"));
        assert_eq!(refusal(&[(":method", "GET")]), missing(":path"));
        assert_eq!(refusal(&[(":method", "CONNECT"), (":path", "/"), (":authority", "a")]), missing(":protocol"));
        assert_eq!(refusal(&[(":method", "CONNECT"), (":authority", "a")]), None);
        let with = |name: &str, value: &str| refusal(&[(":method", "GET"), (":path", "/"), (name, value)]);
        assert_eq!(with("a b", "c"), Some("invalid header name: a b".to_owned()));
        assert_eq!(with("a\n", "c"), Some("invalid header name: a\\n".to_owned()));
        assert_eq!(with("a", "b\0"), Some("invalid header value for: a".to_owned()));
        assert_eq!(with("", "b"), None);
        assert_eq!(with("a", "\t b"), None);
    }
}
