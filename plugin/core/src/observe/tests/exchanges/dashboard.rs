//! The dashboard's operations.

use super::*;

pub(super) fn dashboard() -> Vec<Case> {
    let of = |operation, target: &str, request, response, expected: Expected<'_>| {
        answered(Preset::Dashboard, operation, target, request, response, expected)
    };
    let says = |message: &str| json!({ "Status": "OK", "Message": message, "Meta": null });
    let created = || json!({ "Status": "OK", "Message": "API created", "Meta": "d", "ID": "i" });
    let info = || json!({ "orgId": "acme", "name": "Orders", "state": { "active": false } });
    let oas = || json!({ "x-tyk-api-gateway": { "info": info() } });
    let document = |members: Value| {
        let mut definition = json!({ "org_id": "acme", "name": "Orders", "active": false });
        definition.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!({ "api_definition": definition, "oas": oas() })
    };
    let wrapper = || {
        json!({
            "api_definition": { "api_id": "i", "org_id": "acme", "name": "n", "active": true },
            "hook_references": [], "user_owners": ["u"], "user_group_owners": [], "oas": {}
        })
    };
    let with_id = |id: &str| {
        let mut wrapper = wrapper();
        wrapper["api_definition"]["id"] = id.into();
        wrapper
    };
    let (add, update, delete) = ("api_event.add", "api_event.update", "api_event.delete");
    let by_id = [("i", json!({ "api_id": "i" })), (ORG, json!({ "id": ORG }))];
    let session = || json!({ "org_id": "acme", "alias": "a" });
    let made = |raw: &str| json!({ "api_model": {}, "key_id": raw, "key_hash": "6dc2dfc0", "data": session() });
    let key = |raw: &str| json!({ "api_model": {}, "key_id": sha(raw), "key_hash": "6dc2dfc0", "data": session() });
    let hash = || json!({ "api_model": {}, "key_hash": "6dc2dfc0", "data": session() });
    let sample = || read(samples::key_request())["data"].clone();
    let more = || {
        let mut sample = sample();
        sample["version"] = "v2".into();
        sample["fields"] = json!({ "f": "g" });
        sample["oauth_info"] = json!({ "redirect_uri": "r" });
        sample
    };
    let posted = || {
        let mut posted = more();
        posted.as_object_mut().unwrap().remove("id");
        posted
    };
    let numbered = |id: &str| {
        let mut all = more();
        all["id"] = id.into();
        all
    };
    let approved = |mut value: Value| {
        value["approved"] = true.into();
        value
    };
    let minimal = || json!({ "by_user": "u", "apply_policies": ["p"], "date_created": "d", "version": "v2" });
    let mut cases = vec![
        of("POST /api/apis", "/api/apis", wrapper(), created(), &[(add, Some("acme"), with_id("d"))]),
        of(
            "PUT /api/apis/{id}",
            &format!("/api/apis/{ORG}"),
            wrapper(),
            says("API updated"),
            &[(update, Some("acme"), with_id(ORG))],
        ),
        of(
            "POST /api/apis/oas",
            "/api/apis/oas",
            oas(),
            created(),
            &[(add, Some("acme"), document(json!({ "api_id": "i", "id": "d" })))],
        ),
        of(
            "POST /api/apis/oas/import",
            "/api/apis/oas/import",
            oas(),
            created(),
            &[(add, Some("acme"), document(json!({ "api_id": "i", "id": "d" })))],
        ),
        Case {
            request: Body::Unreadable("of the type application/yaml".to_owned()),
            ..of(
                "POST /api/apis/oas/import",
                "/api/apis/oas/import",
                Value::Null,
                created(),
                &[(add, None, json!({ "api_definition": { "api_id": "i", "id": "d" } }))],
            )
        },
        of(
            "POST /api/apis/streams",
            "/api/apis/streams",
            oas(),
            created(),
            &[(add, Some("acme"), document(json!({ "api_id": "i", "id": "d" })))],
        ),
        of(
            "POST /api/keys",
            "/api/keys",
            json!({ "org_id": "x" }),
            made(RAW),
            &[("key_event.add", Some("acme"), key(RAW))],
        ),
        of(
            "POST /api/keys/{custom}",
            "/api/keys/mine",
            json!({}),
            made("mine"),
            &[("key_event.add", Some("acme"), key("mine"))],
        ),
        of(
            "POST /api/apis/keys/basic/{user}",
            "/api/apis/keys/basic/joe",
            json!({}),
            made("joe"),
            &[("key_event.add", Some("acme"), key("joe"))],
        ),
        of(
            "PUT /api/keys/{key}",
            "/api/keys/mine",
            json!({}),
            made("mine"),
            &[("key_event.update", Some("acme"), key("mine"))],
        ),
        of(
            "PUT /api/keys/{key}",
            "/api/keys/6dc2dfc0?hashed=true",
            json!({}),
            made("6dc2dfc0"),
            &[("hashed_key_event.update", Some("acme"), hash()), ("key_event.update", Some("acme"), hash())],
        ),
        of(
            "PUT /api/apis/{api}/keys/{key}",
            "/api/apis/i/keys/mine",
            json!({}),
            made("mine"),
            &[("key_event.update", Some("acme"), key("mine"))],
        ),
        of(
            "PUT /api/apis/{api}/keys/{key}",
            "/api/apis/i/keys/6dc2dfc0?hashed=1",
            json!({}),
            made("6dc2dfc0"),
            &[("hashed_key_event.update", Some("acme"), hash()), ("key_event.update", Some("acme"), hash())],
        ),
        of(
            "PUT /api/keys/{key}",
            &format!("/api/keys/{RAW}?hashed=true"),
            json!({}),
            json!({ "api_model": {}, "key_id": RAW, "key_hash": RAW, "data": session() }),
            &[("key_event.update", Some("acme"), json!({ "api_model": {}, "key_id": sha(RAW), "data": session() }))],
        ),
        of(
            "PUT /api/keys/{key}",
            &format!("/api/keys/{UUID}?hashed=false"),
            json!({}),
            json!({ "api_model": {}, "key_id": UUID, "key_hash": UUID, "data": session() }),
            &[("key_event.update", Some("acme"), json!({ "api_model": {}, "key_id": sha(UUID), "data": session() }))],
        ),
        of(
            "POST /api/portal/requests",
            "/api/portal/requests",
            posted(),
            says("r1"),
            &[("key_request_event.submitted", Some(ORG), numbered("r1"))],
        ),
        of(
            "POST /api/portal/requests",
            "/api/portal/requests/",
            minimal(),
            says("Data updated"),
            &[("key_request_event.submitted", None, minimal())],
        ),
        of(
            "POST /api/portal/requests",
            "/api/portal/requests",
            approved(posted()),
            says("r1"),
            &[
                ("key_request_event.submitted", Some(ORG), approved(numbered("r1"))),
                ("key_request_event.approved", Some(ORG), approved(numbered("r1"))),
            ],
        ),
        of(
            "POST /api/portal/requests",
            "/api/portal/requests",
            json!({ "portal_developer": {
                "email": "dev@acme.test", "api_keys": {}, "subscriptions": { "p": RAW }, "nonce": "hunter2",
                "sso_key": "hunter2", "password": "hunter2", "PWHistory": ["hunter2"]
            } }),
            says("Data updated"),
            &[(
                "key_request_event.submitted",
                None,
                json!({ "portal_developer": {
                    "email": "dev@acme.test", "api_keys": {}, "subscriptions": { "p": sha(RAW) }
                } }),
            )],
        ),
        of(
            "PUT /api/portal/requests/approve/{id}",
            "/api/portal/requests/approve/r1",
            Value::Null,
            json!({ "RawKey": RAW, "Password": "" }),
            &[
                ("key_request_event.approved", Some(ORG), json!({ "id": "r1", "approved": true })),
                ("key_event.add", Some(ORG), json!({ "key_id": sha(RAW) })),
            ],
        ),
        of(
            "PUT /api/portal/requests/approve/{id}",
            "/api/portal/requests/approve/r1",
            Value::Null,
            json!({ "RawKey": "", "Password": "hunter2" }),
            &[
                ("key_request_event.approved", None, json!({ "id": "r1", "approved": true })),
                ("key_event.add", None, json!({})),
            ],
        ),
        of(
            "PUT /api/portal/requests/approve/{id}",
            "/api/portal/requests/approve/r1",
            Value::Null,
            json!({ "client_id": "c", "secret": "hunter2", "policy_id": "p", "redirect_uri": "u" }),
            &[(
                "key_request_event.approved",
                None,
                json!({ "id": "r1", "approved": true, "oauth_info": { "redirect_uri": "u" } }),
            )],
        ),
        of(
            "PUT /api/portal/requests/{id}",
            "/api/portal/requests/r1",
            posted(),
            says("r1"),
            &[("key_request_event.updated", Some(ORG), numbered("r1"))],
        ),
        of(
            "DELETE /api/portal/requests/{id}",
            "/api/portal/requests/r1",
            Value::Null,
            says("Data deleted"),
            &[("key_request_event.deleted", None, json!({ "id": "r1" }))],
        ),
        of(
            "POST /api/portal/developers/password/{id}",
            "/api/portal/developers/password/d1",
            json!({ "password": "hunter2" }),
            json!({ "Message": "Password changed" }),
            &[("portal_password_reset_event", None, json!({ "id": "d1" }))],
        ),
    ];
    for (operation, path) in
        [("PUT, PATCH /api/apis/oas/{id}", "oas"), ("PUT, PATCH /api/apis/streams/{id}", "streams")]
    {
        for (id, member) in by_id.clone() {
            let expected = [(update, Some("acme"), document(member))];
            cases.push(of(operation, &format!("/api/apis/{path}/{id}"), oas(), says("API updated."), &expected));
        }
    }
    for (operation, path) in [
        ("DELETE /api/apis/{id}", ""),
        ("DELETE /api/apis/oas/{id}", "oas/"),
        ("DELETE /api/apis/streams/{id}", "streams/"),
    ] {
        for (id, member) in by_id.clone() {
            let expected = [(delete, None, json!({ "api_definition": member }))];
            cases.push(of(operation, &format!("/api/apis/{path}{id}"), Value::Null, says("API deleted."), &expected));
        }
    }
    for (operation, path) in
        [("DELETE /api/keys/{key}", "/api/keys"), ("DELETE /api/apis/{api}/keys/{key}", "/api/apis/i/keys")]
    {
        let deleted = || says("Key deleted successfully.");
        let expected = [("key_event.delete", Some(ORG), json!({ "key_id": sha(RAW) }))];
        cases.push(of(operation, &format!("{path}/{RAW}"), Value::Null, deleted(), &expected));
        for hashed in ["true", "false", "False", "0", ""] {
            let expected = [("key_event.delete", Some(ORG), json!({ "key_id": sha(RAW) }))];
            let target = format!("{path}/{RAW}?hashed={hashed}");
            cases.push(of(operation, &target, Value::Null, deleted(), &expected));
            // A UUID without hyphens has the form of a hash, too.
            if hashed != "true" {
                let expected = [("key_event.delete", Some("acme"), json!({ "key_id": sha(UUID) }))];
                let target = format!("{path}/{UUID}?hashed={hashed}&org_id=acme");
                cases.push(of(operation, &target, Value::Null, deleted(), &expected));
            }
        }
        let hash = json!({ "key_hash": "6dc2dfc0" });
        let expected = [("hashed_key_event.delete", None, hash.clone()), ("key_event.delete", None, hash)];
        cases.push(of(operation, &format!("{path}/6dc2dfc0?hashed=true"), Value::Null, deleted(), &expected));
    }
    cases
}
