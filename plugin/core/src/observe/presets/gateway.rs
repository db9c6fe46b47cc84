//! The gateway's API, from Tyk's code (`gateway/api.go`, `server.go`, `mcp_api.go`).
//!
//! Success is 200 with `"status": "ok"`, or with `null` after a key was deleted with `api_id=-1`. Keys of organisations
//! and `/keys/preview` are not events.
//!
//! `data` of a key event is not documented. It has the form of the dashboard's own answers: `key_id`, `key_hash`, and
//! the session in `data`. `data` of an API event has the form of the dashboard's API objects.

use serde_json::{Map, Value};

use super::{BOTH, Needs, RESPONSE, Row, object, text};
use crate::event::{EventKind, ManagementAction};
use crate::observe::exchange::{BodyView, Seen};
use crate::observe::occurrence::{Occurrence, OrgId};
use crate::observe::secrets::{fingerprint, is_hash};

pub(super) const ROWS: &[Row] = &[
    Row::none(&["POST"], "/keys/preview"),
    Row::new(&["POST"], "/keys/create", BOTH, is_ok, key_added),
    Row::new(&["POST"], "/keys", BOTH, is_ok, key_added),
    Row::new(&["POST"], "/keys/{name}", BOTH, is_ok, key_added),
    Row::new(&["PUT"], "/keys/{name}", BOTH, is_ok, key_updated),
    Row::new(&["DELETE"], "/keys/{name}", RESPONSE, is_deleted, key_deleted),
    Row::new(&["POST"], "/keys/policy/{hash}", RESPONSE, is_ok, policy_of_key_updated),
    api(&["POST"], "/apis", BOTH, |seen, found| classic(seen, ManagementAction::Add, found)),
    api(&["POST"], "/apis/{id}", BOTH, |seen, found| classic(seen, ManagementAction::Add, found)),
    api(&["PUT"], "/apis/{id}", BOTH, |seen, found| classic(seen, ManagementAction::Update, found)),
    api(&["DELETE"], "/apis/{id}", RESPONSE, api_deleted),
    api(&["POST"], "/apis/oas", BOTH, |seen, found| oas(seen, ManagementAction::Add, found)),
    api(&["POST"], "/apis/oas/import", BOTH, |seen, found| oas(seen, ManagementAction::Add, found)),
    api(&["PUT", "PATCH"], "/apis/oas/{id}", BOTH, |seen, found| oas(seen, ManagementAction::Update, found)),
    api(&["DELETE"], "/apis/oas/{id}", RESPONSE, api_deleted),
    api(&["POST"], "/mcps", BOTH, |seen, found| oas(seen, ManagementAction::Add, found)),
    api(&["PUT"], "/mcps/{id}", BOTH, |seen, found| oas(seen, ManagementAction::Update, found)),
    api(&["DELETE"], "/mcps/{id}", RESPONSE, api_deleted),
];

const fn api(
    methods: &'static [&'static str],
    path: &'static str,
    needs: Needs,
    make: fn(&Seen<'_>, &mut Vec<Occurrence>),
) -> Row {
    Row::new(methods, path, needs, is_ok, make)
}

fn is_ok(seen: &Seen<'_>) -> bool {
    seen.status() == 200 && seen.response().text("/status") == Some("ok")
}

fn is_deleted(seen: &Seen<'_>) -> bool {
    let is_null = seen.status() == 200 && seen.response() == BodyView::Json(&Value::Null);
    is_ok(seen) || is_null && seen.query("api_id").as_deref() == Some("-1")
}

fn key_added(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    Key { session: session(seen), ..Key::answered(seen) }.tell(seen, ManagementAction::Add, found);
}

fn key_updated(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    Key { session: session(seen), ..Key::answered(seen) }.tell(seen, ManagementAction::Update, found);
}

fn key_deleted(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    Key::answered(seen).tell(seen, ManagementAction::Delete, found);
}

fn policy_of_key_updated(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    Key { is_named_by_hash: false, ..Key::named(seen.path("hash"), true) }.tell(seen, ManagementAction::Update, found);
}

fn session<'e>(seen: &Seen<'e>) -> Option<&'e Value> {
    seen.request().json("").filter(|session| session.is_object())
}

/// The known parts of a key.
#[derive(Default)]
pub(super) struct Key<'e> {
    /// The raw key; `None` if it is empty.
    pub(super) raw: Option<String>,
    /// The hash; `None` for text that does not have the form of a hash, or that is the raw key.
    pub(super) hash: Option<String>,
    /// The operation named the key by its hash.
    pub(super) is_named_by_hash: bool,
    pub(super) session: Option<&'e Value>,
    pub(super) model: Option<&'e Value>,
}

