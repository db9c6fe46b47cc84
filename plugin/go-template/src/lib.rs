//! Translates Go templates to Handlebars.
//!
//! [`fn@translate`] rewrites the tags of Go's `text/template` as tags of Handlebars. [`register`] adds Go's functions
//! and blocks as helpers to a Handlebars registry. A template may mix both languages: tags of Handlebars stay as they
//! are. A [`Dialect`] adds a program's own functions and names.
//!
//! ```
//! use go_template::{Branches, Environment, register, translate};
//!
//! let environment = Environment::default();
//! let source = r#"{{range $i, $name := .names}}{{if $i}}, {{end}}{{printf "%q" $name}}{{end}}"#;
//! let translation = translate(source, environment)?;
//!
//! let mut registry = handlebars::Handlebars::new();
//! registry.register_escape_fn(handlebars::no_escape);
//! register(&mut registry, environment, Branches::Taken);
//! let data = serde_json::json!({ "names": ["a", "b"] });
//! assert_eq!(registry.render_template(&translation.source, &data)?, r#""a", "b""#);
//!
//! let error = translate("{{if .names}}\n{{template \"x\"}}{{end}}", environment).unwrap_err();
//! assert_eq!((error.line, error.column), (2, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A missing value is Go's zero value: it prints nothing, is false, and equals `""` and `0`. Go does the same for a
//! missing key of a map. For a missing field of a struct, Go ends the output with an error.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod blocks;
mod constant;
mod dialect;
mod emit;
mod error;
mod format;
mod functions;
pub mod json;
mod lexer;
mod parser;
mod place;
mod tag;
mod translate;

pub use dialect::{Dialect, Environment};
pub use error::{Error, excerpt};
pub use format::Format;
pub use functions::text::display;
pub use functions::{Branches, Function, register};
pub use translate::{Translation, translate};

/// The maximum depth of parentheses and pipelines, which Handlebars follows by recursion.
const MAX_NESTING: usize = 32;

/// The beginning of a text, at most `most` bytes.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
