use super::*;
use crate::access::KeyHash;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const CONFIG: &str = r#"{
    "apis": [{ "api_id": "orders", "org_id": "acme", "listen_path": "/orders/",
               "global_rate_limit": { "rate": 10, "per": 1 } }],
    "keys": { "k1": { "org_id": "acme", "alias": "batch", "quota_max": 10, "quota_renewal_rate": 60 } },
    "orgs": { "acme": { "quota_max": 100, "quota_renewal_rate": 60, "monitor": { "trigger_limits": [50] } } },
    "enforce_org_quotas": true,
    "monitor": { "enable_trigger_monitors": true, "monitor_org_keys": true,
                 "configuration": { "method": "POST", "target_path": "http://a.test/" } }
}"#;

fn limits(key: &str) -> Vec<OwnedLimit> {
    let headers = [
        (&b":path"[..], &b"/orders/7"[..]),
        (b":authority", b"a"),
        (b":method", b"GET"),
        (b"authorization", key.as_bytes()),
    ];
    Owners::load(CONFIG.as_bytes()).unwrap().limits(&headers, &|_| None, UnixMillis(1_800_000_000_000))
}

#[test]
fn each_limit_of_a_request_has_its_owner() {
    let owners: Vec<(Owner, bool, u64)> =
        limits("k1").into_iter().map(|limit| (limit.owner, limit.is_rate, limit.max)).collect();
    let key = Owner::Key(KeyHash::of(b"k1").fingerprint());
    let org = Owner::Organisation("acme".to_owned());
    assert_eq!(owners, [(org, false, 100), (key, false, 10), (Owner::Api("orders".to_owned()), true, 10)]);
    assert_eq!(limits("k1")[0].thresholds, [("50".to_owned(), 50)]);
    assert_eq!((limits("k1")[1].alias.as_str(), limits("k1")[1].org.as_str()), ("batch", "acme"));
    assert!(limits("unknown").is_empty());
}

#[test]
fn only_pages_have_counters() {
    let mut seen = Vec::new();
    counted(b"tb1/d", b"", &[3; 49], |counted| seen.push(counted));
    counted(b"tb1/o/acme", b"", b"", |counted| seen.push(counted));
    counted(b"tb1/o/acme", b"", &[9, 9], |counted| seen.push(counted));
    assert_eq!(seen, []);
}