impl Key<'_> {
    /// Reads the gateway's answer: `key` is empty for basic authentication, and has the hash if the request named the
    /// key by it.
    fn answered(seen: &Seen<'_>) -> Self {
        let named = match seen.response() {
            BodyView::Json(Value::Object(_)) => seen.response().text("/key").map(str::to_owned),
            _ => text_of(seen.path("name")),
        };
        // Tyk's code takes any value of `hashed` as true.
        let by_path = Key::named(seen.path("name"), seen.query("hashed").is_some());
        if by_path.is_named_by_hash {
            return by_path;
        }
        Key { raw: named, hash: seen.response().text("/key_hash").map(str::to_owned), ..Key::default() }
    }

    /// A key in a path. It counts as a hash if the request says so and the name has the form of one. Otherwise it may
    /// be a raw key: Tyk may not hash keys, or `hashed` may be a mistake.
    pub(super) fn named(name: &str, is_hashed: bool) -> Self {
        match text_of(name) {
            Some(hash) if is_hashed && is_hash(&hash) => {
                Key { hash: Some(hash), is_named_by_hash: true, ..Key::default() }
            }
            raw => Key { raw, ..Key::default() },
        }
    }

    /// Adds a key event. If the operation named the key by its hash, it adds a hashed key event, too: the key event is
    /// documented for every key, and the documentation of `event_options` has the other for hashed keys.
    pub(super) fn tell(self, seen: &Seen<'_>, action: ManagementAction, found: &mut Vec<Occurrence>) {
        let stated =
            [seen.response().text("/data/org_id"), seen.request().text("/org_id")].into_iter().flatten().next();
        let stated = stated.map(str::to_owned).or_else(|| seen.query("org_id"));
        let org_id = stated.map_or_else(|| OrgId::of_key(self.raw.as_deref().unwrap_or_default()), OrgId::Named);
        let hash = self.hash.as_deref().filter(|hash| is_hash(hash) && self.raw.as_deref() != Some(hash));
        let data = object([
            ("api_model", self.model.cloned()),
            ("key_id", self.raw.as_deref().and_then(text_of).map(|key| Value::from(fingerprint(&key)))),
            ("key_hash", hash.map(Value::from)),
            ("data", self.session.cloned()),
        ]);
        if self.is_named_by_hash {
            found.push(Occurrence::new(EventKind::HashedKeyEvent, Some(action), org_id.clone(), data.clone()));
        }
        found.push(Occurrence::new(EventKind::KeyEvent, Some(action), org_id, data));
    }
}

fn text_of(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn classic(seen: &Seen<'_>, action: ManagementAction, found: &mut Vec<Occurrence>) {
    let mut definition = seen.request().json("").and_then(Value::as_object).cloned().unwrap_or_default();
    set(&mut definition, "api_id", seen.response().text("/key"));
    let org_id = seen.request().text("/org_id").map(str::to_owned);
    let data = object([("api_definition", Some(Value::Object(definition)))]);
    found.push(Occurrence::new(EventKind::ApiEvent, Some(action), org_id, data));
}

fn oas(seen: &Seen<'_>, action: ManagementAction, found: &mut Vec<Occurrence>) {
    let (mut definition, org_id) = of_oas(seen);
    set(&mut definition, "api_id", seen.response().text("/key"));
    let document = seen.request().json("").filter(|document| document.is_object()).cloned();
    let data = object([("api_definition", Some(Value::Object(definition))), ("oas", document)]);
    found.push(Occurrence::new(EventKind::ApiEvent, Some(action), org_id, data));
}

fn api_deleted(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let definition = object([("api_id", text(seen.path("id")))]);
    let data = object([("api_definition", Some(definition))]);
    found.push(Occurrence::new(EventKind::ApiEvent, Some(ManagementAction::Delete), OrgId::OfApi, data));
}

/// The API in Tyk's part of an OpenAPI document, with the field names of a definition; and its organisation.
pub(super) fn of_oas(seen: &Seen<'_>) -> (Map<String, Value>, Option<String>) {
    const PLACES: [(&str, &str); 5] = [
        ("api_id", "/x-tyk-api-gateway/info/id"),
        ("id", "/x-tyk-api-gateway/info/dbId"),
        ("name", "/x-tyk-api-gateway/info/name"),
        ("org_id", "/x-tyk-api-gateway/info/orgId"),
        ("active", "/x-tyk-api-gateway/info/state/active"),
    ];
    let request = seen.request();
    let member = |(name, place): (&str, &str)| {
        let value = request.json(place).filter(|value| value.as_str() != Some("") && !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    };
    let org_id = request.text("/x-tyk-api-gateway/info/orgId").map(str::to_owned);
    (PLACES.into_iter().filter_map(member).collect(), org_id)
}

/// Sets a field if there is a value for it.
pub(super) fn set(members: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), Value::from(value));
    }
}
