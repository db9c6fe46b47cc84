//! Message templates: Handlebars, with Tyk's Go tags translated, escaped for the format being written.

mod builtin;
mod escape;
mod translate;

pub use escape::Format;

use std::collections::BTreeMap;

use handlebars::{Context, Handlebars, Helper, HelperResult, JsonRender, Output, RenderContext, RenderError};
use serde::Serialize;
use thiserror::Error;

use crate::event::{Event, EventKind, View};
use translate::translate;

/// Why a template was refused, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {message}")]
pub struct TemplateError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Every template of a configuration, and the built-in ones.
pub struct Templates {
    /// One registry per format, because a registry has one escape function.
    registries: BTreeMap<Format, Handlebars<'static>>,
    known: BTreeMap<String, Known>,
}

#[derive(Clone, Copy)]
struct Known {
    format: Format,
    volatile: bool,
    /// Whether the trial's output was JSON.
    writes_json: bool,
}

/// A template that is known to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateName(String);

impl Templates {
    /// Only the built-in templates.
    pub fn builtin() -> Self {
        let mut templates = Templates { registries: BTreeMap::new(), known: BTreeMap::new() };
        for (name, source) in builtin::ALL {
            if let Err(error) = templates.add(name, source) {
                log::error!("built-in template {name}: {error}");
            }
        }
        templates
    }

    /// Compiles a template; its format follows from the ending of its name. A built-in one of that name is replaced.
    ///
    /// # Errors
    /// When the text does not parse, or uses what cannot be translated.
    pub fn add(&mut self, name: &str, source: &str) -> Result<(), TemplateError> {
        let format = Format::of_name(name);
        // It is known from here on, so that its handlers do not report it missing when only its text is wrong.
        self.known.insert(name.to_owned(), Known { format, volatile: true, writes_json: true });
        let translated = translate(source, format)?;
        let registry = self.registries.entry(format).or_insert_with(|| {
            let mut registry = Handlebars::new();
            registry.register_escape_fn(move |value| format.escape(value));
            if format == Format::Csv {
                registry.register_helper("quoted", Box::new(quoted));
            }
            // It would write keys to the proxy's log.
            registry.unregister_helper("log");
            registry
        });
        registry.register_template_string(name, &translated.source).map_err(|error| TemplateError {
            line: error.pos().map_or(1, |(line, _)| line),
            column: error.pos().map_or(1, |(_, column)| column),
            message: error.reason().to_string(),
        })?;
        let writes_json = try_out(registry, name).map_err(|error| {
            let (line, column) = (error.line_no.unwrap_or(1), error.column_no.unwrap_or(1));
            TemplateError { line, column, message: error.reason().to_string() }
        })?;
        self.known.insert(name.to_owned(), Known { format, volatile: translated.volatile, writes_json });
        Ok(())
    }

    /// Whether a `.json` template writes JSON, given harmless values; `true` for other formats.
    pub fn writes_json(&self, name: &str) -> bool {
        self.known.get(name).is_none_or(|known| known.format != Format::Json || known.writes_json)
    }

    /// The template of that name: a configured one, a built-in one, or for an empty name the default.
    pub fn find(&self, name: &str) -> Option<TemplateName> {
        let name = if name.is_empty() { builtin::DEFAULT } else { name };
        self.known.contains_key(name).then(|| TemplateName(name.to_owned()))
    }

    /// The names that [`Templates::find`] knows.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// The format that a template writes.
    pub fn format(&self, name: &TemplateName) -> Format {
        self.known.get(&name.0).map_or(Format::Text, |known| known.format)
    }

    /// Renders a message, and the form of it that is alike for two events of one cause.
    ///
    /// # Errors
    /// When a helper fails at run time; the text says which.
    pub fn render(&self, name: &TemplateName, event: &Event) -> Result<Rendered, String> {
        let body = self.render_view(name, &event.view())?;
        let volatile = self.known.get(&name.0).is_some_and(|known| known.volatile);
        let stable = if volatile { Some(self.render_view(name, &event.stable_view())?) } else { None };
        Ok(Rendered { body, stable })
    }

    fn render_view(&self, name: &TemplateName, view: &View<'_>) -> Result<String, String> {
        self.render_with(&name.0, view)
    }

    fn render_with(&self, name: &str, data: &impl Serialize) -> Result<String, String> {
        let known = self.known.get(name).ok_or_else(|| format!("no template {name:?}"))?;
        let registry = self.registries.get(&known.format).ok_or_else(|| format!("no template {name:?}"))?;
        registry.render(name, data).map_err(|error| error.to_string())
    }
}

/// Renders a template once for each type of event: what Handlebars finds out only then, such as the name of a helper
/// that does not exist, must not be found out by an event. Returns whether every output was JSON.
fn try_out(registry: &Handlebars<'_>, name: &str) -> Result<bool, RenderError> {
    let mut writes_json = true;
    for kind in EventKind::FIRED {
        let event = Event::sample(kind);
        let body = registry.render(name, &event.view())?;
        registry.render(name, &event.stable_view())?;
        writes_json &= serde_json::from_str::<serde::de::IgnoredAny>(&body).is_ok();
    }
    Ok(writes_json)
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

/// A rendered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What is sent.
    pub body: String,
    /// The body with volatile values blanked, where the template uses any.
    stable: Option<String>,
}

impl Rendered {
    /// What the cool-down's checksum is taken of.
    pub fn stable(&self) -> &str {
        self.stable.as_deref().unwrap_or(&self.body)
    }
}

#[cfg(test)]
mod tests;
