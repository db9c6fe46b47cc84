//! Which exchanges are management events, and what of them a payload gets.

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

/// What an API's exchanges are held against.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What a free rule's path may be relative to.
    listen_path: Prefix,
    preset: Option<Preset>,
    list: Vec<Rule>,
    max_body_bytes: usize,
    /// It has been said that an organisation is missing: once is enough, since clients can make it so.
    misses_org: Cell<bool>,
}

/// What is to be read of an exchange that a rule is about.
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

/// A rule of the configuration's.
#[derive(Clone, Debug)]
pub struct FreeRule {
    /// The event.
    pub kind: EventKind,
    /// What happened, for an event that has actions.
    pub action: Option<ManagementAction>,
    /// The request's method.
    pub method: String,
    /// Its path, below the API's `listen_path` or as a whole.
    pub path: Template,
    /// The statuses of success; none: every 2xx.
    pub status: Vec<u16>,
    /// Where the organisation stands. Should it not stand there, no organisation hears of the event; without a place it
    /// is that of the API.
    pub org_id: Option<ValueSource>,
    /// What the payload is made of.
    pub payload: Payload,
    /// JSON pointers into the payload to texts that are raw keys, and are shown as their fingerprints.
    pub fingerprints: Vec<String>,
}

/// What a payload is made of.
#[derive(Clone, Debug)]
pub enum Payload {
    /// One value. An empty object, where it is not there.
    Whole(ValueSource),
    /// Values by the names of members. One that is not there, or not of the member's type, is left out.
    Members(Vec<(String, ValueSource)>),
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueSource {
    /// In the request's body, at a JSON pointer.
    Request(String),
    /// In the response's body, at a JSON pointer.
    Response(String),
    /// At a named place of the path.
    Path(String),
    /// In a parameter of the query.
    Query(String),
    /// Here.
    Value(Value),
}

impl Rules {
    /// For an API: the `listen_path` of which, what a preset knows, and rules beside it. Bodies are read up to
    /// `max_body_bytes`.
    pub fn new(listen_path: Prefix, preset: Option<Preset>, free: Vec<FreeRule>, max_body_bytes: usize) -> Self {
        let rows = preset.map(Preset::rows).unwrap_or_default().iter();
        // A test holds every row to having a path that can be read.
        let known =
            rows.filter_map(|row| Some(Rule { path: Template::parse(row.path).ok()?, what: What::Preset(row) }));
        let own = free.into_iter().map(|rule| Rule { path: rule.path.clone(), what: What::Free(Box::new(rule)) });
        let (list, misses_org) = (known.chain(own).collect(), Cell::new(false));
        Rules { listen_path, preset, list, max_body_bytes, misses_org }
    }

    /// What a log shows of a path: the API's part, because what follows may hold a key.
    pub fn shown_path(&self) -> String {
        format!("{}/…", String::from_utf8_lossy(self.listen_path.decoded()).trim_end_matches('/'))
    }

    /// How much of a body is read.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body_bytes
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// At a request's headers: whether the exchange is of interest, and what is to be read of it. `path` is the whole
    /// path as sent, without the query.
    pub fn watch(&self, method: &str, path: &str, _query: &str) -> Option<Watch> {
        let mut watch: Option<Watch> = None;
        for (rule, _) in self.matching(method, path) {
            let (request, response) = rule.what.needs();
            let all = watch.get_or_insert_default();
            all.needs_request |= request;
            all.needs_response |= response;
        }
        watch
    }

    /// At the end of an exchange: what it was. Nothing, unless it succeeded.
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
                    "{method} {path}: nothing stands where a rule has its org_id: no organisation hears of {name}"
                );
            }
        }
        found
    }

    /// Whether a free rule counts for such a request: where a preset knows it more particularly, none does.
    pub fn heeds(&self, method: &str, path: &str) -> bool {
        self.matching(method, path).iter().any(|(rule, _)| matches!(rule.what, What::Free(_)))
    }

    /// The rules about such a request, each with the path that it matches. Of the paths that match, the most particular
    /// one counts, so that `/keys/{name}` is not about `/keys/preview` where that has a rule.
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
        // What it was called is forgotten from here on.
        if let Payload::Whole(source) = &self.payload {
            scrub(source.name(), &mut payload);
        }
        Some(Occurrence::new(self.kind, self.action, org_id, payload))
    }
}

impl ValueSource {
    /// What the value is called where it stands; empty for the whole of something.
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
