//! The events of which an organisation is notified: Tyk's `event_options`.

use std::fmt;

use litemap::LiteMap;

use crate::base::{Address, hint, member};
use crate::config::calls::{basic, target};
use crate::config::error::Errors;
use crate::config::raw;
use crate::delivery::Target;
use crate::event::EventKind;

/// The recipients of one event, and how often they get messages.
#[derive(Clone, PartialEq, Eq)]
pub struct EventOption {
    pub kind: EventKind,
    /// The target to which the event is posted.
    pub webhook: Option<Target>,
    /// The `authorization` header of the request, if the URL has a user and password. It is a secret.
    pub authorization: Option<String>,
    /// The address that gets an email.
    pub email: Option<Address>,
    /// The cool-down of the webhook and of the email in seconds; 0 for none.
    pub event_timeout: u64,
    /// The maximum messages per minute for each of the two; `None` and 0 mean no limit.
    pub max_per_minute: Option<u32>,
}

impl fmt::Debug for EventOption {
    /// The form for log lines, without the header, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventOption")
            .field("kind", &self.kind)
            .field("webhook", &self.webhook)
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

/// Checks the `event_options` of all organisations.
pub fn check(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) -> LiteMap<String, Vec<EventOption>> {
    let mut all = LiteMap::new();
    for (id, org) in &raw.orgs {
        let path = member(&member("orgs", id), "event_options");
        let mut options = Vec::new();
        let mut seen: LiteMap<_, _> = LiteMap::new();
        for (name, option) in &org.event_options {
            let place = member(&path, name);
            let Some(kind) = EventKind::of_management_name(name) else {
                errors.add(
                    place,
                    format!("no event has this name{}", hint(name, EventKind::of_management().map(EventKind::name))),
                );
                continue;
            };
            if let Some(other) = seen.insert(kind, name) {
                errors.add(place, format!("{other} is the same event in another spelling"));
                continue;
            }
            options.extend(event_option(&place, kind, option, &raw.callouts, errors, warnings));
        }
        if !options.is_empty() {
            all.insert(id.clone(), options);
        }
    }
    all
}

fn event_option(
    path: &str,
    kind: EventKind,
    raw: &raw::EventOption,
    callouts: &raw::Callouts,
    errors: &mut Errors,
    warnings: &mut Errors,
) -> Option<EventOption> {
    if raw.redis {
        warnings.add(member(path, "redis"), "has no effect: tollbell has no data planes to notify");
    }
    let target = target(&member(path, "webhook"), &raw.webhook, callouts, errors, warnings);
    let (webhook, user_info) = target.map_or((None, None), |(target, user_info)| (Some(target), user_info));
    let email = match Address::parse(&raw.email) {
        Ok(address) => Some(address),
        Err(error) => {
            if !raw.email.is_empty() {
                errors.add(member(path, "email"), format!("no address: it {error}"));
            }
            None
        }
    };
    let option = EventOption {
        kind,
        webhook,
        authorization: user_info.as_deref().map(basic),
        email,
        event_timeout: raw.event_timeout,
        max_per_minute: raw.max_per_minute,
    };
    (option.webhook.is_some() || option.email.is_some()).then_some(option)
}
