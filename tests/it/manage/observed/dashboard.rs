//! Requests to the dashboard, and its answers.

use serde_json::{Value, json};

use super::exchange::{Exchange, HASH, RAW_KEY, fingerprint, with};
use super::gateway::document;

const DATABASE_ID: &str = "5e3b477a7c1f8800013603c6";

fn says(message: &str) -> Value {
    json!({ "Status": "OK", "Message": message, "Meta": null })
}

pub(super) fn exchanges() -> Vec<Exchange> {
    let mut exchanges = apis();
    exchanges.extend(keys());
    exchanges.extend(key_requests());
    exchanges.push(Exchange::json(
        "POST /db/api/portal/developers/password/d1",
        json!({ "password": "hunter2" }),
        json!({ "Message": "Password changed" }),
        &[("portal_password_reset_event", json!({ "id": "d1" }))],
    ));
    exchanges.push(Exchange::json(
        "POST /db/api/portal/developers",
        json!({ "email": "a@acme.test" }),
        says("d1"),
        &[],
    ));
    exchanges
}

fn apis() -> Vec<Exchange> {
    let created = json!({ "Status": "OK", "Message": "API created", "Meta": DATABASE_ID, "ID": "i" });
    let wrapper = json!({
        "api_definition": { "org_id": "acme", "name": "n" },
        "hook_references": [], "user_owners": ["u"], "user_group_owners": ["g"], "oas": { "openapi": "3.0.3" },
    });
    let updated = with(&wrapper, "api_definition", &json!({ "org_id": "acme", "name": "n", "api_id": "i" }));
    let added = with(&updated, "api_definition", &with(&updated["api_definition"], "id", &json!(DATABASE_ID)));
    let (oas, of_oas) = document();
    let shown = json!({ "api_definition": of_oas, "oas": oas });
    let secrets = json!({ "org_id": "acme", "name": "n", "notifications": { "shared_secret": "hunter2" },
        "auth_token": "hunter2", "global_headers": { "Authorization": "hunter2" }, "target_url": "http://u:hunter2@h.test/" });
    let without = json!({ "org_id": "acme", "name": "n", "notifications": {},
        "global_headers": { "Authorization": "" }, "target_url": "http://h.test/", "api_id": "i" });
    let mut exchanges = vec![
        Exchange::json(
            "PUT /db/api/apis/i",
            json!({ "api_definition": secrets }),
            says("API updated"),
            &[("api_event.update", json!({ "api_definition": without }))],
        ),
        Exchange::json("POST /db/api/apis", wrapper.clone(), created.clone(), &[("api_event.add", added)]),
        Exchange::json("PUT /db/api/apis/i", wrapper.clone(), says("API updated"), &[("api_event.update", updated)]),
        // Failures.
        Exchange::json("POST /db/api/apis", wrapper.clone(), json!({ "Status": "Error", "Message": "no" }), &[]),
        Exchange::json("POST /db/api/apis", wrapper, created.clone(), &[]).with_status(403),
    ];
    exchanges.extend(["", "/import"].map(|path| {
        Exchange::json(
            &format!("POST /db/api/apis/oas{path}"),
            oas.clone(),
            created.clone(),
            &[("api_event.add", shown.clone())],
        )
    }));
    exchanges.push(Exchange::json(
        "POST /db/api/apis/streams",
        oas.clone(),
        created,
        &[("api_event.add", shown.clone())],
    ));
    for kind in ["oas", "streams"] {
        // Some of the dashboard's messages end with a full stop.
        exchanges.extend([("PUT", "API updated."), ("PATCH", "API updated")].map(|(method, message)| {
            let operation = format!("{method} /db/api/apis/{kind}/i");
            Exchange::json(&operation, oas.clone(), says(message), &[("api_event.update", shown.clone())])
        }));
    }
    // A path names an API by either of its ids.
    for path in ["", "/oas", "/streams"] {
        exchanges.extend([("api_id", "i"), ("id", DATABASE_ID)].map(|(member, id)| {
            Exchange::json(
                &format!("DELETE /db/api/apis{path}/{id}"),
                Value::Null,
                says("API deleted"),
                &[("api_event.delete", json!({ "api_definition": { member: id } }))],
            )
        }));
    }
    exchanges
}

