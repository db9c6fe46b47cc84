//! E-mail, by the HTTP APIs of its providers.
//!
//! ```text
//! event → templates → letter ── held ──→ request, signed (at each attempt) → callout → verdict
//! ```
//! [`templates`] write a [`EmailMessage`], which is held beside the account that sends it. For each attempt one file per provider
//! makes a [`MailRequest`] of the two and signs it with its own time (`ses`, by `sigv4`); [`verdict`] says what an answer
//! means.

mod letter;
mod mailgun;
mod mandrill;
mod providers;
mod request;
mod secret;
mod sendgrid;
mod ses;
mod settings;
mod sigv4;
pub mod templates;
pub mod verdict;

pub use letter::EmailMessage;
#[cfg(test)]
pub use letter::{EmailBody, EmailSubject};
pub use providers::{Account, Provider};
pub use request::MailRequest;
pub use settings::Settings;
pub use verdict::{ProviderAnswer, ProviderVerdict};

use crate::base::Mailbox;
use crate::delivery::Target;
use templates::{EmailFacts, MailTemplates};

/// E-mail, as configured.
pub struct Mail {
    /// Who sends it.
    pub backend: Backend,
    /// What it says.
    pub templates: MailTemplates,
}

impl Mail {
    /// The letter of that name (see [`templates::names`]) with these facts, from the configured sender.
    ///
    /// # Errors
    /// When a template fails at run time; the text says which and why.
    pub fn letter(&self, name: &str, facts: &EmailFacts<'_>, to: Mailbox) -> Result<EmailMessage, String> {
        let draft = self.templates.draft(name, facts)?;
        Ok(EmailMessage {
            to,
            from: self.backend.from.clone(),
            subject: draft.subject,
            text: draft.text,
            html: draft.html,
        })
    }
}

/// An account with a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The sender.
    pub from: Mailbox,
    /// Whether the developer concerned hears of accounts, key requests and thresholds.
    pub notify_users: bool,
    /// The cool-down of what developers hear, in milliseconds; 0 for none.
    pub event_timeout_ms: u64,
    pub account: Account,
}

impl Backend {
    /// Where every request goes.
    pub fn target(&self) -> &Target {
        self.account.target()
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
