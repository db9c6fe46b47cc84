use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::attempt::{Failure, Outcome};
use super::dispatcher::Dispatcher;
use super::outbox::{self, ReserveError};
use super::*;
use crate::cooldown::{self, CauseDigest};
use crate::metrics::Metric;
use crate::ports::{CalloutRefused, CalloutReply, SharedData, Wakeups};
use crate::testing::MemoryHost;

const POLICY: DeliveryPolicy = DeliveryPolicy {
    max_attempts: 3,
    base_delay_ms: 1000,
    max_delay_ms: 60_000,
    timeout_ms: 30_000,
    capacity: 16,
    max_in_flight: 4,
    max_in_flight_per_target: 2,
};

fn delivery(id: &str, target: &str) -> Delivery {
    Delivery {
        id: id.into(),
        event: "AuthFailure".into(),
        handler: "h".into(),
        claim: None,
        cluster: "c".into(),
        headers: vec![(":authority".into(), target.into())],
        body: "{}".into(),
        timeout_ms: 1000,
        attempts: 0,
        due: 0,
    }
}

fn hold(host: &MemoryHost, delivery: &Delivery) -> outbox::Slot {
    let slot = outbox::reserve(host, POLICY.capacity).unwrap();
    outbox::fill(host, slot, delivery).unwrap();
    host.wake(&slot.0.to_le_bytes()).unwrap();
    slot
}

fn answer(status: u16) -> CalloutReply {
    CalloutReply { status: Some(status), retry_after: None }
}

fn at(ms: u64) -> UnixMillis {
    UnixMillis(1_000_000 + ms)
}

#[test]
fn a_message_is_sent_once_and_its_slot_freed() {
    let host = MemoryHost::default();
    let mut dispatcher = Dispatcher::new(1, POLICY);
    dispatcher.on_tick(&host, at(0));
    hold(&host, &delivery("a", "x"));
    dispatcher.on_wake(&host, at(1));
    let sent = host.take_sent();
    assert_eq!(sent.len(), 1);
    dispatcher.on_tick(&host, at(500));
    assert!(host.take_sent().is_empty(), "it is in flight");
    dispatcher.on_reply(&host, sent[0].0, &answer(204), at(600));
    assert_eq!(host.metric(Metric::Delivered), 1);
    assert!(outbox::taken(&host).unwrap().is_empty());
}

#[test]
fn a_failure_is_retried_until_the_attempts_are_used_up_and_then_releases_its_claim() {
    let host = MemoryHost::default();
    let mut dispatcher = Dispatcher::new(1, POLICY);
    let cause = CauseDigest::new("h", [0; 16]);
    let claim = cooldown::claim(&host, cause, 10_000_000, at(0)).unwrap();
    hold(&host, &Delivery { claim, ..delivery("a", "x") });
    let mut now = 0;
    for attempt in 1..=3 {
        let sent = loop {
            dispatcher.on_tick(&host, at(now));
            now += 500;
            if let Some(sent) = host.take_sent().pop() {
                break sent;
            }
        };
        assert!(cooldown::is_claimed(&host, cause, at(now)).unwrap(), "attempt {attempt}");
        dispatcher.on_reply(&host, sent.0, &answer(503), at(now));
    }
    assert_eq!(host.metric(Metric::Retried), 2);
    assert_eq!(host.metric(Metric::Failed), 1);
    assert!(!cooldown::is_claimed(&host, cause, at(now)).unwrap());
    assert!(outbox::taken(&host).unwrap().is_empty());
}

#[test]
fn a_callout_refused_at_once_is_retried() {
    let host = MemoryHost::default();
    let mut dispatcher = Dispatcher::new(1, POLICY);
    host.refuse_next_callout(CalloutRefused::Immediately);
    hold(&host, &delivery("a", "x"));
    dispatcher.on_tick(&host, at(0));
    assert!(host.take_sent().is_empty());
    for tick in 1..=3 {
        dispatcher.on_tick(&host, at(tick * 500));
    }
    assert_eq!(host.take_sent().len(), 1);
}

#[test]
fn another_vm_takes_over_what_a_dead_one_held() {
    let host = MemoryHost::default();
    let (mut first, mut second) = (Dispatcher::new(1, POLICY), Dispatcher::new(2, POLICY));
    first.on_tick(&host, at(0));
    hold(&host, &delivery("a", "x"));
    first.on_wake(&host, at(1));
    let by_first = host.take_sent();
    second.on_tick(&host, at(100));
    assert!(host.take_sent().is_empty(), "the lease is held");
    for tick in 1..=5 {
        second.on_tick(&host, at(100 + tick * 500));
    }
    let by_second = host.take_sent();
    assert_eq!(by_second.len(), 1);
    assert_eq!(by_second[0].1, by_first[0].1, "the same message, with the same id");
    second.on_reply(&host, by_second[0].0, &answer(200), at(3000));

    let slot = hold(&host, &delivery("b", "x"));
    first.on_reply(&host, by_first[0].0, &answer(200), at(3001));
    assert_eq!(outbox::taken(&host).unwrap(), [slot], "a late reply does not free somebody else's slot");
}

