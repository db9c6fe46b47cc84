use super::*;
use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn mailbox(name: &str) -> String {
    let address = Address::parse("a@b.test").unwrap();
    Mailbox { address, name: Name::parse(name).unwrap() }.in_header()
}

#[test]
fn addresses_are_dot_atoms_and_domains() {
    let long_label = format!("a@{}.test", "b".repeat(63));
    for good in ["dev@acme.test", "a.b+tag@x.y.example", "!#$%&'*+-/=?^_`{|}~@a-b.test", &long_label] {
        assert_eq!(Address::parse(good).map(|address| address.to_string()), Ok(good.to_owned()));
    }
    use AddressError::{Blank, Domain, Local, NoAt, NotAscii, SeveralAts, TooLong};
    let cases = [
        ("", NoAt),
        ("acme.test", NoAt),
        ("a@b@c.test", SeveralAts),
        ("a@b.test\r\nbcc: x@y.test", Blank),
        ("a@b.test\n", Blank),
        ("a\0@b.test", Blank),
        ("a\u{7f}@b.test", Blank),
        ("a\u{85}@b.test", Blank),
        (" a@b.test", Blank),
        ("a b@c.test", Blank),
        ("a\u{a0}b@c.test", Blank),
        ("ä@b.test", NotAscii),
        ("a@bücher.test", NotAscii),
        ("@b.test", Local),
        (".a@b.test", Local),
        ("a.@b.test", Local),
        ("a..b@c.test", Local),
        ("a,b@c.test", Local),
        ("<a@c.test>", Local),
        ("\"a\"@c.test", Local),
        ("a(x)@c.test", Local),
        ("a@", Domain),
        ("a@localhost", Domain),
        ("a@.test", Domain),
        ("a@b..test", Domain),
        ("a@b.test.", Domain),
        ("a@-b.test", Domain),
        ("a@b-.test", Domain),
        ("a@b_c.test", Domain),
        ("a@[192.0.2.1]", Domain),
        ("a@b.test,c", Domain),
        ("a@b.test>", Domain),
    ];
    for (text, error) in cases {
        assert_eq!(Address::parse(text), Err(error), "{text:?}");
    }
    let local = "a".repeat(64);
    assert!(Address::parse(&format!("{local}@b.test")).is_ok());
    assert_eq!(Address::parse(&format!("{local}a@b.test")), Err(TooLong));
    let domain = format!("{0}.{0}.{0}.t", "b".repeat(62));
    assert_eq!(Address::parse(&format!("{local}@{domain}")).map(|address| address.0.len()), Err(TooLong));
    assert!(Address::parse(&format!("{}@{domain}", "a".repeat(62))).is_ok());
    assert_eq!(Address::parse(&format!("a@{}", "b.".repeat(128))), Err(TooLong));
    assert_eq!(Address::parse(&format!("a@{}.test", "b".repeat(64))), Err(Domain));
}

#[test]
fn names_are_quoted_or_encoded() {
    assert_eq!(mailbox(""), "a@b.test");
    assert_eq!(mailbox(" Acme APIs "), "\"Acme APIs\" <a@b.test>");
    assert_eq!(mailbox(r#"x" <evil@y.test>, "\"#), r#""x\" <evil@y.test>, \"\\" <a@b.test>"#);
    assert_eq!(mailbox("Jörg"), "=?UTF-8?B?SsO2cmc=?= <a@b.test>");
    let long = mailbox(&"ö,\"<".repeat(40));
    assert!(long.split(' ').filter(|word| word.starts_with("=?")).all(|word| word.len() <= 75), "{long}");
}

#[test]
fn line_breaks_in_names_are_refused_or_become_spaces() {
    for bad in ["a\r\nBcc: x@y.test", "a\nb", "a\0", "a\u{2028}b", "a\u{202e}b"] {
        assert_eq!(Name::parse(bad), Err(NameError::Control), "{bad:?}");
    }
    assert_eq!(Name::parse(&"x".repeat(201)), Err(NameError::TooLong));
    assert_eq!(Name::parse(" "), Ok(None));
    assert_eq!(Name::lossy("a\r\nBcc: x@y.test \u{0}").unwrap().as_str(), "a Bcc: x@y.test");
    assert_eq!(Name::lossy("\r\n\t\u{202e}"), None);
    assert_eq!(Name::lossy(&"ö".repeat(300)).unwrap().as_str().len(), 200);
}

proptest! {
    #[test]
    fn accepted_addresses_and_names_cannot_inject_anything(text in any::<String>(), domain in "[a-z.,<> \r\n-]{0,12}") {
        for candidate in [text.clone(), format!("{text}@{domain}"), format!("a@{domain}.test")] {
            if let Ok(address) = Address::parse(&candidate) {
                let plain = |c: char| c.is_ascii_graphic() && !",;:<>()[]\"\\".contains(c);
                prop_assert!(address.as_str().chars().all(plain));
                prop_assert_eq!(address.as_str().matches('@').count(), 1);
            }
        }
    }

    #[test]
    fn any_name_becomes_a_single_display_name(text in any::<String>(), tail in "[\"\\\\<>@,;a\r\n]{0,10}") {
        let name = Name::lossy(&format!("{text}{tail}"));
        let header = Mailbox { address: Address::parse("a@b.test").unwrap(), name: name.clone() }.in_header();
        prop_assert!(header.chars().all(|c| c == ' ' || c.is_ascii_graphic()));
        let Some(before) = header.strip_suffix("<a@b.test>") else { return Ok(()) };
        let before = before.trim_end();
        let name = name.unwrap();
        if let Some(quoted) = before.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            let mut escaped = false;
            for c in quoted.chars() {
                prop_assert!(escaped || c != '"');
                escaped = !escaped && c == '\\';
            }
            prop_assert!(!escaped);
            prop_assert_eq!(quoted.replace("\\\"", "\"").replace("\\\\", "\\").len(), name.as_str().len());
        } else {
            let decode = |word: &str| {
                let base64 = word.strip_prefix("=?UTF-8?B?").unwrap().strip_suffix("?=").unwrap().to_owned();
                STANDARD.decode(base64).unwrap()
            };
            let decoded: Vec<u8> = before.split(' ').flat_map(decode).collect();
            prop_assert_eq!(decoded, name.as_str().as_bytes());
        }
    }
}
