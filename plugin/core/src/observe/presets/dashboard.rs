//! The dashboard's API, from the OpenAPI document "Tyk Dashboard API" and the pages on key requests, portal keys and
//! portal developers.
//!
//! Success is 200. Most answers are `{"Status": "OK", "Message", "Meta"[, "ID"]}`, and `Message` names the operation.
//! The classic portal's own forms are not documented, so actions of developers there are not recognised.

use serde_json::{Map, Value};

use super::gateway::{Key, of_oas, set};
use super::{BOTH, Needs, RESPONSE, Row, object, text};
use crate::event::{EventKind, ManagementAction};
use crate::observe::exchange::Seen;
use crate::observe::occurrence::{Occurrence, OrgId};

pub(super) const ROWS: &[Row] = &[
    Row::new(&["POST"], "/api/apis", BOTH, is_created, |seen, found| classic(seen, ManagementAction::Add, found)),
    Row::new(&["PUT"], "/api/apis/{id}", BOTH, is_updated, |seen, found| {
        classic(seen, ManagementAction::Update, found)
    }),
    Row::new(&["DELETE"], "/api/apis/{id}", RESPONSE, is_deleted, api_deleted),
    Row::new(&["POST"], "/api/apis/oas", BOTH, is_created, |seen, found| oas(seen, ManagementAction::Add, found)),
    Row::new(&["POST"], "/api/apis/oas/import", BOTH, is_created, |seen, found| {
        oas(seen, ManagementAction::Add, found)
    }),
    Row::new(&["POST"], "/api/apis/streams", BOTH, is_created, |seen, found| oas(seen, ManagementAction::Add, found)),
    Row::new(&["PUT", "PATCH"], "/api/apis/oas/{id}", BOTH, is_updated, |seen, found| {
        oas(seen, ManagementAction::Update, found)
    }),
    Row::new(&["PUT", "PATCH"], "/api/apis/streams/{id}", BOTH, is_updated, |seen, found| {
        oas(seen, ManagementAction::Update, found);
    }),
    Row::new(&["DELETE"], "/api/apis/oas/{id}", RESPONSE, is_deleted, api_deleted),
    Row::new(&["DELETE"], "/api/apis/streams/{id}", RESPONSE, is_deleted, api_deleted),
    key(&["POST"], "/api/keys", BOTH, |seen, found| answered(seen, ManagementAction::Add, found)),
    key(&["POST"], "/api/keys/{custom}", BOTH, |seen, found| answered(seen, ManagementAction::Add, found)),
    key(&["POST"], "/api/apis/keys/basic/{user}", BOTH, |seen, found| answered(seen, ManagementAction::Add, found)),
    key(&["PUT"], "/api/keys/{key}", BOTH, |seen, found| answered(seen, ManagementAction::Update, found)),
    key(&["PUT"], "/api/apis/{api}/keys/{key}", BOTH, |seen, found| answered(seen, ManagementAction::Update, found)),
    Row::new(&["DELETE"], "/api/keys/{key}", RESPONSE, is_key_deleted, key_deleted),
    Row::new(&["DELETE"], "/api/apis/{api}/keys/{key}", RESPONSE, is_key_deleted, key_deleted),
    Row::new(&["POST"], "/api/portal/requests", BOTH, is_ok, request_submitted),
    Row::new(&["PUT"], "/api/portal/requests/approve/{id}", RESPONSE, is_approved, request_approved),
    Row::new(&["PUT"], "/api/portal/requests/{id}", BOTH, is_ok, request_updated),
    Row::new(&["DELETE"], "/api/portal/requests/{id}", RESPONSE, is_ok, request_deleted),
    Row::new(&["POST"], "/api/portal/developers/password/{id}", RESPONSE, is_password_changed, password_reset),
];

const fn key(
    methods: &'static [&'static str],
    path: &'static str,
    needs: Needs,
    make: fn(&Seen<'_>, &mut Vec<Occurrence>),
) -> Row {
    Row::new(methods, path, needs, is_key, make)
}

fn is_ok(seen: &Seen<'_>) -> bool {
    seen.status() == 200 && seen.response().text("/Status") == Some("OK")
}

/// True if `Message` begins with this text. Some messages end with a full stop, some do not.
fn says(seen: &Seen<'_>, beginning: &str) -> bool {
    seen.response().text("/Message").is_some_and(|message| message.starts_with(beginning))
}

fn is_created(seen: &Seen<'_>) -> bool {
    is_ok(seen) && says(seen, "API created")
}

fn is_updated(seen: &Seen<'_>) -> bool {
    is_ok(seen) && says(seen, "API updated")
}

fn is_deleted(seen: &Seen<'_>) -> bool {
    is_ok(seen) && says(seen, "API deleted")
}

fn is_key(seen: &Seen<'_>) -> bool {
    let response = seen.response();
    let names_key = response.text("/key_id").or_else(|| response.text("/key_hash")).is_some();
    seen.status() == 200 && is_no_error(seen) && names_key
}

fn is_key_deleted(seen: &Seen<'_>) -> bool {
    seen.status() == 200 && is_no_error(seen) && says(seen, "Key deleted")
}

/// An approval answers with a key, with a client, or for basic authentication with a password alone.
fn is_approved(seen: &Seen<'_>) -> bool {
    let granted = ["/RawKey", "/Password", "/client_id"].into_iter().any(|place| seen.response().text(place).is_some());
    seen.status() == 200 && is_no_error(seen) && granted
}

fn is_password_changed(seen: &Seen<'_>) -> bool {
    seen.status() == 200 && is_no_error(seen) && says(seen, "Password changed")
}

fn is_no_error(seen: &Seen<'_>) -> bool {
    seen.response().text("/Status").is_none_or(|status| status == "OK")
}

