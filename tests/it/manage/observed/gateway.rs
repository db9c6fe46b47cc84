//! Requests to the gateway's own API, and its answers.

use serde_json::{Value, json};

use super::exchange::{Exchange, HASH, RAW_KEY, fingerprint, with};

/// An API document with Tyk's part, and the definition of it that an event shows.
pub(super) fn document() -> (Value, Value) {
    let info = json!({ "id": "i", "dbId": "5e3b477a7c1f8800013603c6", "orgId": "acme", "name": "n", "state": { "active": true } });
    let definition =
        json!({ "api_id": "i", "id": "5e3b477a7c1f8800013603c6", "org_id": "acme", "name": "n", "active": true });
    (json!({ "openapi": "3.0.3", "x-tyk-api-gateway": { "info": info } }), definition)
}

pub(super) fn exchanges() -> Vec<Exchange> {
    let ok = |key: &str, action: &str| json!({ "key": key, "status": "ok", "action": action, "key_hash": HASH });
    let mut exchanges = keys(ok);
    exchanges.extend(apis(ok));
    let session = json!({ "org_id": "acme" });
    let error = json!({ "status": "error", "message": "no" });
    exchanges.extend([
        // These look like management events and are not.
        Exchange::json("POST /gw/tyk/keys/preview", session.clone(), ok("x", "added"), &[]),
        Exchange::json("POST /gw/tyk/org/keys/acme", session.clone(), ok("acme", "added"), &[]),
        Exchange::json("POST /gw/tyk/policies", json!({}), ok("p", "added"), &[]),
        // Failures.
        Exchange::json("POST /gw/tyk/keys/create", session.clone(), error.clone(), &[]),
        Exchange::json("POST /gw/tyk/keys/create", session, ok(RAW_KEY, "added"), &[]).with_status(500),
        Exchange::json("PUT /gw/tyk/apis/i", json!({ "name": "n" }), error, &[]).with_status(400),
    ]);
    exchanges
}

fn keys(ok: impl Fn(&str, &str) -> Value) -> Vec<Exchange> {
    let session = json!({ "org_id": "acme", "alias": "a", "basic_auth_data": { "password": "hunter2" } });
    let shown = json!({ "org_id": "acme", "alias": "a", "basic_auth_data": {} });
    let of_key = |key: &str| json!({ "key_id": fingerprint(key), "key_hash": HASH });
    let by_hash = json!({ "key_hash": HASH });
    let hashed = with(&by_hash, "data", &shown);
    let mut exchanges: Vec<Exchange> = ["/keys/create", "/keys", "/keys/mine"]
        .map(|path| {
            let event = ("key_event.add", with(&of_key(RAW_KEY), "data", &shown));
            Exchange::json(&format!("POST /gw/tyk{path}"), session.clone(), ok(RAW_KEY, "added"), &[event])
        })
        .into();
    exchanges.extend([
        Exchange::json(
            "PUT /gw/tyk/keys/mine",
            session.clone(),
            ok("mine", "modified"),
            &[("key_event.update", with(&of_key("mine"), "data", &shown))],
        ),
        Exchange::json(
            &format!("PUT /gw/tyk/keys/{HASH}?hashed=true"),
            session,
            ok(HASH, "modified"),
            &[("hashed_key_event.update", hashed.clone()), ("key_event.update", hashed)],
        ),
        Exchange::json(
            "DELETE /gw/tyk/keys/mine",
            Value::Null,
            ok("mine", "deleted"),
            &[("key_event.delete", of_key("mine"))],
        ),
        Exchange::json(
            &format!("DELETE /gw/tyk/keys/{HASH}?hashed=true"),
            Value::Null,
            ok(HASH, "deleted"),
            &[("hashed_key_event.delete", by_hash.clone()), ("key_event.delete", by_hash.clone())],
        ),
        // A name that does not have the form of a hash is not read as one.
        Exchange::json(
            &format!("DELETE /gw/tyk/keys/{RAW_KEY}?hashed=true&org_id=acme"),
            Value::Null,
            json!({ "key": RAW_KEY, "key_hash": RAW_KEY, "status": "ok" }),
            &[("key_event.delete", json!({ "key_id": fingerprint(RAW_KEY) }))],
        ),
        Exchange::json(
            "DELETE /gw/tyk/keys/all?api_id=-1",
            Value::Null,
            Value::Null,
            &[("key_event.delete", json!({ "key_id": fingerprint("all") }))],
        ),
        Exchange::json(
            &format!("POST /gw/tyk/keys/policy/{HASH}"),
            json!({ "apply_policies": ["p"] }),
            ok(HASH, "updated"),
            &[("key_event.update", by_hash)],
        ),
        Exchange::json(
            &format!("POST /gw/tyk/keys/policy/{RAW_KEY}?org_id=acme"),
            json!({ "apply_policies": ["p"] }),
            ok(RAW_KEY, "updated"),
            &[("key_event.update", json!({ "key_id": fingerprint(RAW_KEY) }))],
        ),
    ]);
    exchanges
}

fn apis(ok: impl Fn(&str, &str) -> Value) -> Vec<Exchange> {
    let definition = json!({ "name": "n", "org_id": "acme", "active": true });
    let classic = json!({ "api_definition": with(&definition, "api_id", &json!("i")) });
    let (oas, of_oas) = document();
    let shown = json!({ "api_definition": of_oas, "oas": oas });
    let gone = json!({ "api_definition": { "api_id": "i" } });
    [
        ("POST /gw/tyk/apis", "api_event.add", &definition, &classic),
        ("POST /gw/tyk/apis/i", "api_event.add", &definition, &classic),
        // A slash at the end does not count.
        ("PUT /gw/tyk/apis/i/", "api_event.update", &definition, &classic),
        ("DELETE /gw/tyk/apis/i", "api_event.delete", &Value::Null, &gone),
        ("POST /gw/tyk/apis/oas", "api_event.add", &oas, &shown),
        ("POST /gw/tyk/apis/oas/import", "api_event.add", &oas, &shown),
        ("PUT /gw/tyk/apis/oas/i", "api_event.update", &oas, &shown),
        ("PATCH /gw/tyk/apis/oas/i", "api_event.update", &oas, &shown),
        ("DELETE /gw/tyk/apis/oas/i", "api_event.delete", &Value::Null, &gone),
        ("POST /gw/tyk/mcps", "api_event.add", &oas, &shown),
        ("PUT /gw/tyk/mcps/i", "api_event.update", &oas, &shown),
        ("DELETE /gw/tyk/mcps/i", "api_event.delete", &Value::Null, &gone),
    ]
    .map(|(operation, event, request, shown)| {
        let action = match event {
            "api_event.add" => "added",
            "api_event.update" => "modified",
            _ => "deleted",
        };
        Exchange::json(operation, request.clone(), ok("i", action), &[(event, shown.clone())])
    })
    .into()
}
