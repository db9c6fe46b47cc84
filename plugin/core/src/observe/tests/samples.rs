//! The samples of Tyk's documentation, unchanged except for blanks: the portal's thirteen of "Configure webhooks", and
//! the key request of "Portal events and notifications", with an address in place of one that is left out there.

const LINES: &str = include_str!("samples.jsonl");

/// The portal's samples, in the order of the documentation.
pub(super) fn portal() -> impl Iterator<Item = &'static str> {
    LINES.lines().take(13)
}

/// The portal's sample at this index.
pub(super) fn portal_at(place: usize) -> &'static str {
    portal().nth(place).unwrap()
}

/// The sample of a key request.
pub(super) fn key_request() -> &'static str {
    LINES.lines().nth(13).unwrap()
}
