//! Checks event handlers and the monitor's webhook: names, targets, headers, templates.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};

use super::error::{Errors, hint, item, member};
use super::raw;
use crate::cap::Cap;
use crate::delivery::EndpointId;
use crate::delivery::outbox::Tag;
use crate::delivery::signature::{self, SigningKey};
use crate::event::EventKind;
use crate::handler::{Action, HandlerIndex, Handlers, Target, Webhook};
use crate::template::Templates;

const WEBHOOK: &str = "eh_web_hook_handler";
const LOG: &str = "eh_log_handler";
const SCRIPTS: [&str; 2] = ["eh_dynamic_handler", "cp_dynamic_handler"];

const USER_AGENT: &str = concat!("tollbell/", env!("CARGO_PKG_VERSION"));

/// Headers that a request gets from elsewhere: Go ignores them in Tyk's `header_map` too.
const NOT_SETTABLE: [&str; 6] = ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// Handlers by event.
#[derive(Clone, Default)]
pub(super) struct ByEvent([Vec<HandlerIndex>; EventKind::FIRED.len()]);

impl ByEvent {
    fn push(&mut self, kind: EventKind, index: HandlerIndex) {
        if let Some(list) = self.0.get_mut(kind as usize) {
            list.push(index);
        }
    }

    /// These, then the gateway-wide ones, then the monitor's webhook.
    pub(super) fn joined(
        mut self,
        gateway: &ByEvent,
        monitor: Option<HandlerIndex>,
    ) -> [Vec<HandlerIndex>; EventKind::FIRED.len()] {
        for (own, shared) in self.0.iter_mut().zip(&gateway.0) {
            own.extend(shared);
        }
        if let Some(index) = monitor {
            self.push(EventKind::TriggerExceeded, index);
        }
        self.0
    }
}

/// Collects every handler of a configuration.
pub(super) struct HandlerList<'c> {
    templates: &'c Templates,
    callouts: &'c raw::Callouts,
    errors: &'c mut Errors,
    warnings: &'c mut Errors,
    list: Handlers,
}

impl<'c> HandlerList<'c> {
    pub(super) fn new(
        templates: &'c Templates,
        callouts: &'c raw::Callouts,
        errors: &'c mut Errors,
        warnings: &'c mut Errors,
    ) -> Self {
        for (field, cluster) in [("http_cluster", &callouts.http_cluster), ("https_cluster", &callouts.https_cluster)] {
            if cluster.is_empty() {
                errors.add(member("callouts", field), "empty: name an Envoy cluster");
            }
        }
        HandlerList { templates, callouts, errors, warnings, list: Handlers::default() }
    }

    pub(super) fn into_list(self) -> Handlers {
        self.list
    }

    /// Adds the handlers of one `event_handlers` object. `owner` begins their names: it does not change when another
    /// API is added before.
    pub(super) fn add_all(&mut self, path: &str, owner: &str, raw: &raw::EventHandlers) -> ByEvent {
        let mut by_event = ByEvent::default();
        for (event, handlers) in &raw.events {
            let path = member(&member(path, "events"), event);
            let kind = EventKind::from_name(event);
            if kind.is_none() {
                self.report_unfired(&path, event);
            }
            for (index, handler) in (0_usize..).zip(handlers) {
                let meta = &handler.handler_meta;
                let name = match [&meta.id, &meta.name].into_iter().find(|label| !label.is_empty()) {
                    Some(label) => format!("{owner}.{event}[{label}]"),
                    None => item(&format!("{owner}.{event}"), index),
                };
                let name = self.list.free_name(name);
                let added = self.add(&item(&path, index), &name, handler);
                if let Some((kind, added)) = kind.zip(added) {
                    by_event.push(kind, added);
                }
            }
        }
        by_event
    }

    fn report_unfired(&mut self, path: &str, event: &str) {
        if EventKind::NEVER_FIRED.contains(&event) {
            self.warnings.add(path, "this event never fires here");
            return;
        }
        let known = EventKind::FIRED.iter().map(|kind| kind.name()).chain(EventKind::NEVER_FIRED);
        self.errors.add(path, format!("no event has this name{}", hint(event, known)));
    }

