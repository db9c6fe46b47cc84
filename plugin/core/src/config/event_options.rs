//! What an organisation wants to hear of: Tyk's `event_options`.

use std::fmt;

use crate::base::Address;
use crate::delivery::Target;
use crate::event::EventKind;

/// Who hears of one event, and how often.
#[derive(Clone, PartialEq, Eq)]
pub struct EventOption {
    /// The event.
    pub kind: EventKind,
    /// Where it is posted to.
    pub webhook: Option<Target>,
    /// The `authorization` header of the request, where the URL has a user and password. A secret.
    pub authorization: Option<String>,
    /// The address that is told.
    pub email: Option<Address>,
    /// The cool-down of either, in seconds; 0 for none.
    pub event_timeout: u64,
    /// How many messages a minute either gets; `None` and 0 for any number.
    pub max_per_minute: Option<u32>,
}

impl fmt::Debug for EventOption {
    /// Without the header, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventOption")
            .field("kind", &self.kind)
            .field("webhook", &self.webhook)
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}
