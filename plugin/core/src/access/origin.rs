//! The client's address according to a header that a trusted hop sets: `Forwarded` (RFC 7239), or a list of addresses
//! such as `X-Forwarded-For`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The first origin in the lines of a header; `header` is in lower case. `None` if the lines name none.
pub fn first<'l>(header: &str, lines: impl Iterator<Item = &'l [u8]>) -> Option<String> {
    let is_forwarded = header == "forwarded";
    lines.map(String::from_utf8_lossy).find_map(|line| {
        let mut elements = outside_quotes(&line, ',').map(str::trim);
        let mut nodes =
            elements.by_ref().filter_map(|element| if is_forwarded { forwarded_for(element) } else { Some(element) });
        nodes.find_map(|text| {
            let text = unquoted(text);
            Some(node(&text).to_owned()).filter(|node| !node.is_empty())
        })
    })
}

/// The address of a node, without brackets and port. Text that is not an address, such as `unknown` or an obfuscated
/// `_hidden`, stays as it is.
pub fn node(text: &str) -> &str {
    if is_address(text) {
        return text;
    }
    let bracketed = || {
        let (address, port) = text.strip_prefix('[')?.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        (is_ipv6(address) && is_port).then_some(address)
    };
    let with_port = || {
        let (address, port) = text.rsplit_once(':')?;
        (address.parse::<Ipv4Addr>().is_ok() && is_port(port)).then_some(address)
    };
    bracketed().or_else(with_port).unwrap_or(text)
}

/// The value of the parameter `for` of an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    outside_quotes(element, ';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })
}

/// True for an IP address, with or without a zone.
pub fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_ipv6(text)
}

/// True for an IPv6 address, with or without a zone.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(|zone| !zone.is_empty())
}

/// True for a number or an obfuscated port.
fn is_port(text: &str) -> bool {
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    is_number || text.strip_prefix('_').is_some_and(is_name)
}

/// The parts between separators outside quoted strings.
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match c {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        c == separator && !is_quoted
    })
}

/// The content of a quoted string; other text stays as it is.
fn unquoted(text: &str) -> Cow<'_, str> {
    let Some(content) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !content.contains('\\') {
        return Cow::Borrowed(content);
    }
    let (mut plain, mut is_escaped) = (String::new(), false);
    for c in content.chars() {
        is_escaped = c == '\\' && !is_escaped;
        if !is_escaped {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn of(header: &str, lines: &[&str]) -> Option<String> {
        first(header, lines.iter().map(|line| line.as_bytes()))
    }

    /// Nodes as sent, and the text that is shown for each.
    const NODES: [(&str, &str); 27] = [
        ("192.0.2.43", "192.0.2.43"),
        ("192.0.2.43:47011", "192.0.2.43"),
        ("192.0.2.43:_port.1-a", "192.0.2.43"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8::1", "2001:DB8::1"),
        ("::ffff:192.0.2.43", "::ffff:192.0.2.43"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[2001:db8::1]:_x", "2001:db8::1"),
        ("[::ffff:192.0.2.43]:80", "::ffff:192.0.2.43"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("[fe80::1%eth0]:80", "fe80::1%eth0"),
        ("[fe80::1%25eth0]", "fe80::1%25eth0"),
        ("unknown", "unknown"),
        ("Unknown", "Unknown"),
        ("unknown:80", "unknown:80"),
        ("_hidden", "_hidden"),
        ("_SEVKISEK:80", "_SEVKISEK:80"),
        ("gateway.test:80", "gateway.test:80"),
        ("192.0.2.43:", "192.0.2.43:"),
        ("192.0.2.43:port", "192.0.2.43:port"),
        ("192.0.2.43:123456", "192.0.2.43:123456"),
        ("[2001:db8::1", "[2001:db8::1"),
        ("[2001:db8::1]80", "[2001:db8::1]80"),
        ("[192.0.2.43]:80", "[192.0.2.43]:80"),
        ("[fe80::1%]", "[fe80::1%]"),
        ("999.0.2.43:80", "999.0.2.43:80"),
    ];

    #[test]
    fn an_address_has_no_brackets_and_no_port_and_everything_else_is_shown_as_sent() {
        for (sent, shown) in NODES {
            assert_eq!(node(sent), shown);
            for header in ["x-forwarded-for", "x-real-ip"] {
                for value in [sent.to_owned(), format!(" \t{sent} , 10.0.0.1"), format!("\"{sent}\"")] {
                    assert_eq!(of(header, &[&value]).as_deref(), Some(shown), "{header}: {value}");
                }
            }
            for value in [
                format!("for={sent}"),
                format!("For=\"{sent}\""),
                format!("proto=https; FOR = \"{sent}\" ;by=203.0.113.43, for=10.0.0.1"),
                format!("by=\"a;for=10.0.0.2,\\\"b\";for=\"{sent}\""),
            ] {
                assert_eq!(of("forwarded", &[&value]).as_deref(), Some(shown), "{value}");
            }
        }
    }

    #[test]
    fn the_first_entry_of_all_lines_counts() {
        assert_eq!(of("x-forwarded-for", &["192.0.2.1, 192.0.2.2", "192.0.2.3"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(of("x-forwarded-for", &["", " ,, 192.0.2.2", "192.0.2.3"]).as_deref(), Some("192.0.2.2"));
        assert_eq!(of("forwarded", &["proto=http", "for=192.0.2.3"]).as_deref(), Some("192.0.2.3"));
    }

    #[test]
    fn without_an_origin_in_headers_the_trusted_address_counts() {
        for lines in [&[][..], &[""], &[" , "], &["\"\""]] {
            assert_eq!(of("x-forwarded-for", lines), None, "{lines:?}");
        }
        for line in ["192.0.2.1", "proto=https;by=192.0.2.1", "for=", "for=\"\"", "xfor=192.0.2.1"] {
            assert_eq!(of("forwarded", &[line]), None, "{line}");
        }
    }

    #[test]
    fn broken_quotes_are_not_an_error() {
        assert_eq!(of("x-forwarded-for", &["\"192.0.2.1, x"]).as_deref(), Some("\"192.0.2.1, x"));
        assert_eq!(of("forwarded", &["for=\"_a\\\\\\\"b\""]).as_deref(), Some("_a\\\"b"));
        assert_eq!(first("forwarded", [&b"for=\"\xff\\"[..]].into_iter()).as_deref(), Some("\"\u{fffd}\\"));
    }
}
