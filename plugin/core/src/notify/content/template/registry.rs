//! Handlebars, configured for a format.

use std::io;

use go_template::{Branches, Environment, Format};
use handlebars::{
    Context, Handlebars, Helper, HelperResult, Output, RenderContext, RenderError, RenderErrorReason, Renderable,
};
use serde_json::Value;

use super::escape::escape;
use super::json::{JsonWriter, VALUE_MARK};
use super::tyk::DIALECT;

/// Maximum bytes of a message. It bounds the output of loops. A longer message is an error.
const MAX_BODY_BYTES: usize = 1 << 20;

/// A registry for templates of a format.
pub fn of(format: Format, branches: Branches) -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.register_escape_fn(move |value| escape(format, value));
    if format == Format::Json {
        // In the place of a JSON value, an empty value must be written as null.
        registry.register_helper("helperMissing", Box::new(nothing));
    }
    // The helper `log` would write keys to the proxy's log.
    registry.unregister_helper("log");
    go_template::register(&mut registry, Environment { format, dialect: &DIALECT }, branches);
    registry
}

/// Prints nothing for a variable that an event does not have.
fn nothing(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    if !helper.params().is_empty() || !helper.hash().is_empty() {
        return Err(RenderErrorReason::HelperNotFound(helper.name().to_owned()).into());
    }
    Ok(out.write(VALUE_MARK.encode_utf8(&mut [0; 4]))?)
}

/// Renders a message up to the maximum length.
pub fn render(registry: &Handlebars<'_>, name: &str, format: Format, data: Value) -> Result<String, RenderError> {
    const USUAL_BYTES: usize = 512;
    let mut body = match format {
        Format::Json => Body::Json(JsonWriter::with_capacity(USUAL_BYTES)),
        _ => Body::Other(String::with_capacity(USUAL_BYTES)),
    };
    let template = registry.get_template(name).ok_or_else(|| RenderErrorReason::TemplateNotFound(name.to_owned()))?;
    let mut context = Context::null();
    *context.data_mut() = data;
    template.render(registry, &context, &mut RenderContext::new(template.name.as_ref()), &mut body)?;
    Ok(match body {
        Body::Json(json) => json.finish(),
        Body::Other(text) => text,
    })
}

enum Body {
    Json(JsonWriter),
    Other(String),
}

impl Output for Body {
    fn write(&mut self, piece: &str) -> io::Result<()> {
        let len = match self {
            Body::Json(json) => json.len(),
            Body::Other(text) => text.len(),
        };
        if len.saturating_add(piece.len()) > MAX_BODY_BYTES {
            return Err(io::Error::other(format!("the message is longer than {MAX_BODY_BYTES} bytes")));
        }
        match self {
            Body::Json(json) => json.write(piece),
            Body::Other(text) => text.push_str(piece),
        }
        Ok(())
    }
}
