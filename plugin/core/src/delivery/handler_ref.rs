//! A held message's reference to its handler, which finds it in a later configuration.

use serde::{Deserialize, Serialize};

/// The path of the list that a handler is in, such as `apis[orders].AuthFailure`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListPath(pub String);

impl ListPath {
    /// Taken from a handler's name: the part before the brackets at its end, or all of it.
    pub fn of(name: &str) -> Self {
        let (plain, _number) = name.rsplit_once('#').unwrap_or((name, ""));
        let list = plain.strip_suffix(']').and_then(|_| plain.rsplit_once('['));
        ListPath(list.map_or(name, |(list, _)| list).to_owned())
    }

    /// True if a name in this list has a label, not a number.
    pub fn is_labelled(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.0).unwrap_or_default();
        let entry = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        rest.is_empty() || entry.is_some_and(|entry| !entry.chars().all(|c| c.is_ascii_digit()))
    }
}

/// A held message's reference to its handler, which finds it in a later configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerRef {
    /// The handler's name.
    pub name: String,
    /// The list of the handler.
    pub place: ListPath,
    /// The handler's mark.
    pub mark: u64,
    /// The other handlers of the list: fingerprints of their names, and their marks.
    pub beside: Vec<(u64, u64)>,
}
