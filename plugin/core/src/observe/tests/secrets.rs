//! The secrets that no payload shows.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::observe::secrets::{is_hash, is_secret, leads_to_credential, leads_to_secret, scrub};

const ORG: &str = "5e2743567c1f8800018bdf35";

fn scrubbed(mut value: Value) -> Value {
    scrub("", &mut value);
    value
}

fn fingerprint(key: &str) -> String {
    crate::access::KeyHash::of(key.as_bytes()).fingerprint()
}

#[test]
fn a_definition_shows_everything_but_its_secrets() {
    let shown = scrubbed(json!({
        "name": "Orders",
        "use_basic_auth": true,
        "use_shared_secret": true,
        "auth": { "auth_header_name": "Authorization", "use_param": false },
        "auth_configs": { "authToken": { "auth_header_name": "X-Key" } },
        "notifications": { "shared_secret": "S7", "oauth_on_keychange_url": "http://u:S7@h.test/x?a=b@c" },
        "api_key": "S7", "auth_token": "S7", "aws.secretAccessKey": "S7", "pin_password": 1234, "password_2": "S7",
        "api_keys": ["S7"], "tokens": [7],
        "jwt_source": "UzctUzc=",
        "proxy": { "target_url": "https://S7@h.test", "transport": { "proxy_url": "http://u:S,7@p.test,http://v:S7@q.test" } },
        "version_data": { "versions": { "Default": {
            "global_headers": { "Authorization": "Bearer S7", "X-Count": 7 },
            "global_headers_remove": ["X-Gone"],
            "extended_paths": { "transform_headers": [
                { "path": "/x", "method": "GET", "delete_headers": ["X-Gone"], "add_headers": { "X-Add": "S7" } }
            ] }
        } } },
        "hook_references": [{ "hook": { "target_path": "http://S7:S7@h.test/in", "header_map": { "X-Api-Key": "S7" } } }],
        "CORS": { "allowed_headers": ["Origin"], "allow_credentials": true },
        "response_headers": [{ "Name": "X-A", "Value": "S7" }, { "X-B": "S7" }, "X-C: S7", "X-D"],
        "headers": { "X-Many": ["S7", "S7"], "X-Object": { "value": "S7" },
            "request_headers": { "X-In": "S7" } },
    }));
    assert!(!shown.to_string().contains("S7") && !shown.to_string().contains("UzctUzc="), "{shown:#}");
    assert_eq!(
        shown,
        json!({
            "name": "Orders",
            "use_basic_auth": true,
            "use_shared_secret": true,
            "auth": { "auth_header_name": "Authorization", "use_param": false },
            "auth_configs": { "authToken": { "auth_header_name": "X-Key" } },
            "notifications": { "oauth_on_keychange_url": "http://h.test/x?a=b@c" },
            "proxy": { "target_url": "https://h.test", "transport": { "proxy_url": "http://p.test,http://q.test" } },
            "version_data": { "versions": { "Default": {
                "global_headers": { "Authorization": "", "X-Count": "" },
                "global_headers_remove": ["X-Gone"],
                "extended_paths": { "transform_headers": [
                    { "path": "/x", "method": "GET", "delete_headers": ["X-Gone"], "add_headers": { "X-Add": "" } }
                ] }
            } } },
            "hook_references": [{ "hook": { "target_path": "http://h.test/in", "header_map": { "X-Api-Key": "" } } }],
            "CORS": { "allowed_headers": ["Origin"], "allow_credentials": true },
            "response_headers": [{ "Name": "X-A", "Value": "" }, { "X-B": "" }, "X-C", "X-D"],
            "headers": { "X-Many": ["", ""], "X-Object": { "value": "" },
                "request_headers": { "X-In": "" } },
        })
    );
}

