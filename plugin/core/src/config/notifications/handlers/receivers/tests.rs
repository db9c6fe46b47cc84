use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::config::{Config, ConfigError};
use crate::notify::{Body, Form, Webhook};

const ROUTING_KEY: &str = "R0123456789abcdefR0123456789abcd";

fn load(config: &Value) -> Result<(Config, Vec<ConfigError>), Vec<ConfigError>> {
    Config::load(config.to_string().as_bytes())
}

fn errors(config: &Value) -> Vec<String> {
    let Err(errors) = load(config) else { panic!("accepted: {config}") };
    errors.iter().map(ToString::to_string).collect()
}

fn warnings(config: &Value) -> Vec<String> {
    load(config).unwrap().1.iter().map(ToString::to_string).collect()
}

/// A configuration with a handler that has these settings.
fn handler(meta: Value) -> Value {
    let mut meta = meta;
    meta["target_path"] = json!("https://a.test/in");
    let handler = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": meta });
    json!({ "apis": [{ "api_id": "a", "event_handlers": { "events": { "AuthFailure": [handler] } } }], "keys": { "k": {} } })
}

fn webhook(config: &Value) -> Webhook {
    let (config, _) = load(config).unwrap();
    let handler = config.notifications.handlers.iter().next().unwrap();
    match &handler.action.channel().unwrap().form {
        Form::Webhook(webhook) => webhook.clone(),
        Form::Email(_) => panic!("an email"),
    }
}

const META: &str = "apis[0].event_handlers.events.AuthFailure[0].handler_meta";

#[test]
fn pagerduty_needs_a_routing_key() {
    let missing = format!("{META}.receiver.routing_key: missing: pagerduty needs the integration key of a service");
    assert_eq!(errors(&handler(json!({ "template_path": "pagerduty" }))), [missing]);
    let of = |key: &str| handler(json!({ "template_path": "pagerduty", "receiver": { "routing_key": key } }));
    assert_eq!(warnings(&of(ROUTING_KEY)), [""; 0]);
    assert_eq!(webhook(&of(ROUTING_KEY)).secrets, [("routing_key".to_owned(), ROUTING_KEY.to_owned())]);
    let length = format!("{META}.receiver.routing_key: an integration key has 32 letters and digits");
    assert_eq!(warnings(&of("short")), [length]);
    let shown = format!("{:?}", webhook(&of(ROUTING_KEY)));
    assert!(!shown.contains(ROUTING_KEY), "{shown}");
}

#[test]
fn a_setting_that_the_receiver_does_not_use_is_a_warning() {
    let of = |name: &str, receiver: Value| handler(json!({ "template_path": name, "receiver": receiver }));
    let key = format!("{META}.receiver.routing_key: ignored: it is for the template pagerduty");
    let source = format!("{META}.receiver.source: ignored: it is for the template cloudevents");
    assert_eq!(warnings(&of("slack", json!({ "routing_key": "x" }))), [&*key]);
    assert_eq!(warnings(&of("", json!({ "routing_key": "x", "source": "y" }))), [&*key, &*source]);
    assert_eq!(webhook(&of("slack", json!({ "routing_key": "x" }))).secrets, []);
    assert_eq!(warnings(&of("cloudevents", json!({ "source": "https://a.test" }))), [""; 0]);
    let not_a_uri = format!("{META}.receiver.source: not a URI or a relative reference");
    for wrong in ["", "a b", "é"] {
        assert_eq!(errors(&of("cloudevents", json!({ "source": wrong }))), [&*not_a_uri], "{wrong}");
    }
    let authorization = format!(
        "{META}.header_map: has no Authorization, without which opsgenie takes no message: write \"GenieKey\" and an API key"
    );
    assert_eq!(warnings(&of("opsgenie", json!({}))), [authorization]);
}

#[test]
fn an_entry_of_templates_comes_before_a_receiver_and_a_wrong_name_has_a_hint() {
    let mut own = handler(json!({ "template_path": "slack" }));
    let of_receiver = webhook(&own);
    assert!(matches!(of_receiver.body, Body::Receiver { receiver, .. } if receiver.name == "slack"));
    own["templates"] = json!({ "slack": "{{Type}}" });
    assert!(matches!(webhook(&own).body, Body::Template(_)));
    let found = errors(&handler(json!({ "template_path": "pager_duty" })));
    assert!(found[0].contains("there is no template \"pager_duty\" (did you mean \"pagerduty\"?)"), "{found:?}");
}

#[test]
fn a_handler_uses_the_receiver_of_its_named_webhook() {
    let mut config = handler(json!({}));
    let meta = json!({ "webhook": "on-call", "receiver": {} });
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"] = meta;
    config["webhooks"] = json!([{
        "name": "on-call", "target_url": "https://a.test/in", "template_path": "pagerduty", "receiver": { "routing_key": ROUTING_KEY }
    }]);
    let (config, _) = load(&config).unwrap();
    let secrets = config.notifications.handlers.iter().filter_map(|handler| match &handler.action.channel()?.form {
        Form::Webhook(webhook) => Some(webhook.secrets.clone()),
        Form::Email(_) => None,
    });
    let secrets: Vec<_> = secrets.collect();
    assert_eq!(secrets.len(), 2);
    assert!(secrets.iter().all(|secrets| secrets[0].1 == ROUTING_KEY));
    let oas = json!({
        "apis": [{ "api_id": "a", "server": { "eventHandlers": [{
            "enabled": true, "trigger": "AuthFailure", "type": "webhook", "url": "https://a.test/in", "bodyTemplate": "pagerduty",
            "receiver": { "routing_key": ROUTING_KEY }
        }] } }],
        "keys": { "k": {} }
    });
    assert_eq!(webhook(&oas).secrets[0].1, ROUTING_KEY);
}

#[test]
fn links_are_absolute_urls() {
    let with = |links: Value| {
        let mut config = handler(json!({ "template_path": "slack" }));
        config["links"] = links;
        config
    };
    assert_eq!(warnings(&with(json!({ "dashboard": "https://a.test/{{Meta.Path}}?x={{.Type}}" }))), [""; 0]);
    let relative = errors(&with(json!({ "dashboard": "/{{Meta.Path}}" })));
    assert_eq!(relative, ["links.dashboard: for a sample event, this is not an absolute http or https URL"]);
    let broken = errors(&with(json!({ "dashboard": "https://a.test/{{#if Type}}" })));
    assert!(broken[0].starts_with("links.dashboard: line 1, column 16: "), "{broken:?}");
    let long = "x".repeat(41);
    let found = errors(&with(json!({ long.as_str(): "https://a.test/" })));
    assert!(found[0].contains("1 to 40 bytes"), "{found:?}");
    let many: serde_json::Map<String, Value> = (0..6).map(|n| (n.to_string(), json!("https://a.test/"))).collect();
    assert!(errors(&with(Value::Object(many)))[0].starts_with("links: "));
    let mut unused = handler(json!({}));
    unused["links"] = json!({ "dashboard": "https://a.test/" });
    assert_eq!(warnings(&unused), ["links: no effect: no handler has a built-in template for a receiver"]);
}
