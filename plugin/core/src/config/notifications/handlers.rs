//! Checks event handlers, named webhooks and the monitor's webhook: names, targets, headers, templates.

mod people;
pub mod receivers;

use enum_map::EnumMap;
use litemap::LiteMap;

use crate::base::{HandlerIndex, datetime, hint, item, member};
use crate::config::calls::target::{basic, legal_header, target};
use crate::config::error::Errors;
use crate::config::lints::numbers::looks_like_milliseconds;
use crate::config::raw;
use crate::delivery::{Target, USER_AGENT};
use crate::event::EventKind;
use crate::notify::{
    Action, Cap, Channel, Comparison, Form, Handlers, Mail, Receiver, SigningKey, Templates, Webhook, When, signature,
};

const WEBHOOK: &str = "eh_web_hook_handler";
const EMAIL: &str = "eh_email_handler";
const LOG: &str = "eh_log_handler";
/// The names of handlers.
pub const NAMES: [&str; 3] = [WEBHOOK, EMAIL, LOG];
const SCRIPTS: [&str; 2] = ["eh_dynamic_handler", "cp_dynamic_handler"];

/// Headers that are set from elsewhere. Go ignores them in Tyk's `header_map`, too.
const NOT_SETTABLE: [&str; 6] = ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// Handlers by event.
#[derive(Clone, Default)]
pub struct ByEvent(EnumMap<EventKind, Vec<HandlerIndex>>);

impl ByEvent {
    fn push(&mut self, kind: EventKind, index: HandlerIndex) {
        self.0[kind].push(index);
    }

    /// Adds `others` after these handlers.
    pub fn with(mut self, others: &ByEvent) -> Self {
        for (kind, other) in &others.0 {
            self.0[kind].extend(other);
        }
        self
    }

    pub fn into_lists(self) -> EnumMap<EventKind, Vec<HandlerIndex>> {
        self.0
    }

    /// Adds the monitor's handlers for crossed thresholds, and the one for forecasts.
    pub fn with_monitor(
        mut self,
        monitor: &[HandlerIndex],
        forecast: Option<HandlerIndex>,
    ) -> EnumMap<EventKind, Vec<HandlerIndex>> {
        self.0[EventKind::TriggerExceeded].extend(monitor);
        self.0[EventKind::QuotaForecast].extend(forecast);
        self.0
    }
}

/// The names of a webhook's fields in each form.
struct FieldNames {
    target: &'static str,
    template: &'static str,
    headers: &'static str,
}

const CLASSIC: FieldNames = FieldNames { target: "target_path", template: "template_path", headers: "header_map" };
const OAS: FieldNames = FieldNames { target: "url", template: "bodyTemplate", headers: "headers" };
const NAMED: FieldNames = FieldNames { target: "target_url", template: "template_path", headers: "headers" };

impl raw::NamedWebhook {
    /// The settings of a handler that uses this webhook. The handler's own settings come first.
    fn meta(&self, own: &raw::HandlerMeta) -> raw::HandlerMeta {
        let or = |own: &String, named: &String| if own.is_empty() { named.clone() } else { own.clone() };
        let mut header_map = own.header_map.clone();
        let is_own = |name: &String| own.header_map.keys().any(|known| known.eq_ignore_ascii_case(name));
        header_map.extend(self.headers.iter().filter(|(name, _)| !is_own(name)).map(|(n, v)| (n.clone(), v.clone())));
        raw::HandlerMeta {
            method: own.method.clone().or_else(|| self.method.clone()),
            target_path: self.target_url.clone(),
            webhook: String::new(),
            template_path: or(&own.template_path, &self.template_path),
            receiver: receivers::merged(&own.receiver, &self.receiver),
            header_map,
            event_timeout: own.event_timeout.or(self.event_timeout),
            secret: if own.secret.is_empty() { self.secret.clone() } else { own.secret.clone() },
            digest: own.digest.or(self.digest),
            max_per_minute: own.max_per_minute.or(self.max_per_minute),
            timeout: own.timeout.or(self.timeout),
            when: if own.when == raw::When::default() { self.when.clone() } else { own.when.clone() },
            ..own.clone()
        }
    }
}

