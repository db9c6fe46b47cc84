//! Describes an error of a template in the template's own terms, without the parser's words.

use go_template::Function;
use handlebars::{RenderErrorReason, TemplateErrorReason};

use super::tyk::DIALECT;

/// The meaning of the parser's rules, the most helpful first.
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

/// Describes an error of Handlebars when it reads a template.
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

/// Describes an error of Handlebars when it renders a template.
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
    let known = DIALECT.all_functions().map(Function::name).chain(OWN);
    let near = known
        .filter(|known| strsim::damerau_levenshtein(known, name) <= 2)
        .min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match near {
        Some(near) => format!("there is no helper {name} (did you mean {near:?}?)"),
        None => format!("there is no helper {name}; Handlebars has {}", OWN.join(", ")),
    }
}
