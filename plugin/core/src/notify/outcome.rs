//! The outcome of an event at one handler.

use crate::base::UnixMillis;

/// The outcome of an event at one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// The event was logged, or its message is held until it is delivered.
    Taken,
    /// A message of the same cause went out less than its cool-down ago.
    Suppressed {
        /// When the cool-down ends; `None` if a digest counts the events that it holds back.
        until: Option<UnixMillis>,
    },
    /// The handler has sent as many messages in the last minute as its cap allows.
    Capped,
    /// The handler's target answered 410.
    Disabled,
    /// The event names no recipient.
    NoRecipient,
    /// The message could not be made.
    Failed,
    /// The outbox had no room for the message.
    Dropped,
}

impl MessageOutcome {
    /// The possible results of [`MessageOutcome::reason`].
    pub const REASONS: [&'static str; 6] = ["suppressed", "capped", "disabled", "no_recipient", "failed", "dropped"];

    /// The reason in one word if the message is not sent; `None` if it is.
    pub fn reason(self) -> Option<&'static str> {
        Some(match self {
            MessageOutcome::Taken => return None,
            MessageOutcome::Suppressed { .. } => "suppressed",
            MessageOutcome::Capped => "capped",
            MessageOutcome::Disabled => "disabled",
            MessageOutcome::NoRecipient => "no_recipient",
            MessageOutcome::Failed => "failed",
            MessageOutcome::Dropped => "dropped",
        })
    }
}
