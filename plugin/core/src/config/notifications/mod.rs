//! Checks everything that controls notifications: templates, emails, handlers, the monitor.

pub mod delivery;
pub mod event_options;
pub mod handlers;
pub mod mail;

use enum_map::EnumMap;
use litemap::LiteMap;

use super::error::Errors;
use super::raw;
use crate::base::{HandlerIndex, item, member};
use crate::delivery::Target;
use crate::event::EventKind;
use crate::notify::{Handlers, Mail, Receivers, Templates};
use handlers::{ByEvent, HandlerList, receivers};

/// The checked parts, and the handlers of each API.
pub struct Checked {
    pub handlers: Handlers,
    /// The handlers of an organisation's dashboard events, by its id.
    pub org_handlers: LiteMap<String, EnumMap<EventKind, Vec<HandlerIndex>>>,
    /// The handlers of each API, in the order of the configuration.
    pub api_handlers: Vec<EnumMap<EventKind, Vec<HandlerIndex>>>,
    /// The handlers of all APIs.
    pub gateway: ByEvent,
    /// The targets of named webhooks.
    pub named: LiteMap<String, Target>,
    pub templates: Templates,
    /// The built-in messages for receivers that handlers use.
    pub receivers: Receivers,
    /// How emails are written and sent.
    pub mail: Option<Mail>,
}

/// Checks all parts. The result is valid only if no error was added.
pub fn check(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) -> Checked {
    let templates = check_templates(&raw.templates, errors, warnings);
    let mail = mail::check(raw, errors, warnings);
    let event_options = event_options::check(raw, errors, warnings);
    let mut handlers = HandlerList::new(&templates, raw, mail.as_ref(), errors, warnings);
    let named = handlers.add_named(&raw.webhooks);
    let gateway = handlers.add_all("event_handlers", "event_handlers", &raw.event_handlers).with(&named);
    let told = mail.as_ref().filter(|mail| mail.backend.notify_users);
    let gateway = gateway.with(&told.map(|mail| handlers.add_developers(mail)).unwrap_or_default());
    let mut org_handlers = LiteMap::new();
    for (org, options) in &event_options {
        org_handlers.insert(org.clone(), handlers.add_options(org, options).into_lists());
    }
    let emails = told.and_then(|mail| handlers.add_developer("email_backend.TriggerExceeded", mail));
    let is_enabled = raw.monitor.enable_trigger_monitors;
    let forecast = handlers.add_monitor(&raw.monitor.configuration).filter(|_| is_enabled);
    let monitor: Vec<_> = forecast.into_iter().chain(emails.filter(|_| is_enabled)).collect();
    let api_handlers: Vec<_> = (0_usize..)
        .zip(&raw.apis)
        .map(|(index, api)| {
            let (path, owner) = (item("apis", index), format!("apis[{}]", api.api_id));
            let own = handlers.add_all(&member(&path, "event_handlers"), &owner, &api.event_handlers);
            let oas = handlers.add_oas(&format!("{path}.server.eventHandlers"), &owner, &api.server.event_handlers);
            own.with(&oas).with(&gateway).with_monitor(&monitor, forecast)
        })
        .collect();
    let named = handlers.named_targets();
    let handlers = handlers.into_list();
    let receivers = receivers::receivers(&raw.links, &handlers, errors, warnings);
    let has_handler = |kind| api_handlers.iter().any(|by_event| !by_event[kind].is_empty());
    let is_foretold = raw.monitor.forecast.within > 0 && has_handler(EventKind::QuotaForecast);
    let is_handled = has_handler(EventKind::TriggerExceeded) || is_foretold;
    if raw.monitor.enable_trigger_monitors && monitor.is_empty() && !is_handled {
        let configuration = &raw.monitor.configuration;
        if configuration.disabled {
            let message = "is true, so no one would be notified of a crossed threshold";
            errors.add("monitor.configuration.disabled", message);
        } else if configuration.target_path.is_empty() && configuration.webhook.is_empty() {
            let message = "missing: no one would be notified of a crossed threshold";
            errors.add("monitor.configuration.target_path", message);
        }
    }
    Checked { handlers, org_handlers, api_handlers, gateway, named, templates, receivers, mail }
}

fn check_templates(raw: &raw::Named<String>, errors: &mut Errors, warnings: &mut Errors) -> Templates {
    let mut templates = Templates::builtin();
    for (name, source) in raw {
        if let Err(error) = templates.add(name, source) {
            errors.add(member("templates", name), error.to_string());
        } else if let Some(fault) = templates.json_fault(name) {
            warnings.add(member("templates", name), format!("does not write valid JSON: {fault}"));
        }
    }
    templates
}
