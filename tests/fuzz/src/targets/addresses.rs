//! E-mail addresses, with names beside them.

use tollbell_core::fuzzing;

use super::input::parts;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let [address, name] = parts(bytes).map(String::from_utf8_lossy);
    let Some(shown) = fuzzing::mailbox_in_header(&address, &name) else { return };
    assert!(shown.is_ascii(), "{shown:?}");
    assert!(!shown.contains(|c: char| c.is_control()), "{shown:?} could end the header");
    assert_eq!(shown.matches('@').count(), 1 + shown_name(&shown).matches('@').count(), "{shown:?}");
    assert!(shown.ends_with(&*address) || shown.ends_with(&format!("<{address}>")), "{shown:?}");
}

/// What stands before the address.
fn shown_name(shown: &str) -> &str {
    shown.rsplit_once('<').map_or("", |(name, _)| name)
}
