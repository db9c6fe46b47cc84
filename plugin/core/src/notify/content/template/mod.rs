//! Message templates in Handlebars, and in Go's language, which is translated. Values are escaped for the format of the
//! message.
//!
//! A variable that an event does not have prints nothing in both languages. In Go's language it is false, equal to `""`
//! and to `0`, and an empty list for `range`. Rendering continues after it. Tyk prints nothing, too, for a missing
//! entry of a map, and cuts the message off for a missing field of a struct.

mod builtin;
mod escape;
mod fault;
mod json;
pub(super) mod registry;
mod trial;
mod tyk;

pub use go_template::{Branches, Error as TemplateError, Format};
pub(super) use json::VALUE_MARK;

use go_template::{Environment, translate};
use handlebars::Handlebars;
use litemap::LiteMap;
use serde_json::Value;

use crate::event::{Event, Management};
use trial::{Failed, try_out};

/// All templates of a configuration, including the built-in ones.
pub struct Templates {
    /// One registry for each format, because a registry has one escape function.
    registries: LiteMap<Format, Handlebars<'static>>,
    known: LiteMap<String, Known>,
}

struct Known {
    format: Format,
    volatile: Volatile,
    /// The place of the first error in the JSON of the trial, if there is one.
    not_json: Option<String>,
    is_builtin: bool,
}

/// The events for which a template shows values that differ between two events of one cause.
#[derive(Clone, Copy)]
enum Volatile {
    Never,
    Perhaps,
    For(&'static [&'static str]),
}

/// A template that gives no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("no template or email {0:?}")]
    Unknown(String),
    /// A helper failed at run time.
    #[error("template {name:?}: {reason}")]
    Failed { name: String, reason: String },
}

/// The name of an existing template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateName(String);

impl TemplateName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Templates {
    /// No templates.
    pub fn empty() -> Self {
        Templates { registries: LiteMap::new(), known: LiteMap::new() }
    }

    /// Only the built-in templates.
    pub fn builtin() -> Self {
        let mut templates = Templates::empty();
        for (name, source) in builtin::ALL {
            if let Err(error) = templates.add(name, source) {
                log::error!("built-in template {name}: {error}");
            }
        }
        templates.known.iter_mut().for_each(|(_, known)| known.is_builtin = true);
        if let Some(known) = templates.known.get_mut(builtin::DEFAULT) {
            known.volatile = Volatile::For(&builtin::DEFAULT_IS_VOLATILE_FOR);
        }
        templates
    }

    /// Compiles a template. The ending of its name decides its format. It replaces a built-in template of the same
    /// name.
    ///
    /// # Errors
    /// The text does not parse, or has parts that cannot be translated.
    pub fn add(&mut self, name: &str, source: &str) -> Result<(), TemplateError> {
        self.add_as(Format::of_name(name), name, source)
    }

    /// Compiles the template of a URL.
    ///
    /// # Errors
    /// The text does not parse, or has parts that cannot be translated.
    pub fn add_url(&mut self, name: &str, source: &str) -> Result<TemplateName, TemplateError> {
        self.add_as(Format::Url, name, source).map(|()| TemplateName(name.to_owned()))
    }

    fn add_as(&mut self, format: Format, name: &str, source: &str) -> Result<(), TemplateError> {
        // The name is known from now on, so that handlers do not report it as missing if only its text is wrong.
        self.known
            .insert(name.to_owned(), Known { format, volatile: Volatile::Perhaps, not_json: None, is_builtin: false });
        if let Some(at) = source.find(json::VALUE_MARK) {
            return Err(TemplateError::at(source, at, "U+FDD0 is no character that a text can have"));
        }
        let translated = translate(source, Environment { format, dialect: &tyk::DIALECT })?;
        let error_at = |place: (Option<usize>, Option<usize>), message: String| {
            translated.error(source, place.0.unwrap_or(1), place.1.unwrap_or(1), message)
        };
        let unread = |error: handlebars::TemplateError| error_at(error.pos().unzip(), fault::unread(error.reason()));
        let registry = self.registries.entry(format).or_insert_with(|| registry::of(format, Branches::Taken));
        registry.register_template_string(name, &translated.source).map_err(unread)?;
        let not_json = try_out(registry, name, &translated.source, format).map_err(|failed| match failed {
            Failed::Read(error) => unread(error),
            Failed::Render(error) => error_at((error.line_no, error.column_no), fault::unrendered(error.reason())),
        })?;
        let volatile = if translated.shows_watched { Volatile::Perhaps } else { Volatile::Never };
        self.known.insert(name.to_owned(), Known { format, volatile, not_json, is_builtin: false });
        Ok(())
    }

