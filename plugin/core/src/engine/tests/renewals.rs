//! QuotaRenewed: the first request of a window reports the window before it, if a threshold was reported there.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn config() -> Value {
    json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/", "org_id": "acme", "global_rate_limit": { "rate": 100, "per": 60 } }],
        "keys": { "ten": { "org_id": "acme", "quota_max": 10, "quota_renewal_rate": 60, "monitor": { "trigger_limits": [50, 80] } } },
        "orgs": { "acme": { "quota_max": 10, "quota_renewal_rate": 600, "monitor": { "trigger_limits": [90] } } },
        "enforce_org_quotas": true,
        "event_handlers": { "events": { "QuotaRenewed": [hook("/renewed", 0)] } },
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
            "configuration": { "target_path": "http://hooks.test/monitor" }
        }
    })
}

/// What the handler of QuotaRenewed gets.
fn renewed(world: &mut World) -> Vec<Value> {
    let sent = world.deliver(10, 200);
    let path = (":path".to_owned(), "/renewed".to_owned());
    let sent = sent.iter().filter(|callout| callout.headers.contains(&path));
    sent.map(|callout| serde_json::from_slice(&callout.body).unwrap()).collect()
}

#[test]
fn a_window_with_a_reported_threshold_is_reported_once_with_its_final_use() {
    let mut world = World::with_vms(&config(), 3);
    for n in 0..6 {
        world.on_vm(n % 3, &[(":path", b"/orders/1"), ("authorization", b"ten")]);
    }
    assert_eq!(renewed(&mut world), Vec::<Value>::new());
    world.now = world.now.plus(60_000);
    for n in 0..3 {
        world.on_vm(n, &[(":path", b"/orders/1"), ("authorization", b"ten")]);
    }
    let expected = json!({
        "event": "QuotaRenewed", "message": "Quota renewed", "org": "acme", "key": "ten", "usage_percentage": "60"
    });
    assert_eq!(renewed(&mut world), [expected]);
}

#[test]
fn a_window_without_a_reported_threshold_ends_silently() {
    let mut world = World::new(&config());
    world.get("/orders/1", "ten");
    world.now = world.now.plus(60_000);
    world.get("/orders/1", "ten");
    assert_eq!(renewed(&mut world), Vec::<Value>::new());
}

#[test]
fn a_request_that_another_limit_refuses_leaves_the_report_to_a_later_one() {
    let mut world = World::new(&config());
    (0..5).for_each(|_| drop(world.get("/orders/1", "ten")));
    world.now = world.now.plus(60_000);
    (0..5).for_each(|_| drop(world.get("/orders/1", "ten")));
    assert_eq!(renewed(&mut world).len(), 1);
    world.now = world.now.plus(60_000);
    assert_eq!(world.status("/orders/1", "ten"), 403, "the organisation's quota is used up");
    assert_eq!(renewed(&mut world), Vec::<Value>::new());
    world.now = world.now.plus(600_000);
    assert_eq!(world.status("/orders/1", "ten"), 200);
    let keys: Vec<String> = renewed(&mut world).iter().map(|event| event["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 2, "the key's and the organisation's: {keys:?}");
    assert!(keys.contains(&"ten".to_owned()) && keys.contains(&String::new()), "{keys:?}");
}
