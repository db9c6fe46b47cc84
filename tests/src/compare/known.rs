//! The list of known differences.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A difference that is expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The name of the request; all if it is absent, as for statistics.
    pub request: Option<String>,
    /// What differs; everything about the request if it is absent.
    pub part: Option<Part>,
    /// The name of the statistic.
    pub statistic: Option<String>,
    /// The reason.
    pub reason: String,
}

/// What can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The log lines before the first request.
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
    /// Whether this entry is about a difference.
    pub(super) fn covers(&self, name: &str, part: Part) -> bool {
        match part {
            Part::Statistic => self.statistic.as_deref() == Some(name),
            _ if self.statistic.is_some() => false,
            Part::Start => self.part == Some(Part::Start),
            _ => self.request.as_deref() == Some(name) && self.part.is_none_or(|known| known == part),
        }
    }
}
