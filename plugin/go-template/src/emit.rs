//! From an expression to Handlebars.

use serde_json::Value;

use crate::dialect::Dialect;
use crate::parser::Expr;

/// The variables that a tag can see.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) dialect: &'static Dialect,
    /// The innermost variable is the last.
    pub(crate) variables: Vec<String>,
}

/// The form of the expression as a parameter of a helper.
pub(crate) fn operand(expr: &Expr, scope: &Scope) -> Result<String, String> {
    Ok(match expr {
        Expr::Dot => "this".to_owned(),
        Expr::Root => "(go_root)".to_owned(),
        Expr::Variable(name) => variable(name, scope)?,
        Expr::Constant(value) => literal(value),
        Expr::Fields(base, names) => fields(base, names, scope)?,
        Expr::Call(function, arguments) => format!("({})", call(function.helper, arguments, scope)?),
    })
}

/// The content of a tag that prints the expression.
pub(crate) fn value_tag(expr: &Expr, scope: &Scope) -> Result<String, String> {
    match expr {
        // Handlebars prints strings and numbers as Go does, but not maps and lists.
        Expr::Fields(base, names) if matches!(**base, Expr::Dot | Expr::Root) && is_plain(names, scope.dialect) => {
            operand(expr, scope)
        }
        Expr::Call(function, arguments) if function.gives_text => call(function.helper, arguments, scope),
        _ => Ok(format!("go_print {}", operand(expr, scope)?)),
    }
}

fn is_plain(names: &[String], dialect: &Dialect) -> bool {
    !names.last().is_none_or(|name| dialect.is_printed_by_go(name)) && names.iter().all(is_simple)
}

fn call(helper: &str, arguments: &[Expr], scope: &Scope) -> Result<String, String> {
    let mut out = helper.to_owned();
    for argument in arguments {
        out.push(' ');
        out.push_str(&operand(argument, scope)?);
    }
    Ok(out)
}

fn variable(name: &String, scope: &Scope) -> Result<String, String> {
    if scope.variables.contains(name) {
        return Ok(format!("${name}"));
    }
    Err(format!(
        "${name} is not declared here: {{{{${name} := …}}}} must come before it, in the same block or around it"
    ))
}

fn fields(base: &Expr, names: &[String], scope: &Scope) -> Result<String, String> {
    let names = names.iter().map(|name| scope.dialect.new_name(name));
    let simple = names.clone().all(is_simple);
    let root = match base {
        Expr::Dot => Some("this".to_owned()),
        Expr::Root => Some("@root".to_owned()),
        Expr::Variable(name) => Some(variable(name, scope)?),
        _ => None,
    };
    if let (true, Some(mut path)) = (simple, root) {
        names.for_each(|name| {
            path.push('.');
            path.push_str(name);
        });
        return Ok(path);
    }
    let mut out = format!("(go_index {}", operand(base, scope)?);
    for name in names {
        out.push(' ');
        out.push_str(&literal(&Value::from(name)));
    }
    out.push(')');
    Ok(out)
}

/// True if Handlebars accepts the name in a path without quotes.
fn is_simple(name: impl AsRef<str>) -> bool {
    let name = name.as_ref();
    name != "this" && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A constant in Handlebars' grammar, on one line.
fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let mut out = String::with_capacity(text.len().saturating_add(2));
            out.push('"');
            for c in text.chars() {
                match c {
                    '"' | '\\' => out.extend(['\\', c]),
                    '\u{0}'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                    _ => out.push(c),
                }
            }
            out.push('"');
            out
        }
        // The exponent must be a capital letter.
        Value::Number(number) => number.to_string().replace("e+", "E").replace('e', "E"),
        other => other.to_string(),
    }
}

/// True if the expression can show a watched field, by its name or as part of a map.
pub(crate) fn shows_watched(expr: &Expr, dialect: &Dialect) -> bool {
    match expr {
        Expr::Dot | Expr::Root => true,
        Expr::Variable(_) | Expr::Constant(_) => false,
        Expr::Fields(base, names) => {
            let named = names.iter().any(|name| dialect.watched.contains(&name.as_str()));
            let of_call = !matches!(**base, Expr::Dot | Expr::Root) && shows_watched(base, dialect);
            let holds_watched = |name: &String| dialect.holds_watched.contains(&dialect.new_name(name));
            named || of_call || names.last().is_some_and(holds_watched)
        }
        Expr::Call(_, arguments) => arguments.iter().any(|argument| shows_watched(argument, dialect)),
    }
}
