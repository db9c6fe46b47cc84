//! One request of a log.

use std::net::{IpAddr, SocketAddr};

use super::Slot;

/// One request of a log. Its texts are in one allocation, because many records wait to be put in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// When the request began, in nanoseconds since 1970.
    pub(crate) time: u64,
    /// The status of the response; 0 if the log does not say it.
    pub(crate) status: u16,
    pub(crate) client: Option<SocketAddr>,
    texts: String,
    /// The end of each text in `texts`, and what the text is.
    ends: Vec<(Slot, u32)>,
}

impl Record {
    /// Adds a text. Texts that stand for an absent value are left out.
    pub(crate) fn add(&mut self, slot: Slot, text: &str) {
        if is_absent(text) {
            return;
        }
        self.texts.push_str(text);
        self.ends.push((slot, u32::try_from(self.texts.len()).unwrap_or(u32::MAX)));
    }

    /// The texts with what they are.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (Slot, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).map(|(start, (slot, end))| {
            let range = usize::try_from(start).unwrap_or_default()..usize::try_from(*end).unwrap_or_default();
            (*slot, self.texts.get(range).unwrap_or_default())
        })
    }

    /// The first text of a kind.
    pub(crate) fn text(&self, wanted: Slot) -> Option<&str> {
        self.texts().find(|(slot, _)| *slot == wanted).map(|(_, text)| text)
    }

    /// Sets the client from an address with or without a port.
    pub(crate) fn set_client(&mut self, text: &str) {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        let with_port = || Some(SocketAddr::from((bare.parse::<IpAddr>().ok()?, 0)));
        self.client = text.parse().ok().or_else(with_port);
    }
}

/// Envoy writes a hyphen for a value that it does not have.
pub(crate) fn is_absent(text: &str) -> bool {
    text.is_empty() || text == "-"
}
