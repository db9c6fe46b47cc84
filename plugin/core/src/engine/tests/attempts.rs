//! Attempts whose answers come late, or never.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::host::Metric;

fn config(path: &str) -> Value {
    let meta = json!({ "name": "desk", "target_path": format!("http://hooks.test{path}"), "timeout": 10 });
    let hook = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": meta });
    json!({
        "apis": [{ "api_id": "a", "event_handlers": { "events": { "AuthFailure": [hook] } } }],
        "delivery": { "max_attempts": 20 },
    })
}

#[test]
fn an_attempt_that_the_proxy_never_answers_is_repeated() {
    let mut world = World::new(&config("/in"));
    world.tick(500);
    for _ in 0..20 {
        world.get("/x", &format!("bad-{}", world.now.0));
        world.now = world.now.plus(1);
    }
    let mut lost: Vec<_> = Vec::new();
    while lost.len() < 8 {
        lost.extend(world.tick(500));
    }
    assert!(world.tick(14_000).is_empty(), "the target has as many attempts under way as are allowed");
    let mut sent = 0;
    for _ in 0..200 {
        for (id, _) in world.tick(500) {
            sent += 1;
            world.reply(id, 200);
        }
    }
    assert_eq!((sent, world.host.metric(Metric::Delivered)), (20, 20));
    for (id, _) in lost {
        world.reply(id, 200);
    }
    assert_eq!(world.host.metric(Metric::Delivered), 20, "an answer that is too late has no effect");
}

#[test]
fn the_last_answer_of_a_former_url_does_not_end_a_readdressed_message() {
    for status in [404, 410, 500] {
        let mut before = config("/wrong");
        before["delivery"]["max_attempts"] = json!(1);
        let mut world = World::new(&before);
        world.tick(500);
        world.get("/x", "bad");
        let (attempt, callout) = world.tick(500).pop().unwrap();
        assert!(callout.headers.contains(&(":path".into(), "/wrong".into())));
        let (config, _) = Config::load(config("/right").to_string().as_bytes()).unwrap();
        world.vms.push(world.engine(config, 99));
        world.tick(500);
        world.reply(attempt, status);
        let sent: Vec<_> = (0..30).flat_map(|_| world.deliver(500, 200)).collect();
        let paths: Vec<_> =
            sent.iter().flat_map(|callout| &callout.headers).filter(|(name, _)| name == ":path").collect();
        assert_eq!(paths, [&(":path".to_owned(), "/right".to_owned())], "{status}");
        assert_eq!(world.host.metric(Metric::Failed), 0);
    }
}