impl raw::HandlerMeta {
    fn timeout_ms(&self) -> Option<u64> {
        self.timeout.filter(|seconds| *seconds > 0).map(|seconds| seconds.saturating_mul(1000))
    }
}

/// Collects all handlers of a configuration.
pub struct HandlerList<'c> {
    named: LiteMap<&'c str, &'c raw::NamedWebhook>,
    templates: &'c Templates,
    callouts: &'c raw::Callouts,
    api_ids: Vec<&'c str>,
    errors: &'c mut Errors,
    warnings: &'c mut Errors,
    /// The sender of emails; `None` if e-mail is switched off, or has an error.
    mail: Option<&'c Mail>,
    mail_is_enabled: bool,
    list: Handlers,
}

impl<'c> HandlerList<'c> {
    pub fn new(
        templates: &'c Templates,
        raw: &'c raw::Config,
        mail: Option<&'c Mail>,
        errors: &'c mut Errors,
        warnings: &'c mut Errors,
    ) -> Self {
        let callouts = &raw.callouts;
        for (field, cluster) in [("http_cluster", &callouts.http_cluster), ("https_cluster", &callouts.https_cluster)] {
            if cluster.is_empty() {
                errors.add(member("callouts", field), "empty: name an Envoy cluster");
            }
        }
        HandlerList {
            named: LiteMap::new(),
            mail,
            mail_is_enabled: raw.email_backend.enable_email_notifications,
            templates,
            callouts,
            api_ids: raw.apis.iter().map(|api| api.api_id.as_str()).collect(),
            errors,
            warnings,
            list: Handlers::default(),
        }
    }

    /// The targets of the named webhooks.
    pub fn named_targets(&mut self) -> LiteMap<String, Target> {
        let callouts = self.callouts;
        // An error in a target was reported when the webhook was added.
        let (mut said, mut unsaid) = (Errors::default(), Errors::default());
        let targets = self.named.iter().filter_map(|(name, named)| {
            Some(((*name).to_owned(), target("", &named.target_url, callouts, &mut said, &mut unsaid)?.0))
        });
        targets.collect()
    }

    pub fn into_list(self) -> Handlers {
        self.list
    }

    /// Adds the handlers of one `event_handlers`. `owner` is the beginning of their names. It does not change if
    /// another API is added before.
    pub fn add_all(&mut self, path: &str, owner: &str, raw: &raw::EventHandlers) -> ByEvent {
        match raw {
            raw::EventHandlers::Classic(classic) => self.add_classic(path, owner, classic),
            raw::EventHandlers::Oas(list) => self.add_oas(path, owner, list),
        }
    }

    fn add_classic(&mut self, path: &str, owner: &str, raw: &raw::ClassicHandlers) -> ByEvent {
        let mut by_event = ByEvent::default();
        for (event, handlers) in &raw.events {
            let path = member(&member(path, "events"), event);
            let kind = self.kind(&path, event);
            for (index, handler) in (0_usize..).zip(handlers) {
                let meta = &handler.handler_meta;
                let name = self.name(&format!("{owner}.{event}"), index, [&meta.id, &meta.name]);
                let added = self.add(&item(&path, index), &name, handler);
                if let Some((kind, added)) = kind.zip(added) {
                    by_event.push(kind, added);
                }
            }
        }
        by_event
    }

