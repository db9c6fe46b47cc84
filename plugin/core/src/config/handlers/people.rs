//! Who is told by e-mail, and who hears of an organisation's events.

use super::{ByEvent, EMAIL, HandlerList};
use crate::cap::Cap;
use crate::config::error::member;
use crate::config::raw;
use crate::event::EventKind;
use crate::handler::{Action, Email, HandlerIndex, Recipient, Target, USER_AGENT, Webhook};
use crate::mail::{Address, Mail, Mailbox};
use crate::manage::{EventOption, Kind};

/// What limits the messages of a handler.
#[derive(Clone, Copy, Default)]
pub(super) struct Channel {
    /// The cool-down in seconds.
    event_timeout: u64,
    max_per_minute: Option<u32>,
}

impl HandlerList<'_> {
    /// Adds whoever an organisation's `event_options` name.
    pub(in crate::config) fn add_options(&mut self, org: &str, options: &[EventOption]) -> ByEvent {
        let mut by_event = ByEvent::default();
        for told in options {
            let EventOption { kind, event_timeout, max_per_minute, .. } = *told;
            let channel = Channel { event_timeout, max_per_minute };
            let path = member(&member(&member("orgs", org), "event_options"), kind.name());
            let name = format!("orgs[{org}].event_options.{}", kind.name());
            if let Some(target) = &told.webhook {
                let own = [("content-type", "application/json"), ("user-agent", USER_AGENT)];
                let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let authorization = told.authorization.iter().map(|value| ("authorization".to_owned(), value.clone()));
                let headers = own.into_iter().chain(authorization).collect();
                let name = self.list.free_name(format!("{name}.webhook"));
                let cap = Cap::new(&[&name], target.endpoint, channel.max_per_minute);
                let webhook = self.plain(target, headers, channel, cap);
                let added = webhook.map(|webhook| self.push(&name, Action::Webhook(Box::new(webhook))));
                added.into_iter().for_each(|added| by_event.push(EventKind::Management(kind), added));
            }
            match (&told.email, self.mail) {
                (Some(_), None) => {
                    self.warnings.add(member(&path, "email"), "nobody is told: email_backend is not enabled");
                }
                (Some(address), Some(mail)) => {
                    let added = self.add_letters(&format!("{name}.email"), mail, address, channel);
                    added.into_iter().for_each(|added| by_event.push(EventKind::Management(kind), added));
                }
                (None, _) => {}
            }
        }
        by_event
    }

    /// Adds the letters by which developers hear of their accounts and of what they asked for.
    pub(in crate::config) fn add_developers(&mut self, mail: &Mail) -> ByEvent {
        let mut by_event = ByEvent::default();
        for kind in
            [Kind::UserRegistered, Kind::UserAccountActivated, Kind::UserAccountDeactivated, Kind::KeyRequestEvent]
        {
            let added = self.add_developer(&format!("email_backend.{}", kind.name()), mail);
            added.into_iter().for_each(|added| by_event.push(EventKind::Management(kind), added));
        }
        by_event
    }

    /// Adds letters to the developer whom an event concerns. They have no cap: what exceeds one is told in one digest,
    /// which could be for one of them only.
    pub(in crate::config) fn add_developer(&mut self, name: &str, mail: &Mail) -> Option<HandlerIndex> {
        let target = mail.backend.target();
        let channel = Channel { event_timeout: mail.backend.event_timeout_ms / 1000, max_per_minute: Some(0) };
        let cap = Cap::new(&[name], target.endpoint, channel.max_per_minute);
        let carried_by = self.plain(target, Vec::new(), channel, cap)?;
        Some(self.push(name, Action::Email(Box::new(Email { carried_by, to: Recipient::Developer }))))
    }

    /// Adds an event handler that tells one address.
    pub(super) fn add_email_handler(
        &mut self,
        path: &str,
        name: &str,
        meta: &raw::HandlerMeta,
    ) -> Option<HandlerIndex> {
        self.warn_of_ignored(path, meta);
        let event_timeout = self.event_timeout(path, meta);
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
        let channel = Channel { event_timeout, max_per_minute: meta.max_per_minute };
        let (mail, address) = self.mail.zip(address)?;
        let carried_by = Webhook {
            digest: meta.digest.unwrap_or_default(),
            timeout_ms: meta.timeout_ms(),
            ..self.letters(name, mail, &address, channel)?
        };
        Some(self.push(name, Action::Email(Box::new(Email { carried_by, to: Recipient::Fixed(address.into()) }))))
    }

    fn warn_of_ignored(&mut self, path: &str, meta: &raw::HandlerMeta) {
        let given = [
            ("method", meta.method.is_some()),
            ("target_path", !meta.target_path.is_empty()),
            ("webhook", !meta.webhook.is_empty()),
            ("template_path", !meta.template_path.is_empty()),
            ("header_map", !meta.header_map.is_empty()),
            ("secret", !meta.secret.is_empty()),
            ("prefix", !meta.prefix.is_empty()),
        ];
        for (field, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let message = match field {
                "template_path" => format!("ignored: what an {EMAIL} says is in email_templates"),
                _ => format!("ignored: it is not for an {EMAIL}"),
            };
            self.warnings.add(member(path, field), message);
        }
    }

    fn add_letters(&mut self, name: &str, mail: &Mail, to: &Address, channel: Channel) -> Option<HandlerIndex> {
        let name = self.list.free_name(name.to_owned());
        let carried_by = self.letters(&name, mail, to, channel)?;
        let to = Recipient::Fixed(Mailbox::from(to.clone()));
        Some(self.push(&name, Action::Email(Box::new(Email { carried_by, to }))))
    }

    /// What carries letters to one address. Their cap is that address's: two configurations can use a name for two.
    fn letters(&self, name: &str, mail: &Mail, to: &Address, channel: Channel) -> Option<Webhook> {
        let target = mail.backend.target();
        let cap = Cap::new(&[name, to.as_str()], target.endpoint, channel.max_per_minute);
        self.plain(target, Vec::new(), channel, cap)
    }

    fn plain(&self, target: &Target, headers: Vec<(String, String)>, channel: Channel, cap: Cap) -> Option<Webhook> {
        Some(Webhook {
            cap,
            method: "POST",
            target: target.clone(),
            template: self.templates.find("")?,
            headers,
            timeout_ms: None,
            event_timeout_ms: channel.event_timeout.saturating_mul(1000),
            digest: false,
            keys: Vec::new(),
        })
    }
}
