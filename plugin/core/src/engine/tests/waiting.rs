//! Requests that wait for a store of counters.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::testing::LateCounters;

const PATIENCE_MS: u64 = 2000;

fn world(ticks: u32) -> World<LateCounters> {
    World::with_counters(&config(), 1, || LateCounters::after_ticks(ticks, PATIENCE_MS))
}

fn held(world: &mut World<LateCounters>, path: &str, key: &str) -> Rc<TestStream> {
    match world.get(path, key) {
        Decision::Held(stream) => stream,
        other => panic!("{other:?}"),
    }
}

fn answer(stream: &TestStream) -> Option<(u16, String)> {
    stream.answered.borrow().as_ref().map(|answer| (answer.status, answer.details.clone()))
}

#[test]
fn a_request_continues_when_it_has_been_counted() {
    let mut world = world(2);
    let stream = held(&mut world, "/strict/1", "strict-only");
    assert!(stream.changes.borrow().is_empty(), "nothing is changed before the request may continue");
    world.tick(500);
    assert!(!stream.is_resumed.get());
    world.tick(500);
    assert!(stream.is_resumed.get());
    assert_eq!(*stream.changes.borrow(), [HeaderChange::Remove("authorization".into())]);
    assert_eq!(world.host.metric(RequestOutcome::Admitted.metric()), 1);
    assert_eq!(world.vms[0].on_request_body(&world.host, &stream, 5, true), Flow::Continue);
}

#[test]
fn its_body_and_trailers_wait_with_it_and_its_response_shows_the_limits() {
    let mut world = world(1);
    let stream = held(&mut world, "/orders/1", "ten");
    assert_eq!(world.vms[0].on_request_body(&world.host, &stream, 5, true), Flow::Pause);
    assert_eq!(world.vms[0].on_request_trailers(&world.host, &stream), Flow::Pause);
    world.tick(500);
    assert!(stream.is_resumed.get());
    world.respond(0, &stream, 200);
    assert_eq!(stream.response_text("x-ratelimit-remaining").as_deref(), Some("9"));
}

#[test]
fn a_request_that_a_limit_refuses_is_answered_and_reported() {
    let mut world = world(1);
    let first = held(&mut world, "/orders/1", "loner");
    let second = held(&mut world, "/orders/1", "loner");
    world.tick(500);
    assert!(first.is_resumed.get() && !second.is_resumed.get());
    assert_eq!(answer(&second), Some((403, "tollbell_quota_exceeded".to_owned())));
    let bodies = world.bodies();
    assert_eq!([&bodies[0]["event"], &bodies[0]["key"], &bodies[0]["origin"]], ["QuotaExceeded", "loner", "192.0.2.7"]);
    assert_eq!(bodies.len(), 1);
}

#[test]
fn a_request_without_limits_does_not_wait() {
    let mut world = world(9);
    assert_eq!(world.status("/orders/1", "nobody"), 403);
    assert_eq!(world.status("/elsewhere", ""), 200);
}

#[test]
fn waiting_ends_and_a_late_answer_changes_nothing() {
    let mut world = world(100);
    let stream = held(&mut world, "/orders/1", "ten");
    let waited = (1..).find(|_| {
        world.tick(500);
        answer(&stream).is_some()
    });
    assert_eq!(waited, Some(4));
    assert_eq!(answer(&stream), Some((503, "tollbell_counter_unavailable".to_owned())));
    assert_eq!(world.vms[0].counters.forgotten, [stream.id()]);
    (0..200).for_each(|_| drop(world.tick(500)));
    assert!(!stream.is_resumed.get());
    assert_eq!(world.host.metric(RequestOutcome::CounterUnavailable.metric()), 1);
}

#[test]
fn a_stream_that_ends_is_forgotten_and_is_no_earlier_pass() {
    let mut world = world(2);
    let stream = held(&mut world, "/orders/1", "ten");
    world.streams.close(stream.id());
    world.vms[0].on_delete(&stream);
    assert_eq!(world.vms[0].counters.forgotten, [stream.id()]);
    assert!(!world.vms[0].was_cut_off);
    (0..5).for_each(|_| drop(world.tick(500)));
    assert!(!stream.is_resumed.get() && answer(&stream).is_none());
    assert!(world.vms[0].exchanges.is_empty());
}

#[test]
fn a_request_whose_headers_the_host_does_not_change_is_refused() {
    let mut world = world(1);
    let stream = held(&mut world, "/strict/1", "strict-only");
    stream.refuses_changes.set(true);
    world.tick(500);
    assert!(!stream.is_resumed.get());
    assert_eq!(answer(&stream).map(|(status, _)| status), Some(503));
}

#[test]
fn a_clock_that_is_set_back_holds_no_request_for_ever() {
    let mut world = world(3);
    let stream = held(&mut world, "/orders/1", "ten");
    world.now = UnixMillis(world.now.0 - 1_000_000);
    (0..3).for_each(|_| drop(world.tick(500)));
    assert!(stream.is_resumed.get());
}