fn keys() -> Vec<Exchange> {
    let session = json!({ "org_id": "acme", "alias": "a" });
    let made = |raw: &str| json!({ "api_model": {}, "key_id": raw, "key_hash": HASH, "data": session });
    let shown = |raw: &str| with(&made(raw), "key_id", &json!(fingerprint(raw)));
    let hashed = json!({ "api_model": {}, "key_hash": HASH, "data": session });
    let gone = json!({ "key_id": fingerprint("mine") });
    let by_hash = json!({ "key_hash": HASH });
    let mut exchanges: Vec<Exchange> = ["/keys", "/keys/mine", "/apis/keys/basic/ada"]
        .map(|path| {
            let event = ("key_event.add", shown(RAW_KEY));
            Exchange::json(&format!("POST /db/api{path}"), session.clone(), made(RAW_KEY), &[event])
        })
        .into();
    for path in ["/keys", "/apis/i/keys"] {
        let deleted = says("Key deleted successfully.");
        exchanges.extend([
            Exchange::json(
                &format!("PUT /db/api{path}/mine"),
                session.clone(),
                made("mine"),
                &[("key_event.update", shown("mine"))],
            ),
            Exchange::json(
                &format!("PUT /db/api{path}/{HASH}?hashed=true"),
                session.clone(),
                made(HASH),
                &[("hashed_key_event.update", hashed.clone()), ("key_event.update", hashed.clone())],
            ),
            Exchange::json(
                &format!("DELETE /db/api{path}/mine"),
                Value::Null,
                deleted.clone(),
                &[("key_event.delete", gone.clone())],
            ),
            Exchange::json(
                &format!("DELETE /db/api{path}/{HASH}?hashed=true"),
                Value::Null,
                deleted,
                &[("hashed_key_event.delete", by_hash.clone()), ("key_event.delete", by_hash.clone())],
            ),
        ]);
    }
    exchanges.extend([
        Exchange::json(
            &format!("DELETE /db/api/keys/{RAW_KEY}?hashed=false"),
            Value::Null,
            says("Key deleted successfully."),
            &[("key_event.delete", json!({ "key_id": fingerprint(RAW_KEY) }))],
        ),
        Exchange::json("POST /db/api/keys", session.clone(), made(RAW_KEY), &[]).with_status(500),
    ]);
    exchanges
}

fn key_requests() -> Vec<Exchange> {
    let request = json!({
        "org_id": "acme", "for_plan": "p", "apply_policies": ["p"], "by_user": "u", "approved": false,
        "date_created": "2020-02-24T16:19:12.175113-05:00", "portal_developer": { "id": "u", "email": "dev@acme.test" },
        "catalogue_entry": { "name": "n" }, "version": "v2", "fields": { "why": "because" },
        "oauth_info": { "redirect_uri": "https://app.acme.test/back" },
    });
    let approved = with(&request, "approved", &json!(true));
    let shown = |request: &Value| with(request, "id", &json!("r1"));
    let granted = |more: Value| {
        let mut data = json!({ "id": "r1", "approved": true });
        data.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        ("key_request_event.approved", data)
    };
    vec![
        Exchange::json(
            "POST /db/api/portal/requests",
            request.clone(),
            says("r1"),
            &[("key_request_event.submitted", shown(&request))],
        ),
        // A request that is approved at once is both events.
        Exchange::json(
            "POST /db/api/portal/requests",
            approved.clone(),
            says("r1"),
            &[("key_request_event.submitted", shown(&approved)), ("key_request_event.approved", shown(&approved))],
        ),
        Exchange::json(
            "PUT /db/api/portal/requests/r1",
            request.clone(),
            says("r1"),
            &[("key_request_event.updated", shown(&request))],
        ),
        Exchange::json(
            "PUT /db/api/portal/requests/approve/r1",
            Value::Null,
            json!({ "RawKey": RAW_KEY, "Password": "hunter2" }),
            &[granted(json!({})), ("key_event.add", json!({ "key_id": fingerprint(RAW_KEY) }))],
        ),
        // An OAuth client is not a key.
        Exchange::json(
            "PUT /db/api/portal/requests/approve/r1",
            Value::Null,
            json!({ "client_id": "c", "secret": "hunter2", "policy_id": "p", "redirect_uri": "https://app.acme.test/back" }),
            &[granted(json!({ "oauth_info": { "redirect_uri": "https://app.acme.test/back" } }))],
        ),
        Exchange::json(
            "DELETE /db/api/portal/requests/r1",
            Value::Null,
            says("Data deleted"),
            &[("key_request_event.deleted", json!({ "id": "r1" }))],
        ),
    ]
}
