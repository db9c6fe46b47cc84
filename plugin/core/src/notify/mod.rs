//! From an incident to messages in the outbox.
//!
//! ```text
//! incident → event → handlers → content (draft) → admission (cool-down, cap) → content (written) → outbox
//! ```
//! [`notifier`] makes an event of an incident. [`message`] takes the event to one handler. [`admission`] decides
//! whether its message may go out, and [`content`] writes it, as a webhook or an email. [`sharing`] is the form in which
//! other members of a fleet get messages.

pub mod admission;
mod author;
pub mod content;
pub mod handler;
pub mod incident;
mod management;
pub mod message;
pub mod notifier;
pub mod outcome;
mod report;
mod sharing;
mod when;

pub use admission::cap::Cap;
pub use admission::cooldown;
#[cfg(test)]
pub use admission::digest::MAX_NAMED;
pub use content::mail::templates::{MailTemplates, Part};
pub use content::mail::{Account, Backend, Mail, Provider, Settings, templates};
pub use content::receiver::{Links, MAX_LINKS, MAX_NAME_BYTES, Receiver, Receivers, Use};
pub use content::signature;
pub use content::signature::SigningKey;
pub use content::template::Templates;
pub use content::{Content, WebhookRequest};
pub use handler::{Action, Body, Channel, Form, Handlers, Recipient, Webhook};
pub use incident::{Incident, Scene};
pub use notifier::Notifier;
pub use outcome::MessageOutcome;
pub use when::{Comparison, When};

use enum_map::EnumMap;
use litemap::LiteMap;

use crate::base::HandlerIndex;
use crate::delivery::{Clusters, DeliveryPolicy, Placement, Table};
use crate::event::{Event, EventKind};

/// The part of a configuration that controls notifications.
pub struct Notifications {
    /// The place of the configuration among others, which separates its messages from theirs.
    pub placement: Placement,
    /// All event handlers, including the monitor's.
    pub handlers: Handlers,
    /// The handlers of an organisation's dashboard events, by the organisation's id.
    pub org_handlers: LiteMap<String, EnumMap<EventKind, Vec<HandlerIndex>>>,
    pub templates: Templates,
    /// The built-in messages for receivers.
    pub receivers: Receivers,
    /// How emails are written and sent; `None` if email is not configured.
    pub mail: Option<Mail>,
    /// How messages are delivered.
    pub delivery: DeliveryPolicy,
    /// The proxy's clusters, with the settings and targets that need them.
    pub clusters: Clusters,
    /// True if the members of a fleet decide together which messages go out.
    pub is_in_fleet: bool,
    /// True if events show a key's fingerprint instead of the key.
    pub hash_keys: bool,
    /// The trusted headers that name the client's address, lower case.
    pub origin_headers: Vec<String>,
}

impl Notifications {
    /// The outbox table of its messages.
    pub fn table(&self) -> Table {
        Table { line: self.placement.line, capacity: self.delivery.capacity }
    }

    /// Separates an event's caps, claims and digests from those of other groups and other configurations.
    pub fn group(&self, event: &Event) -> u64 {
        event.group() ^ self.placement.line.0.rotate_left(17)
    }
}
