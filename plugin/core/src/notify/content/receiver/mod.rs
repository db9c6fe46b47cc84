//! Messages for known receivers: Slack, PagerDuty and others. A handler names one instead of a template.
//!
//! [`alert`] prepares everything that receivers show of an event: a title, a severity, facts, links, and a key for
//! duplicates. Each receiver is one file with a template, and an entry of [`ALL`]. A template passes every value through
//! a helper of [`markup`], which escapes it for the receiver and cuts it to the length of its field.
//!
//! Messages for people show the fingerprint of a key, as emails do. Those for programs show the event's key, which is
//! the raw key unless `hash_keys` is set.

mod alert;
mod cause;
mod cloudevents;
mod discord;
mod facts;
mod kinds;
mod links;
mod markup;
mod opsgenie;
mod pagerduty;
mod slack;
mod standard_webhooks;
mod teams;

pub use cause::cause;
pub use links::{Links, MAX_LINKS, MAX_NAME_BYTES};

use std::fmt;

use handlebars::Handlebars;

use super::template::{Branches, Format, RenderError, registry};
use crate::event::Event;
use alert::Alert;

/// All receivers, by the name that `template_path` gives.
static ALL: [&Receiver; 7] = [
    &cloudevents::RECEIVER,
    &discord::RECEIVER,
    &opsgenie::RECEIVER,
    &pagerduty::RECEIVER,
    &slack::RECEIVER,
    &standard_webhooks::RECEIVER,
    &teams::RECEIVER,
];

/// A receiver whose messages are built in.
pub struct Receiver {
    pub name: &'static str,
    pub content_type: &'static str,
    /// The settings of a handler that it uses beside its target.
    pub uses: &'static [Use],
    /// True if its messages show the event's key. Otherwise they show the key's fingerprint.
    pub shows_keys: bool,
    /// The message in JSON, in Handlebars.
    template: &'static str,
}

/// A setting that a receiver uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// `routing_key`, without which the receiver takes no message.
    RoutingKey,
    /// `source`, which has a default.
    Source,
    /// The header `authorization`, without which the receiver takes no message.
    Authorization,
}

impl Receiver {
    /// The receiver with this name.
    pub fn named(name: &str) -> Option<&'static Receiver> {
        ALL.into_iter().find(|receiver| receiver.name == name)
    }

    /// The names of all receivers.
    pub fn names<'n>() -> impl Iterator<Item = &'n str> {
        ALL.iter().map(|receiver| receiver.name)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Receiver {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Receiver {}

/// The templates of those receivers that a configuration uses, and its links.
#[derive(Default)]
pub struct Receivers {
    registry: Handlebars<'static>,
    links: Links,
}

impl Receivers {
    /// Reads the templates of the receivers that are used.
    pub fn new(used: impl Iterator<Item = &'static Receiver>, links: Links) -> Self {
        let mut registry = registry::of(Format::Json, Branches::Taken);
        markup::register(&mut registry);
        for receiver in used {
            if !registry.has_template(receiver.name)
                && let Err(error) = registry.register_template_string(receiver.name, receiver.template)
            {
                log::error!("built-in template {}: {error}", receiver.name);
            }
        }
        Receivers { registry, links }
    }

    /// Writes a receiver's message. `source` names the gateway for a receiver that shows it.
    ///
    /// # Errors
    /// The message is too long.
    pub fn render(&self, receiver: &Receiver, source: &str, event: &Event) -> Result<String, RenderError> {
        let alert = Alert { event, source, links: self.links.of(event) };
        let view = if receiver.shows_keys { alert.view_for_programs() } else { alert.view_for_people() };
        registry::render(&self.registry, receiver.name, Format::Json, view)
            .map_err(|error| RenderError::Failed { name: receiver.name.to_owned(), reason: error.reason().to_string() })
    }
}

#[cfg(test)]
mod tests;
