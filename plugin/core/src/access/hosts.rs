//! The host of a request, in the form in which it is compared with the domains of APIs.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The host in an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName<'r> {
    /// A name in lower case without its final dot, an IPv4 address, or an IPv6 address in brackets, in its shortest form.
    Known(Cow<'r, [u8]>),
    /// No host, or one that servers read in different ways: it has a user, percent-encoding, characters outside ASCII,
    /// or an address in an unusual form. It may mean any host.
    Unclear,
}

impl<'r> HostName<'r> {
    /// Reads a `Host` header, an `:authority` or a configured domain. The port is ignored.
    pub fn of(authority: &'r [u8]) -> Self {
        let authority = authority.trim_ascii();
        match authority.strip_prefix(b"[") {
            Some(address) => Self::of_ipv6(address),
            None => Self::of_name(authority),
        }
        .unwrap_or(HostName::Unclear)
    }

    fn of_ipv6(rest: &[u8]) -> Option<Self> {
        let end = rest.iter().position(|byte| *byte == b']')?;
        let (address, behind) = rest.split_at_checked(end)?;
        let address: Ipv6Addr = std::str::from_utf8(address).ok()?.parse().ok()?;
        let is_port = matches!(behind, [b']'] | [b']', b':', ..]) && is_number(behind.get(2..).unwrap_or_default());
        is_port.then(|| HostName::Known(Cow::Owned(format!("[{address}]").into_bytes())))
    }

    fn of_name(authority: &'r [u8]) -> Option<Self> {
        let end = authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len());
        let (mut name, port) = authority.split_at_checked(end)?;
        while let Some(shorter) = name.strip_suffix(b".") {
            name = shorter;
        }
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.iter().all(is_plain) || !is_number(port.get(1..).unwrap_or_default()) {
            return None;
        }
        let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        if last.first().is_some_and(u8::is_ascii_digit) {
            // Some servers read this as an address, also if it is written as `127.1` or `0x7f000001`.
            let is_name = !is_number(last) && !last.starts_with(b"0x") && !last.starts_with(b"0X");
            let is_address = std::str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok());
            if !is_name && !is_address {
                return None;
            }
        }
        Some(HostName::Known(if name.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }))
    }
}

fn is_number(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn port_case_and_final_dot_do_not_change_the_host() {
        for (authority, expected) in [
            ("api.acme.test", "api.acme.test"),
            ("API.Acme.TEST", "api.acme.test"),
            ("api.acme.test.", "api.acme.test"),
            ("api.acme.test..", "api.acme.test"),
            ("api.acme.test:8443", "api.acme.test"),
            ("api.acme.test.:443", "api.acme.test"),
            ("api.acme.test:", "api.acme.test"),
            (" api.acme.test ", "api.acme.test"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("a_b-c.test", "a_b-c.test"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("3com.test", "3com.test"),
            ("a.4you", "a.4you"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[2001:db8:0:0::1]:80", "[2001:db8::1]"),
            ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
        ] {
            let expected = HostName::Known(Cow::Borrowed(expected.as_bytes()));
            assert_eq!(HostName::of(authority.as_bytes()), expected, "{authority}");
        }
    }

    #[test]
    fn hosts_that_servers_read_in_different_ways_are_unclear() {
        for authority in [
            "",
            ".",
            ":80",
            "user@api.acme.test",
            "api%2Eacme.test",
            "api.acme.test:80:80",
            "api.acme.test:http",
            "a.test, b.test",
            "a b.test",
            "bücher.example",
            "api。acme.test",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "127.0.0.01",
            "1.2.3.4.5",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "::1",
            "api.acme.test/",
            "api.acme.test\\",
            "api.acme.test#",
            "\u{ff41}pi.acme.test",
        ] {
            assert_eq!(HostName::of(authority.as_bytes()), HostName::Unclear, "{authority}");
        }
    }
}
