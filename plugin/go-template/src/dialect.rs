//! What a program adds to the language.

use crate::format::Format;
use crate::functions::{FUNCTIONS, Function};

/// Functions and names of a program's own.
#[derive(Debug)]
pub struct Dialect {
    /// Functions beside Go's.
    pub functions: &'static [Function],
    /// Former names of fields, each with the name that replaces it.
    pub renamed: &'static [(&'static str, &'static str)],
    /// The fields that can hold a map or a list to be printed as Go prints it; `None` if every field can. Handlebars
    /// prints all other fields itself, which is faster.
    pub printed_by_go: Option<&'static [&'static str]>,
    /// Fields to watch: [`Translation::shows_watched`](crate::Translation::shows_watched) tells whether a template can
    /// show one.
    pub watched: &'static [&'static str],
    /// Fields whose maps hold watched fields.
    pub holds_watched: &'static [&'static str],
}

impl Dialect {
    /// Go's functions alone.
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

/// What a template is translated for, and what its functions run in.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    /// The format that the template writes.
    pub format: Format,
    /// Functions and names beside Go's.
    pub dialect: &'static Dialect,
}

impl Default for Environment {
    fn default() -> Self {
        Environment { format: Format::Text, dialect: &Dialect::GO }
    }
}
