use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::config::raw::read;

fn merged(session: Value, policies: Value) -> Result<Merged, PolicyError> {
    let session: Session = read(session).unwrap();
    merge(&session, &read(policies).unwrap())
}

/// `api: quota_max/renewal rate/per scope` for each right, and the session's own limits under `*`.
fn shown(session: Value, policies: Value) -> Vec<String> {
    let merged = merged(session, policies).unwrap();
    let text = |limit: Limit| format!("{}/{} {}/{}", limit.quota_max, limit.quota_renewal_rate, limit.rate, limit.per);
    let rights = merged.rights.iter().flatten().map(|(api, MergedRight { limit, scope, .. })| match limit {
        Some(limit) => format!("{api}: {} [{scope}]", text(*limit)),
        None => format!("{api}: *"),
    });
    rights.chain([format!("*: {}", text(merged.limit))]).collect()
}

fn policies() -> Value {
    json!({
        "gold": { "quota_max": 100, "quota_renewal_rate": 60, "rate": 10, "per": 1, "access_rights": { "a": {}, "b": {} } },
        "silver": { "quota_max": 50, "quota_renewal_rate": 600, "rate": 30, "per": 1, "access_rights": { "b": {}, "c": {} } },
        "free": { "quota_max": -1, "rate": 1, "per": 1, "access_rights": { "a": {} } },
        "no rate": { "quota_max": 100, "rate": -1, "per": -1, "access_rights": { "a": {} } },
        "says nothing": { "access_rights": { "d": {} } },
        "each, unlimited": { "rate": -1, "per": -1, "quota_max": 9, "partitions": { "per_api": true }, "access_rights": { "b": {} } },
        "master": { "quota_max": 7, "quota_renewal_rate": 70, "rate": 8, "per": 1 },
        "rate only": { "rate": 2, "per": 1, "quota_max": 999, "partitions": { "rate_limit": true }, "access_rights": { "a": {} } },
        "acl only": { "partitions": { "acl": true }, "access_rights": { "a": {}, "c": {} } },
        "each": { "quota_max": 5, "quota_renewal_rate": 50, "rate": 6, "per": 1, "partitions": { "per_api": true },
            "access_rights": { "a": { "limit": { "quota_max": 1, "quota_renewal_rate": 10 } }, "b": {}, "c": {} } }
    })
}

#[test]
fn limits_and_rights_are_merged_as_tyk_merges_them() {
    let own = json!({ "quota_max": 1, "quota_renewal_rate": 9, "rate": 1, "per": 1, "access_rights": { "x": {} } });
    let of = |names: Value| {
        let mut session = own.clone();
        session["apply_policies"] = names;
        shown(session, policies())
    };
    assert_eq!(of(json!([])), ["x: *", "*: 1/9 1/1"]);
    // The policy's limits replace the session's. Both APIs are counted together.
    assert_eq!(of(json!(["gold"])), ["a: 100/60 10/1 []", "b: 100/60 10/1 []", "*: 100/60 10/1"]);
    // If both give a value, the larger one counts. Each API is counted with its policy's.
    assert_eq!(
        of(json!(["gold", "silver"])),
        ["a: 100/60 10/1 [gold]", "b: 100/600 30/1 [silver]", "c: 50/600 30/1 [silver]", "*: 100/600 30/1"]
    );
    assert_eq!(of(json!(["gold", "free"])), ["a: -1/60 10/1 [free]", "b: 100/60 10/1 [gold]", "*: -1/60 10/1"]);
    for names in [["gold", "no rate"], ["no rate", "gold"]] {
        let right = &of(json!(names))[0];
        assert!(right.starts_with("a: 100/60 -1/-1 "), "an unlimited rate wins: {right}");
    }
    for names in [["each", "each, unlimited"], ["each, unlimited", "each"]] {
        assert!(of(json!(names))[1].starts_with("b: 9/50 -1/-1 "), "{names:?}");
    }
    assert_eq!(of(json!(["says nothing"])), ["d: *", "*: 0/9 0/0"]);
    // A policy without APIs sets the session's own limits, and leaves its rights.
    assert_eq!(of(json!(["master"])), ["x: *", "*: 7/70 8/1"]);
    // Parts that no policy sets stay the session's.
    assert_eq!(of(json!(["rate only"])), ["x: *", "*: 1/9 2/1"]);
    assert_eq!(of(json!(["rate only", "acl only"])), ["a: 1/9 2/1 []", "c: 1/9 2/1 []", "*: 1/9 2/1"]);
    assert_eq!(of(json!(["each"])), ["a: 1/10 0/0 [a]", "b: 5/50 6/1 [each]", "c: 5/50 6/1 [each]", "*: 0/9 0/0"]);
}

#[test]
fn a_sessions_own_limits_on_an_api_have_their_own_counter() {
    let limit = json!({ "quota_max": 3, "quota_renewal_rate": 30 });
    let rights =
        json!({ "a": { "limit": limit }, "b": { "limit": limit, "allowance_scope": "a" }, "c": { "limit": null } });
    let session = json!({ "quota_max": 9, "access_rights": rights, "monitor": { "trigger_limits": null } });
    assert_eq!(shown(session, json!({})), ["a: 3/30 0/0 [a]", "b: 3/30 0/0 [a]", "c: *", "*: 9/0 0/0"]);
}

#[test]
fn switches_tags_metadata_and_thresholds_add_up() {
    let policies = json!({
        "p": { "is_inactive": true, "tags": ["t"], "meta_data": { "m": 1 }, "monitor": { "trigger_limits": [75] } },
    });
    let session = json!({
        "apply_policies": ["p"], "tags": ["s"], "meta_data": { "m": 0, "n": "x" }, "monitor": { "trigger_limits": [50] }
    });
    let merged = merged(session, policies).unwrap();
    assert!(merged.is_inactive);
    assert_eq!(merged.tags.iter().collect::<Vec<_>>(), ["s", "t"]);
    assert_eq!(Value::Object(merged.meta_data), json!({ "m": 1, "n": "x" }));
    assert_eq!(merged.trigger_limits, [50.0, 75.0]);
}

#[test]
fn policies_that_cannot_be_merged_are_named() {
    let policies = json!({
        "foreign": { "org_id": "other" }, "torn": { "partitions": { "per_api": true, "acl": true } },
        "each": { "partitions": { "per_api": true }, "access_rights": { "a": {} } },
        "acl": { "partitions": { "acl": true }, "access_rights": { "a": {} } }
    });
    for (names, part) in [
        (json!(["none"]), "no policy has the id \"none\""),
        (json!(["foreign"]), "belongs to the organisation \"other\""),
        (json!(["torn"]), "per_api and another partition"),
        (json!(["each", "acl"]), "\"acl\" cannot be mixed"),
        (json!(["acl", "each"]), "\"each\" cannot be mixed"),
    ] {
        let error = merged(json!({ "org_id": "acme", "apply_policies": names }), policies.clone()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(part), "{error}");
    }
}
