//! What a held message remembers of its handler, to find it in a later configuration.

use serde::{Deserialize, Serialize};

/// The list of the configuration that a handler is an entry of: `apis[orders].AuthFailure`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListPath(pub String);

impl ListPath {
    /// Of a handler's name: what stands before the brackets at its end, or all of it.
    pub fn of(name: &str) -> Self {
        let (plain, _number) = name.rsplit_once('#').unwrap_or((name, ""));
        let list = plain.strip_suffix(']').and_then(|_| plain.rsplit_once('['));
        ListPath(list.map_or(name, |(list, _)| list).to_owned())
    }

    /// Whether a name in this list is its entry's label, not its number.
    pub fn is_labelled(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.0).unwrap_or_default();
        let entry = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        rest.is_empty() || entry.is_some_and(|entry| !entry.chars().all(|c| c.is_ascii_digit()))
    }
}

/// What a held message remembers of its handler, to find it in a later configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerRef {
    /// See [`Handler::name`].
    pub name: String,
    /// The list that it was in.
    pub place: ListPath,
    /// See [`Handler::mark`].
    pub mark: u64,
    /// The others of that list: fingerprints of their names, and their marks.
    pub beside: Vec<(u64, u64)>,
}
