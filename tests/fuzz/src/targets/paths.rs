//! Paths: every reading, and that what one spelling protects, its other percent-encoded spellings do too.

use std::cell::RefCell;

use tollbell_core::fuzzing::{self, Place};
use tollbell_core::host::Flow;

use super::input::parts;
use super::world::{World, loaded};

const CONFIG: &str = r#"{ "apis": [
    { "api_id": "orders", "listen_path": "/orders/" },
    { "api_id": "open", "listen_path": "/open/", "use_keyless": true },
    { "api_id": "open part", "listen_path": "/orders/open/", "use_keyless": true },
    { "api_id": "closed part", "listen_path": "/open/closed/" }
] }"#;

const PROTECTED: [&str; 3] = ["/orders/", "/caf%C3%A9", "/"];

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let [target, mask, listen_path] = parts(bytes);
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let path = &target[..end];
    let spelled = respelled(path, mask);
    fuzzing::readings(path);
    fuzzing::readings(&spelled);
    if path.starts_with(b"/") {
        check_routes(path, &spelled);
    }
    let own = String::from_utf8_lossy(listen_path);
    for protected in PROTECTED.into_iter().chain([&*own]) {
        if fuzzing::place(protected, path) == Some(Place::Below) && path.starts_with(b"/") {
            assert_ne!(
                fuzzing::place(protected, &spelled),
                Some(Place::Elsewhere),
                "{} is below {protected}, {} is not",
                path.escape_ascii(),
                spelled.escape_ascii()
            );
        }
    }
}

/// A path that asks for a key does so in every spelling, beside an API and paths that are open to all.
fn check_routes(path: &[u8], spelled: &[u8]) {
    thread_local!(static WORLD: RefCell<World> = RefCell::new(World::of(loaded(CONFIG))));
    let is_clear = fuzzing::place("/", path) != Some(Place::Unclear);
    WORLD.with_borrow_mut(|world| {
        if is_clear && world.pass(path) == Flow::Pause {
            let is_refused = world.pass(spelled) == Flow::Pause;
            assert!(is_refused, "{} is refused, {} is not", path.escape_ascii(), spelled.escape_ascii());
        }
    });
}

/// The same path, with some of its bytes percent-encoded: a bit of the mask each, in turn with both cases of digits.
fn respelled(path: &[u8], mask: &[u8]) -> Vec<u8> {
    let mut spelled = Vec::new();
    for (at, byte) in path.iter().enumerate() {
        let bits = mask.get(at / 4 % mask.len().max(1)).copied().unwrap_or(0xff) >> (at % 4 * 2);
        match bits & 3 {
            1 if at > 0 => spelled.extend(format!("%{byte:02x}").bytes()),
            2 if at > 0 => spelled.extend(format!("%{byte:02X}").bytes()),
            _ => spelled.push(*byte),
        }
    }
    spelled
}