#[test]
fn a_lease_that_is_given_up_is_taken_at_once() {
    let host = MemoryHost::default();
    let (mut first, mut second) = (Dispatcher::new(1, POLICY), Dispatcher::new(2, POLICY));
    first.on_tick(&host, at(0));
    first.on_shutdown(&host);
    hold(&host, &delivery("a", "x"));
    second.on_tick(&host, at(1));
    assert_eq!(host.take_sent().len(), 1);
}

#[test]
fn a_lease_from_the_future_does_not_block() {
    let host = MemoryHost::default();
    let (mut first, mut second) = (Dispatcher::new(1, POLICY), Dispatcher::new(2, POLICY));
    first.on_tick(&host, at(3_600_000));
    hold(&host, &delivery("a", "x"));
    second.on_tick(&host, at(0));
    assert_eq!(host.take_sent().len(), 1);
}

#[test]
fn no_target_takes_all_places() {
    let host = MemoryHost::default();
    let mut dispatcher = Dispatcher::new(1, POLICY);
    for id in ["a", "b", "c", "d", "e"] {
        hold(&host, &delivery(id, "slow"));
    }
    hold(&host, &delivery("f", "healthy"));
    dispatcher.on_tick(&host, at(0));
    let targets: Vec<String> = host.take_sent().into_iter().map(|(_, callout)| callout.headers[0].1.clone()).collect();
    assert_eq!(targets, ["slow", "slow", "healthy"]);
}

#[test]
fn slots_that_hold_nothing_or_nonsense_are_freed() {
    let host = MemoryHost::default();
    let mut dispatcher = Dispatcher::new(1, POLICY);
    let nonsense = outbox::reserve(&host, 16).unwrap();
    host.put("tb1/d/0", b"not ours").unwrap();
    let empty = outbox::reserve(&host, 16).unwrap();
    assert_eq!((nonsense.0, empty.0), (0, 1));
    dispatcher.on_tick(&host, at(0));
    assert_eq!(outbox::taken(&host).unwrap(), [empty]);
    assert_eq!(host.metric(Metric::CorruptRecords), 1);
    for tick in 1..=20 {
        dispatcher.on_tick(&host, at(tick * 500));
    }
    assert!(outbox::taken(&host).unwrap().is_empty());
    assert_eq!(host.metric(Metric::Failed), 2, "neither is lost without a count");
}

#[test]
fn a_full_table_refuses_the_newest() {
    let host = MemoryHost::default();
    for _ in 0..16 {
        outbox::reserve(&host, 16).unwrap();
    }
    assert_eq!(outbox::reserve(&host, 16), Err(ReserveError::Full));
}

#[test]
fn replies_are_classified() {
    for status in [200, 202, 204, 299] {
        assert_eq!(Outcome::of_reply(&answer(status)), Outcome::Delivered);
    }
    for status in [408, 425, 429, 500, 502, 503, 504, 599] {
        assert!(matches!(Outcome::of_reply(&answer(status)), Outcome::Failed(_)), "{status}");
    }
    for status in [301, 302, 400, 401, 404, 410] {
        assert_eq!(Outcome::of_reply(&answer(status)), Outcome::Refused(status));
    }
    assert_eq!(Outcome::of_reply(&CalloutReply::default()), Outcome::Failed(Failure::NoResponse));
}

#[test]
fn a_receiver_may_ask_for_time_up_to_the_longest_back_off() {
    let failed = Delivery { attempts: 1, ..delivery("a", "x") };
    let asks = |seconds: &str| {
        let reply = CalloutReply { status: Some(503), retry_after: Some(seconds.into()) };
        let Outcome::Failed(failure) = Outcome::of_reply(&reply) else { panic!() };
        POLICY.next_delay_ms(&failed, &failure).unwrap()
    };
    assert!((30_000..=31_000).contains(&asks("30")));
    assert_eq!(asks("100000"), POLICY.max_delay_ms);
    assert!(asks("Sat, 21 Nov 2026 08:00:00 GMT") <= 1000);
}

proptest! {
    #[test]
    fn the_back_off_stays_below_its_ceiling(attempts in 1_u32..200, id in "[a-f0-9]{8}", max_attempts in 1_u32..200) {
        let policy = DeliveryPolicy { max_attempts, ..POLICY };
        let delay = policy.next_delay_ms(&Delivery { attempts, ..delivery(&id, "x") }, &Failure::NoResponse);
        prop_assert_eq!(delay.is_none(), attempts >= max_attempts);
        let ceiling = 1000_u64.saturating_mul(2_u64.saturating_pow(attempts - 1)).min(60_000);
        prop_assert!(delay.unwrap_or_default() <= ceiling);
    }

    #[test]
    fn a_delivery_is_read_back(id in ".*", body in ".*", attempts in any::<u32>(), due in any::<u64>()) {
        let delivery = Delivery { body, attempts, due, ..delivery(&id, "x") };
        prop_assert_eq!(Delivery::decode(&delivery.encode()), Ok(delivery));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Delivery::decode(&bytes);
    }
}
