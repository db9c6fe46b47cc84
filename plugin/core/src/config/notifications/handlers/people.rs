//! Adds the recipients of emails, and those of an organisation's events.

use crate::base::{Address, HandlerIndex, Mailbox, member};
use crate::config::notifications::event_options::EventOption;
use crate::config::notifications::handlers::{ByEvent, EMAIL, HandlerList};
use crate::config::raw;
use crate::delivery::{Target, USER_AGENT};
use crate::event::EventKind;
use crate::notify::{Body, Cap, Channel, Form, Mail, Recipient, Webhook, When};

/// How often a handler sends messages.
#[derive(Clone, Copy, Default)]
pub struct Pace {
    /// The cool-down in seconds.
    event_timeout: u64,
    max_per_minute: Option<u32>,
}

impl HandlerList<'_> {
    /// Adds the recipients in an organisation's `event_options`.
    pub fn add_options(&mut self, org: &str, options: &[EventOption]) -> ByEvent {
        let mut by_event = ByEvent::default();
        for told in options {
            let EventOption { kind, event_timeout, max_per_minute, .. } = *told;
            let pace = Pace { event_timeout, max_per_minute };
            let path = member(&member(&member("orgs", org), "event_options"), kind.name());
            let name = format!("orgs[{org}].event_options.{}", kind.name());
            if let Some(target) = &told.webhook {
                let own = [("content-type", "application/json"), ("user-agent", USER_AGENT)];
                let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let authorization = told.authorization.iter().map(|value| ("authorization".to_owned(), value.clone()));
                let headers = own.into_iter().chain(authorization).collect();
                let name = self.list.free_name(format!("{name}.webhook"));
                let cap = Cap::new(&[&name], target.endpoint, pace.max_per_minute);
                let webhook = self.templates.find("").map(Body::Template).map(|body| Webhook {
                    method: "POST",
                    body,
                    headers,
                    secrets: Vec::new(),
                    keys: Vec::new(),
                });
                let added = webhook.map(|webhook| {
                    self.push_channel(&name, When::default(), plain(target, pace, cap, Form::Webhook(webhook)))
                });
                added.into_iter().for_each(|added| by_event.push(kind, added));
            }
            match (&told.email, self.mail) {
                (Some(_), None) => {
                    self.warnings.add(member(&path, "email"), "no one is notified: email_backend is not enabled");
                }
                (Some(address), Some(mail)) => {
                    by_event.push(kind, self.add_emails(&format!("{name}.email"), mail, address, pace));
                }
                (None, _) => {}
            }
        }
        by_event
    }

    /// Adds the emails that notify developers of their accounts and requests.
    pub fn add_developers(&mut self, mail: &Mail) -> ByEvent {
        let mut by_event = ByEvent::default();
        for kind in [
            EventKind::UserRegistered,
            EventKind::UserAccountActivated,
            EventKind::UserAccountDeactivated,
            EventKind::KeyRequestEvent,
        ] {
            let added = self.add_developer(&format!("email_backend.{}", kind.name()), mail);
            added.into_iter().for_each(|added| by_event.push(kind, added));
        }
        by_event
    }

    /// Adds emails to the developer concerned. They have no cap, because one digest of the excess could go to only one
    /// developer.
    pub fn add_developer(&mut self, name: &str, mail: &Mail) -> Option<HandlerIndex> {
        let target = mail.backend.target();
        let pace = Pace { event_timeout: mail.backend.event_timeout_ms / 1000, max_per_minute: Some(0) };
        let cap = Cap::new(&[name], target.endpoint, pace.max_per_minute);
        let channel = plain(target, pace, cap, Form::Email(Recipient::Developer));
        Some(self.push_channel(name, When::default(), channel))
    }

    /// Adds an event handler that sends to one address.
    pub fn add_email_handler(&mut self, path: &str, name: &str, meta: &raw::HandlerMeta) -> Option<HandlerIndex> {
        self.warn_of_ignored(path, meta);
        let event_timeout = self.event_timeout(path, meta);
        let when = self.when(&member(path, "when"), &meta.when);
        let address = match Address::parse(&meta.email) {
            Ok(address) => Some(address),
            Err(error) => {
                let message = if meta.email.is_empty() { "missing".into() } else { format!("no address: it {error}") };
                self.errors.add(member(path, "email"), message);
                None
            }
        };
        if meta.disabled {
            return None;
        }
        if !self.mail_is_enabled {
            self.errors.add(path, format!("an {EMAIL} needs email_backend, which is not enabled"));
        }
        let pace = Pace { event_timeout, max_per_minute: meta.max_per_minute };
        let (mail, address) = self.mail.zip(address)?;
        let channel = Channel {
            digest: meta.digest.unwrap_or_default(),
            timeout_ms: meta.timeout_ms(),
            ..emails(name, mail, address, pace)
        };
        Some(self.push_channel(name, when, channel))
    }

    fn warn_of_ignored(&mut self, path: &str, meta: &raw::HandlerMeta) {
        let given = [
            ("method", meta.method.is_some()),
            ("target_path", !meta.target_path.is_empty()),
            ("webhook", !meta.webhook.is_empty()),
            ("template_path", !meta.template_path.is_empty()),
            ("receiver", meta.receiver != raw::ReceiverSettings::default()),
            ("header_map", !meta.header_map.is_empty()),
            ("secret", !meta.secret.is_empty()),
            ("prefix", !meta.prefix.is_empty()),
        ];
        for (field, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let message = match field {
                "template_path" => format!("ignored: the text of an {EMAIL} is in email_templates"),
                _ => format!("ignored: it is not for an {EMAIL}"),
            };
            self.warnings.add(member(path, field), message);
        }
    }

    fn add_emails(&mut self, name: &str, mail: &Mail, to: &Address, pace: Pace) -> HandlerIndex {
        let name = self.list.free_name(name.to_owned());
        let channel = emails(&name, mail, to.clone(), pace);
        self.push_channel(&name, When::default(), channel)
    }
}

/// Emails to one address. The cap belongs to the address, because two configurations can use one name for two
/// addresses.
fn emails(name: &str, mail: &Mail, to: Address, pace: Pace) -> Channel {
    let target = mail.backend.target();
    let cap = Cap::new(&[name, to.as_str()], target.endpoint, pace.max_per_minute);
    plain(target, pace, cap, Form::Email(Recipient::Fixed(Mailbox::from(to))))
}

fn plain(target: &Target, pace: Pace, cap: Cap, form: Form) -> Channel {
    Channel {
        target: target.clone(),
        timeout_ms: None,
        event_timeout_ms: pace.event_timeout.saturating_mul(1000),
        digest: false,
        cap,
        form,
    }
}
