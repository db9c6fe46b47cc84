//! URLs of targets. They are read character by character, so that an error can name the place.
//!
//! A part with only one correct spelling is converted to it: scheme and host become lower case, and characters that RFC
//! 3986 does not allow in path and query are percent-encoded. A part with two possible meanings is an error. No error
//! shows more of a URL than its scheme and host, because user, path and query can be secrets.

use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::delivery::Scheme;

/// An absolute http or https URL.
#[derive(Debug, PartialEq, Eq)]
pub struct CallUrl {
    pub scheme: Scheme,
    /// `user:password` as written.
    pub user_info: Option<String>,
    pub host: String,
    /// The host, with the port if the URL has one.
    pub authority: String,
    /// The path and query. They begin with a slash.
    pub path_and_query: String,
    /// Warnings: parts that are allowed and may not do what their author expects.
    pub notices: Vec<String>,
}

/// The characters that RFC 3986 does not allow in a path or a query. Brackets are encoded, too, because receivers
/// expect that.
const ENCODED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'^').add(b'\\').add(b'`').add(b'{').add(b'|').add(b'}');

/// The text of an error, as a sentence that begins with the URL.
type Fault = String;

/// The position in the URL: `character 12`, counted from 1.
fn place(url: &str, at: usize) -> String {
    let before = url.get(..at).unwrap_or(url).chars().count();
    format!("character {}", before.saturating_add(1))
}

impl CallUrl {
    pub fn parse(url: &str) -> Result<Self, Fault> {
        let blank = |c: char| c.is_whitespace() && !c.is_control();
        if url.starts_with(blank) || url.ends_with(blank) {
            let side = if url.starts_with(blank) { "before" } else { "after" };
            return Err(format!("has a blank {side} the URL"));
        }
        if let Some((at, c)) = url.char_indices().find(|(_, c)| c.is_control()) {
            return Err(format!("has a control character (U+{:04X}) at {}", u32::from(c), place(url, at)));
        }
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            _ => return Err("is not an absolute http or https URL".to_owned()),
        };
        let at = url.len().saturating_sub(rest.len());
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let after = at.saturating_add(end);
        if rest.starts_with('\\') {
            return Err(backslash(url, after));
        }
        let (user_info, host_and_port) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, authority),
        };
        if let Some(user_info) = user_info {
            check_user_info(url, user_info, at)?;
        }
        let host_at = after.saturating_sub(host_and_port.len());
        let (host, port) = split_port(url, host_and_port, host_at)?;
        let host = check_host(url, host, host_at)?;
        let authority = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        let mut notices = Vec::new();
        let path_and_query = path_and_query(url, rest, after, &mut notices)?;
        let user_info = user_info.map(str::to_owned);
        Ok(CallUrl { scheme, user_info, host, authority, path_and_query, notices })
    }
}

fn backslash(url: &str, at: usize) -> Fault {
    format!("has a backslash at {}: write a slash, or %5C for the backslash itself", place(url, at))
}

fn check_user_info(url: &str, user_info: &str, at: usize) -> Result<(), Fault> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:%".contains(c);
    if let Some((offset, _)) = user_info.char_indices().find(|(_, c)| !is_plain(*c)) {
        return Err(format!(
            "has {} in its user and password, which must be written as % and two hex digits",
            place(url, at.saturating_add(offset))
        ));
    }
    check_escapes(url, user_info, at)
}

/// The host, with the port if there is one.
fn split_port<'u>(url: &str, text: &'u str, at: usize) -> Result<(&'u str, Option<u16>), Fault> {
    let colon = match text.strip_prefix('[') {
        Some(_) => {
            let close = text.find(']').ok_or("opens a bracket for an IPv6 address and does not close it")?;
            let behind = close.saturating_add(1);
            match text.get(behind..).unwrap_or_default() {
                "" => None,
                more if more.starts_with(':') => Some(behind),
                _ => {
                    return Err(format!(
                        "has {} after the bracket, where only a port is allowed",
                        place(url, at.saturating_add(behind))
                    ));
                }
            }
        }
        None => match text.find(':') {
            Some(first) if text.get(first.saturating_add(1)..).is_some_and(|more| more.contains(':')) => {
                return Err("has more than one colon in its host: an IPv6 address needs brackets".to_owned());
            }
            colon => colon,
        },
    };
    let Some(colon) = colon else { return Ok((text, None)) };
    let (host, port) = text.split_at_checked(colon).unwrap_or((text, ""));
    // An invalid port may be a password with an unescaped slash, so it is not shown.
    let port_at = place(url, at.saturating_add(colon).saturating_add(1));
    match port.get(1..).unwrap_or_default() {
        "" => Err("has no port after its colon".to_owned()),
        digits if !digits.bytes().all(|byte| byte.is_ascii_digit()) => Err(format!("has no valid port at {port_at}")),
        digits => match digits.parse() {
            Ok(0) | Err(_) => Err(format!("has no valid port at {port_at}: from 1 to 65535")),
            Ok(port) => Ok((host, Some(port))),
        },
    }
}

