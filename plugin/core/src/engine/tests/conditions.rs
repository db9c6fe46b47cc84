//! `when`: which events a handler gets.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn hook_when(path: &str, when: &Value) -> Value {
    let mut hook = hook(path, 0);
    hook["handler_meta"]["when"] = when.clone();
    hook
}

fn config(handlers: &Value) -> Value {
    json!({
        "apis": [
            { "api_id": "orders", "org_id": "acme", "listen_path": "/orders/" },
            { "api_id": "billing", "org_id": "globex", "listen_path": "/billing/" }
        ],
        "event_handlers": { "events": handlers },
        "keys": {
            "gold": { "org_id": "acme", "quota_max": 10, "tags": ["gold"], "monitor": { "trigger_limits": [50, 80, 100] } },
            "plain": { "org_id": "globex", "quota_max": 10, "monitor": { "trigger_limits": [50] } }
        },
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true,
            "configuration": { "target_path": "http://hooks.test/monitor", "when": { "org_id": "none" } }
        }
    })
}

/// The paths of the messages of ten requests with each key and one wrong key on each API, sorted.
fn told(handlers: &Value) -> Vec<String> {
    let mut world = World::new(&config(handlers));
    for _ in 0..10 {
        world.get("/orders/1", "gold");
        world.get("/billing/1", "plain");
    }
    for path in ["/orders/1", "/billing/1"] {
        world.get(path, "wrong");
    }
    let sent = world.deliver(10, 200);
    let path = |callout: &Callout| callout.headers.iter().find(|(name, _)| name == ":path").unwrap().1.clone();
    let mut paths: Vec<String> = sent.iter().map(path).collect();
    paths.sort();
    paths
}

#[test]
fn each_threshold_goes_to_the_handlers_whose_condition_it_meets() {
    let handlers = json!({ "TriggerExceeded": [
        hook_when("/pager", &json!({ "trigger_limit": ">= 100" })),
        hook_when("/chat", &json!({ "trigger_limit": ">= 50, < 100", "tag": ["silver", "gold"] })),
        hook_when("/globex", &json!({ "org_id": "globex" })),
        hook_when("/orders", &json!({ "api_id": "orders", "trigger_limit": 80 })),
        hook("/all", 0),
    ] });
    let expected =
        ["/all", "/all", "/all", "/all", "/chat", "/chat", "/globex", "/orders", "/pager"].map(str::to_owned);
    assert_eq!(told(&handlers), expected);
}

#[test]
fn other_events_have_conditions_too() {
    let handlers = json!({ "AuthFailure": [
        hook_when("/orders", &json!({ "api_id": "orders" })),
        hook_when("/both", &json!({ "api_id": ["orders", "billing"] })),
    ] });
    assert_eq!(told(&handlers), ["/both", "/both", "/orders"].map(str::to_owned));
}

#[test]
fn a_named_webhook_and_its_users_have_conditions() {
    let mut config = config(&json!({ "TriggerExceeded": [
        { "handler_name": "eh_web_hook_handler", "handler_meta": { "webhook": "chat" } },
        { "handler_name": "eh_web_hook_handler", "handler_meta": { "webhook": "chat", "when": { "trigger_limit": 100 } } },
    ] }));
    config["webhooks"] = json!([{
        "name": "chat", "target_url": "http://hooks.test/chat", "events": ["TriggerExceeded"], "when": { "trigger_limit": 80 }
    }]);
    let mut world = World::new(&config);
    (0..10).for_each(|_| drop(world.get("/orders/1", "gold")));
    let mut limits: Vec<_> =
        world.bodies().iter().map(|body| body["trigger_limit"].as_str().unwrap().to_owned()).collect();
    limits.sort();
    assert_eq!(limits, ["100", "80", "80"]);
}

#[test]
fn wrong_conditions_are_named() {
    let handlers = json!({ "TriggerExceeded": [
        hook_when("/a", &json!({ "trigger_limit": "=> 90", "api_id": "order" })),
        hook_when("/b", &json!({ "api_id": ["orders", "bill"], "org": "acme" })),
    ] });
    let errors = Config::load(config(&handlers).to_string().as_bytes()).err().unwrap();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for (path, message) in [
        ("[0].handler_meta.when.trigger_limit", "\"=> 90\" is not a comparison"),
        ("[0].handler_meta.when.api_id", "no API has the id \"order\" (did you mean \"orders\"?)"),
        ("[1].handler_meta.when.api_id[1]", "no API has the id \"bill\""),
        ("[1].handler_meta.when.org", ""),
    ] {
        let is_said = |error: &String| error.contains(path) && error.contains(message);
        assert!(errors.iter().any(is_said), "{path}: {message}\n{errors:#?}");
    }
}
