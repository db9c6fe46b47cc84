//! E-mail, by the HTTP APIs of its providers.
//!
//! ```text
//! event → templates → letter ── held ──→ request, signed (at each attempt) → callout → verdict
//! ```
//! [`templates`] write a [`EmailMessage`], which is held beside the account that sends it. For each attempt one file per provider
//! makes a [`MailRequest`] of the two and signs it with its own time (`ses`, by `sigv4`); [`verdict`] says what an answer
//! means.

mod letter;
pub mod mailgun;
pub mod mandrill;
mod request;
mod secret;
pub mod sendgrid;
pub mod ses;
mod sigv4;
pub mod templates;
pub mod verdict;

pub use letter::EmailMessage;
#[cfg(test)]
pub use letter::{EmailBody, EmailSubject};
pub use request::MailRequest;
pub use ses::AwsKey;

pub use secret::Secret;

use serde::{Deserialize, Serialize};

use crate::base::Mailbox;

use crate::base::UnixMillis;
use crate::delivery::Target;
use mailgun::Mailgun;
use mandrill::Mandrill;
use sendgrid::SendGrid;
use ses::AmazonSes;
use templates::{EmailFacts, MailTemplates};
use verdict::{ProviderAnswer, ProviderVerdict};

/// A provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provider {
    /// Mandrill, now Mailchimp Transactional.
    Mandrill,
    /// SendGrid.
    SendGrid,
    /// Mailgun.
    Mailgun,
    /// Amazon SES, by its API v2.
    AmazonSes,
}

impl Provider {
    /// All of them.
    pub const ALL: [Provider; 4] = [Provider::Mandrill, Provider::SendGrid, Provider::Mailgun, Provider::AmazonSes];

    /// Tyk's code for it.
    pub fn code(self) -> &'static str {
        match self {
            Provider::Mandrill => "mandrill",
            Provider::SendGrid => "sendgrid",
            Provider::Mailgun => "mailgun",
            Provider::AmazonSes => "amazonses",
        }
    }

    /// The one of that code, in any case of letters.
    pub fn from_code(code: &str) -> Option<Self> {
        Provider::ALL.into_iter().find(|provider| provider.code().eq_ignore_ascii_case(code))
    }
}

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

/// What each provider needs: enough for any VM to send an email, whatever its configuration, and to judge the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    Mandrill(Mandrill),
    SendGrid(SendGrid),
    Mailgun(Mailgun),
    AmazonSes(AmazonSes),
}

impl Account {
    /// Whose it is.
    pub fn provider(&self) -> Provider {
        match self {
            Account::Mandrill(_) => Provider::Mandrill,
            Account::SendGrid(_) => Provider::SendGrid,
            Account::Mailgun(_) => Provider::Mailgun,
            Account::AmazonSes(_) => Provider::AmazonSes,
        }
    }

    /// Where every request goes.
    pub fn target(&self) -> &Target {
        match self {
            Account::Mandrill(Mandrill { target, .. })
            | Account::SendGrid(SendGrid { target, .. })
            | Account::Mailgun(Mailgun { target, .. })
            | Account::AmazonSes(AmazonSes { target, .. }) => target,
        }
    }

    /// The request that hands over a letter. It lacks what [`Account::sign`] adds.
    pub fn request(&self, letter: &EmailMessage) -> MailRequest {
        match self {
            Account::Mandrill(account) => account.request(letter),
            Account::SendGrid(account) => account.request(letter),
            Account::Mailgun(account) => account.request(letter),
            Account::AmazonSes(account) => account.request(letter),
        }
    }

    /// The headers that an attempt which begins `now` has beside those of the request; none but for Amazon SES.
    ///
    /// `headers` are those of [`MailRequest::request_headers`], with the pseudo-headers.
    pub fn sign(&self, headers: &[(String, String)], body: &[u8], now: UnixMillis) -> Vec<(String, String)> {
        match self {
            Account::AmazonSes(account) => account.key.sign(headers, body, now),
            _ => Vec::new(),
        }
    }

    /// What an answer that came `now` means.
    pub fn judge(&self, answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        self.provider().judge(answer, now)
    }
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
