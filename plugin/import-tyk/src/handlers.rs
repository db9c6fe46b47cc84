//! Converts event handlers of Tyk's classic and OAS forms to the classic form.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};
use tollbell_core::config::raw::{ClassicHandlers, EventHandlers, Handler, HandlerMeta};

use super::source::At;
use super::templates::Templates;

/// Events that both Tyk and tollbell send to an API's handlers.
const FIRED: [&str; 12] = [
    "AuthFailure",
    "BreakerReset",
    "BreakerTriggered",
    "BreakerTripped",
    "HostDown",
    "HostUp",
    "KeyExpired",
    "OrgQuotaExceeded",
    "OrgRateLimitExceeded",
    "QuotaExceeded",
    "RatelimitExceeded",
    "VersionFailure",
];

/// Those that come from Envoy's own verdicts.
const UPSTREAM: [&str; 5] = ["BreakerReset", "BreakerTriggered", "BreakerTripped", "HostDown", "HostUp"];

/// Tyk's other events, with advice.
const UNFIRED: [(&str, &str); 13] = [
    ("ApiUpdated", "the configuration changes with Envoy's: tell people where that is deployed"),
    ("CertificateExpired", "watch Envoy's statistic days_until_first_cert_expiring"),
    ("CertificateExpiringSoon", "watch Envoy's statistic days_until_first_cert_expiring"),
    ("OAuth2ExchangeFailed", "Envoy's credential_injector gets tokens for an upstream, and has statistics"),
    ("OAuth2ExchangeSucceeded", "Envoy's credential_injector gets tokens for an upstream, and has statistics"),
    ("OAuth2ScopeCheckFailed", "tollbell reads no scopes: watch the statistics of Envoy's jwt_authn filter"),
    ("RateLimitSmoothingDown", "rates stay as they are configured"),
    ("RateLimitSmoothingUp", "rates stay as they are configured"),
    ("TokenCreated", "observe the service that manages keys, and name key_event in event_options"),
    ("TokenDeleted", "observe the service that manages keys, and name key_event in event_options"),
    ("TokenUpdated", "observe the service that manages keys, and name key_event in event_options"),
    (
        "TriggerExceeded",
        "In Tyk, only monitor.configuration receives it. To send it to a handler, add the handler here.",
    ),
    ("UpstreamOAuthError", "Envoy's credential_injector gets tokens for an upstream, and has statistics"),
];

const SCRIPT: &str = "a filter runs no scripts: send the event to a service with eh_web_hook_handler";

/// Headers that follow from the target and the body, or that tollbell sets itself.
const OWN_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Handlers by event.
#[derive(Default)]
pub(super) struct Handlers(BTreeMap<String, Vec<Handler>>);

impl Handlers {
    /// `event_handlers` of a classic definition.
    pub(super) fn classic(at: &At<'_>, templates: &Templates) -> Self {
        let mut handlers = Handlers::default();
        for (event, list) in at.get("events").entries() {
            if let Some(instead) = unfired(event) {
                list.missing(instead);
                continue;
            }
            for handler in list.items() {
                handlers.push(event, classic(&handler, templates));
            }
        }
        handlers
    }

    /// `server.eventHandlers` of an OAS definition.
    pub(super) fn oas(at: &At<'_>, templates: &Templates) -> Self {
        let mut handlers = Handlers::default();
        for handler in at.items() {
            let trigger = handler.get("trigger");
            if let Some(instead) = unfired(trigger.words()) {
                handler.missing(instead);
                continue;
            }
            trigger.carried();
            handlers.push(trigger.words(), oas(&handler, templates));
        }
        handlers
    }

    fn push(&mut self, event: &str, handler: Option<Handler>) {
        if let Some(handler) = handler {
            self.0.entry(event.to_owned()).or_default().push(handler);
        }
    }