    fn add(&mut self, path: &str, name: &str, raw: &raw::Handler) -> Option<HandlerIndex> {
        let meta_path = member(path, "handler_meta");
        match raw.handler_name.as_str() {
            WEBHOOK => {
                if raw.handler_meta.target_path.is_empty() {
                    self.errors.add(member(&meta_path, "target_path"), "missing");
                }
                self.add_webhook(&meta_path, name, &raw.handler_meta)
            }
            LOG if raw.handler_meta.disabled => None,
            LOG => Some(self.push(name, Action::Log { prefix: raw.handler_meta.prefix.clone() })),
            "" => None,
            other if SCRIPTS.contains(&other) => {
                self.errors.add(
                    member(path, "handler_name"),
                    format!(
                        "{other:?} runs scripts, which a filter cannot; send the event to a service with {WEBHOOK}"
                    ),
                );
                None
            }
            other => {
                self.errors.add(
                    member(path, "handler_name"),
                    format!("{other:?} is not one of {WEBHOOK}, {LOG}{}", hint(other, [WEBHOOK, LOG])),
                );
                None
            }
        }
    }

    /// Adds a webhook; a disabled one is checked and left out.
    pub(super) fn add_webhook(&mut self, path: &str, name: &str, meta: &raw::HandlerMeta) -> Option<HandlerIndex> {
        let target = self.target(&member(path, "target_path"), &meta.target_path);
        let template = self.templates.find(&meta.template_path);
        if template.is_none() {
            let message = format!(
                "no template is named {:?}{}; it names an entry of templates, or a built-in one",
                meta.template_path,
                hint(&meta.template_path, self.templates.names())
            );
            self.errors.add(member(path, "template_path"), message);
        }
        let mut headers = self.headers(&member(path, "header_map"), &meta.header_map);
        let keys = self.keys(&member(path, "secret"), &meta.secret);
        if meta.digest && meta.event_timeout == 0 {
            self.warnings.add(member(path, "digest"), "without an event_timeout nothing is held back");
        }
        let ((target, user_info), template) = target.zip(template)?;
        let method = method(&meta.method);
        if let Some(user_info) = user_info {
            headers.entry("authorization".to_owned()).or_insert_with(|| basic(&user_info));
        }
        if method != "GET" {
            let content_type = self.templates.format(&template).content_type();
            headers.entry("content-type".to_owned()).or_insert_with(|| content_type.to_owned());
        }
        headers.entry("user-agent".to_owned()).or_insert_with(|| USER_AGENT.to_owned());
        let webhook = Webhook {
            cap: Cap::new(name, target.endpoint, meta.max_per_minute),
            method,
            target,
            template,
            headers: headers.into_iter().collect(),
            event_timeout_ms: meta.event_timeout.saturating_mul(1000),
            digest: meta.digest,
            keys,
        };
        (!meta.disabled).then(|| self.push(name, Action::Webhook(Box::new(webhook))))
    }

    fn keys(&mut self, path: &str, secrets: &[String]) -> Vec<SigningKey> {
        let mut keys = Vec::new();
        for (index, secret) in (0_usize..).zip(secrets) {
            let place = if secrets.len() == 1 { path.to_owned() } else { item(path, index) };
            match SigningKey::parse(secret) {
                Some(key) => {
                    if !key.has_standard_length() {
                        self.warnings.add(place, "Standard Webhooks asks for 24 to 64 random bytes");
                    }
                    keys.push(key);
                }
                // Tyk writes out what is not set.
                None if secret.is_empty() && secrets.len() == 1 => {}
                None => self.errors.add(place, "not a secret: \"whsec_\" and then base64"),
            }
        }
        keys
    }

    fn push(&mut self, name: &str, action: Action) -> HandlerIndex {
        self.list.push(name, action)
    }

