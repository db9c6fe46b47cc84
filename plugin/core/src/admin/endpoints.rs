//! The admin endpoints: the filter's own answers to clients that have the token.
//!
//! Without the token every path below the prefix gets the same answer, so that it reveals nothing.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::access::{
    Access, AllowanceScope, Answer, Caller, Charge, Directory, LimitScope, Limits, Prefix, Readings, Request, Session,
    StoreView, Usage, decode_query_part, split_once,
};
use crate::base::UnixMillis;
use crate::delivery::{disabled, outbox};
use crate::host::Host;
use crate::notify::{MessageOutcome, Notifications};
use crate::observe;

/// Maximum bytes of a body.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long the first part of a body may take to arrive.
pub const BODY_PATIENCE_MS: u64 = 5000;

/// The number of sessions in `status` by default.
const STATUS_LIMIT: usize = 100;
const STATUS_MOST: usize = 1000;

/// The configuration of the endpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct Admin {
    /// The prefix of their paths, without a slash at its end.
    prefix: Prefix,
    token_sha256: [u8; 32],
}

/// A request to the endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Shows usage, held messages and disabled targets.
    Status {
        /// The number of sessions to skip.
        offset: usize,
        /// The number of sessions to show.
        limit: usize,
    },
    /// A HEAD request to a named webhook's target.
    TestWebhook(String),
    /// Takes events from an application.
    Events,
}

impl Admin {
    /// The prefix has no slash at its end. The token is given by its SHA-256.
    pub fn new(prefix: Prefix, token_sha256: [u8; 32]) -> Self {
        Admin { prefix, token_sha256 }
    }

    /// True if a path may mean one of the endpoints, in any reading, so that no such request reaches an upstream. The
    /// endpoints exist on every host.
    pub fn owns(&self, readings: &Readings<'_>) -> bool {
        let prefix = self.prefix.decoded();
        let is_below = |path: &[u8]| path.strip_prefix(prefix).is_some_and(|rest| matches!(rest, [] | [b'/', ..]));
        readings.decoded().iter().any(|reading| is_below(&reading.path))
    }

    /// True if the request has the token. The time that the check takes does not depend on how much of the token is
    /// correct.
    pub fn allows(&self, request: &Request<'_>) -> bool {
        let value = request.header("authorization").unwrap_or_default().trim_ascii();
        let (scheme, token) = value.split_at_checked(7).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(digest.ct_eq(&self.token_sha256))
    }

    /// The command of a request that has the token.
    ///
    /// # Errors
    /// The answer to a request for an unknown endpoint.
    pub fn command(&self, request: &Request<'_>, readings: &Readings<'_>) -> Result<Command, Answer> {
        let paths = readings.encoded().iter().map(|reading| String::from_utf8_lossy(&reading.path));
        let rest = paths.filter_map(|path| self.prefix.rest(&path).map(str::to_owned)).next().unwrap_or_default();
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let method = request.header(":method").unwrap_or(b"GET");
        let command = match parts[..] {
            ["status"] => ("GET", Command::Status { offset: number(request, "offset", 0), limit: limit(request) }),
            ["webhooks", name, "test"] => {
                let name: Vec<u8> = percent_encoding::percent_decode_str(name).collect();
                ("POST", Command::TestWebhook(String::from_utf8_lossy(&name).into_owned()))
            }
            ["events"] => ("POST", Command::Events),
            _ => {
                let known = "GET status, POST webhooks/{name}/test, POST events";
                return Err(answer(
                    404,
                    &json!({ "error": format!("there is no such endpoint; the endpoints are {known}") }),
                ));
            }
        };
        match command {
            (expected, command) if expected.as_bytes() == method => Ok(command),
            (expected, _) => Err(answer(405, &json!({ "error": format!("this is for {expected}") }))),
        }
    }
}

fn limit(request: &Request<'_>) -> usize {
    number(request, "limit", STATUS_LIMIT).min(STATUS_MOST)
}

