//! What receivers would get of an event: messages that are written and not sent, without a host.

mod sample;

use thiserror::Error;

use crate::access::Api;
use crate::base::{UnixMillis, hint};
use crate::config::{Config, ConfigError};
use crate::delivery::Target;
use crate::event::{Event, EventKind};
use crate::notify::content::{ContentError, draft};
use crate::notify::handler::Handler;
use crate::notify::message;
use crate::observe::ShapeError;

/// A configuration whose messages are written and not sent.
pub struct Preview {
    config: Config,
}

/// An event to preview.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Its name: `TriggerExceeded`, `key_event.add`.
    pub event: String,
    /// Values of its fields by their names in templates, such as `Meta.Key` or `data.key_id`. The others are samples.
    pub fields: Vec<(String, String)>,
    /// The handler's name, or the label in the brackets at the name's end; by default every handler of the event.
    pub handler: Option<String>,
}

/// What a handler does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previewed {
    /// The handler's name.
    pub handler: String,
    /// What it does.
    pub outcome: Outcome,
}

/// What a handler does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It sends a request.
    Request(Request),
    /// It writes to the proxy's log.
    Log,
    /// The event has no recipient for it.
    NoRecipient,
    /// The message cannot be written.
    Failed(ContentError),
}

/// The request of a message's first attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The Envoy cluster that carries it.
    pub cluster: String,
    /// With the pseudo-headers.
    pub headers: Vec<(String, String)>,
    /// UTF-8, unless a template writes something else.
    pub body: Vec<u8>,
}

/// The target of a named webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTarget {
    /// The absolute URL.
    pub url: String,
    /// The Envoy cluster that reaches it.
    pub cluster: String,
}

/// Why there is no preview.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PreviewError {
    /// There is no such event.
    #[error("there is no event {name:?}{hint}")]
    UnknownEvent {
        /// The name that was asked for.
        name: String,
        /// The nearest known name, in brackets.
        hint: String,
    },
    /// There is no such field.
    #[error("the event has no field {name:?}{hint}")]
    UnknownField {
        /// The name that was asked for.
        name: String,
        /// The nearest known name, in brackets.
        hint: String,
    },
    /// A value is not of its field's type.
    #[error("{field} must be {expected}")]
    WrongValue {
        /// The field.
        field: String,
        /// What it must be.
        expected: &'static str,
    },
    /// The payload is not that of the event.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Payload(Vec<ShapeError>),
    /// There is no such handler.
    #[error("no handler has the name {name:?}; there are {}", known.join(", "))]
    UnknownHandler {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// There is no such webhook.
    #[error("no webhook has the name {name:?}; {}", of_webhooks(known))]
    UnknownWebhook {
        /// The name that was asked for.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

fn of_webhooks(known: &[String]) -> String {
    match known {
        [] => "the configuration names no webhooks".to_owned(),
        known => format!("there are {}", known.join(", ")),
    }
}

impl Preview {
    /// From what a proxy hands to the plugin: JSON text, or a serialized `google.protobuf.Struct`.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load(bytes: &[u8]) -> Result<Self, Vec<ConfigError>> {
        Config::load(bytes).map(|(config, _)| Preview { config })
    }

    /// The target of an entry of `webhooks`.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn webhook(&self, name: &str) -> Result<NamedTarget, PreviewError> {
        let target = self.config.named.get(name).ok_or_else(|| PreviewError::UnknownWebhook {
            name: name.to_owned(),
            known: self.config.named.keys().cloned().collect(),
        })?;
        let Target { scheme, authority, path_and_query, cluster, .. } = target;
        Ok(NamedTarget { url: format!("{}://{authority}{path_and_query}", scheme.as_str()), cluster: cluster.clone() })
    }

    /// What each handler of an event does with it `now`.
    ///
    /// # Errors
    /// When the event, a field or the handler does not exist.
    pub fn messages(&self, wanted: &Wanted, now: UnixMillis) -> Result<Vec<Previewed>, PreviewError> {
        let name = wanted.event.split_once('.').map_or(wanted.event.as_str(), |(name, _)| name);
        let kind = EventKind::from_name(name).ok_or_else(|| PreviewError::UnknownEvent {
            name: name.to_owned(),
            hint: hint(name, EventKind::all().map(EventKind::name)),
        })?;
        let mut previewed = Vec::new();
        for handler in self.handlers(kind, wanted.handler.as_deref())? {
            let event = sample::event(&self.config, self.api_of(handler, kind), kind, wanted, now)?;
            previewed.push(Previewed { handler: handler.name.clone(), outcome: self.outcome(handler, &event, now) });
        }
        Ok(previewed)
    }

    fn outcome(&self, handler: &Handler, event: &Event, now: UnixMillis) -> Outcome {
        let Some(channel) = handler.action.channel() else { return Outcome::Log };
        let notifications = &self.config.notifications;
        let content =
            draft(notifications, channel, event).and_then(|draft| draft.map(|draft| draft.write(event)).transpose());
        match content {
            Ok(Some(content)) => {
                let message = message::delivery(notifications, (handler, channel), event, &content, None, now);
                let callout = content.callout(&message, now);
                Outcome::Request(Request { cluster: callout.cluster, headers: callout.headers, body: callout.body })
            }
            Ok(None) => Outcome::NoRecipient,
            Err(error) => Outcome::Failed(error),
        }
    }

    /// The handlers of an event, or the one that is named, whatever its events are.
    fn handlers(&self, kind: EventKind, name: Option<&str>) -> Result<Vec<&Handler>, PreviewError> {
        let Some(name) = name else { return Ok(self.handlers_of(kind)) };
        let label = format!("[{name}]");
        let is_meant = |handler: &&Handler| handler.name == name || handler.name.ends_with(&label);
        let found: Vec<&Handler> = self.config.notifications.handlers.iter().filter(is_meant).collect();
        if found.is_empty() {
            let known = self.config.notifications.handlers.iter().map(|handler| handler.name.clone()).collect();
            return Err(PreviewError::UnknownHandler { name: name.to_owned(), known });
        }
        Ok(found)
    }

    fn handlers_of(&self, kind: EventKind) -> Vec<&Handler> {
        let of_apis = self.config.access.routes.iter().flat_map(|(_, api)| api.handlers(kind));
        let of_orgs = self.config.notifications.org_handlers.values().flat_map(|lists| &lists[kind]);
        let mut found: Vec<&Handler> = Vec::new();
        for handler in of_apis.chain(of_orgs).filter_map(|index| self.config.notifications.handlers.get(*index)) {
            if !found.iter().any(|other| other.name == handler.name) {
                found.push(handler);
            }
        }
        found
    }

    /// An API whose events reach the handler; else the first API.
    fn api_of(&self, handler: &Handler, kind: EventKind) -> Option<&Api> {
        let reaches = |api: &&Api| {
            let mut handlers =
                api.handlers(kind).iter().filter_map(|index| self.config.notifications.handlers.get(*index));
            handlers.any(|other| other.name == handler.name)
        };
        let apis = || self.config.access.routes.iter().map(|(_, api)| api);
        apis().find(reaches).or_else(|| apis().next())
    }
}

#[cfg(test)]
mod tests;
