//! The blocks: `if`, `with` and `range` with Go's truth and variables. `$x := …` is a block around the rest.

use handlebars::{
    BlockContext, BlockParams, Context, Handlebars, Helper, HelperDef, HelperResult, Output, PathAndJson,
    RenderContext, RenderError, RenderErrorReason, Renderable, ScopedJson, Template,
};
use serde_json::Value;

use super::compare::is_true;

/// Handlebars' own blocks, with the number of values that they need.
const OWN: [(&str, usize); 13] = [
    ("and", 2),
    ("each", 1),
    ("eq", 2),
    ("gt", 2),
    ("gte", 2),
    ("if", 1),
    ("lt", 2),
    ("lte", 2),
    ("ne", 2),
    ("not", 1),
    ("or", 2),
    ("unless", 1),
    ("with", 1),
];

pub(crate) fn register(registry: &mut Handlebars<'static>, trial: bool) {
    for (name, kind) in [("go_if", Kind::If), ("go_let", Kind::Let), ("go_range", Kind::Range), ("go_with", Kind::With)]
    {
        registry.register_helper(name, Box::new(Block { kind, trial }));
    }
    if trial {
        for (name, least) in OWN {
            registry.register_helper(name, Box::new(EveryBranch { name, least }));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    If,
    Let,
    Range,
    With,
}

struct Block {
    kind: Kind,
    /// True if every branch is rendered.
    trial: bool,
}

impl HelperDef for Block {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rendering: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = helper.param(0).map_or(&Value::Null, PathAndJson::value);
        let body = helper.template();
        let mut goes_in = is_true(value) || self.trial;
        match self.kind {
            Kind::If if goes_in => render(body, registry, context, rendering, out)?,
            Kind::With if goes_in => within(about(value), body, registry, context, rendering, out)?,
            Kind::If | Kind::With => {}
            Kind::Let => {
                let mut block = rendering.block().cloned().unwrap_or_default();
                block.set_block_params(variables(helper, value, &Value::Null)?);
                return within(block, body, registry, context, rendering, out);
            }
            Kind::Range => {
                let mut entries = entries(value);
                if entries.is_empty() && self.trial {
                    entries.push((Value::Null, &Value::Null));
                }
                goes_in = !entries.is_empty();
                for (key, element) in entries {
                    let mut block = about(element);
                    block.set_block_params(variables(helper, element, &key)?);
                    within(block, body, registry, context, rendering, out)?;
                }
            }
        }
        if goes_in && !self.trial { Ok(()) } else { render(helper.inverse(), registry, context, rendering, out) }
    }
}

fn render<'reg: 'rc, 'rc>(
    template: Option<&'rc Template>,
    registry: &'reg Handlebars<'reg>,
    context: &'rc Context,
    rendering: &mut RenderContext<'reg, 'rc>,
    out: &mut dyn Output,
) -> HelperResult {
    template.map_or(Ok(()), |template| template.render(registry, context, rendering, out))
}

fn within<'reg: 'rc, 'rc>(
    block: BlockContext<'rc>,
    template: Option<&'rc Template>,
    registry: &'reg Handlebars<'reg>,
    context: &'rc Context,
    rendering: &mut RenderContext<'reg, 'rc>,
    out: &mut dyn Output,
) -> HelperResult {
    rendering.push_block(block);
    let result = render(template, registry, context, rendering, out);
    rendering.pop_block();
    result
}

/// A block in which `.` is the value.
fn about<'rc>(value: &Value) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    block.set_base_value(value.clone());
    block
}

fn variables<'rc>(helper: &Helper<'rc>, element: &Value, key: &Value) -> Result<BlockParams<'rc>, RenderError> {
    let mut variables = BlockParams::new();
    if let Some(name) = helper.block_param() {
        variables.add_value(name, element.clone())?;
    } else if let Some((element_name, key_name)) = helper.block_param_pair() {
        variables.add_value(element_name, element.clone())?;
        variables.add_value(key_name, key.clone())?;
    }
    Ok(variables)
}

/// The elements of a loop, in Go's order.
fn entries(value: &Value) -> Vec<(Value, &Value)> {
    match value {
        Value::Array(list) => list.iter().enumerate().map(|(at, element)| (Value::from(at), element)).collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            entries.into_iter().map(|(key, element)| (Value::from(key.as_str()), element)).collect()
        }
        _ => Vec::new(),
    }
}

/// Replaces a block of Handlebars in a trial, so that branches that no sample reaches are rendered, too.
struct EveryBranch {
    name: &'static str,
    least: usize,
}

impl EveryBranch {
    fn check(&self, helper: &Helper<'_>) -> Result<(), RenderError> {
        let count = helper.params().len();
        if count >= self.least {
            return Ok(());
        }
        Err(RenderErrorReason::ParamNotFoundForIndex(self.name, count).into())
    }
}

impl HelperDef for EveryBranch {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        self.check(helper)?;
        Ok(ScopedJson::Derived(Value::Bool(true)))
    }

    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        rendering: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        self.check(helper)?;
        if matches!(self.name, "each" | "with") {
            let mut block = about(&Value::Null);
            block.set_block_params(variables(helper, &Value::Null, &Value::Null)?);
            within(block, helper.template(), registry, context, rendering, out)?;
        } else {
            render(helper.template(), registry, context, rendering, out)?;
        }
        render(helper.inverse(), registry, context, rendering, out)
    }
}