fn number(request: &Request<'_>, name: &str, default: usize) -> usize {
    let pairs = request.query().unwrap_or_default().split(|byte| *byte == b'&');
    let value = pairs.filter_map(|pair| split_once(pair, b'=')).find(|(key, _)| *key == name.as_bytes());
    let text = value.map(|(_, value)| decode_query_part(value).into_owned());
    text.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).unwrap_or(default)
}

/// The answer to requests without the token.
pub fn unauthorised() -> Answer {
    let mut answer = answer(401, &json!({ "error": "Unauthorised" }));
    answer.headers.push(("www-authenticate", r#"Bearer realm="tollbell""#.to_owned()));
    answer
}

/// An answer of the endpoints.
pub fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        headers: vec![("content-type", "application/json".to_owned()), ("cache-control", "no-store".to_owned())],
        body: format!("{body:#}\n"),
        details: format!("{}admin", Answer::DETAILS_PREFIX),
    }
}

/// Reads posted events: one event, or a list. If any is wrong, none is taken.
///
/// # Errors
/// The answer with all errors.
pub fn posted_events(body: &[u8], size: usize, now: UnixMillis) -> Result<Vec<observe::Occurrence>, Answer> {
    let refuse = |status, errors: Vec<Value>| Err(answer(status, &json!({ "errors": errors })));
    if size > MAX_BODY_BYTES {
        return refuse(413, vec![json!({ "message": format!("more than {MAX_BODY_BYTES} bytes") })]);
    }
    let value = match crate::base::json::parse(body) {
        Ok(value) => value,
        Err(error) => return refuse(400, vec![json!({ "message": error.to_string() })]),
    };
    let list = if let Value::Array(list) = &value { list.as_slice() } else { std::slice::from_ref(&value) };
    let (mut occurrences, mut errors) = (Vec::new(), Vec::new());
    for (index, event) in list.iter().enumerate() {
        match observe::posted(event, now) {
            Ok(occurrence) => occurrences.push(occurrence),
            Err(found) => errors.extend(found.iter().map(|error| {
                let path = if value.is_array() { format!("[{index}]{}", error.path) } else { error.path.clone() };
                json!({ "path": path, "message": error.message })
            })),
        }
    }
    if errors.is_empty() { Ok(occurrences) } else { refuse(422, errors) }
}

/// The answer to posted events: for each event the number of its handlers, and how many of these will not send it, by
/// reason. The status is 503 if the outbox had no room for one.
pub fn accepted(events: &[Vec<MessageOutcome>]) -> Answer {
    let count = |outcomes: &[MessageOutcome], reason| {
        outcomes.iter().filter(|outcome| outcome.reason() == Some(reason)).count()
    };
    let accepted: Vec<Value> = events
        .iter()
        .map(|outcomes| {
            let reasons = MessageOutcome::REASONS.map(|reason| (reason.to_owned(), count(outcomes, reason)));
            let reasons = reasons.into_iter().filter(|(_, count)| *count > 0);
            let members = std::iter::once(("handlers".to_owned(), outcomes.len())).chain(reasons);
            Value::Object(members.map(|(name, count)| (name, json!(count))).collect())
        })
        .collect();
    if events.iter().any(|outcomes| outcomes.contains(&MessageOutcome::Dropped)) {
        let error = "the table of held messages has no room: post the events with \"dropped\" again later; handlers that \
                     took such an event will send it twice";
        return answer(503, &json!({ "error": error, "accepted": accepted }));
    }
    answer(202, &json!({ "accepted": accepted }))
}

/// The answer if no body arrives.
pub fn no_body() -> Answer {
    let error = "no body came within 5 seconds; if the client sent one, the proxy does not pass it on: set \
                 allow_on_headers_stop_iteration: true beside the plugin's vm_config";
    answer(408, &json!({ "error": error }))
}

/// The parts that the status shows.
#[derive(Clone, Copy)]
pub struct Shown<'e> {
    pub access: &'e Access,
    /// Sessions and organisations.
    pub directory: &'e Directory,
    /// Handlers and held messages.
    pub notifications: &'e Notifications,
    /// The usage of limits.
    pub usages: &'e dyn Fn(&Charge<'_>) -> Vec<(LimitScope, Usage)>,
    /// The store of a fleet.
    pub store: Option<&'e StoreView>,
}

