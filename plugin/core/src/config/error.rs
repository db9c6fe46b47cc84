//! Configuration errors and the paths that name their places.

use std::fmt;

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

/// The errors found so far.
#[derive(Debug, Default)]
pub struct Errors(Vec<ConfigError>);

impl Errors {
    /// Adds one.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(ConfigError { path: path.into(), message: message.into() });
    }

    /// Once in the module, and not at each of some two hundred calls.
    #[inline(never)]
    fn push(&mut self, error: ConfigError) {
        self.0.push(error);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they were found.
    pub fn into_list(self) -> Vec<ConfigError> {
        self.0
    }
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

/// The name of an entry of `keys` in a path: never the raw key. One that is neither a key nor a hash is shown as its own.
pub(super) fn key_name(name: &str) -> String {
    KeyHash::from_config(name).unwrap_or_else(|| KeyHash::of(name.as_bytes())).fingerprint()
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
