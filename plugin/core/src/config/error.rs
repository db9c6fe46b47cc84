//! Configuration errors with the paths of their places.

use std::fmt;

use crate::access::KeyHash;
use crate::config::sessions::is_identity;

/// An error and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The JSON path, such as `apis[0].auth.param_name`; empty for the whole configuration.
    pub path: String,
    /// The error, and the correct form.
    pub message: String,
}

impl ConfigError {
    /// The same error with a longer path: `outer` is the name or number of the place that contains it.
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

/// The maximum number of warnings of one kind that are shown. A list of keys can have the same mistake a hundred
/// thousand times.
const MAX_OF_A_KIND: usize = 20;

/// The errors or warnings found so far.
#[derive(Debug, Default)]
pub struct Errors {
    list: Vec<ConfigError>,
    /// For warnings: each kind, its number, and the path of the last one that is shown.
    kinds: Option<Vec<Kind>>,
}

#[derive(Debug)]
struct Kind {
    message: String,
    count: usize,
    path: String,
}

impl Errors {
    /// A list that shows only some warnings of each kind, and counts the others.
    pub fn of_warnings() -> Self {
        Errors { list: Vec::new(), kinds: Some(Vec::new()) }
    }

    /// Adds an error or a warning.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.push(ConfigError { path: path.into(), message: message.into() });
    }

    /// This function exists once in the module, instead of inlined at some two hundred calls.
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

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All entries in the order in which they were found; then for each kind the number of those that are not shown.
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

/// A message without its names and numbers.
fn kind(message: &str) -> String {
    let parts = message.split('"').step_by(2);
    parts.flat_map(str::chars).filter(|c| !c.is_ascii_digit()).collect()
}

/// The name of an entry of `keys` in a path: never a raw key. Identities and hashes are not secret, and are shown
/// unchanged.
/// written.
pub fn key_name(name: &str) -> String {
    match KeyHash::from_config(name) {
        Some(hash) if !is_identity(name) => hash.fingerprint(),
        _ => name.to_owned(),
    }
}
