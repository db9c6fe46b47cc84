//! What no payload shows.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::manage::secrets::{is_hash, leads_to_secret, scrub};

fn scrubbed(mut value: Value) -> Value {
    scrub("", &mut value);
    value
}

fn fingerprint(key: &str) -> String {
    crate::session::KeyHash::of(key.as_bytes()).fingerprint()
}

#[test]
fn a_definition_shows_none_of_its_secrets_and_all_else() {
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
fn a_developers_raw_keys_are_shown_as_fingerprints_and_hashes_as_they_are() {
    let developer = |raw: &str, hash: &str| json!({ "keys": { raw: ["p"], hash: ["q"] }, "subscriptions": { "p": raw, "q": hash, "r": "" } });
    let hash = "6dc2dfc0";
    let expected = developer(&fingerprint("raw-key"), hash);
    assert_eq!(scrubbed(developer("raw-key", hash)), expected);
    assert_eq!(
        scrubbed(json!({ "portal_developer": { "keys": { "raw-key": null } } })),
        json!({ "portal_developer": { "keys": { (fingerprint("raw-key")): null } } })
    );
    // Somebody else's members of these names.
    let other = json!({ "keys": { "a": 1 }, "nested": { "subscriptions": { "a": "b" } } });
    assert_eq!(scrubbed(other.clone()), other);
}

#[test]
fn the_documented_samples_have_nothing_that_is_not_shown() {
    for sample in samples::portal().chain([samples::key_request()]) {
        assert_eq!(scrubbed(read(sample)), read(sample));
    }
}

/// That path serves payloads as the application makes them.
#[test]
fn what_is_posted_is_passed_on_as_it_is() {
    let data = json!({ "api_key": "k", "header_map": { "X": "y" }, "url": "http://u:p@h/", "password": "p" });
    let posted = posted(&json!({ "event": "api_event.add", "data": data }), NOW).unwrap();
    assert_eq!(read(&posted.body(NOW)), json!({ "event": "api_event.add", "data": data }));
}

/// `FIELDS.md` says so.
#[test]
fn a_whole_number_beyond_64_bits_is_rounded() {
    let posted =
        |number: &str| posted(&read(&format!("{{\"event\":\"api_event.add\",\"data\":{{\"n\":{number}}}}}")), NOW);
    let body = |number| posted(number).unwrap().body(NOW);
    assert!(body("18446744073709551615").contains("18446744073709551615"));
    assert!(body("123456789012345678901234567890").contains("1.2345678901234568e+29"));
}

#[test]
fn hashes_are_of_the_lengths_of_tyks_algorithms() {
    for length in [8, 16, 32, 64] {
        assert!(is_hash(&"0a".repeat(length / 2)));
        assert!(!is_hash(&"0A".repeat(length / 2)) && !is_hash(&"0g".repeat(length / 2)));
    }
    assert!(!is_hash("") && !is_hash("f00") && !is_hash(&"0a".repeat(28)));
}

#[test]
fn a_pointer_to_a_secret_is_told_from_others() {
    for pointer in ["/shared_secret", "/a/API-Key", "/password/0", "/header_map/X-Any", "/x/RawKey", "/headers/0/value"]
    {
        assert!(leads_to_secret(pointer), "{pointer}");
    }
    for pointer in ["", "/key_id", "/authToken/enabled", "/headers", "/keys/0"] {
        assert!(!leads_to_secret(pointer), "{pointer}");
    }
}
