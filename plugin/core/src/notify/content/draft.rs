//! A message before it is known whether it may go out.

use thiserror::Error;

use crate::base::{Address, AddressError, Mailbox, Name, UnixMillis};
use crate::event::{Event, EventKind, Meta};
use crate::notify::admission::cooldown::request_checksum;
use crate::notify::content::Email;
use crate::notify::content::mail::templates::{
    EmailFacts, USER_ACTIVATED, USER_DEACTIVATED, USER_KEY_REQUEST, USER_SIGN_UP,
};
use crate::notify::content::template::Rendered;
use crate::notify::{Channel, Content, Form, Mail, Notifications, Recipient, Webhook, WebhookRequest};

/// Why a message cannot be written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ContentError {
    /// A template failed; which one, and why.
    #[error("{0}")]
    Template(String),
    /// The key's metadata has no address to write to.
    #[error("meta_data.email of the key {0}")]
    Address(AddressError),
    /// The configuration has no `email_backend`.
    #[error("email is not configured")]
    NoMail,
}

/// A message that is not written yet, where that is work.
pub struct Draft<'n> {
    /// The MD5 of the request that the message is, with what is volatile blanked: alike for two messages of one cause.
    pub checksum: [u8; 16],
    unwritten: Unwritten<'n>,
}

/// An email takes three templates, too much for what is only counted: it is written when it can go out.
enum Unwritten<'n> {
    Webhook(&'n Webhook, Rendered),
    Email { mail: &'n Mail, name: &'static str, to: Mailbox },
}

/// What a channel is to send of an event; `None` where there is no one to send it to.
///
/// # Errors
/// When it cannot be written.
pub fn draft<'n>(
    notifications: &'n Notifications,
    channel: &'n Channel,
    event: &Event,
) -> Result<Option<Draft<'n>>, ContentError> {
    let (stable, unwritten) = match &channel.form {
        Form::Webhook(webhook) => {
            let rendered = notifications.templates.render(&webhook.template, event).map_err(ContentError::Template)?;
            (rendered.stable().to_owned(), Unwritten::Webhook(webhook, rendered))
        }
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
    /// Writes it.
    ///
    /// # Errors
    /// When a template fails.
    pub fn write(self, event: &Event) -> Result<Content, ContentError> {
        match self.unwritten {
            Unwritten::Webhook(webhook, rendered) => Ok(webhook_request(webhook, rendered)),
            Unwritten::Email { mail, name, to } => email(mail, name, event, to),
        }
    }
}

/// What a webhook sends of this.
pub fn webhook_request(webhook: &Webhook, rendered: Rendered) -> Content {
    Content::Webhook(WebhookRequest {
        method: webhook.method.to_owned(),
        headers: webhook.headers.clone(),
        body: rendered.body,
        keys: webhook.keys.clone(),
    })
}

/// An email to this recipient.
///
/// # Errors
/// When a template fails.
pub fn email(mail: &Mail, name: &str, event: &Event, to: Mailbox) -> Result<Content, ContentError> {
    let letter = mail.letter(name, &EmailFacts::of_event(event), to).map_err(ContentError::Template)?;
    Ok(Content::Email(Box::new(Email { account: mail.backend.account.clone(), letter })))
}

/// Who gets an email about an event.
fn mailbox(recipient: &Recipient, event: &Event) -> Result<Option<Mailbox>, ContentError> {
    match recipient {
        Recipient::Fixed(to) => Ok(Some(to.clone())),
        Recipient::Developer => match &event.management {
            Some(management) => Ok(management.concerned.clone()),
            // An organisation's threshold is no business of the client whose request crossed it.
            None if event.meta.key.is_empty() => Ok(None),
            None => event.meta.meta_data.get("email").map(|email| mailbox_of_key(email, event)).transpose(),
        },
    }
}

fn mailbox_of_key(email: &str, event: &Event) -> Result<Mailbox, ContentError> {
    let address = Address::parse(email).map_err(ContentError::Address)?;
    Ok(Mailbox { address, name: Name::lossy(&event.meta.alias) })
}

/// The email's name in `email_templates`: a developer is told in other words than the operator of the portal.
fn template_name(kind: EventKind, recipient: &Recipient) -> &'static str {
    match (recipient, kind) {
        (Recipient::Developer, EventKind::UserRegistered) => USER_SIGN_UP,
        (Recipient::Developer, EventKind::UserAccountActivated) => USER_ACTIVATED,
        (Recipient::Developer, EventKind::UserAccountDeactivated) => USER_DEACTIVATED,
        (Recipient::Developer, EventKind::KeyRequestEvent) => USER_KEY_REQUEST,
        (_, kind) => kind.name(),
    }
}

/// What is alike for two emails of one cause: their recipient, and what they say but for volatile values. An email says
/// less than its event, so two of these are told apart by more: a management event's whole payload, and of a threshold
/// whose it is and which.
fn cause_of_email(mail: &Mail, name: &str, event: &Event, to: &Mailbox) -> Result<String, ContentError> {
    let text = match &event.management {
        Some(management) => management.stable.clone(),
        None => {
            let stable = Event { at: UnixMillis(0), id: String::new(), ..event.clone() };
            let facts = EmailFacts::of_event(&stable);
            let meta = Meta { usage_percentage: String::new(), ..event.meta.clone() };
            let facts = EmailFacts { meta: Some(&meta), ..facts };
            let draft = mail.templates.draft(name, &facts).map_err(ContentError::Template)?;
            let Meta { org_id, key, api_id, trigger_limit, .. } = &meta;
            let threshold = if trigger_limit.is_empty() { None } else { Some([org_id, key, api_id, trigger_limit]) };
            format!("{threshold:?}\n{draft:?}")
        }
    };
    Ok(format!("{}\n{}\n{text}", event.kind.name(), to.address))
}
