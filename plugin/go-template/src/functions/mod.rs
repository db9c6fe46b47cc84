//! The functions of Go's templates as helpers. None of them fails at run time: the number of values is checked when the
//! template is read, and values of the wrong type print what Go prints for them, or nothing.

mod blocks;
mod compare;
pub(crate) mod printf;
pub(crate) mod text;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, Output, PathAndJson, RenderContext, RenderError,
    RenderErrorReason, ScopedJson,
};
use serde_json::Value;

use crate::cut;
use crate::dialect::Environment;
use crate::format::Format;

/// A function that templates can call.
pub struct Function {
    /// The name in Go.
    pub(crate) name: &'static str,
    /// The name in Handlebars, where `eq` and others exist and differ.
    pub(crate) helper: &'static str,
    /// The minimum number of values.
    pub(crate) least: usize,
    /// The maximum number of values; `usize::MAX` for any number.
    pub(crate) most: usize,
    /// True if it returns text or a boolean, which Handlebars prints as Go does.
    pub(crate) gives_text: bool,
    run: fn(Environment, &[&Value]) -> Value,
}

impl Function {
    /// A function that returns text, a boolean or a number. `name` is its name in Go and `helper` its name in
    /// Handlebars, where functions such as `eq` exist and differ. A template that calls it with fewer values than
    /// `least` or more than `most` is refused.
    pub const fn new(
        name: &'static str,
        helper: &'static str,
        least: usize,
        most: usize,
        run: fn(Environment, &[&Value]) -> Value,
    ) -> Function {
        Function { name, helper, least, most, gives_text: true, run }
    }

    /// The function's name in Go.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const MANY: usize = usize::MAX;

/// The functions of Go.
pub(crate) static FUNCTIONS: [Function; 18] = [
    operand("and", "go_and", |_, values| pick(values, false)),
    operand("or", "go_or", |_, values| pick(values, true)),
    Function::new("not", "go_not", 1, 1, |_, values| Value::Bool(!values.iter().any(|value| compare::is_true(value)))),
    Function::new("eq", "go_eq", 2, MANY, |_, values| {
        let first = values.first().copied();
        Value::Bool(first.is_some_and(|first| values.iter().skip(1).any(|value| compare::equal(first, value))))
    }),
    Function::new("ne", "go_ne", 2, 2, |_, values| {
        Value::Bool(!two(values).is_some_and(|(a, b)| compare::equal(a, b)))
    }),
    Function::new("lt", "go_lt", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_lt)),
    Function::new("le", "go_le", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_le)),
    Function::new("gt", "go_gt", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_gt)),
    Function::new("ge", "go_ge", 2, 2, |_, values| ordered(values, std::cmp::Ordering::is_ge)),
    Function::new("len", "go_len", 1, 1, |_, values| {
        values.first().map_or(Value::Null, |value| Value::from(len(value)))
    }),
    operand("index", "go_index", index),
    Function {
        name: "slice",
        helper: "go_slice",
        least: 1,
        most: 4,
        gives_text: false,
        run: |_, values| slice(values),
    },
    Function::new("printf", "go_printf", 1, MANY, |environment, values| {
        Value::String(printf::sprintf(environment.format, values))
    }),
    Function::new("print", "go_print", 0, MANY, |_, values| Value::String(text::print(values))),
    Function::new("println", "go_println", 0, MANY, |_, values| Value::String(text::println(values))),
    Function::new("html", "go_html", 1, MANY, |environment, values| {
        Value::String(text::html(environment.format, values))
    }),
    Function::new("js", "go_js", 1, MANY, |environment, values| Value::String(text::js(environment.format, values))),
    Function::new("urlquery", "go_urlquery", 1, MANY, |_, values| Value::String(text::urlquery(values))),
];

/// A function that returns one of its values, or a part of one.
const fn operand(name: &'static str, helper: &'static str, run: fn(Environment, &[&Value]) -> Value) -> Function {
    Function { name, helper, least: 1, most: MANY, gives_text: false, run }
}

/// The branches of a block that are rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branches {
    /// The branch that the values choose.
    Taken,
    /// All branches, to find errors that Handlebars finds only while it renders.
    All,
}

/// Adds the helpers that translated templates call to a registry.
pub fn register(registry: &mut Handlebars<'static>, environment: Environment, branches: Branches) {
    for function in environment.dialect.all_functions() {
        registry.register_helper(function.helper, Box::new(Bound { function, environment }));
    }
    registry.register_helper("go_root", Box::new(Root));
    if environment.format == Format::Csv {
        registry.register_helper("quoted", Box::new(quoted));
    }
    blocks::register(registry, branches == Branches::All);
}

/// The helper for a tag inside the quotes of a CSV field.
fn quoted(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let value = helper.param(0).map(|param| param.value().render()).unwrap_or_default();
    Ok(out.write(&value.replace('"', "\"\""))?)
}

struct Bound {
    function: &'static Function,
    environment: Environment,
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
        // A Handlebars tag can call these functions, too, and no one has checked its number of values.
        if values.len() < self.function.least {
            return Err(RenderErrorReason::ParamNotFoundForIndex(self.function.helper, values.len()).into());
        }
        Ok(ScopedJson::Derived((self.function.run)(self.environment, &values)))
    }
}

/// Go's `$`: all data of the template.
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

/// The first value whose truth is `wanted`, else the last value.
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

/// `index x 1 "a"` is the field `a` of the second element of x. A missing element is a missing value.
fn index(environment: Environment, values: &[&Value]) -> Value {
    let Some((first, keys)) = values.split_first() else { return Value::Null };
    let mut found = *first;
    for key in keys {
        let at = || key.as_u64().and_then(|at| usize::try_from(at).ok());
        let next = match found {
            Value::Object(map) => match key {
                Value::String(name) => map.get(name).or_else(|| map.get(environment.dialect.new_name(name))),
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

/// `slice x 1 3` has the second and the third element of x; for text, its bytes. A position after the end means the
/// end, and a position within a character means the start of that character.
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