    fn target(&mut self, path: &str, url: &str) -> Option<(Target, Option<String>)> {
        if url.is_empty() {
            return None;
        }
        let uri: Option<Uri> = url.parse().ok();
        let parts = uri.as_ref().and_then(|uri| {
            let scheme = match uri.scheme_str()? {
                scheme if scheme.eq_ignore_ascii_case("http") => "http",
                scheme if scheme.eq_ignore_ascii_case("https") => "https",
                _ => return None,
            };
            uri.host().filter(|host| !host.is_empty())?;
            // What is no port may be a password whose slash was not escaped.
            let host_and_port = uri.authority()?.as_str().rsplit('@').next()?;
            if port_of(host_and_port).is_some_and(|port| port.parse::<u16>().is_err()) {
                return None;
            }
            Some((scheme, uri.authority()?, uri.host()?, uri.path_and_query()))
        });
        let Some((scheme, authority, host, path_and_query)) = parts else {
            self.errors.add(path, format!("{:?} is not an absolute http or https URL", without_secrets(url)));
            return None;
        };
        let (user_info, authority) = match authority.as_str().rsplit_once('@') {
            Some((user_info, authority)) => (Some(user_info.to_owned()), authority),
            None => (None, authority.as_str()),
        };
        let clusters = &self.callouts.clusters;
        let default = if scheme == "https" { &self.callouts.https_cluster } else { &self.callouts.http_cluster };
        let cluster = clusters.get(authority).or_else(|| clusters.get(host)).unwrap_or(default);
        let path_and_query = path_and_query.map_or("/", |target| target.as_str());
        let path_and_query =
            if path_and_query.starts_with('/') { path_and_query.to_owned() } else { format!("/{path_and_query}") };
        let target = Target {
            endpoint: EndpointId::new(scheme, authority, &path_and_query),
            tag: Tag::of(authority),
            scheme,
            authority: authority.to_owned(),
            path_and_query,
            cluster: cluster.clone(),
        };
        Some((target, user_info))
    }

    fn headers(&mut self, path: &str, map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::new();
        for (name, value) in map {
            let place = member(path, name);
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
                self.errors.add(place, "not a header name");
                continue;
            };
            if HeaderValue::from_str(value).is_err() {
                self.errors.add(place, "its value has characters that a header cannot have (line breaks, NUL, …)");
            } else if signature::HEADERS.contains(&name.as_str()) {
                self.warnings.add(place, "ignored: tollbell sets this header itself");
            } else if NOT_SETTABLE.contains(&name.as_str()) {
                self.warnings.add(place, "ignored: this header follows from the target and the body");
            } else if headers.insert(name.as_str().to_owned(), value.clone()).is_some() {
                self.errors.add(place, "the same header twice, in different case");
            }
        }
        headers
    }
}

fn method(name: &str) -> &'static str {
    ["GET", "PUT", "PATCH", "DELETE"].into_iter().find(|method| *method == name).unwrap_or("POST")
}

/// `Authorization` for a URL with `user:password@`, as Go's client sends it.
fn basic(user_info: &str) -> String {
    use base64::Engine as _;
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(user_info).collect();
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(decoded))
}

/// A URL for an error message: scheme and host, since user, path and query may be secrets. Where it is not clear which
/// part is which, only the scheme.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let end = url.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')).unwrap_or(url.len());
        return match url.get(..end) {
            Some(host) if end == url.len() => host.to_owned(),
            Some(host) if !url.contains('@') => format!("{host}/…"),
            _ => "…".to_owned(),
        };
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let more = rest.get(authority.len()..).unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if more.contains('@') || port_of(host).is_some_and(|port| port.parse::<u16>().is_err()) {
        return format!("{scheme}://…");
    }
    format!("{scheme}://{host}{}", if more.is_empty() { "" } else { "/…" })
}

/// What stands behind a host's colon.
fn port_of(host: &str) -> Option<&str> {
    match host.rsplit_once(']') {
        Some((_, behind)) => behind.strip_prefix(':'),
        None => host.split_once(':').map(|(_, port)| port),
    }
}
