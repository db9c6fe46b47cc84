//! Links that the messages of all receivers show, such as one to a dashboard.

use crate::event::{Event, EventKind};
use crate::notify::content::template::{TemplateError, TemplateName, Templates};

/// The most links. A message of Teams shows six at most.
pub const MAX_LINKS: usize = 5;

/// Maximum bytes of a link's name.
pub const MAX_NAME_BYTES: usize = 40;

/// Maximum bytes of a URL. A longer one would lead elsewhere if it were cut, so it is left out.
const MAX_URL_BYTES: usize = 1000;

/// Links by name, in the order of names. A URL is a template, whose values are percent-encoded.
pub struct Links {
    templates: Templates,
    names: Vec<TemplateName>,
}

impl Default for Links {
    fn default() -> Self {
        Links { templates: Templates::empty(), names: Vec::new() }
    }
}

impl Links {
    /// Adds a link, and returns its URL for a sample event.
    ///
    /// # Errors
    /// The text of the URL is not a template.
    pub fn add(&mut self, name: &str, url: &str) -> Result<String, TemplateError> {
        let name = self.templates.add_url(name, url)?;
        let sample = self.url(&name, &Event::sample(EventKind::AuthFailure));
        self.names.push(name);
        Ok(sample.unwrap_or_default())
    }

    /// The links of an event, with their names.
    pub(super) fn of(&self, event: &Event) -> Vec<(&str, String)> {
        let links = self.names.iter().filter_map(|name| Some((name.as_str(), self.url(name, event)?)));
        links.filter(|(_, url)| url.len() <= MAX_URL_BYTES).collect()
    }

    fn url(&self, name: &TemplateName, event: &Event) -> Option<String> {
        let view = match &event.management {
            Some(management) => event.management_view(management, false),
            None => without_key(event).view(),
        };
        let url = self.templates.render_value(name, view);
        url.inspect_err(|error| log::error!("{error}")).ok()
    }
}

/// The event with the fingerprint of its key instead of the key, because people see the URL.
fn without_key(event: &Event) -> Event {
    let mut event = event.clone();
    if !event.meta.key.is_empty() && !event.fingerprint.is_empty() {
        event.meta.key.clone_from(&event.fingerprint);
    }
    event
}
