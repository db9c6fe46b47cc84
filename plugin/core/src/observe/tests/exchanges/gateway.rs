//! The gateway's operations.

use super::*;

pub(super) fn gateway() -> Vec<Case> {
    let of = |operation, target: &str, request, response, expected: Expected<'_>| {
        answered(Preset::Gateway, operation, target, request, response, expected)
    };
    let session =
        || json!({ "org_id": "acme", "alias": "a", "basic_auth_data": { "password": "hunter2", "hash_type": "h" } });
    let shown = || json!({ "org_id": "acme", "alias": "a", "basic_auth_data": { "hash_type": "h" } });
    let ok = |key: &str| json!({ "key": key, "status": "ok", "action": "x" });
    let base64 = "eyJvcmciOiJhY21lIiwiaWQiOiJ4IiwiaCI6Im11cm11cjY0In0=";
    let oas = || {
        json!({ "openapi": "3.0.3", "x-tyk-api-gateway": { "info": {
        "id": "i", "dbId": "d", "orgId": "acme", "name": "Orders", "state": { "active": true } } } })
    };
    let document = |id: &str| {
        json!({
        "api_definition": { "api_id": id, "id": "d", "org_id": "acme", "name": "Orders", "active": true },
        "oas": oas() })
    };
    let bare = |id: &str| json!({ "api_definition": { "api_id": id } });
    let key = |action, data| [(action, Some("acme"), data)];
    let (add, update, delete) = ("api_event.add", "api_event.update", "api_event.delete");
    vec![
        of(
            "POST /keys/create",
            "/tyk/keys/create",
            session(),
            json!({ "key": RAW, "status": "ok", "action": "added", "key_hash": "6dc2dfc0" }),
            &key("key_event.add", json!({ "key_id": sha(RAW), "key_hash": "6dc2dfc0", "data": shown() })),
        ),
        of("POST /keys", "/keys/", session(), ok(""), &key("key_event.add", json!({ "data": shown() }))),
        of(
            "POST /keys",
            "/keys",
            json!({ "alias": "b" }),
            json!({ "key": base64, "status": "ok", "key_hash": "6dc2dfc0" }),
            &key("key_event.add", json!({ "key_id": sha(base64), "key_hash": "6dc2dfc0", "data": { "alias": "b" } })),
        ),
        of(
            "POST /keys/{name}",
            "/tyk/keys/mine/",
            session(),
            json!({ "key": "mine", "key_hash": "6dc2dfc0", "status": "ok" }),
            &key("key_event.add", json!({ "key_id": sha("mine"), "key_hash": "6dc2dfc0", "data": shown() })),
        ),
        of(
            "PUT /keys/{name}",
            "/keys/mine",
            session(),
            json!({ "key": "mine", "key_hash": "6dc2dfc0", "status": "ok" }),
            &key("key_event.update", json!({ "key_id": sha("mine"), "key_hash": "6dc2dfc0", "data": shown() })),
        ),
        of(
            "PUT /keys/{name}",
            "/keys/6dc2dfc0?hashed=true",
            session(),
            ok("6dc2dfc0"),
            &[
                ("hashed_key_event.update", Some("acme"), json!({ "key_hash": "6dc2dfc0", "data": shown() })),
                ("key_event.update", Some("acme"), json!({ "key_hash": "6dc2dfc0", "data": shown() })),
            ],
        ),
        of(
            "DELETE /keys/{name}",
            "/keys/mine?org_id=acme",
            Value::Null,
            json!({ "key": "mine", "key_hash": "6dc2dfc0", "status": "ok" }),
            &key("key_event.delete", json!({ "key_id": sha("mine"), "key_hash": "6dc2dfc0" })),
        ),
        of(
            "DELETE /keys/{name}",
            &format!("/tyk/keys/{RAW}"),
            Value::Null,
            ok(RAW),
            &[("key_event.delete", Some(ORG), json!({ "key_id": sha(RAW) }))],
        ),
        of(
            "DELETE /keys/{name}",
            "/keys/mine?api_id=-1",
            Value::Null,
            Value::Null,
            &[("key_event.delete", None, json!({ "key_id": sha("mine") }))],
        ),
        of(
            "DELETE /keys/{name}",
            "/keys/6dc2dfc0?hashed=1&org_id=acme",
            Value::Null,
            ok("6dc2dfc0"),
            &[
                ("hashed_key_event.delete", Some("acme"), json!({ "key_hash": "6dc2dfc0" })),
                ("key_event.delete", Some("acme"), json!({ "key_hash": "6dc2dfc0" })),
            ],
        ),
        // If Tyk does not hash keys, requests name raw keys. A new key gets its name only afterwards.
        of(
            "DELETE /keys/{name}",
            &format!("/keys/{RAW}?hashed=true"),
            Value::Null,
            json!({ "key": RAW, "key_hash": RAW, "status": "ok" }),
            &[("key_event.delete", Some(ORG), json!({ "key_id": sha(RAW) }))],
        ),
        of(
            "POST /keys",
            "/keys?hashed=true",
            json!({ "org_id": "acme" }),
            json!({ "key": UUID, "status": "ok" }),
            &key("key_event.add", json!({ "key_id": sha(UUID), "data": { "org_id": "acme" } })),
        ),
        of(
            "POST /keys/policy/{hash}",
            &format!("/keys/policy/{RAW}"),
            json!({ "policy": "p" }),
            ok(RAW),
            &[("key_event.update", Some(ORG), json!({ "key_id": sha(RAW) }))],
        ),
        of(
            "POST /keys/policy/{hash}",
            "/keys/policy/6dc2dfc0",
            json!({ "policy": "p" }),
            ok("6dc2dfc0"),
            &[("key_event.update", None, json!({ "key_hash": "6dc2dfc0" }))],
        ),
        of(
            "POST /apis",
            "/tyk/apis",
            json!({ "name": "n", "org_id": "acme" }),
            ok("i"),
            &key(add, json!({ "api_definition": { "api_id": "i", "name": "n", "org_id": "acme" } })),
        ),
        of("POST /apis/{id}", "/apis/i", json!({ "api_id": "i" }), ok("i"), &[(add, None, bare("i"))]),
        of(
            "PUT /apis/{id}",
            "/apis/i",
            json!({ "api_id": "i", "request_signing": { "secret": "hunter2", "key_id": "k" } }),
            ok("i"),
            &[(update, None, json!({ "api_definition": { "api_id": "i", "request_signing": { "key_id": "k" } } }))],
        ),
        of(
            "PUT /apis/{id}",
            "/apis/i",
            json!({ "api_id": "i", "external_oauth": { "providers": [
                { "jwt": { "enabled": true, "signing_method": "HMAC", "source": "hunter2" } }
            ] } }),
            ok("i"),
            &[(
                update,
                None,
                json!({ "api_definition": { "api_id": "i", "external_oauth": { "providers": [
                    { "jwt": { "enabled": true, "signing_method": "HMAC" } }
                ] } } }),
            )],
        ),
        of("DELETE /apis/{id}", "/apis/i", Value::Null, ok("i"), &[(delete, None, bare("i"))]),
        of("POST /apis/oas", "/apis/oas", oas(), ok("i2"), &key(add, document("i2"))),
        of(
            "POST /apis/oas/import",
            "/apis/oas/import",
            json!({ "openapi": "3.0.3" }),
            ok("i"),
            &[(add, None, json!({ "api_definition": { "api_id": "i" }, "oas": { "openapi": "3.0.3" } }))],
        ),
        of("POST /apis/oas/import", "/apis/oas/import", oas(), ok("i"), &key(add, document("i"))),
        of("PUT, PATCH /apis/oas/{id}", "/apis/oas/i", oas(), ok("i"), &key(update, document("i"))),
        Case {
            method: "PATCH",
            ..of("PUT, PATCH /apis/oas/{id}", "/apis/oas/i", oas(), ok("i"), &key(update, document("i")))
        },
        of("DELETE /apis/oas/{id}", "/tyk/apis/oas/i", Value::Null, ok("i"), &[(delete, None, bare("i"))]),
        of("POST /mcps", "/mcps", oas(), ok("i"), &key(add, document("i"))),
        of("PUT /mcps/{id}", "/mcps/i", oas(), ok("i"), &key(update, document("i"))),
        of("DELETE /mcps/{id}", "/mcps/i", Value::Null, ok("i"), &[(delete, None, bare("i"))]),
    ]
}
