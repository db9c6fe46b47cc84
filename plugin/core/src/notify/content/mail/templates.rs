//! The texts of emails: for each event a template for the subject, one for the plain text and one for HTML.
//!
//! They are stored as `email/<name>/subject.txt`, `body.txt` and `body.html`, because the ending of a name decides how
//! values are escaped. Gateway and portal events without their own email share one.

mod builtin;

use litemap::LiteMap;
use serde_json::Value;

use super::message::{EmailBody, EmailSubject};
use crate::base::json;
use crate::event::{Event, EventKind, Meta};
use crate::notify::content::template::{RenderError, TemplateError, TemplateName, Templates};

/// The email for gateway events that have none of their own.
pub const GATEWAY_EVENT: &str = "gateway_event";
/// The email for portal events that have none of their own.
pub const PORTAL_EVENT: &str = "portal_event";
/// To a developer who signed up.
pub const USER_SIGN_UP: &str = "user_sign_up";
/// To a developer whose account was activated.
pub const USER_ACTIVATED: &str = "user_activated";
/// To a developer whose account was deactivated.
pub const USER_DEACTIVATED: &str = "user_deactivated";
/// To the developer whose key request was submitted, approved, updated or deleted.
pub const USER_KEY_REQUEST: &str = "user_key_request";

/// The email of a key event. Hashed key events use it, too.
const KEY_EVENT: &str = "key_event";

/// The emails that only developers get. The email of an event itself is for the operator of the gateway or the portal.
pub const TO_DEVELOPERS: [&str; 4] = [USER_SIGN_UP, USER_ACTIVATED, USER_DEACTIVATED, USER_KEY_REQUEST];

/// The names of all emails, which `email_templates` can replace.
pub fn names() -> impl Iterator<Item = &'static str> {
    let gateway = EventKind::of_gateway().map(EventKind::name).chain(EventKind::NEVER_FIRED);
    let shared = [GATEWAY_EVENT, PORTAL_EVENT];
    let management = |portal| EventKind::of_management().filter(move |kind| kind.is_portal() == portal);
    let (dashboard, portal) = (management(false).map(EventKind::name), management(true).map(EventKind::name));
    dashboard.chain(gateway).chain(portal).chain(shared).chain(TO_DEVELOPERS)
}

/// The name under which an email is stored. Portal events can also be spelled with a z.
pub fn known(name: &str) -> Option<&'static str> {
    let spelled: &str = EventKind::from_name(name).map_or(name, |kind| kind.name());
    names().find(|known| *known == spelled)
}

/// True if other emails use this one unless they are replaced themselves.
pub fn is_shared(name: &str) -> bool {
    [GATEWAY_EVENT, PORTAL_EVENT, KEY_EVENT].contains(&name)
}

/// The email for an event without its own.
fn shared(name: &'static str) -> &'static str {
    match name {
        "hashed_key_event" => KEY_EVENT,
        _ if EventKind::from_name(name).is_some_and(EventKind::is_portal) => PORTAL_EVENT,
        _ => GATEWAY_EVENT,
    }
}

/// A part of an email.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A single line.
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

/// The data of an email. Templates see it as `Type`, `action`, `TimeStamp`, `ID`, `OrgID`, `Fingerprint`, `Meta.*`,
/// `data.*` and `Message.*`.
#[derive(Clone, Debug)]
pub struct EmailFacts<'f> {
    /// The event's name.
    pub kind: &'f str,
    /// The action of a dashboard event, such as `add` or `approved`; otherwise empty.
    pub action: &'f str,
    /// RFC 3339.
    pub time_stamp: String,
    /// The event's id.
    pub id: &'f str,
    /// The organisation's id.
    pub org_id: &'f str,
    /// Shown instead of the key of a gateway event. Built-in emails never show a key.
    pub fingerprint: &'f str,
    /// The metadata of a gateway event and of every digest.
    pub meta: Option<&'f Meta>,
    /// The `data` of a dashboard event.
    pub data: &'f Value,
    /// The `Message` of a portal event.
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

    /// The data of an event.
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

/// The text of an email without sender and recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailDraft {
    pub subject: EmailSubject,
    /// The plain text.
    pub text: EmailBody,
    /// The HTML form of the same text.
    pub html: Option<EmailBody>,
}

/// The templates of an email.
#[derive(Clone)]
struct Parts {
    subject: TemplateName,
    text: TemplateName,
    html: Option<TemplateName>,
}

/// All emails of a configuration, including the built-in ones.
pub struct MailTemplates {
    templates: Templates,
    emails: LiteMap<&'static str, Parts>,
}

impl MailTemplates {
    /// Only the built-in emails.
    pub fn builtin() -> Self {
        let mut all = MailTemplates { templates: Templates::builtin(), emails: LiteMap::new() };
        for email in builtin::ALL {
            let sources = [(Part::Subject, email.subject()), (Part::Text, email.text()), (Part::Html, email.html())];
            let added = sources.map(|(part, source)| all.add(email.name, part, &source));
            match added {
                [Ok(Some(subject)), Ok(Some(text)), Ok(html)] => {
                    all.emails.insert(email.name, Parts { subject, text, html });
                }
                others => log::error!("built-in email {}: {others:?}", email.name),
            }
        }
        all
    }

    /// Replaces parts of an email; an unknown name has no effect. The other parts stay. But if a text is given without
    /// HTML, the HTML is removed, because its text would differ.
    ///
    /// # Errors
    /// The parts whose templates are refused, each with the reason.
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
        self.emails.insert(name, parts);
        errors
    }

    fn add(&mut self, name: &str, part: Part, source: &str) -> Result<Option<TemplateName>, TemplateError> {
        let template = part.template(name);
        self.templates.add(&template, source)?;
        Ok(self.templates.find(&template))
    }

    /// The templates of an email, or of the one that it shares.
    fn parts(&self, name: &'static str) -> Option<&Parts> {
        self.emails.get(name).or_else(|| self.emails.get(shared(name)))
    }

    /// Writes the email with this name, in either spelling of portal events.
    ///
    /// # Errors
    /// The name is unknown, or a template fails at run time.
    pub fn draft(&self, name: &str, facts: &EmailFacts<'_>) -> Result<EmailDraft, RenderError> {
        let parts =
            known(name).and_then(|name| self.parts(name)).ok_or_else(|| RenderError::Unknown(name.to_owned()))?;
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
