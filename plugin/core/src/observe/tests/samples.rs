//! The samples of Tyk's documentation, as it writes them but for blanks: the portal's thirteen of "Configure
//! webhooks", and the key request of "Portal events and notifications", with an address in the place of one that is
//! left out there.

const LINES: &str = include_str!("samples.jsonl");

/// The portal's, in the order of the documentation.
pub(super) fn portal() -> impl Iterator<Item = &'static str> {
    LINES.lines().take(13)
}

/// The portal's of that place.
pub(super) fn portal_at(place: usize) -> &'static str {
    portal().nth(place).unwrap()
}

/// The key request's.
pub(super) fn key_request() -> &'static str {
    LINES.lines().nth(13).unwrap()
}
