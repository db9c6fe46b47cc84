//! What becomes of an event at one handler.

use crate::base::UnixMillis;

/// What became of an event on its way to one handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// It was logged, or its message is held until it is delivered.
    Taken,
    /// A message of the same cause went out less than its cool-down ago.
    Suppressed {
        /// When that ends; `None` where a digest counts what is held back.
        until: Option<UnixMillis>,
    },
    /// The handler has sent as many messages in the last minute as its cap allows.
    Capped,
    /// Its target answered 410.
    Disabled,
    /// There is no one to send it to.
    NoRecipient,
    /// It cannot be written.
    Failed,
    /// The outbox had no room for it.
    Dropped,
}

impl MessageOutcome {
    /// The words of [`MessageOutcome::reason`].
    pub const REASONS: [&'static str; 6] = ["suppressed", "capped", "disabled", "no_recipient", "failed", "dropped"];

    /// Why it is not sent, in one word; `None` where it is.
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
