//! E-mail through the HTTP APIs of providers.
//!
//! ```text
//! event → templates → email ── held ──→ request, signed (at each attempt) → callout → verdict
//! ```
//! [`templates`] write an [`EmailMessage`], which is held together with the account that sends it. For each attempt,
//! the provider's file makes a [`MailRequest`] of both. Amazon SES signs it with the time of the attempt (`ses`, by
//! `sigv4`). [`verdict`] judges the answer.

mod mailgun;
mod mandrill;
mod message;
mod providers;
mod request;
mod secret;
mod sendgrid;
mod ses;
mod settings;
mod sigv4;
pub mod templates;
pub mod verdict;

pub use message::EmailMessage;
#[cfg(test)]
pub use message::{EmailBody, EmailSubject};
pub use providers::{Account, Provider};
pub use request::MailRequest;
pub use settings::Settings;
pub use verdict::{ProviderAnswer, ProviderVerdict};

use crate::base::Mailbox;
use crate::delivery::Target;
use crate::notify::content::template::RenderError;
use templates::{EmailFacts, MailTemplates};

/// The configuration of e-mail.
pub struct Mail {
    /// The sending account.
    pub backend: Backend,
    /// The templates of all emails.
    pub templates: MailTemplates,
}

impl Mail {
    /// Writes the email with this name (see [`templates::names`]) from these facts. The sender is the configured one.
    ///
    /// # Errors
    /// A template fails at run time.
    pub fn message(&self, name: &str, facts: &EmailFacts<'_>, to: Mailbox) -> Result<EmailMessage, RenderError> {
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

/// An account with a provider, and the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The sender.
    pub from: Mailbox,
    /// True if the developer concerned is notified of accounts, key requests and thresholds.
    pub notify_users: bool,
    /// The cool-down of emails to developers, in milliseconds; 0 for none.
    pub event_timeout_ms: u64,
    pub account: Account,
}

impl Backend {
    /// The target of all requests.
    pub fn target(&self) -> &Target {
        self.account.target()
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