fn request_object(seen: &Seen<'_>) -> Map<String, Value> {
    seen.request().json("").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn classic(seen: &Seen<'_>, action: ManagementAction, found: &mut Vec<Occurrence>) {
    let mut data = request_object(seen);
    let definition = data.remove("api_definition");
    let mut definition = definition.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    name_api(seen, &mut definition);
    let org_id = definition.get("org_id").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
    data.insert("api_definition".to_owned(), Value::Object(definition));
    found.push(Occurrence::new(EventKind::ApiEvent, Some(action), org_id, Value::Object(data)));
}

fn oas(seen: &Seen<'_>, action: ManagementAction, found: &mut Vec<Occurrence>) {
    let (mut definition, org_id) = of_oas(seen);
    name_api(seen, &mut definition);
    let document = seen.request().json("").filter(|document| document.is_object()).cloned();
    let data = object([("api_definition", Some(Value::Object(definition))), ("oas", document)]);
    found.push(Occurrence::new(EventKind::ApiEvent, Some(action), org_id, data));
}

fn api_deleted(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let mut definition = Map::new();
    name_api(seen, &mut definition);
    let data = object([("api_definition", Some(Value::Object(definition)))]);
    found.push(Occurrence::new(EventKind::ApiEvent, Some(ManagementAction::Delete), OrgId::OfApi, data));
}

/// Adds an API's ids. For a created API they are in the answer: `ID`, and the database's id in `Meta`. Otherwise the
/// path has one of the two; 24 hex digits are the form of the database's id.
fn name_api(seen: &Seen<'_>, definition: &mut Map<String, Value>) {
    let response = seen.response();
    let named = seen.path("id");
    if named.is_empty() {
        set(definition, "api_id", response.text("/ID"));
        set(definition, "id", response.text("/Meta"));
        return;
    }
    let is_of_database = named.len() == 24 && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    let member = if is_of_database { "id" } else { "api_id" };
    if definition.get(member).is_none_or(|value| value.as_str() == Some("")) {
        set(definition, member, Some(named));
    }
}

/// A key in the dashboard's answer: the raw key is in `key_id`, unless the request named its hash.
fn answered(seen: &Seen<'_>, action: ManagementAction, found: &mut Vec<Occurrence>) {
    let response = seen.response();
    let text = |place| response.text(place).map(str::to_owned);
    let by_path = named(seen);
    let key = if by_path.is_named_by_hash {
        by_path
    } else {
        Key { raw: text("/key_id"), hash: text("/key_hash"), ..Key::default() }
    };
    let there = |place| response.json(place).filter(|value| !value.is_null());
    Key { session: there("/data"), model: there("/api_model"), ..key }.tell(seen, action, found);
}

fn key_deleted(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    named(seen).tell(seen, ManagementAction::Delete, found);
}

/// The key in the path. Unlike the gateway, the dashboard is not known to treat `hashed=false` as true.
fn named<'e>(seen: &Seen<'_>) -> Key<'e> {
    let says_no = |text: &str| ["0", "f", "false"].iter().any(|no| text.eq_ignore_ascii_case(no));
    Key::named(seen.path("key"), seen.query("hashed").is_some_and(|text| !says_no(&text)))
}

/// A request that is granted at once is two events.
fn request_submitted(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let mut data = request_object(seen);
    // An older dashboard answers with this instead of the request's id.
    set(&mut data, "id", seen.response().text("/Message").filter(|message| *message != "Data updated"));
    let is_approved = data.get("approved") == Some(&Value::Bool(true));
    let org_id = org_of_request(seen);
    let data = Value::Object(data);
    let mut tell = |action, data| {
        found.push(Occurrence::new(EventKind::KeyRequestEvent, Some(action), org_id.clone(), data));
    };
    if is_approved {
        tell(ManagementAction::Submitted, data.clone());
        tell(ManagementAction::Approved, data);
    } else {
        tell(ManagementAction::Submitted, data);
    }
}

fn org_of_request(seen: &Seen<'_>) -> Option<String> {
    let request = seen.request();
    request.text("/org_id").or_else(|| request.text("/portal_developer/org_id")).map(str::to_owned)
}

/// Approving a request creates a key, unless the request is for an OAuth client.
fn request_approved(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let response = seen.response();
    let key = response.text("/RawKey");
    let org_id = OrgId::of_key(key.unwrap_or_default());
    let oauth_info = response.text("/redirect_uri").map(|uri| object([("redirect_uri", text(uri))]));
    let data =
        object([("id", text(seen.path("id"))), ("approved", Some(Value::Bool(true))), ("oauth_info", oauth_info)]);
    found.push(Occurrence::new(EventKind::KeyRequestEvent, Some(ManagementAction::Approved), org_id, data));
    if response.text("/client_id").is_none() {
        Key { raw: key.map(str::to_owned), ..Key::default() }.tell(seen, ManagementAction::Add, found);
    }
}

fn request_updated(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let mut data = request_object(seen);
    set(&mut data, "id", Some(seen.path("id")));
    found.push(Occurrence::new(
        EventKind::KeyRequestEvent,
        Some(ManagementAction::Updated),
        org_of_request(seen),
        Value::Object(data),
    ));
}

fn request_deleted(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let data = object([("id", text(seen.path("id")))]);
    found.push(Occurrence::new(EventKind::KeyRequestEvent, Some(ManagementAction::Deleted), OrgId::OfApi, data));
}

fn password_reset(seen: &Seen<'_>, found: &mut Vec<Occurrence>) {
    let data = object([("id", text(seen.path("id")))]);
    found.push(Occurrence::new(EventKind::PortalPasswordResetEvent, None, OrgId::OfApi, data));
}