#[test]
fn an_openapi_document_keeps_its_schemes_and_descriptions() {
    let kept = json!({
        "security": [{ "api_key": [] }, { "authToken": [] }],
        "components": { "securitySchemes": { "api_key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" } } },
        "paths": { "/x": { "get": { "responses": { "200": { "headers": {
            "X-Left": { "description": "what is left", "schema": { "type": "integer" } }
        } } } } } },
    });
    assert_eq!(scrubbed(kept.clone()), kept);
    let shown = scrubbed(json!({ "x-tyk-api-gateway": {
        "server": { "authentication": { "securitySchemes": { "jwtAuth": { "enabled": true, "source": "UzctUzc=",
            "signingMethod": "hmac" } } } },
        "middleware": { "global": { "transformRequestHeaders": { "enabled": true, "remove": ["X-Gone"],
            "add": [{ "name": "X-Add", "value": "S7" }] } } }
    } }));
    let jwt = json!({ "enabled": true, "signingMethod": "hmac" });
    assert_eq!(shown.pointer("/x-tyk-api-gateway/server/authentication/securitySchemes/jwtAuth"), Some(&jwt));
    let headers = json!({ "enabled": true, "remove": ["X-Gone"], "add": [{ "name": "X-Add", "value": "" }] });
    assert_eq!(shown.pointer("/x-tyk-api-gateway/middleware/global/transformRequestHeaders"), Some(&headers));
    let url =
        json!({ "jwt_source": "https://idp.test/jwks", "jwtAuth": { "signingMethod": "rsa", "source": "http://j" } });
    assert_eq!(scrubbed(url.clone()), url);
}

#[test]
fn the_secret_that_signs_jwts_is_not_shown_in_any_spelling() {
    for (method, source) in [("signing_method", "source"), ("signingMethod", "source"), ("SigningMethod", "Source")] {
        let provider =
            |of: &str| json!({ "external_oauth": { "providers": [{ "jwt": { method: "HMAC", source: of } }] } });
        let mut expected = provider("");
        expected.pointer_mut("/external_oauth/providers/0/jwt").unwrap().as_object_mut().unwrap().remove(source);
        assert_eq!(scrubbed(provider("S7")), expected);
        assert_eq!(scrubbed(provider("https://idp.test/jwks")), provider("https://idp.test/jwks"));
    }
    let session = json!({
        "basic_auth_data": { "password": "S7", "hash": "S7", "hash_type": "bcrypt" },
        "jwt_data": { "secret": "S7" }, "oauth_keys": { "S7": { "x": 1 } }, "hmac_enabled": true, "hmac_string": "S7"
    });
    let shown = json!({ "basic_auth_data": { "hash_type": "bcrypt" }, "jwt_data": {}, "hmac_enabled": true });
    assert_eq!(scrubbed(session), shown);
}

#[test]
fn a_name_alone_withholds_only_text() {
    let kept = json!({
        "paths": {
            "/password": { "get": { "summary": "Says it" } }, "/secret": { "$ref": "#/x" }, "/refresh-token": {},
            "/headers": { "summary": "Of headers", "get": { "responses": { "200": {
                "headers": { "X-Left": { "description": "d", "example": 7 } }
            } } } }
        },
        "components": {
            "schemas": {
                "Password": { "enum": ["d"] },
                "User": {
                    "type": "object",
                    "required": ["password", "headers"],
                    "properties": {
                        "password": { "type": "string", "example": "p" },
                        "headers": { "type": "object" },
                        "signing_method": { "type": "string" },
                        "source": { "type": "string" },
                        "subscriptions": { "type": "object" },
                        "oauth_keys": { "type": "object" }
                    }
                }
            },
            "headers": { "X-Key": { "description": "d", "value": "of a document" } },
            "securitySchemes": { "o": { "type": "oauth2", "flows": { "password": { "tokenUrl": "/t", "scopes": {} } } } }
        },
        "x-tyk-api-gateway": {
            "server": { "authentication": {
                "oauth": { "enabled": true, "refreshToken": true },
                "securitySchemes": { "secret": { "enabled": true, "realm": "r" } }
            } },
            "middleware": { "operations": { "refreshToken": { "enabled": true, "weight": 7 } } }
        }
    });
    assert_eq!(scrubbed(kept.clone()), kept);
    // A part that a rule takes out of a document has no context.
    let within = ["/paths", "/paths/~1headers", "/components/schemas", "/components/schemas/User/properties"];
    for pointer in within.into_iter().chain(["/components/securitySchemes/o/flows"]) {
        let mut part = kept.pointer(pointer).unwrap().clone();
        let whole = part.clone();
        scrub(pointer.rsplit('/').next().unwrap(), &mut part);
        scrub("", &mut part);
        assert_eq!(part, whole, "{pointer}");
    }
    assert_eq!(scrubbed(json!({ "/headers": { "summary": "s" } })), json!({ "/headers": { "summary": "s" } }));
    let usage = json!({ "max_tokens": 100, "password": false, "tokens": [] });
    assert_eq!(scrubbed(usage.clone()), usage);
}