    /// Adds handlers in the form of Tyk OAS.
    pub fn add_oas(&mut self, path: &str, owner: &str, list: &[raw::OasHandler]) -> ByEvent {
        let mut by_event = ByEvent::default();
        for (index, handler) in (0_usize..).zip(list) {
            let path = item(path, index);
            let kind = self.kind(&member(&path, "trigger"), &handler.trigger);
            let name = self.name(&format!("{owner}.{}", handler.trigger), index, [&handler.id, &handler.name]);
            let added = match handler.r#type.as_str() {
                "webhook" => {
                    let meta = self.classic_meta(&path, handler);
                    self.add_webhook(&path, &OAS, &name, &meta)
                }
                "log" => {
                    let when = self.when(&member(&path, "when"), &handler.when);
                    handler
                        .enabled
                        .then(|| self.list.push(&name, when, Action::Log { prefix: handler.log_prefix.clone() }))
                }
                "custom" => {
                    self.errors.add(member(&path, "type"), scripts_cannot_run("\"custom\"", "the type webhook"));
                    None
                }
                "" => None,
                other => {
                    let known = ["webhook", "log"];
                    let message = format!("{other:?} is not one of webhook, log{}", hint(other, known));
                    self.errors.add(member(&path, "type"), message);
                    None
                }
            };
            if let Some((kind, added)) = kind.zip(added) {
                by_event.push(kind, added);
            }
        }
        by_event
    }

    /// Adds the named webhooks, which handlers can use, as handlers of their own events.
    pub fn add_named(&mut self, list: &'c [raw::NamedWebhook]) -> ByEvent {
        let mut by_event = ByEvent::default();
        for (index, named) in (0_usize..).zip(list) {
            let path = item("webhooks", index);
            if !named.name.is_empty() && self.named.insert(&named.name, named).is_some() {
                self.errors
                    .add(member(&path, "name"), format!("{:?} is already the name of another webhook", named.name));
            }
            let meta = named.meta(&raw::HandlerMeta::default());
            let name = self.list.free_name(item_name("webhooks", &named.name));
            let added = self.add_webhook(&path, &NAMED, &name, &meta);
            for (place, event) in (0_usize..).zip(&named.events) {
                let kind = self.kind(&item(&member(&path, "events"), place), event);
                if let Some((kind, added)) = kind.zip(added) {
                    by_event.push(kind, added);
                }
            }
        }
        by_event
    }

    /// A unique name for a handler.
    fn name(&self, owner: &str, index: usize, labels: [&String; 2]) -> String {
        let label = labels.into_iter().find(|label| !label.is_empty());
        self.list.free_name(label.map_or_else(|| item(owner, index), |label| item_name(owner, label)))
    }

    fn classic_meta(&mut self, path: &str, oas: &raw::OasHandler) -> raw::HandlerMeta {
        let place = member(path, "cooldownPeriod");
        let period = match oas.cooldown_period.as_str() {
            "" => None,
            text => match datetime::go_duration_secs(text) {
                Some(seconds) => Some(seconds),
                None => {
                    self.errors.add(place, format!("{text:?} is not a duration such as \"1m30s\""));
                    None
                }
            },
        };
        raw::HandlerMeta {
            disabled: !oas.enabled,
            id: oas.id.clone(),
            name: oas.name.clone(),
            method: oas.method.clone(),
            target_path: oas.url.clone(),
            webhook: oas.webhook.clone(),
            template_path: oas.body_template.clone(),
            receiver: oas.receiver.clone(),
            header_map: oas.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
            event_timeout: period,
            secret: oas.secret.clone(),
            digest: oas.digest,
            max_per_minute: oas.max_per_minute,
            when: oas.when.clone(),
            ..raw::HandlerMeta::default()
        }
    }

    fn kind(&mut self, path: &str, event: &str) -> Option<EventKind> {
        let kind = EventKind::from_name(event);
        if kind.is_none() && !event.is_empty() {
            self.report_unfired(path, event);
        }
        kind
    }

    fn report_unfired(&mut self, path: &str, event: &str) {
        if EventKind::NEVER_FIRED.contains(&event) {
            self.warnings.add(path, "this event never fires here");
            return;
        }
        let known = EventKind::all().map(EventKind::name).chain(EventKind::NEVER_FIRED);
        self.errors.add(path, format!("no event has this name{}", hint(event, known)));
    }

    fn add(&mut self, path: &str, name: &str, raw: &raw::Handler) -> Option<HandlerIndex> {
        let meta_path = member(path, "handler_meta");
        match raw.handler_name.as_str() {
            WEBHOOK => self.add_webhook(&meta_path, &CLASSIC, name, &raw.handler_meta),
            EMAIL => self.add_email_handler(&meta_path, name, &raw.handler_meta),
            LOG => {
                self.warn_of_email(&meta_path, &raw.handler_meta);
                let when = self.when(&member(&meta_path, "when"), &raw.handler_meta.when);
                let log = || Action::Log { prefix: raw.handler_meta.prefix.clone() };
                (!raw.handler_meta.disabled).then(|| self.list.push(name, when, log()))
            }
            "" => None,
            other if SCRIPTS.contains(&other) => {
                let message = scripts_cannot_run(&format!("{other:?}"), WEBHOOK);
                self.errors.add(member(path, "handler_name"), message);
                None
            }
            other => {
                self.errors.add(
                    member(path, "handler_name"),
                    format!("{other:?} is not one of {WEBHOOK}, {EMAIL}, {LOG}{}", hint(other, NAMES)),
                );
                None
            }
        }
    }

    /// Adds the monitor's webhook, if it has a target.
    pub fn add_monitor(&mut self, meta: &raw::HandlerMeta) -> Option<HandlerIndex> {
        const PATH: &str = "monitor.configuration";
        let has_target = !meta.target_path.is_empty() || !meta.webhook.is_empty();
        has_target.then(|| self.add_webhook(PATH, &CLASSIC, PATH, meta)).flatten()
    }

    fn warn_of_email(&mut self, path: &str, meta: &raw::HandlerMeta) {
        if !meta.email.is_empty() {
            self.warnings.add(member(path, "email"), format!("ignored: it is for an {EMAIL}"));
        }
    }

    /// The cool-down in seconds.
    fn event_timeout(&mut self, path: &str, meta: &raw::HandlerMeta) -> u64 {
        let event_timeout = meta.event_timeout.unwrap_or_default();
        if meta.digest == Some(true) && event_timeout == 0 {
            self.warnings.add(member(path, "digest"), "without an event_timeout nothing is held back");
        }
        if looks_like_milliseconds(event_timeout) {
            let message = format!("{event_timeout} seconds is very long; the unit is seconds, not milliseconds");
            self.warnings.add(member(path, "event_timeout"), message);
        }
        event_timeout
    }

    /// Adds a webhook; a disabled one is checked and left out.
    fn add_webhook(
        &mut self,
        path: &str,
        fields: &FieldNames,
        name: &str,
        meta: &raw::HandlerMeta,
    ) -> Option<HandlerIndex> {
        if !meta.webhook.is_empty() {
            if !meta.target_path.is_empty() {
                self.errors.add(member(path, fields.target), "give either this or webhook");
            }
            let Some(named) = self.named.get(meta.webhook.as_str()) else {
                let known = self.named.keys().copied();
                let message = format!("no webhook has the name {:?}{}", meta.webhook, hint(&meta.webhook, known));
                self.errors.add(member(path, "webhook"), message);
                return None;
            };
            let meta = named.meta(meta);
            return self.add_webhook(path, fields, name, &meta);
        }
        if meta.target_path.is_empty() {
            self.errors.add(member(path, fields.target), "missing");
        }
        let target = target(&member(path, fields.target), &meta.target_path, self.callouts, self.errors, self.warnings);
        let body = receivers::body(self.templates, meta);
        if body.is_none() {
            let known = self.templates.names().chain(Receiver::names());
            let message = format!(
                "there is no template {:?}{}; give the name of an entry of templates or of a built-in template",
                meta.template_path,
                hint(&meta.template_path, known)
            );
            self.errors.add(member(path, fields.template), message);
        }
        let mut headers = self.headers(&member(path, fields.headers), &meta.header_map);
        let keys = self.keys(&member(path, "secret"), &meta.secret);
        let when = self.when(&member(path, "when"), &meta.when);
        self.warn_of_email(path, meta);
        let event_timeout = self.event_timeout(path, meta);
        let ((target, user_info), body) = target.zip(body)?;
        let method = method(meta.method.as_deref().unwrap_or_default());
        if let Some(user_info) = user_info {
            headers.entry("authorization".to_owned()).or_insert_with(|| basic(&user_info));
        }
        if method != "GET" {
            let content_type = receivers::content_type(self.templates, &body);
            headers.entry("content-type".to_owned()).or_insert_with(|| content_type.to_owned());
        }
        let headers_path = member(path, fields.headers);
        let secrets = receivers::check((path, &headers_path), meta, &body, &headers, self.errors, self.warnings);
        headers.entry("user-agent".to_owned()).or_insert_with(|| USER_AGENT.to_owned());
        let channel = Channel {
            cap: Cap::new(&[name], target.endpoint, meta.max_per_minute),
            target,
            timeout_ms: meta.timeout_ms(),
            event_timeout_ms: event_timeout.saturating_mul(1000),
            digest: meta.digest.unwrap_or_default(),
            form: Form::Webhook(Webhook { method, body, headers: headers.into_iter().collect(), secrets, keys }),
        };
        (!meta.disabled).then(|| self.push_channel(name, when, channel))
    }

    fn keys(&mut self, path: &str, secrets: &[String]) -> Vec<SigningKey> {
        let mut keys = Vec::new();
        for (index, secret) in (0_usize..).zip(secrets) {
            let place = if secrets.len() == 1 { path.to_owned() } else { item(path, index) };
            match SigningKey::parse(secret) {
                Some(key) => {
                    if !key.has_standard_length() {
                        self.warnings.add(place, "Standard Webhooks requires 24 to 64 random bytes");
                    }
                    keys.push(key);
                }
                // Tyk writes empty values, too.
                None if secret.is_empty() && secrets.len() == 1 => {}
                None => self.errors.add(place, "not a secret: write \"whsec_\" followed by base64"),
            }
        }
        keys
    }

    /// Reads the condition of a handler.
    fn when(&mut self, path: &str, raw: &raw::When) -> When {
        let trigger_limit = Comparison::parse_all(&raw.trigger_limit.0).unwrap_or_else(|wrong| {
            let message =
                format!("{wrong:?} is not a comparison with a percentage over 0, up to 100, such as \">= 90\"");
            self.errors.add(member(path, "trigger_limit"), message);
            Vec::new()
        });
        for (index, id) in (0_usize..).zip(&raw.api_id) {
            if !self.api_ids.contains(&id.as_str()) {
                let place = member(path, "api_id");
                let place = if raw.api_id.len() == 1 { place } else { item(&place, index) };
                let message = format!("no API has the id {id:?}{}", hint(id, self.api_ids.iter().copied()));
                self.errors.add(place, message);
            }
        }
        When { trigger_limit, org_ids: raw.org_id.clone(), api_ids: raw.api_id.clone(), tags: raw.tag.clone() }
    }

    fn push_channel(&mut self, name: &str, when: When, channel: Channel) -> HandlerIndex {
        self.list.push(name, when, Action::Send(Box::new(channel)))
    }

    fn headers(&mut self, path: &str, map: &raw::Named<String>) -> LiteMap<String, String> {
        let mut headers = LiteMap::new();
        for (name, value) in map {
            let place = member(path, name);
            let Some(name) = legal_header(&place, name, value, self.errors) else { continue };
            if signature::HEADERS.contains(&name.as_str()) {
                self.warnings.add(place, "ignored: tollbell sets this header itself");
            } else if NOT_SETTABLE.contains(&name.as_str()) {
                self.warnings.add(place, "ignored: this header follows from the target and the body");
            } else if headers.insert(name, value.clone()).is_some() {
                self.errors.add(place, "the same header twice, in different case");
            }
        }
        headers
    }
}

fn item_name(owner: &str, label: &str) -> String {
    format!("{owner}[{label}]")
}

fn scripts_cannot_run(what: &str, instead: &str) -> String {
    format!("{what} runs scripts, which a filter cannot; send the event to a service with {instead}")
}

fn method(name: &str) -> &'static str {
    ["GET", "PUT", "PATCH", "DELETE"].into_iter().find(|method| *method == name).unwrap_or("POST")
}
