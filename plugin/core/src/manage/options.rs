//! What an organisation wants to hear of: Tyk's `event_options`.

use std::collections::BTreeMap;
use std::fmt;

use super::kind::Kind;
use crate::handler::Target;
use crate::mail::Address;

/// Who hears of an organisation's dashboard events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventOptions(BTreeMap<Kind, EventOption>);

/// Who hears of one event.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EventOption {
    /// Where the event is posted to.
    pub webhook: Option<Target>,
    /// The `authorization` header of the request, where the URL has a user and password. A secret.
    pub authorization: Option<String>,
    /// The address that is told.
    pub email: Option<Address>,
}

impl EventOptions {
    /// Sets who hears of an event.
    pub fn set(&mut self, kind: Kind, option: EventOption) {
        self.0.insert(kind, option);
    }

    /// Who hears of an event.
    pub fn get(&self, kind: Kind) -> Option<&EventOption> {
        self.0.get(&kind)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &EventOption)> {
        self.0.iter().map(|(kind, option)| (*kind, option))
    }

    /// Whether nobody hears of anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for EventOption {
    /// Without the header, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventOption")
            .field("webhook", &self.webhook)
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}
