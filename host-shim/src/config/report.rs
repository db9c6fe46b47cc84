//! The errors and warnings of a configuration, with their places.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// An error or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the file.
    pub file: Arc<str>,
    /// The line. It is 0 if the file could not be read.
    pub line: usize,
    /// A path such as `static_resources.listeners[0].address`. It is empty for the whole file.
    pub path: String,
    /// The message, with advice.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All errors of a configuration, in the order of their lines.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.lines())]
pub struct Errors(pub Vec<Problem>);

impl Errors {
    fn lines(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

pub(super) struct Report {
    file: Arc<str>,
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Report { file: file.into(), errors: RefCell::default(), warnings: RefCell::default() }
    }

    pub(super) fn error(&self, line: usize, path: &str, message: impl Into<String>) {
        self.errors.borrow_mut().push(self.problem(line, path, message.into()));
    }

    pub(super) fn warn(&self, line: usize, path: &str, message: impl Into<String>) {
        self.warnings.borrow_mut().push(self.problem(line, path, message.into()));
    }

    /// Returns `value` and the warnings, or the errors if there are any.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Problem>), Errors> {
        let sorted = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|problem| problem.line);
            list
        };
        let errors = sorted(self.errors);
        match value {
            Some(value) if errors.is_empty() => Ok((value, sorted(self.warnings))),
            _ => Err(Errors(errors)),
        }
    }

    fn problem(&self, line: usize, path: &str, message: String) -> Problem {
        Problem { file: self.file.clone(), line, path: path.to_owned(), message }
    }
}

/// Returns `path.name`, or `path["na.me"]` if the name has special characters.
pub(super) fn member(path: &str, name: &str) -> String {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    match (path, is_plain) {
        ("", true) => name.to_owned(),
        (_, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[{name:?}]"),
    }
}

/// Returns ` (did you mean "x"?)` for the most similar name in `known`, or an empty text if none is similar.
pub(crate) fn hint<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
    let nearest = known.into_iter().map(|candidate| (distance(candidate), candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= (name.len() / 3).max(2) => format!(" (did you mean {candidate:?}?)"),
        _ => String::new(),
    }
}
