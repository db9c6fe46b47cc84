//! The additions of a program to Go's language.

use crate::format::Format;
use crate::functions::{FUNCTIONS, Function};

/// The functions and names of a program.
#[derive(Debug)]
pub struct Dialect {
    /// Functions in addition to Go's.
    pub functions: &'static [Function],
    /// Former names of fields, each with the name that replaces it.
    pub renamed: &'static [(&'static str, &'static str)],
    /// The fields that can hold a map or a list, which must be printed as Go does; `None` if every field can.
    /// Handlebars itself prints all other fields, which is faster.
    pub printed_by_go: Option<&'static [&'static str]>,
    /// Fields to watch. [`Translation::shows_watched`](crate::Translation::shows_watched) says whether a template can
    /// show one of them.
    pub watched: &'static [&'static str],
    /// Fields whose maps hold watched fields.
    pub holds_watched: &'static [&'static str],
}

impl Dialect {
    /// Only Go's functions.
    pub const GO: Dialect =
        Dialect { functions: &[], renamed: &[], printed_by_go: None, watched: &[], holds_watched: &[] };

    /// Go's functions, then those of the dialect.
    pub fn all_functions(&self) -> impl Iterator<Item = &'static Function> + use<> {
        FUNCTIONS.iter().chain(self.functions)
    }

    pub(crate) fn new_name<'n>(&self, name: &'n str) -> &'n str {
        self.renamed.iter().find(|(former, _)| *former == name).map_or(name, |(_, present)| present)
    }

    pub(crate) fn is_printed_by_go(&self, name: &str) -> bool {
        self.printed_by_go.is_none_or(|fields| fields.contains(&self.new_name(name)))
    }
}

/// The format and the dialect of a template.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// The format of the template's output.
    pub format: Format,
    /// Functions and names in addition to Go's.
    pub dialect: &'static Dialect,
}

impl Default for Environment {
    fn default() -> Self {
        Environment { format: Format::Text, dialect: &Dialect::GO }
    }
}
