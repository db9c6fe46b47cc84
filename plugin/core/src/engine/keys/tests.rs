use proptest::prelude::*;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::config::{Config, SessionField, Use, fields};
use crate::host::Fetch;
use crate::testing::MemoryHost;

struct World {
    host: MemoryHost,
    config: Config,
    fetcher: KeyFetcher,
    now: UnixMillis,
}

const CONFIG: &str = r#"{
    "apis": [{ "api_id": "orders" }], "policies": { "gold": { "quota_max": 5 }, "orders only": { "access_rights": { "orders": {} } } }, "keys": { "own": {} },
    "keys_from": {
        "url": "http://user:pass@keys.test/all?v=1", "interval_s": 10, "headers": { "X-Token": "t" }, "max_bytes": 100000
    }
}"#;

fn load() -> Config {
    Config::load(CONFIG.as_bytes()).unwrap().0
}

fn fetcher(vm: u64, now: UnixMillis) -> KeyFetcher {
    let config = load();
    KeyFetcher::new(config.keys_from.unwrap(), config.session_maker, None, vm, now)
}

impl World {
    fn new() -> Self {
        let config = load();
        let now = UnixMillis(1_800_000_000_000);
        let fetcher = fetcher(1, now);
        World { host: MemoryHost::default(), config, fetcher, now }
    }

    /// Answers the request of the next fetch. Returns the request, and whether the sessions in use have changed.
    fn fetch(&mut self, status: u16, etag: &str, body: &str) -> (Callout, bool) {
        self.now = self.now.plus(10_000);
        self.tick();
        let (id, callout) = self.host.take_sent().pop().expect("a fetch");
        self.host.set_reply(&[("etag", etag)], body.as_bytes());
        let reply = CalloutReply { status: Some(status), ..CalloutReply::default() };
        assert!(self.fetcher.on_reply(&self.host, id, &reply, self.now));
        let mut changed = false;
        for _ in 0..1000 {
            changed |= self.tick();
        }
        (callout, changed)
    }

    fn tick(&mut self) -> bool {
        self.fetcher.on_tick(&self.host, &mut self.config.directory, self.now)
    }

    fn knows(&self, key: &str) -> bool {
        self.config.directory.find(&KeyHash::of(key.as_bytes())).is_some()
    }
}