    /// The event for which a `.json` template writes invalid JSON from harmless values, and the place; `None` for other
    /// formats.
    pub fn json_fault(&self, name: &str) -> Option<&str> {
        self.known.get(name).filter(|known| known.format == Format::Json)?.not_json.as_deref()
    }

    /// The template with this name: a configured one, a built-in one, or for an empty name the default.
    pub fn find(&self, name: &str) -> Option<TemplateName> {
        let name = if name.is_empty() { builtin::DEFAULT } else { name };
        self.known.contains_key(name).then(|| TemplateName(name.to_owned()))
    }

    /// All names that [`Templates::find`] accepts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// The format of a template's messages.
    pub fn format(&self, name: &TemplateName) -> Format {
        self.known.get(&name.0).map_or(Format::Text, |known| known.format)
    }

    /// Renders a message, and the form of it that is the same for two events of one cause.
    ///
    /// # Errors
    /// A helper fails at run time.
    pub fn render(&self, name: &TemplateName, event: &Event) -> Result<Rendered, RenderError> {
        if let Some(management) = &event.management {
            return self.render_management(name, event, management);
        }
        let known = self.known.get(&name.0);
        let body = match known.is_some_and(|known| known.is_builtin) {
            true => self.render_with(&name.0, event.brief_view())?,
            false => self.render_with(&name.0, event.view())?,
        };
        let volatile = match known.map(|known| known.volatile) {
            Some(Volatile::Perhaps) => true,
            Some(Volatile::For(types)) => types.contains(&event.kind.name()),
            Some(Volatile::Never) | None => false,
        };
        let stable = if volatile { Some(self.render_with(&name.0, event.stable_view())?) } else { None };
        Ok(Rendered { body, stable })
    }

    /// Renders the documented message, unless the handler has its own template.
    fn render_management(
        &self,
        name: &TemplateName,
        event: &Event,
        said: &Management,
    ) -> Result<Rendered, RenderError> {
        if name.0 == builtin::DEFAULT {
            return Ok(Rendered { body: said.body.clone(), stable: Some(said.stable.clone()) });
        }
        let body = self.render_with(&name.0, event.management_view(said, false))?;
        Ok(Rendered { body, stable: Some(self.render_with(&name.0, event.management_view(said, true))?) })
    }

    /// Renders a value that is not an event. The template names its fields.
    ///
    /// # Errors
    /// A helper fails at run time.
    pub fn render_value(&self, name: &TemplateName, value: Value) -> Result<String, RenderError> {
        self.render_with(&name.0, value)
    }

    fn render_with(&self, name: &str, data: Value) -> Result<String, RenderError> {
        let unknown = || RenderError::Unknown(name.to_owned());
        let known = self.known.get(name).ok_or_else(unknown)?;
        let registry = self.registries.get(&known.format).ok_or_else(unknown)?;
        registry::render(registry, name, known.format, data)
            .map_err(|error| RenderError::Failed { name: name.to_owned(), reason: fault::unrendered(error.reason()) })
    }
}

/// A rendered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub body: String,
    /// The body with volatile values blanked, if the template uses any.
    stable: Option<String>,
}

impl Rendered {
    /// The text for the cool-down's checksum.
    pub fn stable(&self) -> &str {
        self.stable.as_deref().unwrap_or(&self.body)
    }
}

#[cfg(test)]
mod tests;