    /// Removes the handlers of events that an API without versions never fires.
    pub(super) fn without_versions(&mut self, handlers: &[At<'_>]) {
        if self.0.remove("VersionFailure").is_some() {
            for handler in handlers {
                handler.missing("VersionFailure never fires here: the API has no versions, or no request can name one");
            }
        }
    }

    /// True if a handler is for Envoy's verdicts on an upstream.
    pub(super) fn want_upstream(&self) -> bool {
        self.0.keys().any(|event| UPSTREAM.contains(&event.as_str()))
    }

    pub(super) fn into_settings(self) -> EventHandlers {
        EventHandlers::Classic(ClassicHandlers { events: self.0.into_iter().collect() })
    }
}

/// The advice for an event that no handler of an API ever gets.
pub(super) fn unfired(event: &str) -> Option<String> {
    if FIRED.contains(&event) {
        return None;
    }
    Some(match UNFIRED.iter().find(|(name, _)| *name == event) {
        Some((_, instead)) => format!("{event} never fires here: {instead}"),
        None => format!("Tyk has no event {event:?}{}", hint(event, &FIRED)),
    })
}

/// ` (did you mean "x"?)` with the closest of `known`, or an empty text if none is close.
fn hint(name: &str, known: &[&str]) -> String {
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
    let nearest = known.iter().map(|candidate| (distance(candidate), candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= (name.len() / 3).max(2) => format!(" (did you mean {candidate:?}?)"),
        _ => String::new(),
    }
}

fn classic(at: &At<'_>, templates: &Templates) -> Option<Handler> {
    let name = at.get("handler_name");
    let meta = at.get("handler_meta");
    let settings = match name.words() {
        "eh_web_hook_handler" => {
            let settings = webhook(&meta, at, templates)?;
            name.carried();
            settings
        }
        "eh_log_handler" => {
            name.carried();
            meta.get("disabled").carried();
            meta.get("prefix").carried();
            let prefix = meta.get("prefix").words().to_owned();
            HandlerMeta { disabled: meta.get("disabled").flag(), prefix, ..HandlerMeta::default() }
        }
        "eh_dynamic_handler" | "cp_dynamic_handler" => {
            at.missing(SCRIPT);
            return None;
        }
        other => {
            at.missing(format!("Tyk has no handler {other:?}: no one was notified"));
            return None;
        }
    };
    Some(Handler { handler_name: name.words().to_owned(), handler_meta: settings })
}

/// A `handler_meta`, or the `configuration` of a monitor. `whole` is the part that is left out if no one can be
/// notified.
pub(super) fn webhook(at: &At<'_>, whole: &At<'_>, templates: &Templates) -> Option<HandlerMeta> {
    let headers = at.get("header_map").entries();
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let timeout = at.get("event_timeout");
    let seconds = timeout.number().map_or(0, |seconds| whole_seconds(seconds, &timeout));
    let hook = Hook {
        disabled: at.get("disabled").flag(),
        id: at.get("id").words(),
        name: at.get("name").words(),
        method: at.get("method"),
        target: at.get("target_path"),
        template: at.get("template_path"),
        headers,
        seconds,
    }
    .into_settings(whole, templates)?;
    for name in ["id", "name", "disabled"] {
        at.get(name).carried();
    }
    Some(hook)
}

fn whole_seconds(seconds: f64, at: &At<'_>) -> u64 {
    let kept = seconds.trunc().clamp(0.0, 315_360_000.0);
    let kept_seconds = format!("{kept:.0}").parse().unwrap_or_default();
    if kept != seconds {
        at.changed(format!("{kept_seconds}: whole seconds, up to ten years"));
    } else if kept_seconds == 0 {
        at.changed("0 is no cool-down: Tyk may send such an event once and never again");
    } else {
        at.carried();
    }
    kept_seconds
}

fn oas(at: &At<'_>, templates: &Templates) -> Option<Handler> {
    let enabled = at.get("enabled");
    let disabled = !enabled.flag();
    match at.get("type").words() {
        "webhook" => {
            let headers = at.get("headers").items();
            let headers = headers.iter().map(|header| (header.get("name").words().to_owned(), header.get("value")));
            let cool_down = at.get("cooldownPeriod");
            let settings = Hook {
                disabled,
                id: at.get("id").words(),
                name: at.get("name").words(),
                method: at.get("method"),
                target: at.get("url"),
                template: at.get("bodyTemplate"),
                headers: headers.collect(),
                seconds: cool_down_seconds(&cool_down),
            }
            .into_settings(at, templates)?;
            for name in ["type", "id", "name"] {
                at.get(name).carried();
            }
            at.get("headers").items().iter().for_each(|header| header.get("name").carried());
            enabled.carried();
            Some(Handler { handler_name: "eh_web_hook_handler".to_owned(), handler_meta: settings })
        }
        "log" => {
            for name in ["type", "id", "name", "enabled", "logPrefix"] {
                at.get(name).carried();
            }
            let prefix = at.get("logPrefix").words().to_owned();
            let meta = HandlerMeta { disabled, prefix, ..HandlerMeta::default() };
            Some(Handler { handler_name: "eh_log_handler".to_owned(), handler_meta: meta })
        }
        "custom" => {
            at.missing(SCRIPT);
            None
        }
        other => {
            at.missing(format!("Tyk has no handler of type {other:?}: no one was notified"));
            None
        }
    }
}

/// Tyk reads an invalid duration as 0, and drops fractions of a second.
fn cool_down_seconds(at: &At<'_>) -> u64 {
    let exact = duration(at.words());
    let seconds = exact.unwrap_or_default().trunc();
    match exact {
        Some(exact) if exact != seconds => at.changed(format!("event_timeout: {seconds}: whole seconds, as in Tyk")),
        Some(_) => at.changed(format!("event_timeout: {seconds}, the same in seconds")),
        None => at.changed("event_timeout: 0, because in Tyk anything but a duration such as 1m30s means 0"),
    }
    format!("{seconds:.0}").parse().unwrap_or_default()
}

/// Seconds in Go's form: `1h30m`, `90s`, `1.5m`, `500ms`.
pub(super) fn duration(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let number = number.parse::<f64>().ok()?;
        total += match unit {
            "h" => number * 3600.0,
            "m" => number * 60.0,
            "s" => number,
            "ms" => number / 1e3,
            "us" | "µs" => number / 1e6,
            "ns" => number / 1e9,
            _ => return None,
        };
        rest = after;
    }
    (!text.is_empty() && total < 1e9).then_some(total)
}

/// A webhook in either form.
struct Hook<'f> {
    disabled: bool,
    id: &'f str,
    name: &'f str,
    method: At<'f>,
    target: At<'f>,
    template: At<'f>,
    headers: Vec<(String, At<'f>)>,
    seconds: u64,
}

impl Hook<'_> {
    /// `None` if Tyk could not send it either.
    fn into_settings(self, whole: &At<'_>, templates: &Templates) -> Option<HandlerMeta> {
        let target = self.target.words();
        if target.is_empty() {
            whole.missing("it has no target: a webhook of the dashboard is named by its id only; write its URL here");
            return None;
        }
        if !is_absolute(target) {
            whole.missing("its target is not an absolute http or https URL: Tyk could not send it either");
            return None;
        }
        self.target.carried();
        let template_path = match self.template.is_set() {
            true => templates.resolve(&self.template)?,
            false => String::new(),
        };
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &self.headers {
            if let Some(problem) = header_problem(name, value.words(), &headers) {
                value.missing(problem);
            } else {
                value.carried();
                headers.push((name.clone(), value.words().to_owned()));
            }
        }
        Some(HandlerMeta {
            disabled: self.disabled,
            id: self.id.to_owned(),
            name: self.name.to_owned(),
            method: Some(method(&self.method).to_owned()),
            target_path: target.to_owned(),
            template_path,
            header_map: headers.into_iter().collect(),
            event_timeout: Some(self.seconds),
            ..HandlerMeta::default()
        })
    }
}

