//! What letters say: a template for the subject, one for the text, one for HTML, for each event.
//!
//! They are kept as `email/<name>/subject.txt`, `body.txt` and `body.html`, so that values are escaped by the ending of
//! a name. Gateway and portal events that have no letter of their own share one.

mod builtin;

use litemap::LiteMap;
use serde_json::Value;

use super::letter::{EmailBody, EmailSubject};
use crate::base::json;
use crate::event::{Event, EventKind, Meta};
use crate::notify::content::template::{TemplateError, TemplateName, Templates};

/// The letter of gateway events that have none of their own.
pub const GATEWAY_EVENT: &str = "gateway_event";
/// The letter of portal events that have none of their own.
pub const PORTAL_EVENT: &str = "portal_event";
/// To a developer who has signed up.
pub const USER_SIGN_UP: &str = "user_sign_up";
/// To a developer whose account can be used now.
pub const USER_ACTIVATED: &str = "user_activated";
/// To a developer whose account cannot be used any more.
pub const USER_DEACTIVATED: &str = "user_deactivated";
/// To the developer whose key request was submitted, approved, updated or deleted.
pub const USER_KEY_REQUEST: &str = "user_key_request";

/// A dashboard's event; that of hashed keys has the same letter.
const KEY_EVENT: &str = "key_event";

/// The dashboard's events.
pub const DASHBOARD_EVENTS: [&str; 6] = [
    "api_event",
    KEY_EVENT,
    "hashed_key_event",
    "key_request_event",
    "password_reset_event",
    "portal_password_reset_event",
];

/// The portal's events, as its messages spell them.
pub const PORTAL_EVENTS: [&str; 13] = [
    "UserRegistered",
    "UserAccountActivated",
    "UserAccountDeactivated",
    "PasswordReset",
    "ApplicationRegistered",
    "CredentialRegistered",
    "AccessRequestCreated",
    "AccessRequestApproved",
    "AccessRequestRejected",
    "OrganisationRegistered",
    "OrganisationRequestCreated",
    "OrganisationRequestApproved",
    "OrganisationRequestRejected",
];

/// The letters that only developers get; an event's own letter is for whoever runs the gateway or the portal.
pub const TO_DEVELOPERS: [&str; 4] = [USER_SIGN_UP, USER_ACTIVATED, USER_DEACTIVATED, USER_KEY_REQUEST];

/// The names of all letters: what `email_templates` can replace.
pub fn names() -> impl Iterator<Item = &'static str> {
    let gateway = EventKind::of_gateway().map(EventKind::name).chain(EventKind::NEVER_FIRED);
    let shared = [GATEWAY_EVENT, PORTAL_EVENT];
    DASHBOARD_EVENTS.into_iter().chain(gateway).chain(PORTAL_EVENTS).chain(shared).chain(TO_DEVELOPERS)
}

/// The name of a letter as it is kept: portal events can be spelled with a z too.
pub fn known(name: &str) -> Option<&'static str> {
    let spelled = match name.strip_prefix("Organization") {
        Some(rest) => format!("Organisation{rest}"),
        None => name.to_owned(),
    };
    names().find(|known| *known == spelled)
}

/// Whether letters that are not replaced themselves follow this one.
pub fn is_shared(name: &str) -> bool {
    [GATEWAY_EVENT, PORTAL_EVENT, KEY_EVENT].contains(&name)
}

/// The letter that an event without one of its own gets.
fn shared(name: &'static str) -> &'static str {
    match name {
        "hashed_key_event" => KEY_EVENT,
        _ if PORTAL_EVENTS.contains(&name) => PORTAL_EVENT,
        _ => GATEWAY_EVENT,
    }
}

/// A part of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One line.
    Subject,
    /// Plain text.
    Text,
    /// HTML.
    Html,
}

impl Part {
    /// The field of `email_templates`.
    pub fn field(self) -> &'static str {
        match self {
            Part::Subject => "subject",
            Part::Text => "text",
            Part::Html => "html",
        }
    }

    fn template(self, name: &str) -> String {
        let file = match self {
            Part::Subject => "subject.txt",
            Part::Text => "body.txt",
            Part::Html => "body.html",
        };
        format!("email/{name}/{file}")
    }
}

/// What a letter is written of. Templates see it as `Type`, `action`, `TimeStamp`, `ID`, `OrgID`, `Fingerprint`,
/// `Meta.*`, `data.*` and `Message.*`.
#[derive(Clone, Debug)]
pub struct EmailFacts<'f> {
    /// The event's name.
    pub kind: &'f str,
    /// Of a dashboard event: what was done, such as `add` or `approved`. Else empty.
    pub action: &'f str,
    /// RFC 3339.
    pub time_stamp: String,
    /// The event's id.
    pub id: &'f str,
    /// The organisation's id.
    pub org_id: &'f str,
    /// What stands for the key of a gateway event: built-in letters never show a key.
    pub fingerprint: &'f str,
    /// Of a gateway event, and of every digest.
    pub meta: Option<&'f Meta>,
    /// Of a dashboard event: its `data`.
    pub data: &'f Value,
    /// Of a portal event: its `Message`.
    pub message: &'f Value,
}

