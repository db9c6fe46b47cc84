//! Shows the messages that receivers would get for an event: messages are written but not sent, without a host.

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

/// A configuration whose messages are written but not sent.
pub struct Preview {
    config: Config,
}

/// An event to preview.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The event's name, such as `TriggerExceeded` or `key_event.add`.
    pub event: String,
    /// Values of fields by their names in templates, such as `Meta.Key` or `data.key_id`. The other fields have sample
    /// values.
    pub fields: Vec<(String, String)>,
    /// The handler's name, or the label in the brackets at its end. By default all handlers of the event.
    pub handler: Option<String>,
}

/// The result of an event at one handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previewed {
    /// The handler's name.
    pub handler: String,
    /// The result.
    pub outcome: Outcome,
}

/// The result of an event at one handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler sends this request.
    Request(Request),
    /// The handler writes a line to the proxy's log.
    Log,
    /// The event names no recipient for the handler.
    NoRecipient,
    /// The message cannot be made.
    Failed(ContentError),
}

/// The request of a message's first attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The Envoy cluster that sends it.
    pub cluster: String,
    /// The headers, including the pseudo-headers.
    pub headers: Vec<(String, String)>,
    /// The body, in UTF-8 unless a template writes something else.
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
    /// The event does not exist.
    #[error("there is no event {name:?}{hint}")]
    UnknownEvent {
        /// The requested name.
        name: String,
        /// The closest known name, in brackets.
        hint: String,
    },
    /// The field does not exist.
    #[error("the event has no field {name:?}{hint}")]
    UnknownField {
        /// The requested name.
        name: String,
        /// The closest known name, in brackets.
        hint: String,
    },
    /// A value does not have its field's type.
    #[error("{field} must be {expected}")]
    WrongValue {
        /// The name of the field.
        field: String,
        /// The type that it needs.
        expected: &'static str,
    },
    /// The payload does not fit the event.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Payload(Vec<ShapeError>),
    /// The handler does not exist.
    #[error("no handler has the name {name:?}; there are {}", known.join(", "))]
    UnknownHandler {
        /// The requested name.
        name: String,
        /// The names of all handlers.
        known: Vec<String>,
    },
    /// The webhook does not exist.
    #[error("no webhook has the name {name:?}; {}", of_webhooks(known))]
    UnknownWebhook {
        /// The requested name.
        name: String,
        /// The names of all webhooks.
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
    /// Loads the configuration in the form that a proxy passes to the plugin: JSON text, or a serialized
    /// `google.protobuf.Struct`.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn load(bytes: &[u8]) -> Result<Self, Vec<ConfigError>> {
        Config::load(bytes).map(|(config, _)| Preview { config })
    }

    /// The Envoy cluster of the store of a fleet, if there is one.
    pub fn store_cluster(&self) -> Option<&str> {
        Some(&self.config.fleet.as_ref()?.store.cluster)
    }

    /// Whether the store of a fleet is a Redis Cluster.
    pub fn store_is_cluster(&self) -> bool {
        self.config.fleet.as_ref().is_some_and(|fleet| !fleet.store.seeds.is_empty())
    }

    /// The target of an entry of `webhooks`.
    ///
    /// # Errors
    /// No entry has this name.
    pub fn webhook(&self, name: &str) -> Result<NamedTarget, PreviewError> {
        let target = self.config.named.get(name).ok_or_else(|| PreviewError::UnknownWebhook {
            name: name.to_owned(),
            known: self.config.named.keys().cloned().collect(),
        })?;
        let Target { scheme, authority, path_and_query, cluster, .. } = target;
        Ok(NamedTarget { url: format!("{}://{authority}{path_and_query}", scheme.as_str()), cluster: cluster.clone() })
    }

    /// The result at each handler of an event at `now`.
    ///
    /// # Errors
    /// The event, a field or the handler does not exist.
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
                let callout = content.without_secrets().callout(&message, now);
                Outcome::Request(Request { cluster: callout.cluster, headers: callout.headers, body: callout.body })
            }
            Ok(None) => Outcome::NoRecipient,
            Err(error) => Outcome::Failed(error),
        }
    }

    /// The handlers of an event, or the named handler, whatever its events are.
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

    /// An API whose events reach the handler, else the first API.
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