/// The answer to `GET status`.
pub fn status(host: &impl Host, scope: &Shown<'_>, (offset, limit): (usize, usize), now: UnixMillis) -> Value {
    let Shown { directory, notifications, .. } = *scope;
    let sessions: Vec<Value> =
        directory.sessions().skip(offset).take(limit).map(|session| shown_session(scope, session)).collect();
    let organisations: Vec<Value> = directory
        .orgs()
        .map(|org| {
            let caller = Caller::anonymous(Some(org));
            let limits = shown((scope.usages)(&caller.org_charge()));
            json!({ "id": org.id, "is_inactive": org.is_inactive, "limits": limits })
        })
        .collect();
    let held = outbox::taken(host).map(|slots| slots.len());
    let mut status = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "time": now.to_rfc3339(),
        "keys": sessions,
        "keys_total": directory.len(),
        "organisations": organisations,
        "deliveries": { "held": held.ok(), "capacity": notifications.delivery.capacity },
        "disabled_targets": disabled_targets(host, notifications),
    });
    if let Some((store, status)) = scope.store.zip(status.as_object_mut()) {
        status.insert("store".to_owned(), shown_store(store));
    }
    status
}

fn shown_store(store: &StoreView) -> Value {
    json!({
        "cluster": store.cluster,
        "is_answering": store.failures == 0,
        "last_answer": (store.last_answer.0 > 0).then(|| store.last_answer.to_rfc3339()),
        "failures": store.failures,
        "trouble": store.trouble,
        "members": store.members,
        "calls": { "answered": store.calls, "mean_ms": store.mean_ms, "longest_ms": store.longest_ms },
        "leases": store.leases,
        "stock": store.stock,
        "waiting": store.waiting,
    })
}

/// A session with the use of its limits.
pub fn shown_session(scope: &Shown<'_>, session: &Session) -> Value {
    let Shown { access, directory, usages, .. } = *scope;
    let caller = Caller::of_session(directory, session);
    let own = (String::new(), AllowanceScope::default(), &session.plan.limits);
    let of_rights = session.plan.rights.iter().flatten();
    let rights = of_rights.filter_map(|(api, right)| Some((api.clone(), right.scope, right.limits.as_ref()?)));
    let limits: Vec<Value> = std::iter::once(own)
        .chain(rights)
        .flat_map(|(api, scope, limits): (String, AllowanceScope, &Limits)| {
            let used = usages(&caller.key_charge(access, scope, limits));
            let shown = shown(used).into_iter().map(move |mut limit| {
                if let Some(fields) = limit.as_object_mut().filter(|_| !api.is_empty()) {
                    fields.insert("api".to_owned(), json!(api));
                }
                limit
            });
            shown.collect::<Vec<_>>()
        })
        .collect();
    json!({
        "key": session.hash.fingerprint(),
        "alias": session.about.as_ref().map_or("", |about| &about.alias),
        "org": caller.org_id(),
        "is_inactive": session.is_inactive,
        "expires": session.expires.map(UnixMillis::to_rfc3339),
        "limits": limits,
    })
}

/// Limits as JSON.
pub fn shown(usages: Vec<(LimitScope, Usage)>) -> Vec<Value> {
    let limit = |(scope, usage): (LimitScope, Usage)| {
        json!({
            "limit": if scope.is_rate() { "rate" } else { "quota" },
            "max": usage.max,
            "used": usage.count,
            "remaining": usage.remaining(),
            "renews": usage.renews.map(UnixMillis::to_rfc3339),
        })
    };
    usages.into_iter().map(limit).collect()
}

/// The hosts of the URLs that answered 410, with the handlers that use them.
fn disabled_targets(host: &impl Host, notifications: &Notifications) -> Vec<Value> {
    let disabled = disabled::disabled(host).unwrap_or_default();
    let of_handlers =
        notifications.handlers.iter().filter_map(|handler| Some((&handler.name, &handler.action.channel()?.target)));
    of_handlers
        .filter(|(_, target)| disabled.contains(notifications.placement.id, target.endpoint))
        .map(|(name, target)| json!({ "handler": name, "host": target.authority }))
        .collect()
}
