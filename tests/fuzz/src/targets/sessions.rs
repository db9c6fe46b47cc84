//! Documents of fetched sessions. A key is let through only where the
//! document has it, and always where it has nothing else.

use std::cell::RefCell;

use serde_json::Value;
use tollbell_core::host::Flow;

use super::world::{World, loaded};

const CONFIG: &str = r#"{
    "apis": [{ "api_id": "orders", "listen_path": "/orders/" }],
    "policies": { "gold": { "quota_max": 5 }, "orders only": { "access_rights": { "orders": {} } } },
    "keys_from": { "url": "http://keys.test/all", "interval_s": 1 }
}"#;

/// Ticks in which a document is fetched and put in use.
const STEPS: usize = 12;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::of(loaded(CONFIG))));
    WORLD.with_borrow_mut(|world| {
        // The document before this one goes, whatever it was.
        follow(world, b"{}");
        assert_eq!(world.get("/orders/1", "test"), Flow::Pause, "a key that no document has");
        follow(world, bytes);
        let admitted = world.get("/orders/1", "test") == Flow::Continue;
        match serde_json::from_slice::<Value>(bytes) {
            Ok(Value::Object(sessions)) => {
                let is_free =
                    sessions.get("test").is_some_and(|session| session.as_object().is_some_and(|of| of.is_empty()));
                let is_alone =
                    sessions.len() == 1 && bytes.windows(6).filter(|window| window == b"\"test\"").count() == 1;
                assert!(admitted || !is_free || !is_alone, "{}", bytes.escape_ascii());
                assert!(!admitted || sessions.contains_key("test"), "{}", bytes.escape_ascii());
            }
            // A session that is malformed closes its key alone.
            _ => assert!(!admitted || is_named(bytes), "{}", bytes.escape_ascii()),
        }
        world.get("/orders/1", "other");
    });
}

fn is_named(document: &[u8]) -> bool {
    document.windows(4).any(|window| window == b"test") || document.contains(&b'\\')
}

fn follow(world: &mut World, document: &[u8]) {
    // Longer than a VM that has requests leaves the work to others.
    let mut sent = world.tick(700_000);
    for _ in 0..STEPS {
        for (id, _) in sent {
            world.host.set_reply(&[], document);
            world.reply(id, 200);
        }
        sent = world.tick(600);
    }
}
