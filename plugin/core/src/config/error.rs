//! Configuration errors and the paths that name their places.

use std::fmt;

use crate::access::KeyHash;
use crate::config::sessions::is_identity;

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
    pub fn within(self, outer: &str) -> Self {
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
    /// Of warnings: each kind, how many there are of it, and the path of the last one that is written out.
    kinds: Option<Vec<Kind>>,
}

#[derive(Debug)]
struct Kind {
    message: String,
    count: usize,
    path: String,
}

impl Errors {
    /// A list in which few of a kind are written out, and the others are counted.
    pub fn of_warnings() -> Self {
        Errors { list: Vec::new(), kinds: Some(Vec::new()) }
    }

    /// Adds one.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(ConfigError { path: path.into(), message: message.into() });
    }

    /// Once in the module, and not at each of some two hundred calls.
    #[inline(never)]
    fn push(&mut self, error: ConfigError) {
        if let Some(kinds) = &mut self.kinds {
            let message = kind(&error.message);
            match kinds.iter_mut().find(|kind| kind.message == message) {
                Some(kind) => {
                    kind.count = kind.count.saturating_add(1);
                    if kind.count > MAX_OF_A_KIND {
                        return;
                    }
                    kind.path.clone_from(&error.path);
                }
                None => kinds.push(Kind { message, count: 1, path: error.path.clone() }),
            }
        }
        self.list.push(error);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in the order in which they were found; then, of each kind, how many more there are.
    pub fn into_list(self) -> Vec<ConfigError> {
        let Errors { mut list, kinds } = self;
        for Kind { count, path, .. } in kinds.into_iter().flatten() {
            let more = count.saturating_sub(MAX_OF_A_KIND);
            if more > 0 {
                let message = format!("{more} more warnings of this kind are not shown");
                list.push(ConfigError { path, message });
            }
        }
        list
    }
}

/// A message without the names and numbers in it.
fn kind(message: &str) -> String {
    let parts = message.split('"').step_by(2);
    parts.flat_map(str::chars).filter(|c| !c.is_ascii_digit()).collect()
}

/// The name of an entry of `keys` in a path: never a raw key. Identities and hashes are no secrets, and are shown as
/// written.
pub fn key_name(name: &str) -> String {
    match KeyHash::from_config(name) {
        Some(hash) if !is_identity(name) => hash.fingerprint(),
        _ => name.to_owned(),
    }
}
