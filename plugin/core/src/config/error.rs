//! Configuration errors and the paths that name their places.

use std::collections::BTreeMap;
use std::fmt;

use super::sessions::is_identity;
use crate::session::KeyHash;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The JSON path: `apis[0].auth.param_name`; empty for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ConfigError {
    /// The same, by its path from further out: `outer` is the name or number of the place that its path begins in.
    pub(super) fn within(self, outer: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        ConfigError { path: [outer, dot, &self.path].concat(), message: self.message }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Warnings of one kind that are written out. A list of keys can have the same mistake a hundred thousand times.
const MAX_OF_A_KIND: usize = 20;

/// The errors, or the warnings, found so far.
#[derive(Debug, Default)]
pub struct Errors {
    list: Vec<ConfigError>,
    /// How many there are of each kind, and the place in the list of the last one that is written out; `None`: all are.
    kinds: Option<BTreeMap<String, (usize, usize)>>,
}

impl Errors {
    /// A list in which few of a kind are written out, and the others are counted.
    pub(super) fn of_warnings() -> Self {
        Errors { list: Vec::new(), kinds: Some(BTreeMap::new()) }
    }

    /// Adds one.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(ConfigError { path: path.into(), message: message.into() });
    }

    /// Once in the module, and not at each of some two hundred calls.
    #[inline(never)]
    fn push(&mut self, error: ConfigError) {
        if let Some(kinds) = &mut self.kinds {
            let (count, last) = kinds.entry(kind(&error.message)).or_default();
            *count = count.saturating_add(1);
            if *count > MAX_OF_A_KIND {
                return;
            }
            *last = self.list.len();
        }
        self.list.push(error);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in the order in which they were found; behind the last of a kind, how many more there are.
    pub fn into_list(self) -> Vec<ConfigError> {
        let Errors { mut list, kinds } = self;
        let mut more: Vec<(usize, usize)> =
            kinds.into_iter().flatten().map(|(_, (count, last))| (last, count)).collect();
        more.sort_unstable();
        for (last, count) in more.into_iter().rev().filter(|(_, count)| *count > MAX_OF_A_KIND) {
            let message = format!("{} more warnings of this kind are not shown", count.saturating_sub(MAX_OF_A_KIND));
            let path = list.get(last).map(|shown| shown.path.clone()).unwrap_or_default();
            list.insert(last.saturating_add(1), ConfigError { path, message });
        }
        list
    }
}

/// A message without the names and numbers in it.
fn kind(message: &str) -> String {
    let parts = message.split('"').step_by(2);
    parts.flat_map(str::chars).filter(|c| !c.is_ascii_digit()).collect()
}

/// `path.name`, or `path["na.me"]` where the name is no plain word.
pub(crate) fn member(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path, plain) {
        ("", true) => name.to_owned(),
        (_, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[{name:?}]"),
    }
}

/// `path[index]`.
pub(crate) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The name of an entry of `keys` in a path: never a raw key. Identities and hashes are no secrets, and are shown as
/// written.
pub(super) fn key_name(name: &str) -> String {
    match KeyHash::from_config(name) {
        Some(hash) if !is_identity(name) => hash.fingerprint(),
        _ => name.to_owned(),
    }
}

/// ` (did you mean "x"?)` for the nearest of `known`, if one is near.
pub(crate) fn hint<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(name, &mut known.into_iter())
}

/// Compiled once for all kinds of lists.
fn nearest(name: &str, known: &mut dyn Iterator<Item = &str>) -> String {
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
    let nearest = known.map(|candidate| (distance(candidate), candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= (name.len() / 3).max(2) => format!(" (did you mean {candidate:?}?)"),
        _ => String::new(),
    }
}
