//! The lines that the module writes at debug level: what became of an event's messages.

use std::borrow::Cow;

use serde::Deserialize;

/// What became of an event's messages.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(super) struct EventLine<'l> {
    #[serde(borrow)]
    pub(super) event: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(super) api: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(super) org: Cow<'l, str>,
    /// The fingerprint; empty for an organisation.
    #[serde(borrow, default)]
    pub(super) key: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(super) trigger_limit: Cow<'l, str>,
    /// `key`, `organisation` or `identity` for a limit.
    #[serde(borrow, default)]
    pub(super) subject: Cow<'l, str>,
    #[serde(borrow, default)]
    pub(super) alias: Cow<'l, str>,
    #[serde(default)]
    pub(super) used: u64,
    #[serde(default)]
    pub(super) max: u64,
    /// The handlers and the outcomes.
    #[serde(borrow, default)]
    pub(super) handlers: Vec<(Cow<'l, str>, Cow<'l, str>)>,
}

/// A line of the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    Event(EventLine<'l>),
    /// A digest: the number of its events, their type and the handler.
    Digest(u64, &'l str, &'l str),
    /// Any other line.
    Other,
}

/// Reads a line. The host puts the names of the plugin before the module's own text.
pub(super) fn read(text: &str) -> Line<'_> {
    if let Some((_, json)) = text.split_once(": event {")
        && let Ok(event) = serde_json::from_str(text.get(text.len() - json.len() - 1..).unwrap_or_default())
    {
        return Line::Event(event);
    }
    let digest = text.split_once(": digest ").and_then(|(_, rest)| {
        let (count, rest) = rest.split_once(' ')?;
        let (event, handler) = rest.split_once(' ')?;
        Some(Line::Digest(count.parse().ok()?, event, handler))
    });
    digest.unwrap_or(Line::Other)
}
