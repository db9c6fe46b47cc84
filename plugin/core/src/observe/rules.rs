//! The rules that decide which exchanges are management events and what their payloads contain.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::exchange::{BodyView, Exchange, Seen};
use super::fit::fit;
use super::occurrence::{Occurrence, OrgId};
use super::path::Template;
use super::presets::{Preset, Row};
use super::secrets::{fingerprint, scrub};
use crate::access::Prefix;
use crate::event::{EventKind, ManagementAction};

/// The rules for an API's exchanges.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The prefix that a free rule's path may be relative to.
    listen_path: Prefix,
    preset: Option<Preset>,
    list: Vec<Rule>,
    max_body_bytes: usize,
    /// True if a missing organisation was logged. It is logged once, because clients can cause it.
    misses_org: Cell<bool>,
}

/// The parts of an exchange that a rule needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// The request's body is needed.
    pub needs_request: bool,
    /// The response's body is needed.
    pub needs_response: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    path: Template,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Preset(&'static Row),
    Free(Box<FreeRule>),
}

/// A rule of the configuration.
#[derive(Clone, Debug)]
pub struct FreeRule {
    pub kind: EventKind,
    /// The action, for an event that has actions.
    pub action: Option<ManagementAction>,
    /// The request's method.
    pub method: String,
    /// The request's path, below the API's `listen_path` or as a whole.
    pub path: Template,
    /// The statuses that mean success; empty for every 2xx.
    pub status: Vec<u16>,
    /// The place of the organisation's id. If it finds nothing, no organisation is notified. Without a place, the
    /// organisation is the API's.
    pub org_id: Option<ValueSource>,
    /// The source of the payload.
    pub payload: Payload,
    /// JSON pointers into the payload. They point to raw keys, which are shown as their fingerprints.
    pub fingerprints: Vec<String>,
}

/// The source of a payload.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A single value. If it is missing, the payload is an empty object.
    Whole(ValueSource),
    /// Values by the names of the payload's fields. A value that is missing or has the wrong type is left out.
    Members(Vec<(String, ValueSource)>),
}

/// The place of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueSource {
    /// In the request's body, at a JSON pointer.
    Request(String),
    /// In the response's body, at a JSON pointer.
    Response(String),
    /// At a named place of the path.
    Path(String),
    /// In a query parameter.
    Query(String),
    /// In the rule itself.
    Value(Value),
}

impl Rules {
    /// Makes the rules of an API from its `listen_path`, a preset and free rules. Bodies are read up to
    /// `max_body_bytes`.
    pub fn new(listen_path: Prefix, preset: Option<Preset>, free: Vec<FreeRule>, max_body_bytes: usize) -> Self {
        let rows = preset.map(Preset::rows).unwrap_or_default().iter();
        // A test checks that the path of every row can be parsed.
        let known =
            rows.filter_map(|row| Some(Rule { path: Template::parse(row.path).ok()?, what: What::Preset(row) }));
        let own = free.into_iter().map(|rule| Rule { path: rule.path.clone(), what: What::Free(Box::new(rule)) });
        let (list, misses_org) = (known.chain(own).collect(), Cell::new(false));
        Rules { listen_path, preset, list, max_body_bytes, misses_org }
    }

    /// The part of a path that log lines show: the API's own, because the rest may contain a key.
    pub fn shown_path(&self) -> String {
        format!("{}/…", String::from_utf8_lossy(self.listen_path.decoded()).trim_end_matches('/'))
    }