/// Tyk sends unknown methods as GET.
fn method(at: &At<'_>) -> &'static str {
    let given = at.words().to_ascii_uppercase();
    let known = ["PUT", "POST", "PATCH", "DELETE", "GET"];
    let method = known.into_iter().find(|method| *method == given).unwrap_or("GET");
    match method {
        "GET" => at.changed("GET, which has no body here: use POST to send the message"),
        _ if at.words() == method => at.carried(),
        _ => at.changed(format!("{method}, in capitals")),
    }
    method
}

fn is_absolute(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    uri.is_some_and(|uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let port_is_good = uri.authority().is_some_and(|authority| {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            let port = host.rsplit(']').next().unwrap_or_default().split_once(':');
            port.is_none_or(|(_, port)| port.parse::<u16>().is_ok())
        });
        is_http && uri.host().is_some_and(|host| !host.is_empty()) && port_is_good
    })
}

fn header_problem(name: &str, value: &str, others: &[(String, String)]) -> Option<&'static str> {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return Some("this is not a header's name: Tyk could not send it either");
    };
    if HeaderValue::from_str(value).is_err() {
        return Some("its value has characters that a header cannot have");
    }
    if OWN_HEADERS.contains(&name.as_str()) {
        return Some("this header follows from the target and the body, or is tollbell's own");
    }
    others.iter().any(|(other, _)| name == other.as_str()).then_some("the same header twice, in different case")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_are_gos() {
        let cases = [("1m30s", 90.0), ("1h", 3600.0), ("1.5m", 90.0), ("500ms", 0.5), ("1500ms", 1.5), ("0", 0.0)];
        for (text, seconds) in cases {
            assert_eq!(duration(text), Some(seconds), "{text}");
        }
        for text in ["", "10", "1d", "s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn targets_are_absolute() {
        for good in ["http://a", "https://u:p@a.test:8443/x?y", "http://[::1]:80/"] {
            assert!(is_absolute(good), "{good}");
        }
        for bad in ["", "/x", "hooks", "ftp://a", "http://", "http://a:99999/", "http://a b/"] {
            assert!(!is_absolute(bad), "{bad}");
        }
    }
}
