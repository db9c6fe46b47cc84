//! The functions of Go's templates, and Tyk's, as helpers. None of them fails at run time: how many values one takes is
//! checked when the template is read, and values of the wrong type give what Go prints for them, or nothing.

mod blocks;
mod compare;
pub(super) mod printf;
mod text;
mod time;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, PathAndJson, RenderContext, RenderError, RenderErrorReason, ScopedJson,
};
use serde_json::Value;

use super::escape::Format;
use crate::base::cut;

/// A function of Go's templates.
pub(super) struct Function {
    /// In Go.
    pub(super) name: &'static str,
    /// In Handlebars, where `eq` and others exist and differ.
    pub(super) helper: &'static str,
    /// How many values it takes.
    pub(super) least: usize,
    /// `usize::MAX` for any number.
    pub(super) most: usize,
    /// Whether it gives text or a truth, which Handlebars prints as Go does.
    pub(super) gives_text: bool,
    run: fn(Format, &[&Value]) -> Value,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const MANY: usize = usize::MAX;

/// All of them.
pub(super) static FUNCTIONS: [Function; 20] = [
    operand("and", "go_and", |_, values| pick(values, false)),
    operand("or", "go_or", |_, values| pick(values, true)),
    truth("not", "go_not", 1, 1, |_, values| Value::Bool(!values.iter().any(|value| compare::is_true(value)))),
    truth("eq", "go_eq", 2, MANY, |_, values| {
        let first = values.first().copied();
        Value::Bool(first.is_some_and(|first| values.iter().skip(1).any(|value| compare::equal(first, value))))
    }),
    truth("ne", "go_ne", 2, 2, |_, values| Value::Bool(!two(values).is_some_and(|(a, b)| compare::equal(a, b)))),
    truth("lt", "go_lt", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_lt)),
    truth("le", "go_le", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_le)),
    truth("gt", "go_gt", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_gt)),
    truth("ge", "go_ge", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_ge)),
    truth("len", "go_len", 1, 1, |_, values| values.first().map_or(Value::Null, |value| Value::from(len(value)))),
    operand("index", "go_index", |_, values| index(values)),
    Function {
        name: "slice",
        helper: "go_slice",
        least: 1,
        most: 4,
        gives_text: false,
        run: |_, values| slice(values),
    },
    truth("printf", "go_printf", 1, MANY, |format, values| Value::String(printf::sprintf(format, values))),
    truth("print", "go_print", 0, MANY, |_, values| Value::String(text::print(values))),
    truth("println", "go_println", 0, MANY, |_, values| Value::String(text::println(values))),
    truth("html", "go_html", 1, MANY, |format, values| Value::String(text::html(format, values))),
    truth("js", "go_js", 1, MANY, |format, values| Value::String(text::js(format, values))),
    truth("urlquery", "go_urlquery", 1, MANY, |_, values| Value::String(text::urlquery(values))),
    truth("as_rfc3339", "as_rfc3339", 1, 1, |_, values| Value::String(time::as_rfc3339(values))),
    truth("as_rfc3339_from_string", "as_rfc3339_from_string", 1, 1, |_, values| {
        Value::String(time::as_rfc3339(values))
    }),
];

const fn truth(
    name: &'static str,
    helper: &'static str,
    least: usize,
    most: usize,
    run: fn(Format, &[&Value]) -> Value,
) -> Function {
    Function { name, helper, least, most, gives_text: true, run }
}

/// One that gives one of its values, or what such a value holds.
const fn operand(name: &'static str, helper: &'static str, run: fn(Format, &[&Value]) -> Value) -> Function {
    Function { name, helper, least: 1, most: MANY, gives_text: false, run }
}

/// Puts all of them into a registry whose templates write `format`. In a trial, every branch of a block is rendered.
pub(super) fn register(registry: &mut Handlebars<'static>, format: Format, trial: bool) {
    for function in &FUNCTIONS {
        registry.register_helper(function.helper, Box::new(Bound { function, format }));
    }
    registry.register_helper("go_root", Box::new(Root));
    blocks::register(registry, trial);
}

struct Bound {
    function: &'static Function,
    format: Format,
}

impl HelperDef for Bound {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let values: Vec<&Value> = helper.params().iter().map(PathAndJson::value).collect();
        // A Handlebars tag can call these too, and nobody has counted its values.
        if values.len() < self.function.least {
            return Err(RenderErrorReason::ParamNotFoundForIndex(self.function.helper, values.len()).into());
        }
        Ok(ScopedJson::Derived((self.function.run)(self.format, &values)))
    }
}

/// Go's `$`: all that the template is rendered with.
struct Root;

impl HelperDef for Root {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Ok(ScopedJson::Context(context.data(), Vec::new()))
    }
}

/// The first value that is as true as wanted, else the last.
fn pick(values: &[&Value], wanted: bool) -> Value {
    let found = values.iter().find(|value| compare::is_true(value) == wanted).or(values.last());
    found.map_or(Value::Null, |value| (*value).clone())
}

fn two<'v>(values: &[&'v Value]) -> Option<(&'v Value, &'v Value)> {
    Some((values.first()?, values.get(1)?))
}

fn ordered(values: &[&Value], wanted: fn(std::cmp::Ordering) -> bool) -> Value {
    Value::Bool(two(values).and_then(|(a, b)| compare::order(a, b)).is_some_and(wanted))
}

fn len(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    }
}

/// `index x 1 "a"` is x's second element's `a`; what is not there is nothing.
fn index(values: &[&Value]) -> Value {
    let Some((first, keys)) = values.split_first() else { return Value::Null };
    let mut found = *first;
    for key in keys {
        let at = || key.as_u64().and_then(|at| usize::try_from(at).ok());
        let next = match found {
            Value::Object(map) => match key {
                Value::String(name) => map.get(name).or_else(|| map.get(super::translate::new_name(name))),
                other => map.get(&text::display(other)),
            },
            Value::Array(list) => at().and_then(|at| list.get(at)),
            Value::String(text) => {
                return at().and_then(|at| text.as_bytes().get(at)).map_or(Value::Null, |byte| Value::from(*byte));
            }
            _ => None,
        };
        match next {
            Some(next) => found = next,
            None => return Value::Null,
        }
    }
    found.clone()
}

/// `slice x 1 3` is x's elements from the second to the third, of text its bytes. A place beyond the end is the end, and
/// one within a character is that character's beginning.
fn slice(values: &[&Value]) -> Value {
    let Some((whole, places)) = values.split_first() else { return Value::Null };
    let place = |at: usize| places.get(at).map(|place| compare::whole(place).map_or(0, clamped));
    let (from, to) = (place(0).unwrap_or(0), place(1).unwrap_or(usize::MAX));
    match whole {
        Value::Array(list) => {
            let to = to.min(list.len());
            Value::from(list.get(from.min(to)..to).unwrap_or_default().to_vec())
        }
        Value::Null => Value::Null,
        other => {
            let text = text::display(other);
            let to = cut(&text, to).len();
            let from = cut(&text, from.min(to)).len();
            Value::from(text.get(from..to).unwrap_or_default())
        }
    }
}

fn clamped(place: i128) -> usize {
    usize::try_from(place.max(0)).unwrap_or(usize::MAX)
}