    /// The maximum number of bytes that are read of a body.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body_bytes
    }

    /// True if there are no rules.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Called at a request's headers. Returns the parts of the exchange to read, if a rule is for it. `path` is the
    /// whole path as sent, without the query.
    pub fn watch(&self, method: &str, path: &str) -> Option<Watch> {
        let mut watch: Option<Watch> = None;
        for (rule, _) in self.matching(method, path) {
            let (request, response) = rule.what.needs();
            let all = watch.get_or_insert_default();
            all.needs_request |= request;
            all.needs_response |= response;
        }
        watch
    }

    /// Called at the end of an exchange. Returns its events; none if the exchange failed.
    pub fn occurrences(&self, exchange: &Exchange<'_>) -> Vec<Occurrence> {
        let mut found = Vec::new();
        for (rule, path) in self.matching(exchange.method, exchange.path) {
            let seen = Seen { exchange, captures: rule.path.captures(path) };
            match &rule.what {
                What::Preset(row) if (row.succeeded)(&seen) => (row.make)(&seen, &mut found),
                What::Preset(_) => {}
                What::Free(rule) => found.extend(rule.occurrence(&seen)),
            }
        }
        for occurrence in &mut found {
            fit(occurrence.kind, &mut occurrence.payload);
            scrub("", &mut occurrence.payload);
            if occurrence.org_id == OrgId::Missing && !self.misses_org.replace(true) {
                let (method, path, name) = (exchange.method, self.shown_path(), occurrence.name());
                log::warn!(
                    "{method} {path}: the org_id of a rule finds nothing: no organisation is notified of {name}"
                );
            }
        }
        found
    }

    /// True if a free rule counts for such a request. It does not if the preset has a more specific path.
    pub fn heeds(&self, method: &str, path: &str) -> bool {
        self.matching(method, path).iter().any(|(rule, _)| matches!(rule.what, What::Free(_)))
    }

    /// The rules for such a request, each with the path that it matches. Of the matching paths the most specific one
    /// counts: `/keys/{name}` is not for `/keys/preview` if that has its own rule.
    fn matching<'r, 'p>(&'r self, method: &str, path: &'p str) -> Vec<(&'r Rule, &'p str)> {
        let relative = self.listen_path.rest(path);
        let candidates = self.preset.map(|preset| preset.candidates(path, relative)).unwrap_or_default();
        let find = |rule: &Rule| match &rule.what {
            What::Preset(row) if row.methods.contains(&method) => {
                candidates.iter().flatten().copied().find(|path| rule.path.matches(path))
            }
            What::Free(free) if free.method == method => {
                relative.into_iter().chain(relative.and(Some(path))).find(|path| rule.path.matches(path))
            }
            _ => None,
        };
        let mut matching: Vec<_> = self.list.iter().filter_map(|rule| Some((rule, find(rule)?))).collect();
        let best = matching.iter().map(|(rule, _)| &rule.path).min_by(|a, b| a.precedence(b)).cloned();
        if let Some(best) = best {
            matching.retain(|(rule, _)| rule.what.is_event() && rule.path.precedence(&best).is_eq());
        }
        matching
    }
}

impl What {
    fn is_event(&self) -> bool {
        match self {
            What::Preset(row) => row.is_event,
            What::Free(_) => true,
        }
    }

    fn needs(&self) -> (bool, bool) {
        match self {
            What::Preset(row) => (row.needs.request, row.needs.response),
            What::Free(rule) => {
                let of = |wanted: fn(&ValueSource) -> bool| rule.sources().any(wanted);
                (
                    of(|source| matches!(source, ValueSource::Request(_))),
                    of(|source| matches!(source, ValueSource::Response(_))),
                )
            }
        }
    }
}

impl FreeRule {
    fn sources(&self) -> impl Iterator<Item = &ValueSource> {
        let payload: Vec<&ValueSource> = match &self.payload {
            Payload::Whole(source) => vec![source],
            Payload::Members(members) => members.iter().map(|(_, source)| source).collect(),
        };
        self.org_id.iter().chain(payload)
    }

    fn occurrence(&self, seen: &Seen<'_>) -> Option<Occurrence> {
        let status = seen.status();
        let succeeded =
            if self.status.is_empty() { (200..300).contains(&status) } else { self.status.contains(&status) };
        if !succeeded {
            return None;
        }
        let org_id = match &self.org_id {
            Some(source) => source.find(seen).and_then(plain_text).map_or(OrgId::Missing, OrgId::Named),
            None => OrgId::OfApi,
        };
        let mut payload = match &self.payload {
            Payload::Whole(source) => source.find(seen).unwrap_or_else(|| Value::Object(Map::new())),
            Payload::Members(members) => {
                let member = |(name, source): &(String, ValueSource)| Some((name.clone(), source.find(seen)?));
                Value::Object(members.iter().filter_map(member).collect())
            }
        };
        for pointer in &self.fingerprints {
            if let Some(place) = payload.pointer_mut(pointer)
                && let Some(key) = place.as_str()
            {
                *place = Value::from(fingerprint(key));
            }
        }
        // The original name of the value is lost after this.
        if let Payload::Whole(source) = &self.payload {
            scrub(source.name(), &mut payload);
        }
        Some(Occurrence::new(self.kind, self.action, org_id, payload))
    }
}

impl ValueSource {
    /// The name of the value at its source; empty for a whole document.
    fn name(&self) -> &str {
        match self {
            ValueSource::Request(pointer) | ValueSource::Response(pointer) => {
                pointer.rsplit('/').next().unwrap_or_default()
            }
            ValueSource::Path(name) | ValueSource::Query(name) => name,
            ValueSource::Value(_) => "",
        }
    }

    fn find(&self, seen: &Seen<'_>) -> Option<Value> {
        let text = |text: &str| Some(text).filter(|text| !text.is_empty()).map(Value::from);
        let at = |body: BodyView<'_>, pointer| body.at(pointer).filter(|value| !value.is_null());
        match self {
            ValueSource::Request(pointer) => at(seen.request(), pointer),
            ValueSource::Response(pointer) => at(seen.response(), pointer),
            ValueSource::Path(name) => text(seen.path(name)),
            ValueSource::Query(name) => seen.query(name).map(Value::from),
            ValueSource::Value(value) => Some(value.clone()),
        }
    }
}

/// An id as text.
fn plain_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
