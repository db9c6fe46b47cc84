//! The list of known differences.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Known differences that have the same reason.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The reason.
    pub reason: String,
    /// True for races: they do not differ each time.
    #[serde(default)]
    pub sometimes: bool,
    /// What differs, by the name of the request or of the statistic.
    #[serde(default)]
    pub differ: BTreeMap<String, Vec<Part>>,
}

/// What can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The log lines before the first request, under the name `start`.
    Start,
    /// The answer that the client gets.
    Answer,
    /// The log lines of modules.
    Log,
    /// The requests that upstreams get.
    Upstream,
    /// A statistic.
    Statistic,
}

impl Part {
    /// The name in the list and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Part::Start => "start",
            Part::Answer => "answer",
            Part::Log => "log",
            Part::Upstream => "upstream",
            Part::Statistic => "statistic",
        }
    }
}

/// Reads a list of known differences.
///
/// # Errors
/// The file cannot be read, or is not valid.
pub fn read_known(path: &Path) -> Result<Vec<Known>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let known: Option<Vec<Known>> = serde_norway::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(known.unwrap_or_default())
}

impl Known {
    /// Whether a difference is one of these.
    pub fn covers(&self, name: &str, part: Part) -> bool {
        self.differ.get(name).is_some_and(|parts| parts.contains(&part))
    }
}
