//! Handlebars, set up for a format.

use std::io;

use handlebars::{
    Context, Handlebars, Helper, HelperResult, JsonRender, Output, RenderContext, RenderError, RenderErrorReason,
    Renderable,
};
use serde::Serialize;

use super::escape::{self, Format};
use super::functions;

/// A longer message is an error. It bounds what loops can write.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

/// A registry for templates that write `format`; in a trial, one that renders every branch of a block.
pub(super) fn of(format: Format, trial: bool) -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.register_escape_fn(move |value| format.escape(value));
    if format == Format::Csv {
        registry.register_helper("quoted", Box::new(quoted));
    }
    // It would write keys to the proxy's log.
    registry.unregister_helper("log");
    functions::register(&mut registry, format, trial);
    registry
}

/// The helper for a tag that stands inside the quotes of a CSV field.
fn quoted(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let value = helper.param(0).map(|param| param.value().render()).unwrap_or_default();
    Ok(out.write(&escape::csv_quoted(&value))?)
}

/// Renders a message of bounded length.
pub(super) fn render(registry: &Handlebars<'_>, name: &str, data: &impl Serialize) -> Result<String, RenderError> {
    let mut body = Body(String::with_capacity(512));
    let template = registry.get_template(name).ok_or_else(|| RenderErrorReason::TemplateNotFound(name.to_owned()))?;
    let context = Context::wraps(data)?;
    template.render(registry, &context, &mut RenderContext::new(template.name.as_ref()), &mut body)?;
    Ok(body.0)
}

struct Body(String);

impl Output for Body {
    fn write(&mut self, piece: &str) -> io::Result<()> {
        if self.0.len().saturating_add(piece.len()) > MAX_BODY_BYTES {
            return Err(io::Error::other(format!("the message is longer than {MAX_BODY_BYTES} bytes")));
        }
        self.0.push_str(piece);
        Ok(())
    }
}