#[test]
fn a_payload_that_only_resembles_a_document_shows_no_secrets() {
    let shown = scrubbed(json!({
        "paths": { "in": { "headers": { "X-A": "S7" } }, "/x": {} },
        "components": { "input": { "headers": { "X-A": "S7" } } },
        "properties": { "auth": { "headers": { "X-A": "S7" } } },
        "password": { "old": "S7", "sent": true, "more": [{ "value": "S7" }, ["S7"]] },
        "access_token": [{ "value": "S7" }],
        "refresh_token": [["S7"]],
        "api_keys": "S7",
        "headers": { "X-A": { "token": "S7" } },
        "schema": { "type": "object", "password": "S7", "x-integration": { "headers": { "X-A": "S7" } } }
    }));
    assert!(!shown.to_string().contains("S7"), "{shown:#}");
    assert_eq!(shown.pointer("/password"), Some(&json!({ "sent": true })));
    assert_eq!(shown.pointer("/access_token"), Some(&json!([{}])));
    assert_eq!(shown.pointer("/components/input/headers"), Some(&json!({ "X-A": "" })));
}

#[test]
fn a_developers_record_shows_everything_but_credentials() {
    let developer = |raw: &str| {
        json!({
            "id": "5e430ef68131890001b83d2e",
            "email": "dev@acme.test",
            "date_created": "2020-02-11T15:30:46.003-05:00",
            "inactive": false,
            "org_id": ORG,
            "api_keys": { ORG: raw },
            "keys": {},
            "subscriptions": { "5e2744897c1f8800018bdf3b": raw },
            "fields": { "Name": "Dev" },
            "oauth_clients": { "5e2744897c1f8800018bdf3b": [{ "client_id": "c", "redirect_uri": "https://h.test" }] },
            "last_login_date": "2020-02-12T15:30:46.003-05:00"
        })
    };
    let mut expected = developer(&fingerprint("raw-key"));
    expected
        .as_object_mut()
        .unwrap()
        .insert("api_keys".to_owned(), json!({ fingerprint(ORG): fingerprint("raw-key") }));
    for history in [json!(["S7"]), json!([{ "hash": "S7" }]), json!({ "S7": 1 }), Value::Null] {
        let mut full = developer("raw-key");
        let secrets = json!({ "nonce": "S7", "sso_key": "S7", "password": "S7", "PWHistory": history });
        full.as_object_mut().unwrap().extend(secrets.as_object().unwrap().clone());
        full["oauth_clients"]["5e2744897c1f8800018bdf3b"][0]["secret"] = json!("S7");
        assert_eq!(scrubbed(json!({ "portal_developer": full })), json!({ "portal_developer": expected }));
        full.as_object_mut().unwrap().remove("keys");
        assert_eq!(scrubbed(full).pointer("/subscriptions"), expected.pointer("/subscriptions"));
    }
}

#[test]
fn a_value_that_a_rule_takes_from_a_secrets_place_is_removed_by_its_name() {
    for (name, value) in
        [("api_keys", json!(["S7"])), ("tokens", json!([7])), ("api_key", json!(7)), ("password", json!("S7"))]
    {
        let mut value = value;
        scrub(name, &mut value);
        assert_eq!(value, json!({}), "{name}");
    }
    for (name, value, expected) in [
        ("keys", json!({ "raw": ["p"], "r": null }), json!({ fingerprint("raw"): ["p"], fingerprint("r"): null })),
        ("subscriptions", json!({ "p": "raw" }), json!({ "p": fingerprint("raw") })),
        ("api_keys", json!([fingerprint("raw")]), json!([fingerprint("raw")])),
        ("keys", json!({ "a": { "b": 1 } }), json!({ "a": { "b": 1 } })),
    ] {
        let mut value = value;
        scrub(name, &mut value);
        assert_eq!(value, expected, "{name}");
    }
}