/// Checks a host, and converts it to lower case.
fn check_host(url: &str, host: &str, at: usize) -> Result<String, Fault> {
    if host.is_empty() {
        return Err("names no host".to_owned());
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        if address.contains('%') {
            return Err("has an IPv6 address with a zone, which has a meaning only on one machine".to_owned());
        }
        let read: Result<Ipv6Addr, _> = address.parse();
        return read
            .map(|_| host.to_ascii_lowercase())
            .map_err(|_| "has brackets around something that is not an IPv6 address".to_owned());
    }
    if let Some((offset, c)) = host.char_indices().find(|(_, c)| !c.is_ascii_alphanumeric() && !"-._".contains(*c)) {
        let at = place(url, at.saturating_add(offset));
        return Err(match c {
            '%' => format!("has a percent sign in its host, at {at}"),
            _ if !c.is_ascii() => format!("has {c:?} in its host, at {at}: write the name as DNS has it, with xn--"),
            _ => format!("has {c:?} in its host, at {at}"),
        });
    }
    let labels = host.strip_suffix('.').unwrap_or(host);
    if labels.split('.').any(str::is_empty) {
        return Err("has two dots in a row, or one at the beginning, in its host".to_owned());
    }
    let is_number = labels.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if is_number && labels.parse::<Ipv4Addr>().is_err() {
        return Err("has a host that is neither a name nor an IPv4 address".to_owned());
    }
    Ok(host.to_ascii_lowercase())
}

fn path_and_query(url: &str, rest: &str, at: usize, notices: &mut Vec<String>) -> Result<String, Fault> {
    let (sent, fragment) = match rest.split_once('#') {
        Some((sent, fragment)) => (sent, Some(fragment)),
        None => (rest, None),
    };
    let path = sent.split('?').next().unwrap_or_default();
    if let Some(offset) = path.find('\\') {
        return Err(backslash(url, at.saturating_add(offset)));
    }
    if let Some(fragment) = fragment {
        let hash = place(url, at.saturating_add(sent.len()));
        // The author may mean a character of the path, such as in the tag of a template.
        let advice =
            if fragment.is_empty() { "" } else { "; a # that belongs to the path or the query is written as %23" };
        notices.push(format!("has a fragment from {hash} on, which is not sent{advice}"));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        notices.push("has . or .. as a part of its path, which is sent unchanged".to_owned());
    }
    check_escapes(url, sent, at)?;
    let encoded = utf8_percent_encode(sent, ENCODED).to_string();
    Ok(if encoded.starts_with('/') { encoded } else { format!("/{encoded}") })
}

