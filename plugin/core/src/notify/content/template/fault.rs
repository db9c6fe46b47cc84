//! What is wrong with a template, in the template's terms: no word of the parser's reaches its author.

use std::fmt;

use handlebars::{RenderErrorReason, TemplateErrorReason};
use thiserror::Error;

use super::functions::FUNCTIONS;
use super::place::line_and_column;

/// Why a template was refused, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct TemplateError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
    /// The line of text, and a second one with a caret.
    excerpt: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}{}", self.line, self.column, self.message, self.excerpt)
    }
}

impl TemplateError {
    /// At a byte of the template.
    pub(super) fn at(source: &str, place: usize, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(source, place);
        TemplateError { line, column, message: message.into(), excerpt: excerpt(source, line, column) }
    }
}

/// Characters of the line that are shown before and after the place.
const BEFORE: usize = 50;
const AFTER: usize = 30;

/// Below a message: a line of text, and a second one with a caret under the column.
pub(super) fn excerpt(source: &str, line: usize, column: usize) -> String {
    let text = source.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let skipped = column.saturating_sub(1).saturating_sub(BEFORE);
    let shown: String = text
        .chars()
        .skip(skipped)
        .take(BEFORE.saturating_add(AFTER))
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        .collect();
    if shown.trim().is_empty() {
        return String::new();
    }
    let left = if skipped > 0 { "…" } else { "" };
    let right = if text.chars().count() > skipped.saturating_add(BEFORE).saturating_add(AFTER) { "…" } else { "" };
    let indent = " ".repeat(column.saturating_sub(1).saturating_sub(skipped).saturating_add(left.chars().count()));
    format!("\n    {left}{}{right}\n    {indent}^", shown.trim_end())
}

/// What the parser's rules stand for, the more telling first.
const EXPECTED: [(&[&str], &str); 8] = [
    (&["trailing_tilde_to_omit_whitespace"], "}}"),
    (&["hash"], "name=value"),
    (&["block_param"], "as |name|"),
    (&["string_literal", "string_inner_double_quote", "string_inner_single_quote"], "a string"),
    (&["literal", "helper_parameter", "subexpression", "number_literal", "parameter"], "a value"),
    (
        &["identifier", "reference", "name", "path_inline", "path_id", "path_raw_id", "path_root", "opt_identifier"],
        "a name",
    ),
    (
        &["raw_text", "expression", "html_expression", "hbs_comment", "helper_block_start", "raw_block_start"],
        "text or a tag",
    ),
    (&["EOI"], "the end of the text"),
];

/// What Handlebars says of a template that it cannot read.
pub(super) fn unread(reason: &TemplateErrorReason) -> String {
    match reason {
        TemplateErrorReason::MismatchingClosedHelper(opened, closing)
        | TemplateErrorReason::MismatchingClosedDecorator(opened, closing) => {
            let (opened, closing) = (opened.trim_matches('"'), closing.trim_matches('"'));
            format!("{{{{/{closing}}}}} closes a block that was opened with {{{{#{opened}}}}}")
        }
        TemplateErrorReason::InvalidSyntax(said) => {
            let words: Vec<&str> = said.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
            let expected: Vec<&str> = EXPECTED
                .iter()
                .filter(|(rules, _)| rules.iter().any(|rule| words.contains(rule)))
                .map(|(_, meaning)| *meaning)
                .collect();
            match expected.split_last() {
                None => "this is not Handlebars".to_owned(),
                Some((only, [])) => format!("expected {only}"),
                Some((last, others)) => format!("expected {} or {last}", others.join(", ")),
            }
        }
        TemplateErrorReason::InvalidParam(value) => format!("{value} is not a value"),
        _ => "this is not Handlebars".to_owned(),
    }
}

/// What Handlebars says of a template that it cannot render.
pub(super) fn unrendered(reason: &RenderErrorReason) -> String {
    match reason {
        RenderErrorReason::TemplateError(error) => unread(error.reason()),
        RenderErrorReason::HelperNotFound(name) | RenderErrorReason::DecoratorNotFound(name) => no_helper(name),
        RenderErrorReason::ParamNotFoundForIndex(name, given) => {
            let name = name.strip_prefix("go_").unwrap_or(name);
            format!("{name} has {given} {} and needs more", if *given == 1 { "value" } else { "values" })
        }
        RenderErrorReason::ParamNotFoundForName(name, value)
        | RenderErrorReason::ParamTypeMismatchForName(name, value, _)
        | RenderErrorReason::HashTypeMismatchForName(name, value, _) => {
            format!("{name} needs another value for {value}")
        }
        RenderErrorReason::InvalidParamType(_) => "a value is not of the type that its helper needs".to_owned(),
        RenderErrorReason::BlockContentRequired => "the helper needs a block: {{#name}} … {{/name}}".to_owned(),
        RenderErrorReason::InvalidJsonPath(path) => format!("{path} is not the name of a value"),
        RenderErrorReason::InvalidJsonIndex(_) => "a list has numbers for its elements, not names".to_owned(),
        RenderErrorReason::PartialNotFound(_) | RenderErrorReason::PartialBlockNotFound => {
            "partials are not supported; write the text out".to_owned()
        }
        RenderErrorReason::IOError(error) => error.to_string(),
        RenderErrorReason::Other(said) => said.clone(),
        _ => "the message could not be written".to_owned(),
    }
}

fn no_helper(name: &str) -> String {
    const OWN: [&str; 6] = ["if", "unless", "each", "with", "lookup", "eq"];
    let known = FUNCTIONS.iter().map(|function| function.name).chain(OWN);
    let near = known
        .filter(|known| strsim::damerau_levenshtein(known, name) <= 2)
        .min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match near {
        Some(near) => format!("there is no helper {name} (did you mean {near:?}?)"),
        None => format!("there is no helper {name}; Handlebars has {}", OWN.join(", ")),
    }
}