#[test]
fn a_developers_raw_keys_are_shown_as_fingerprints_and_hashes_as_they_are() {
    let developer = |raw: &str, hash: &str| json!({ "keys": { raw: ["p"], hash: ["q"] }, "subscriptions": { "p": raw, "q": hash, "r": "" } });
    let hash = "6dc2dfc0";
    let expected = developer(&fingerprint("raw-key"), hash);
    assert_eq!(scrubbed(developer("raw-key", hash)), expected);
    assert_eq!(
        scrubbed(json!({ "portal_developer": { "keys": { "raw-key": null } } })),
        json!({ "portal_developer": { "keys": { (fingerprint("raw-key")): null } } })
    );
    // Fields with these names in another application.
    let other = json!({ "keys": { "a": 1 }, "nested": { "subscriptions": { "a": "b" } } });
    assert_eq!(scrubbed(other.clone()), other);
}

#[test]
fn the_documented_samples_are_shown_completely() {
    for sample in samples::portal().chain([samples::key_request()]) {
        assert_eq!(scrubbed(read(sample)), read(sample));
    }
}

/// The application decides the payload of an event that it posts.
#[test]
fn a_posted_payload_is_passed_on_unchanged() {
    let data = json!({ "api_key": "k", "header_map": { "X": "y" }, "url": "http://u:p@h/", "password": "p" });
    let posted = posted(&json!({ "event": "api_event.add", "data": data }), NOW).unwrap();
    assert_eq!(read(&posted.body(NOW)), json!({ "event": "api_event.add", "data": data }));
}

/// `FIELDS.md` documents this.
#[test]
fn a_whole_number_beyond_64_bits_is_rounded() {
    let posted =
        |number: &str| posted(&read(&format!("{{\"event\":\"api_event.add\",\"data\":{{\"n\":{number}}}}}")), NOW);
    let body = |number| posted(number).unwrap().body(NOW);
    assert!(body("18446744073709551615").contains("18446744073709551615"));
    assert!(body("123456789012345678901234567890").contains("1.2345678901234568e+29"));
}

#[test]
fn hashes_have_the_lengths_of_tyks_algorithms() {
    for length in [8, 16, 32, 64] {
        assert!(is_hash(&"0a".repeat(length / 2)));
        assert!(!is_hash(&"0A".repeat(length / 2)) && !is_hash(&"0g".repeat(length / 2)));
    }
    assert!(!is_hash("") && !is_hash("f00") && !is_hash(&"0a".repeat(28)));
}

#[test]
fn a_pointer_to_a_secret_is_recognised() {
    for pointer in [
        "/shared_secret",
        "/a/API-Key",
        "/password/0",
        "/header_map/X-Any",
        "/x/RawKey",
        "/headers/0/value",
        "/api_keys",
        "/tokens",
        "/tokens/0",
        "/a/api-keys/0/1",
        "/Passwords",
        "/sso_key",
        "/nonce",
        "/PWHistory/0",
        "/portal_developer/keys",
        "/data/portal_developer/keys/raw",
        "/portal_developer/subscriptions",
        "/portal_developer/subscriptions/p",
    ] {
        assert!(leads_to_secret(pointer), "{pointer}");
    }
    for pointer in [
        "",
        "/key_id",
        "/authToken/enabled",
        "/headers",
        "/keys/0",
        "/subscriptions",
        "/portal_developer",
        "/portal_developer/email",
        "/paths/~1password",
        "/paths/~1headers/get",
        "/paths/~1secret/get",
        "/tokens/0/id",
    ] {
        assert!(!leads_to_secret(pointer), "{pointer}");
    }
    assert!(
        leads_to_credential("/passwords/0") && leads_to_credential("/sso_key") && leads_to_credential("/PWHistory")
    );
    assert!(!leads_to_credential("/api_keys") && !leads_to_credential("/portal_developer/subscriptions/p"));
    assert!(is_secret("api_keys") && is_secret("sso_key") && !is_secret("keys"));
}