impl<'f> EmailFacts<'f> {
    fn view(&self) -> Value {
        json::object(&mut [
            ("Type", self.kind.into()),
            ("action", self.action.into()),
            ("TimeStamp", self.time_stamp.as_str().into()),
            ("ID", self.id.into()),
            ("OrgID", self.org_id.into()),
            ("Fingerprint", self.fingerprint.into()),
            ("Meta", self.meta.map(Meta::view).into()),
            ("data", self.data.clone()),
            ("Message", self.message.clone()),
        ])
    }

    /// Of an event.
    pub fn of_event(event: &'f Event) -> Self {
        if let Some(said) = &event.management {
            return EmailFacts {
                kind: event.kind.name(),
                action: said.action,
                time_stamp: event.at.to_rfc3339(),
                id: &event.id,
                org_id: &event.meta.org_id,
                fingerprint: "",
                meta: (event.meta.suppressed > 0).then_some(&event.meta),
                data: &said.payload,
                message: &said.payload,
            };
        }
        EmailFacts {
            kind: event.kind.name(),
            action: "",
            time_stamp: event.at.to_rfc3339(),
            id: &event.id,
            org_id: &event.meta.org_id,
            fingerprint: &event.fingerprint,
            meta: Some(&event.meta),
            data: &Value::Null,
            message: &Value::Null,
        }
    }
}

/// What a letter says, before it has a sender and a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailDraft {
    /// What it is about.
    pub subject: EmailSubject,
    /// What it says.
    pub text: EmailBody,
    /// The same in HTML.
    pub html: Option<EmailBody>,
}

/// The templates of a letter.
#[derive(Clone)]
struct Parts {
    subject: TemplateName,
    text: TemplateName,
    html: Option<TemplateName>,
}

/// Every letter of a configuration, and the built-in ones.
pub struct MailTemplates {
    templates: Templates,
    letters: LiteMap<&'static str, Parts>,
}

impl MailTemplates {
    /// Only the built-in letters.
    pub fn builtin() -> Self {
        let mut all = MailTemplates { templates: Templates::builtin(), letters: LiteMap::new() };
        for letter in builtin::ALL {
            let sources = [(Part::Subject, letter.subject()), (Part::Text, letter.text()), (Part::Html, letter.html())];
            let added = sources.map(|(part, source)| all.add(letter.name, part, &source));
            match added {
                [Ok(Some(subject)), Ok(Some(text)), Ok(html)] => {
                    all.letters.insert(letter.name, Parts { subject, text, html });
                }
                others => log::error!("built-in letter {}: {others:?}", letter.name),
            }
        }
        all
    }

    /// Replaces parts of a letter; a name that none has does nothing. What is not given stays as it was, but for the
    /// HTML beside a text that is: it would say something else.
    ///
    /// # Errors
    /// Each part whose template is refused, and why.
    pub fn replace(&mut self, name: &str, given: &[(Part, &str)]) -> Vec<(Part, TemplateError)> {
        let mut errors = Vec::new();
        let Some((name, mut parts)) = known(name).and_then(|name| Some((name, self.parts(name)?.clone()))) else {
            return errors;
        };
        if given.iter().any(|(part, _)| *part == Part::Text) {
            parts.html = None;
        }
        for (part, source) in given {
            match (part, self.add(name, *part, source)) {
                (_, Err(error)) => errors.push((*part, error)),
                (Part::Html, Ok(html)) => parts.html = html,
                (Part::Subject, Ok(Some(subject))) => parts.subject = subject,
                (Part::Text, Ok(Some(text))) => parts.text = text,
                (_, Ok(None)) => {}
            }
        }
        self.letters.insert(name, parts);
        errors
    }

    fn add(&mut self, name: &str, part: Part, source: &str) -> Result<Option<TemplateName>, TemplateError> {
        let template = part.template(name);
        self.templates.add(&template, source)?;
        Ok(self.templates.find(&template))
    }

    /// Those of a letter, or of the one that it shares.
    fn parts(&self, name: &'static str) -> Option<&Parts> {
        self.letters.get(name).or_else(|| self.letters.get(shared(name)))
    }

    /// Writes the letter of that name, in either spelling of portal events.
    ///
    /// # Errors
    /// When there is none, or a template fails at run time; the text says which and why.
    pub fn draft(&self, name: &str, facts: &EmailFacts<'_>) -> Result<EmailDraft, String> {
        let parts = known(name).and_then(|name| self.parts(name)).ok_or_else(|| format!("no letter {name:?}"))?;
        let view = facts.view();
        let render = |part: &TemplateName| self.templates.render_value(part, view.clone());
        Ok(EmailDraft {
            subject: EmailSubject::new(&render(&parts.subject)?),
            text: EmailBody::new(render(&parts.text)?),
            html: parts.html.as_ref().map(render).transpose()?.map(EmailBody::new),
        })
    }
}

#[cfg(test)]
mod tests;
