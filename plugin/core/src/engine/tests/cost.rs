//! The cost of a request: allocations, and hostcalls. Calls for a stream are included, statistics are not.

use allocation_counter::measure;

use super::*;
use crate::testing::Vm;

/// Two quotas with monitors.
fn quotas() -> Value {
    json!({
        "apis": [{
            "api_id": "orders", "org_id": "acme", "listen_path": "/orders/",
            "event_handlers": { "events": { "AuthFailure": [hook("/auth", 86_400)] } }
        }],
        "keys": { "key": {
            "org_id": "acme", "quota_max": 1_000_000, "quota_renewal_rate": 86400,
            "monitor": { "trigger_limits": [80, 60, 50] }, "access_rights": { "orders": {} }
        } },
        "orgs": { "acme": { "quota_max": 1_000_000, "quota_renewal_rate": 86400, "monitor": { "trigger_limits": [90] } } },
        "enforce_org_quotas": true,
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true, "monitor_org_keys": true,
            "configuration": { "target_path": "http://hooks.test/" }, "global_trigger_limit": 95
        }
    })
}

struct Cost {
    allocations: u64,
    calls: Vec<&'static str>,
    of_stream: Vec<&'static str>,
    properties: Vec<String>,
}

fn engine(config: &Value, vm: &Vm<'_>, salt: u64) -> Engine {
    Engine::new(load(config), vm, &BodyPool::default(), salt)
}

/// The cost of the tenth of ten equal requests, including its response.
fn cost(config: &Value, key: &str) -> Cost {
    let host = MemoryHost::default();
    host.set_now(START);
    let vm = Vm::on(&host);
    let mut engine = engine(config, &vm, 0);
    let headers: Vec<(&[u8], &[u8])> = vec![
        (b":authority", b"gw.test"),
        (b":path", b"/orders/1?page=2"),
        (b":method", b"GET"),
        (b"user-agent", b"curl/8"),
        (b"authorization", key.as_bytes()),
        (b"x-request-id", b"0e4f3d1c-1b0a-4f7c-9d3a-0b0f1c2d3e4f"),
    ];
    let mut cost = Cost { allocations: 0, calls: Vec::new(), of_stream: Vec::new(), properties: Vec::new() };
    for id in 0..10 {
        let stream = TestStream::new(id, headers.iter().copied());
        stream.response.borrow_mut().push((":status".to_owned(), b"200".to_vec()));
        vm.take_calls();
        let counted = measure(|| {
            if engine.on_request_headers(&vm, &stream, true) == Flow::Continue {
                engine.on_response_headers(&vm, &stream, false);
            }
            engine.on_delete(&stream);
        });
        let (calls, of_stream, properties) = (vm.take_calls(), stream.take_calls(), stream.take_asked());
        cost = Cost { allocations: counted.count_total, calls, of_stream, properties };
    }
    cost
}

const SHOWN: [&str; 3] = ["replace_header_map_value"; 3];

#[test]
fn an_admitted_request_allocates_nothing_and_makes_six_calls() {
    let cost = cost(&quotas(), "key");
    assert_eq!(cost.calls, ["get_current_time_nanoseconds", "set_shared_data"]);
    assert_eq!(cost.of_stream, [&["get_header_map_pairs"][..], &SHOWN].concat());
    assert_eq!(cost.allocations, 0);
}

#[test]
fn observing_costs_a_request_the_status_of_its_response() {
    let mut config = quotas();
    config["apis"][0]["observe_failures"] = json!(true);
    config["apis"][0]["observe_upstream"] = json!(true);
    let cost = cost(&config, "key");
    assert_eq!(cost.calls, ["get_current_time_nanoseconds", "set_shared_data"]);
    assert_eq!(cost.of_stream, [&["get_header_map_pairs"][..], &SHOWN, &["get_header_map_value"]].concat());
    assert_eq!(cost.allocations, 0);
}

/// Each VM guesses its last write, and the others have counted since.
#[test]
fn guessing_vms_admit_exactly_the_quota_and_report_each_threshold_once() {
    let mut config = quotas();
    config["keys"]["key"]["quota_max"] = json!(200);
    config["orgs"]["acme"]["quota_max"] = json!(150);
    let headers: [(&[u8], &[u8]); 3] =
        [(b":path", b"/orders/1"), (b":authority", b"gw.test"), (b"authorization", b"key")];
    for burst in [1, 2, 5, 17, 100] {
        let host = MemoryHost::default();
        host.set_now(START);
        let vms = [(); 3].map(|()| Vm::on(&host));
        let mut engines: Vec<Engine> = (0..3).map(|salt| engine(&config, &vms[salt], salt as u64)).collect();
        let admitted = (0..300_usize).filter(|n| {
            let vm = n / burst % 3;
            let stream = TestStream::new(1, headers.iter().copied());
            let flow = engines[vm].on_request_headers(&vms[vm], &stream, true);
            engines[vm].on_delete(&stream);
            flow == Flow::Continue
        });
        assert_eq!(admitted.count(), 150, "{burst}");
        // 50 and 60 % of the key's quota, 90 and 95 % of the organisation's.
        assert_eq!(host.metric(EventKind::TriggerExceeded.metric()), 4, "{burst}");
        assert_eq!(host.metric(EventKind::OrgQuotaExceeded.metric()), 150, "{burst}");
    }
}

#[test]
fn a_bad_key_in_its_cool_down_reads_no_shared_data() {
    let cost = cost(&quotas(), "bad-key");
    assert_eq!(cost.calls, ["get_current_time_nanoseconds"]);
    assert_eq!(cost.properties, ["source\0address"], "the event would show the client's address");
    assert!(cost.allocations <= 12, "{}", cost.allocations);
}
