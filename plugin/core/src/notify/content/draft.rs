//! A message before its admission is decided.

use thiserror::Error;

use crate::base::{Address, AddressError, Mailbox, Name, UnixMillis};
use crate::event::{Event, EventKind, Meta};
use crate::notify::admission::cooldown::request_checksum;
use crate::notify::content::Email;
use crate::notify::content::mail::templates::{
    EmailFacts, USER_ACTIVATED, USER_DEACTIVATED, USER_KEY_REQUEST, USER_SIGN_UP,
};
use crate::notify::content::receiver::cause;
use crate::notify::content::template::{RenderError, Rendered};
use crate::notify::{Body, Channel, Content, Form, Mail, Notifications, Recipient, Webhook, WebhookRequest};

/// Why a message cannot be made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ContentError {
    /// A template failed.
    #[error("{0}")]
    Template(#[from] RenderError),
    /// The key's metadata has no valid address.
    #[error("meta_data.email of the key {0}")]
    Address(AddressError),
    /// The configuration has no `email_backend`.
    #[error("email is not configured")]
    NoMail,
}

/// A message whose content is written only after admission, if writing it is expensive.
pub struct Draft<'n> {
    /// The MD5 of the message's request with volatile values blanked. It is the same for two messages of one cause.
    pub checksum: [u8; 16],
    unwritten: Unwritten<'n>,
}

/// Emails and messages for receivers are written after admission. They need too much for an event that is only counted.
enum Unwritten<'n> {
    Webhook(&'n Webhook, Rendered),
    Receiver(&'n Notifications, &'n Webhook),
    Email { mail: &'n Mail, name: &'static str, to: Mailbox },
}

/// The message that a channel sends for an event; `None` if there is no recipient.
///
/// # Errors
/// The message cannot be made.
pub fn draft<'n>(
    notifications: &'n Notifications,
    channel: &'n Channel,
    event: &Event,
) -> Result<Option<Draft<'n>>, ContentError> {
    let (stable, unwritten) = match &channel.form {
        Form::Webhook(webhook) => match &webhook.body {
            Body::Template(template) => {
                let rendered = notifications.templates.render(template, event)?;
                (rendered.stable().to_owned(), Unwritten::Webhook(webhook, rendered))
            }
            Body::Receiver { .. } => (cause(event), Unwritten::Receiver(notifications, webhook)),
        },
        Form::Email(recipient) => {
            let Some(to) = mailbox(recipient, event)? else { return Ok(None) };
            let mail = notifications.mail.as_ref().ok_or(ContentError::NoMail)?;
            let name = template_name(event.kind, recipient);
            let stable =
                if channel.event_timeout_ms > 0 { cause_of_email(mail, name, event, &to)? } else { String::new() };
            (stable, Unwritten::Email { mail, name, to })
        }
    };
    let target = &channel.target;
    let checksum = request_checksum(channel.method(), &target.path_and_query, &target.authority, &stable);
    Ok(Some(Draft { checksum, unwritten }))
}

impl Draft<'_> {
    /// Writes the content.
    ///
    /// # Errors
    /// A template fails.
    pub fn write(self, event: &Event) -> Result<Content, ContentError> {
        match self.unwritten {
            Unwritten::Webhook(webhook, rendered) => Ok(webhook_request(webhook, rendered.body)),
            Unwritten::Receiver(notifications, webhook) => {
                Ok(webhook_request(webhook, body(notifications, webhook, event)?))
            }
            Unwritten::Email { mail, name, to } => email(mail, name, event, to),
        }
    }
}

/// The body of a webhook for an event.
///
/// # Errors
/// A template fails.
pub fn body(notifications: &Notifications, webhook: &Webhook, event: &Event) -> Result<String, RenderError> {
    match &webhook.body {
        Body::Template(template) => notifications.templates.render(template, event).map(|rendered| rendered.body),
        Body::Receiver { receiver, source } => notifications.receivers.render(receiver, source, event),
    }
}

/// The content of a webhook with this body.
pub fn webhook_request(webhook: &Webhook, body: String) -> Content {
    Content::Webhook(WebhookRequest {
        method: webhook.method.to_owned(),
        headers: webhook.headers.clone(),
        body,
        secrets: webhook.secrets.clone(),
        keys: webhook.keys.clone(),
    })
}

/// Makes an email to this recipient.
///
/// # Errors
/// A template fails.
pub fn email(mail: &Mail, name: &str, event: &Event, to: Mailbox) -> Result<Content, ContentError> {
    let message = mail.message(name, &EmailFacts::of_event(event), to)?;
    Ok(Content::Email(Box::new(Email { account: mail.backend.account.clone(), message })))
}

/// The recipient of an email about an event.
fn mailbox(recipient: &Recipient, event: &Event) -> Result<Option<Mailbox>, ContentError> {
    match recipient {
        Recipient::Fixed(to) => Ok(Some(to.clone())),
        Recipient::Developer => match &event.management {
            Some(management) => Ok(management.concerned.clone()),
            // The client whose request crossed an organisation's threshold is not notified of it.
            None if event.meta.key.is_empty() => Ok(None),
            None => event.meta.meta_data.get("email").map(|email| mailbox_of_key(email, event)).transpose(),
        },
    }
}

fn mailbox_of_key(email: &str, event: &Event) -> Result<Mailbox, ContentError> {
    let address = Address::parse(email).map_err(ContentError::Address)?;
    Ok(Mailbox { address, name: Name::lossy(&event.meta.alias) })
}

/// The email's name in `email_templates`. Developers get other texts than the operator of the portal.
fn template_name(kind: EventKind, recipient: &Recipient) -> &'static str {
    match (recipient, kind) {
        (Recipient::Developer, EventKind::UserRegistered) => USER_SIGN_UP,
        (Recipient::Developer, EventKind::UserAccountActivated) => USER_ACTIVATED,
        (Recipient::Developer, EventKind::UserAccountDeactivated) => USER_DEACTIVATED,
        (Recipient::Developer, EventKind::KeyRequestEvent) => USER_KEY_REQUEST,
        (_, kind) => kind.name(),
    }
}

/// A text that is the same for two emails of one cause: the recipient and the email without volatile values. An email
/// shows less than its event, so more is included: the whole payload of a management event, and the subject and
/// threshold of a crossing.
fn cause_of_email(mail: &Mail, name: &str, event: &Event, to: &Mailbox) -> Result<String, ContentError> {
    let text = match &event.management {
        Some(management) => management.stable.clone(),
        None => {
            let stable = Event { at: UnixMillis(0), id: String::new(), ..event.clone() };
            let facts = EmailFacts::of_event(&stable);
            let meta = Meta { usage_percentage: String::new(), ..event.meta.clone() };
            let facts = EmailFacts { meta: Some(&meta), ..facts };
            let draft = mail.templates.draft(name, &facts)?;
            let Meta { org_id, key, api_id, trigger_limit, .. } = &meta;
            let threshold = if trigger_limit.is_empty() { None } else { Some([org_id, key, api_id, trigger_limit]) };
            format!("{threshold:?}\n{draft:?}")
        }
    };
    Ok(format!("{}\n{}\n{text}", event.kind.name(), to.address))
}