#[test]
fn sessions_are_fetched_and_replaced() {
    let mut world = World::new();
    assert!(!world.config.directory.is_complete());
    let (callout, changed) = world.fetch(200, "v1", r#"{ "a": {"apply_policies":["gold"],"last_check":1} , "b": {} }"#);
    assert!(
        changed && world.config.directory.is_complete() && world.knows("a") && world.knows("b") && world.knows("own")
    );
    for (name, value) in [
        (":method", "GET"),
        (":path", "/all?v=1"),
        (":authority", "keys.test"),
        ("x-token", "t"),
        ("authorization", "Basic dXNlcjpwYXNz"),
    ] {
        assert!(callout.headers.contains(&(name.to_owned(), value.to_owned())), "{name} in {callout:?}");
    }
    assert!(!callout.headers.iter().any(|(name, _)| name == "if-none-match"));

    let (callout, changed) = world.fetch(304, "", "");
    assert!(!changed && callout.headers.contains(&("if-none-match".to_owned(), "v1".to_owned())));
    let (_, changed) = world.fetch(200, "v2", r#"{"b":{}}"#);
    assert!(changed && !world.knows("a") && world.knows("b") && world.knows("own"));
    assert_eq!(world.host.metric(Metric::KeysFetched(Fetch::Loaded)), 2);
    assert_eq!(world.host.metric(Metric::KeysFetched(Fetch::Unchanged)), 1);
}

#[test]
fn a_bad_answer_changes_nothing() {
    let mut world = World::new();
    world.fetch(200, "v1", r#"{"a":{}}"#);
    let huge = format!(r#"{{"b":{{"alias":"{}"}}}}"#, "x".repeat(200_000));
    for body in [
        "",
        "[]",
        "not JSON",
        r#"{"b":{}"#,
        r#"{"b":{}}x"#,
        r#"{"b":{} "c":{}}"#,
        r#"{,"b":{}}"#,
        r#"{"c":*\"x\"","b":{}}"#,
        r#"{"b":{},"b":{}}"#,
        &huge,
    ] {
        let failed = world.host.metric(Metric::KeysFetched(Fetch::Failed));
        let (callout, changed) = world.fetch(200, "v2", body);
        assert!(!changed && world.knows("a") && !world.knows("b"), "{body}");
        assert_eq!(world.host.metric(Metric::KeysFetched(Fetch::Failed)), failed + 1, "{body}");
        let asked_for_changes = callout.headers.contains(&("if-none-match".to_owned(), "v1".to_owned()));
        assert!(asked_for_changes, "the tag of a bad answer is not kept");
    }
    for status in [404, 500, 503] {
        assert!(!world.fetch(status, "", r#"{"b":{}}"#).1);
    }
    assert!(world.knows("a"));
}

#[test]
fn an_answer_is_read_in_steps() {
    let mut world = World::new();
    let sessions: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("key-{n}"), json!({}))).collect();
    world.now = world.now.plus(10_000);
    world.tick();
    let (id, _) = world.host.take_sent().pop().unwrap();
    world.host.set_reply(&[], Value::Object(sessions).to_string().as_bytes());
    let reply = CalloutReply { status: Some(200), ..CalloutReply::default() };
    world.fetcher.on_reply(&world.host, id, &reply, world.now);
    let ticks = (1..100).find(|_| world.tick()).unwrap();
    assert_eq!(ticks, 1000 / SESSIONS_A_PIECE / PIECES_WHEN_IDLE + 1);
    let mut config = load();
    let mut busy = fetcher(3, world.now);
    busy.on_request(world.now);
    let ticks = (1..100).find(|_| busy.on_tick(&world.host, &mut config.directory, world.now)).unwrap();
    assert!(ticks > 2, "one that serves requests takes its time");
    let mut other = fetcher(2, world.now);
    let ticks = (1..100).find(|_| other.on_tick(&world.host, &mut config.directory, world.now)).unwrap();
    assert!(ticks <= 2 && world.host.take_sent().is_empty(), "another VM finds them in shared data");
    assert!(config.directory.find(&KeyHash::of(b"key-999")).is_some());
    assert!(world.knows("key-999"));
}

proptest! {
    #[test]
    fn every_object_of_objects_is_split_into_members(
        members in prop::collection::btree_map(any::<String>(), prop::collection::btree_map(any::<String>(), any::<i32>(), 0..4), 0..20),
        pretty in any::<bool>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&members) } else { serde_json::to_string(&members) }.unwrap();
        let mut found = std::collections::BTreeMap::new();
        let mut parts = Members::new(text.into_bytes());
        while let Some((name, value)) = parts.next().unwrap() {
            found.insert(name, serde_json::from_slice(value).unwrap());
        }
        prop_assert_eq!(found, members);
    }

    #[test]
    fn no_bytes_panic_or_hang(bytes in prop::collection::vec(prop::sample::select(b"{}[]\"\\:, ax1".to_vec()), 0..60)) {
        let mut parts = Members::new(bytes);
        for _ in 0..100 {
            if !matches!(parts.next(), Ok(Some(_))) {
                break;
            }
        }
    }
}

/// The session of a key, the field that closes it, and whether it closes the key for all APIs.
fn closings() -> Vec<(Value, &'static str)> {
    let listed = |fields: &'static [SessionField], whole: fn(&str, Value) -> Value| {
        let closes = fields.iter().filter(|field| matches!(field.usage, Use::Closes(_)));
        closes.map(move |field| (whole(field.name, json!({ "x": "y" })), field.name))
    };
    let in_right = |right: Value| json!({ "access_rights": { "orders": right } });
    let mut closings: Vec<(Value, &'static str)> = listed(fields::SESSION, |name, value| json!({ name: value }))
        .chain(listed(fields::RIGHT, |name, value| json!({ "access_rights": { "orders": { name: value } } })))
        .chain(listed(
            fields::LIMIT,
            |name, value| json!({ "access_rights": { "orders": { "limit": { name: value } } } }),
        ))
        .collect();
    closings.extend([
        (json!({ "of_the_future": { "a": [true] } }), "of_the_future"),
        (json!({ "Rate": 5 }), "Rate"),
        (json!({ "meta_data": { "policies": [{ "id": "p" }] } }), "meta_data.policies"),
        (json!({ "meta_data": { "rate_limit_pattern": "$tyk_meta.team" } }), "meta_data.rate_limit_pattern"),
        (json!({ "hmac_enabled": true }), "hmac_enabled"),
        (json!({ "max_query_depth": 5 }), "max_query_depth"),
        (json!({ "smoothing": { "enabled": true } }), "smoothing"),
        (json!({ "basic_auth_data": { "password": "$2a$10$x", "hash_type": "bcrypt" } }), "basic_auth_data"),
        (json!({ "quota_max": -10 }), "quota_max: -10"),
        (json!({ "quota_renewal_rate": -5 }), "quota_renewal_rate: -5"),
        (json!({ "rate": -0.5, "per": 1 }), "rate: -0.5"),
        (json!({ "rate": 1, "per": -60 }), "per: -60"),
        (json!({ "expires": 1_767_225_600_000_i64 }), "expires: 1767225600000"),
        (json!({ "expires": -7 }), "expires: -7"),
        (in_right(json!({ "of_the_future": 1 })), "access_rights.orders.of_the_future"),
        (in_right(json!({ "limit": { "of_the_future": 1 } })), "access_rights.orders.limit.of_the_future"),
        (in_right(json!({ "limit": { "quota_max": -10 } })), "access_rights.orders.limit.quota_max: -10"),
        (
            in_right(json!({ "endpoints": [{ "path": "/", "methods": [{ "name": "GET" }] }] })),
            "access_rights.orders.endpoints",
        ),
        (
            in_right(json!({ "allowed_urls": [{ "url": "(", "methods": ["GET"] }] })),
            "access_rights.orders.allowed_urls[0].url",
        ),
    ]);
    closings
}

#[test]
fn a_restriction_that_is_not_honoured_closes_the_key() {
    let closings = closings();
    assert!(closings.len() > 40);
    let config = load();
    let mut shared = Shared::default();
    for (session, field) in closings {
        let hash = KeyHash::of(b"k");
        let text = session.to_string();
        let (read, said) = config.session_maker.read(hash, text.as_bytes(), &config.directory, &mut shared).unwrap();
        assert!(read.plan.grant("orders").is_none(), "{text}");
        assert!(said.len() == 1 && said[0].contains(field), "{text}: {said:?}");
    }
}

#[test]
fn empty_or_harmless_fields_close_nothing() {
    let config = load();
    let mut shared = Shared::default();
    let mut read = |session: &Value| {
        let text = session.to_string();
        config.session_maker.read(KeyHash::of(b"k"), text.as_bytes(), &config.directory, &mut shared).unwrap()
    };
    let nothing = [json!(null), json!(false), json!(0), json!(0.0), json!(-1), json!(""), json!([]), json!({})];
    let nothing_inside =
        [json!({ "a": "", "b": { "c": [] } }), json!({ "enabled": false, "step": 5 }), json!("0001-01-01T00:00:00Z")];
    for empty in nothing.iter().chain(&nothing_inside) {
        for field in fields::SESSION.iter().filter(|field| matches!(field.usage, Use::Closes(_))) {
            assert!(read(&json!({ field.name: empty })).1.is_empty(), "{}: {empty}", field.name);
        }
        assert!(read(&json!({ "of_the_future": empty })).1.is_empty(), "{empty}");
    }
    for field in fields::SESSION.iter().filter(|field| matches!(field.usage, Use::Ignored(_))) {
        assert!(read(&json!({ field.name: 5 })).1.is_empty(), "{}", field.name);
    }
    for field in
        fields::RIGHT.iter().filter(|field| matches!(field.usage, Use::Ignored(_)) && !field.name.starts_with("api_"))
    {
        assert!(read(&json!({ "access_rights": { "orders": { field.name: 5 } } })).1.is_empty(), "{}", field.name);
    }
    // If a session's policies set its rights, its own rights are ignored, and so is what would close them.
    let rights = json!({ "orders": { "restricted_types": [{ "name": "Q" }] } });
    let (session, closings) = read(&json!({ "apply_policies": ["orders only"], "access_rights": rights }));
    assert!(closings.is_empty() && session.plan.grant("orders").is_some());
    let (session, closings) = read(&json!({ "apply_policies": ["gold"], "access_rights": rights }));
    assert!(closings.len() == 1 && session.plan.grant("orders").is_none());
    // Other rights stay.
    let rights = json!({ "orders": { "restricted_types": [{ "name": "Q" }] }, "other": {} });
    let (session, _) = read(&json!({ "access_rights": rights }));
    assert!(session.plan.grant("orders").is_none() && session.plan.grant("other").is_some());
    // Tyk's older form of apply_policies.
    let (session, _) = read(&json!({ "apply_policy_id": "gold", "access_rights": { "orders": {} } }));
    assert_eq!(session.plan.limits.quota.as_ref().map(|quota| quota.max), Some(5));
}

#[test]
fn closed_keys_are_counted() {
    let mut world = World::new();
    let sessions: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("key-{n}"), json!({ "hmac_enabled": n % 2 == 0 }))).collect();
    world.fetch(200, "v1", &Value::Object(sessions).to_string());
    assert_eq!(world.host.metric_named("tollbell_closed_keys"), Some(25));
}

