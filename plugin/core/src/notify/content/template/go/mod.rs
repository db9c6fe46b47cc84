//! Go's template language as far as Tyk's users write it: one tag at a time becomes a statement, and a statement's
//! expressions become Handlebars.
//!
//! A value that is missing is Go's zero value: it prints nothing, is false, and equals `""` and `0`. That is what Tyk
//! prints for a key that a map does not have; for a field that a struct does not have, Tyk ends the message there.

mod constant;
mod emit;
mod lexer;
mod parser;

pub(super) use emit::{Scope, operand, shows_volatile, value_tag};
pub(super) use lexer::end_of_tag;
pub(super) use parser::{Control, Expr, Statement, parse};

/// Whether the text is a number of Go's.
pub(super) fn is_number(text: &str) -> bool {
    constant::number(text).is_ok()
}

/// How deep parentheses, pipelines and blocks may be nested: Handlebars follows them by recursion.
pub(super) const MAX_NESTING: usize = 32;

#[cfg(test)]
mod customers;
#[cfg(test)]
mod tests;