fn check_escapes(url: &str, text: &str, at: usize) -> Result<(), Fault> {
    for (offset, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(offset.saturating_add(1)..offset.saturating_add(3)).unwrap_or_default();
        if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!(
                "has a percent sign without two hex digits after it, at {}: the sign itself is written as %25",
                place(url, at.saturating_add(offset))
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn parts_with_one_correct_spelling_are_converted() {
        for (url, authority, target) in [
            ("http://h.test", "h.test", "/"),
            ("HTTPS://H.Test:8443/A", "h.test:8443", "/A"),
            ("http://h.test?a=b", "h.test", "/?a=b"),
            ("http://h.test/a b?c d", "h.test", "/a%20b?c%20d"),
            ("http://h.test/a|b^c?d|e^f", "h.test", "/a%7Cb%5Ec?d%7Ce%5Ef"),
            ("http://h.test/über?q=é", "h.test", "/%C3%BCber?q=%C3%A9"),
            ("http://h.test/{id}\"<>`", "h.test", "/%7Bid%7D%22%3C%3E%60"),
            ("http://h.test/a%2Fb%c3%a9", "h.test", "/a%2Fb%c3%a9"),
            ("http://h.test/a?b=c?d/e&f[]=1;g=@:!$'()*+,~", "h.test", "/a?b=c?d/e&f[]=1;g=@:!$'()*+,~"),
            ("http://u:p%40s@h.test/", "h.test", "/"),
            ("http://[2001:DB8::1]:8080/x", "[2001:db8::1]:8080", "/x"),
            ("http://[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]", "/"),
            ("http://192.0.2.7:65535/", "192.0.2.7:65535", "/"),
            ("http://h_1.test./", "h_1.test.", "/"),
        ] {
            let read = CallUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((read.authority.as_str(), read.path_and_query.as_str()), (authority, target), "{url}");
            assert_eq!(read.notices, Vec::<String>::new(), "{url}");
        }
    }

    #[test]
    fn parts_with_an_unexpected_effect_are_warnings() {
        let notices = |url| CallUrl::parse(url).unwrap().notices;
        let fragment = notices("http://h.test/a?b#c");
        assert!(fragment[0].starts_with("has a fragment from character 18 on, which is not sent; "), "{fragment:?}");
        assert_eq!(CallUrl::parse("http://h.test/a?b#c").unwrap().path_and_query, "/a?b");
        assert_eq!(notices("http://h.test/#"), ["has a fragment from character 15 on, which is not sent"]);
        for dots in ["http://h.test/a/../b", "http://h.test/./", "http://h.test/.."] {
            assert_eq!(notices(dots).len(), 1, "{dots}");
        }
        assert!(notices("http://h.test/a..b/...?x=/../").is_empty());
    }

    #[test]
    fn errors_name_the_place() {
        for (url, expected) in [
            ("hooks", "is not an absolute http or https URL"),
            ("//h.test/", "is not an absolute http or https URL"),
            ("http:/h.test", "is not an absolute http or https URL"),
            ("ftp://h.test", "is not an absolute http or https URL"),
            ("javascript://h.test", "is not an absolute http or https URL"),
            (" http://h.test/", "has a blank before the URL"),
            ("http://h.test/ ", "has a blank after the URL"),
            ("http://h.test/a\nb", "has a control character (U+000A) at character 16"),
            ("http://h.test/\0", "has a control character (U+0000) at character 15"),
            ("http://h.test/\u{7f}", "has a control character (U+007F) at character 15"),
            ("http://h.test\\a", "has a backslash at character 14"),
            ("http://h.test/ü\\a", "has a backslash at character 16"),
            ("http://", "names no host"),
            ("http:///a", "names no host"),
            ("http://:80/", "names no host"),
            ("http://u@/", "names no host"),
            ("http://h.test:/", "has no port after its colon"),
            ("http://h.test:0/", "has no valid port at character 15: from 1 to 65535"),
            ("http://h.test:65536/", "has no valid port at character 15: from 1 to 65535"),
            ("http://h.test:99999999999/", "has no valid port at character 15: from 1 to 65535"),
            ("http://h.test:80a/", "has no valid port at character 15"),
            ("http://h.test:+80/", "has no valid port at character 15"),
            ("http://a:b:c/", "has more than one colon in its host"),
            ("http://2001:db8::1/", "has more than one colon in its host"),
            ("http://[::1/", "opens a bracket for an IPv6 address and does not close it"),
            ("http://[::1]x/", "has character 13 after the bracket"),
            ("http://[::g]/", "has brackets around something that is not an IPv6 address"),
            ("http://[fe80::1%25eth0]/", "has an IPv6 address with a zone"),
            ("http://[]/", "has brackets around something that is not an IPv6 address"),
            ("http://bücher.test/", "has 'ü' in its host, at character 9: write the name as DNS has it, with xn--"),
            ("http://h test/", "has ' ' in its host, at character 9"),
            ("http://h%20.test/", "has a percent sign in its host, at character 9"),
            ("http://h]/", "has ']' in its host, at character 9"),
            ("http://h..test/", "has two dots in a row"),
            ("http://.test/", "has two dots in a row, or one at the beginning"),
            ("http://256.0.0.1/", "neither a name nor an IPv4 address"),
            ("http://1.2.3/", "neither a name nor an IPv4 address"),
            ("http://h.test/%zz", "has a percent sign without two hex digits after it, at character 15"),
            ("http://h.test/a?b=50%", "has a percent sign without two hex digits after it, at character 21"),
            ("http://us er:p@h.test/", "has character 10 in its user and password"),
            ("http://u:p@q@h.test/", "has character 11 in its user and password"),
        ] {
            let said = CallUrl::parse(url).unwrap_err();
            assert!(said.starts_with(expected) || said.contains(expected), "{url}: {said}");
        }
    }

    proptest! {
        #[test]
        fn every_accepted_url_can_be_sent(url in "(http|HTTPS)://[a-c.:@\\[\\]%0-9]{0,12}[/?#][ -~éß]{0,20}") {
            if let Ok(read) = CallUrl::parse(&url) {
                let whole = format!("{}://{}{}", read.scheme.as_str(), read.authority, read.path_and_query);
                let uri: http::Uri = whole.parse().unwrap();
                prop_assert_eq!(uri.authority().unwrap().as_str(), read.authority.as_str());
                let is_sendable = |byte: u8| byte.is_ascii_graphic() && !b"\"<>^`{|}\\#".contains(&byte);
                let all_sendable = read.path_and_query.bytes().all(is_sendable);
                prop_assert!(all_sendable, "{}", read.path_and_query);
                prop_assert_eq!(CallUrl::parse(&whole).unwrap().path_and_query, read.path_and_query);
            }
        }

        #[test]
        fn no_text_panics_or_is_shown(url in any::<String>()) {
            let _ = CallUrl::parse(&url);
        }
    }
}