/// A session that cannot be used does not affect the others.
#[test]
fn an_error_in_one_session_closes_only_that_key() {
    let config = load();
    let mut shared = Shared::default();
    let mut read = |session: &Value| {
        let text = session.to_string();
        config.session_maker.read(KeyHash::of(b"k"), text.as_bytes(), &config.directory, &mut shared).unwrap()
    };
    for (session, field) in [
        (json!({ "quota_max": "many" }), "quota_max: "),
        (json!({ "quota_max": 1.5 }), "quota_max: "),
        (json!({ "org_id": 7 }), "org_id: "),
        (json!({ "access_rights": ["orders"] }), "access_rights: "),
        (
            json!({ "access_rights": { "orders": { "allowed_urls": [{ "URL": "^/x$", "methods": ["GET"] }] } } }),
            "access_rights.orders.allowed_urls[0].URL",
        ),
        (
            json!({ "access_rights": { "orders": { "allowed_urls": [{ "methods": ["GET"] }] } } }),
            "access_rights.orders.allowed_urls[0].url",
        ),
        (json!({ "apply_policies": ["none"], "access_rights": { "orders": {} } }), "no policy has the id \"none\""),
        (json!({ "apply_policies": ["gold", "none"] }), "no policy has the id \"none\""),
        // Tyk refuses it. Here it would be the right to every API.
        (json!({ "apply_policies": ["gold"] }), "apply_policies: no policy gives a right to an API"),
    ] {
        let (closed, said) = read(&session);
        assert!(closed.plan.grant("orders").is_none(), "{session}");
        assert!(said.len() == 1 && said[0].contains(field), "{session}: {said:?}");
    }
    let quota =
        |session: &crate::access::Session| session.plan.limits.quota.as_ref().map(|quota| (quota.max, quota.window_ms));
    let (session, said) = read(&json!({ "quota_max": 1000.0, "quota_renewal_rate": 60.0, "meta_data": { "n": 1.0 } }));
    assert_eq!((quota(&session), said.len()), (Some((1000, Some(60_000))), 0));
    let (_, said) = read(&json!({ "quota_max": 5, "monitor": { "trigger_limits": [0, 50, 120, -1] } }));
    assert_eq!(said, Vec::<String>::new());
    let mut world = World::new();
    let document = r#"{"a":{},"b":{"apply_policies":["none"]},"":{},"sha256:12":{},"header:b":{},"c":{"quota_max":true},"d":[],
            "e":null,"f":5,"g" : true ,"h":"text","i":{"alias":"\ud800"},"j":{"rate":1e400},"z":{},
            "k":{"access_rights":{"orders":{}},"access_rights":{}},"l":-1.5e3}"#;
    let (_, changed) = world.fetch(200, "v1", document);
    assert!(changed && world.knows("a") && world.knows("b") && world.knows("c") && !world.knows("d"));
    assert!(world.knows("z") && !world.knows("e") && world.knows("i") && world.knows("k"));
    assert_eq!(world.host.metric_named("tollbell_closed_keys"), Some(14));
}
