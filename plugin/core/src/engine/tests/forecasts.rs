//! QuotaForecast: at the present rate, a quota will be used up before its window ends.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn config() -> Value {
    json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/", "org_id": "acme" }],
        "keys": { "k": { "org_id": "acme", "quota_max": 1000, "quota_renewal_rate": 3600 } },
        "orgs": { "acme": { "quota_max": 100_000, "quota_renewal_rate": 86400 } },
        "enforce_org_quotas": true,
        "event_handlers": { "events": { "QuotaForecast": [hook("/forecast", 0)] } },
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
            "forecast": { "within": 86400, "min_used": 20 },
            "configuration": { "target_path": "http://hooks.test/monitor" }
        }
    })
}

/// The messages of a load with a request every `every_ms`, for `ms`: the path, the time and the body.
fn told(world: &mut World, every_ms: u64, ms: u64) -> Vec<(String, UnixMillis, Value)> {
    let mut told = Vec::new();
    let start = world.now;
    while world.now.since(start) < ms {
        for vm in 0..world.vms.len() {
            if world.now.since(start) < ms {
                world.on_vm(vm, &[(":path", b"/orders/1"), ("authorization", b"k")]);
                let at = world.now;
                for callout in world.deliver(every_ms, 200) {
                    let path = callout.headers.iter().find(|(name, _)| name == ":path").unwrap().1.clone();
                    told.push((path, at, serde_json::from_slice(&callout.body).unwrap()));
                }
            }
        }
    }
    told
}

#[test]
fn a_steady_load_is_foretold_once_in_each_window_to_the_handlers_and_the_monitor() {
    let mut world = World::with_vms(&config(), 2);
    // A request every 1.8 s uses up the quota after half an hour.
    let first = told(&mut world, 1800, HOUR_MS);
    let paths: Vec<&str> = first.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["/forecast", "/monitor"]);
    let (_, at, body) = &first[0];
    assert_eq!(at.since(START), 199 * 1800, "at 20 %");
    let expected = START.plus(999 * 1800).to_rfc3339();
    let expected = json!({
        "event": "QuotaForecast", "message": "Quota will be used up", "org": "acme", "key": "k", "usage_percentage": "20",
        "expected_at": expected
    });
    assert_eq!(*body, expected);
    assert_eq!(told(&mut world, 1800, HOUR_MS).len(), 2, "and again in the next window");
}

#[test]
fn a_load_that_ends_below_the_quota_is_not_foretold() {
    let mut world = World::new(&config());
    assert_eq!(told(&mut world, 3700, HOUR_MS), []);
}

#[test]
fn a_forecast_is_within_its_time_and_only_of_monitored_quotas() {
    let mut late = config();
    late["monitor"]["forecast"]["within"] = json!(600);
    let told_at =
        |config: &Value| told(&mut World::new(config), 1800, HOUR_MS).first().map(|(_, at, _)| at.since(START));
    assert_eq!(told_at(&late), Some(666 * 1800), "ten minutes before");
    let mut off = config();
    off["monitor"]["monitor_user_keys"] = json!(false);
    assert_eq!(told_at(&off), None);
    off = config();
    off["monitor"]["forecast"] = json!({});
    off["event_handlers"] = json!({});
    assert_eq!(told_at(&off), None);
}
