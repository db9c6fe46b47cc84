//! From something that happened to messages in the outbox.
//!
//! ```text
//! incident → event → handlers → content (draft) → admission (cool-down, cap) → content (written) → outbox
//! ```
//! [`notifier`] makes an event of an incident, and [`message`] takes the event to one handler. [`admission`] decides
//! whether its message may go out; [`content`] writes it, as a webhook or an email.

pub mod admission;
mod author;
pub mod content;
pub mod handler;
pub mod incident;
mod management;
pub mod message;
pub mod notifier;
pub mod outcome;

pub use admission::cap::Cap;
pub use admission::cooldown;
#[cfg(test)]
pub use admission::digest::MAX_NAMED;
pub use content::mail::templates::{MailTemplates, Part};
pub use content::mail::{Account, Backend, Mail, Provider, Settings, templates};
pub use content::signature;
pub use content::signature::SigningKey;
pub use content::template::Templates;
pub use content::{Content, WebhookRequest};
pub use handler::{Action, Channel, Form, Handlers, Recipient, Webhook};
pub use incident::{Incident, Scene};
pub use notifier::Notifier;
pub use outcome::MessageOutcome;

use enum_map::EnumMap;
use litemap::LiteMap;

use crate::base::HandlerIndex;
use crate::delivery::{Clusters, DeliveryPolicy, Placement, Table};
use crate::event::{Event, EventKind};

/// Everything of a configuration that is about notifying someone.
pub struct Notifications {
    /// Where the configuration stands among others: its messages are told apart by it.
    pub placement: Placement,
    /// Every event handler, the monitor's included.
    pub handlers: Handlers,
    /// The handlers of an organisation's dashboard events, by its id.
    pub org_handlers: LiteMap<String, EnumMap<EventKind, Vec<HandlerIndex>>>,
    /// Every template.
    pub templates: Templates,
    /// How emails are written and sent; `None`: none are.
    pub mail: Option<Mail>,
    /// How messages are delivered.
    pub delivery: DeliveryPolicy,
    /// What needs which of the proxy's clusters.
    pub clusters: Clusters,
    /// Events show a key's fingerprint instead of the key.
    pub hash_keys: bool,
    /// The headers that name the client's address, lower case, where any is trusted.
    pub origin_headers: Vec<String>,
}

impl Notifications {
    /// Whose slots of the outbox its messages take, and how many there are.
    pub fn table(&self) -> Table {
        Table { line: self.placement.line, capacity: self.delivery.capacity }
    }

    /// What tells an event's caps, claims and digests from those of other groups and other configurations.
    pub fn group(&self, event: &Event) -> u64 {
        event.group() ^ self.placement.line.0.rotate_left(17)
    }
}
