use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::attempt::{DeliveryOutcome, Failure};
use super::dispatcher::Dispatcher;
use super::outbox::Table;
use super::outbox::{ReserveError, Share, Slot, Tag};
use super::succession::Line;
use super::target::{EndpointId, Scheme};
use super::*;
use crate::config::Config;
use crate::delivery::claim::CauseDigest;
use crate::host::{Callout, CalloutId, CalloutRefused, CalloutReply, Metric, SharedData, Wakeups};
use crate::notify::{Content, Notifications, WebhookRequest, cooldown};
use crate::testing::MemoryHost;

const POLICY: DeliveryPolicy = DeliveryPolicy {
    retries: Retries { max_attempts: 3, base_delay_ms: 1000, max_delay_ms: 60_000 },
    timeout_ms: 30_000,
    capacity: 16,
    limits: InFlightLimits { total: 4, per_target: 2 },
};

fn config() -> Notifications {
    let (config, _) = Config::load(b"{}").unwrap();
    Notifications { delivery: POLICY, ..config.notifications }
}

/// A VM's dispatcher with its configuration.
struct Vm(Dispatcher, Notifications);

impl Vm {
    fn new(number: u64) -> Self {
        let config = config();
        Vm(Dispatcher::new(number, config.placement.id), config)
    }

    fn on_tick(&mut self, host: &MemoryHost, now: UnixMillis) {
        self.0.on_tick(host, &self.1, None, now);
    }

    fn on_wake(&mut self, host: &MemoryHost, now: UnixMillis) {
        self.0.on_wake(host, &self.1, None, now);
    }

    fn on_reply(&mut self, host: &MemoryHost, id: CalloutId, reply: &CalloutReply, now: UnixMillis) {
        self.0.on_reply(host, &self.1, None, (id, reply), now);
    }
}

pub(super) fn delivery(id: &str, target: &str) -> Delivery {
    Delivery {
        id: id.into(),
        event: "AuthFailure".into(),
        handler: HandlerRef { name: "h".into(), ..HandlerRef::default() },
        origin: config().placement.origin(),
        claim: None,
        terms: None,
        target: Target {
            scheme: Scheme::Http,
            authority: target.into(),
            path_and_query: "/".into(),
            cluster: "c".into(),
            endpoint: EndpointId::new("http", target, "/"),
            tag: Tag::of(target),
        },
        content: Content::Webhook(WebhookRequest {
            method: "POST".into(),
            body: "{}".into(),
            ..WebhookRequest::default()
        })
        .encode(),
        timeout_ms: 1000,
        retries: POLICY.retries,
        attempts: 0,
        since: 0,
        first_attempt: 0,
        due: 0,
        decided: 0,
        tried: Vec::new(),
    }
}

fn reserve(host: &MemoryHost) -> Result<Slot, ReserveError> {
    outbox::reserve(host, Table { line: Line::default(), capacity: POLICY.capacity }, Tag::TALLY, Share::All)
}

fn authority((_, callout): (CalloutId, Callout)) -> String {
    callout.headers.into_iter().find(|(name, _)| name == ":authority").unwrap().1
}

fn hold(host: &MemoryHost, delivery: &Delivery) -> Slot {
    let slot = reserve(host).unwrap();
    outbox::fill(host, slot, &Held::Message(delivery.clone())).unwrap();
    host.wake(&slot.0.to_le_bytes()).unwrap();
    slot
}

fn answer(status: u16) -> CalloutReply {
    CalloutReply { status: Some(status), ..CalloutReply::default() }
}

fn at(ms: u64) -> UnixMillis {
    UnixMillis(1_000_000 + ms)
}

#[test]
fn a_message_is_sent_once_and_its_slot_freed() {
    let host = MemoryHost::default();
    let mut dispatcher = Vm::new(1);
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
fn a_failure_is_retried_and_the_last_one_releases_the_claim() {
    let host = MemoryHost::default();
    let mut dispatcher = Vm::new(1);
    let cause = CauseDigest::new("h", 1, [0; 16]);
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
        assert!(cooldown::peek(&host, cause, at(now)).unwrap().is_some(), "attempt {attempt}");
        dispatcher.on_reply(&host, sent.0, &answer(503), at(now));
    }
    assert_eq!(host.metric(Metric::Retried), 2);
    assert_eq!(host.metric(Metric::Failed), 1);
    assert!(cooldown::peek(&host, cause, at(now)).unwrap().is_none());
    assert!(outbox::taken(&host).unwrap().is_empty());
}

#[test]
fn a_name_look_up_is_not_an_attempt() {
    let host = MemoryHost::default();
    let mut dispatcher = Vm::new(1);
    host.refuse_next_callout(CalloutRefused::Immediately);
    hold(&host, &delivery("a", "x"));
    dispatcher.on_tick(&host, at(0));
    assert!(host.take_sent().is_empty());
    dispatcher.on_tick(&host, at(500));
    let sent = host.take_sent();
    assert_eq!(sent.len(), 1, "at the next tick");
    dispatcher.on_reply(&host, sent[0].0, &answer(200), at(600));
    let counted = [Metric::Delivered, Metric::Retried, Metric::Failed].map(|metric| host.metric(metric));
    assert_eq!(counted, [1, 0, 0]);
    assert_eq!(host.metric_named("tollbell_attempts.outcome=not_started.target=x"), None);
}

#[test]
fn a_target_that_is_refused_for_long_uses_its_attempts_up() {
    let host = MemoryHost::default();
    let mut dispatcher = Vm::new(1);
    (0..1000).for_each(|_| host.refuse_next_callout(CalloutRefused::Immediately));
    hold(&host, &delivery("a", "x"));
    let mut tick = 0;
    while host.metric(Metric::Failed) == 0 {
        dispatcher.on_tick(&host, at(tick * 500));
        assert!(tick < 100, "it ends");
        tick += 1;
    }
    assert!(tick * 500 >= 5000);
    assert_eq!(host.metric_named("tollbell_attempts.outcome=not_started.target=x"), Some(3));
}

#[test]
fn an_unknown_cluster_is_logged_once_and_counted_until_it_exists() {
    let host = MemoryHost::default();
    let mut vm = Vm::new(1);
    for _ in 0..2 {
        host.refuse_next_callout(CalloutRefused::UnknownCluster);
    }
    hold(&host, &delivery("a", "x"));
    hold(&host, &delivery("b", "x"));
    vm.on_tick(&host, at(0));
    assert_eq!(host.metric_named("tollbell_unknown_clusters"), Some(1));
    let mut other = clusters::UnknownClusters::default();
    other.refresh(&host).unwrap();
    assert_eq!(other.len(), 1, "other VMs know it and log nothing");
    for tick in 1..5 {
        vm.on_tick(&host, at(tick * 500));
    }
    assert_eq!(host.take_sent().len(), 2);
    vm.on_tick(&host, at(2500));
    assert_eq!(host.metric_named("tollbell_unknown_clusters"), Some(0));
}

#[test]
fn another_vm_takes_over_what_a_dead_one_held() {
    let host = MemoryHost::default();
    let (mut first, mut second) = (Vm::new(1), Vm::new(2));
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
    assert_eq!(outbox::taken(&host).unwrap(), [slot], "a late reply does not free another message's slot");
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let host = MemoryHost::default();
    let (mut first, mut second) = (Vm::new(1), Vm::new(2));
    first.on_tick(&host, at(0));
    first.0.on_shutdown(&host, &first.1);
    hold(&host, &delivery("a", "x"));
    second.on_tick(&host, at(1));
    assert_eq!(host.take_sent().len(), 1);
}

#[test]
fn a_lease_from_the_future_does_not_block() {
    let host = MemoryHost::default();
    let (mut first, mut second) = (Vm::new(1), Vm::new(2));
    first.on_tick(&host, at(3_600_000));
    hold(&host, &delivery("a", "x"));
    second.on_tick(&host, at(0));
    assert_eq!(host.take_sent().len(), 1);
}

#[test]
fn no_target_uses_all_places() {
    let host = MemoryHost::default();
    let mut dispatcher = Vm::new(1);
    for id in ["a", "b", "c", "d", "e"] {
        hold(&host, &delivery(id, "slow"));
    }
    hold(&host, &delivery("f", "healthy"));
    dispatcher.on_tick(&host, at(0));
    let targets: Vec<String> = host.take_sent().into_iter().map(authority).collect();
    assert_eq!(targets, ["slow", "slow", "healthy"]);
}

#[test]
fn slots_without_valid_content_are_freed() {
    let host = MemoryHost::default();
    let mut dispatcher = Vm::new(1);
    let nonsense = reserve(&host).unwrap();
    host.put("tb1/d/0", b"not ours").unwrap();
    let empty = reserve(&host).unwrap();
    assert_eq!((nonsense.0, empty.0), (0, 1));
    dispatcher.on_tick(&host, at(0));
    assert_eq!(outbox::taken(&host).unwrap(), [empty]);
    assert_eq!(host.metric(Metric::CorruptRecords), 1);
    for tick in 1..=20 {
        dispatcher.on_tick(&host, at(tick * 500));
    }
    assert!(outbox::taken(&host).unwrap().is_empty());
    assert_eq!(host.metric(Metric::Failed), 2, "both losses are counted");
}

#[test]
fn a_full_table_refuses_the_newest() {
    let host = MemoryHost::default();
    for _ in 0..16 {
        reserve(&host).unwrap();
    }
    assert_eq!(reserve(&host), Err(ReserveError::Full));
}

#[test]
fn replies_are_classified() {
    let outcome = |status| DeliveryOutcome::of_reply(&answer(status), at(0));
    for status in [200, 202, 204, 299] {
        assert_eq!(outcome(status), DeliveryOutcome::Delivered);
    }
    for status in [100, 301, 302, 307, 408, 425, 429, 500, 502, 503, 504, 599, 999] {
        assert!(matches!(outcome(status), DeliveryOutcome::Failed(Failure::Status { .. })), "{status}");
    }
    for status in [400, 401, 404, 409, 422, 499] {
        assert_eq!(outcome(status), DeliveryOutcome::Refused(status));
    }
    assert_eq!(outcome(410), DeliveryOutcome::Gone);
    let by_proxy = |status| DeliveryOutcome::of_reply(&CalloutReply { by_proxy: true, ..answer(status) }, at(0));
    assert_eq!(by_proxy(503), DeliveryOutcome::Failed(Failure::Unreachable));
    assert_eq!(by_proxy(504), DeliveryOutcome::Failed(Failure::TimedOut));
    assert_eq!(
        DeliveryOutcome::of_reply(&CalloutReply::default(), at(0)),
        DeliveryOutcome::Failed(Failure::NoResponse)
    );
}

#[test]
fn a_receiver_may_ask_for_time_up_to_the_longest_back_off() {
    let now = UnixMillis(1_795_248_000_000); // 2026-11-21T08:00:00Z
    let failed = Delivery { attempts: 1, first_attempt: now.0, ..delivery("a", "x") };
    let asks = |value: &str| {
        let reply = CalloutReply { retry_after: Some(value.into()), ..answer(503) };
        let DeliveryOutcome::Failed(failure) = DeliveryOutcome::of_reply(&reply, now) else { panic!() };
        POLICY.retries.next_delay_ms(&failed, &failure, now).unwrap()
    };
    assert!((30_000..=31_000).contains(&asks("30")));
    assert_eq!(asks("100000"), POLICY.retries.max_delay_ms);
    assert_eq!(asks("Sat, 21 Nov 2026 08:00:20 GMT"), 20_000);
    for meaningless in ["Sat, 21 Nov 2026 07:00:00 GMT", "soon", "-5", ""] {
        assert!(asks(meaningless) <= 1000, "{meaningless}");
    }
}

#[test]
fn a_target_that_is_gone_gets_no_more_messages_and_releases_its_claims() {
    let host = MemoryHost::default();
    let mut vm = Vm::new(1);
    let cause = CauseDigest::new("h", 1, [0; 16]);
    vm.on_tick(&host, at(0));
    hold(&host, &delivery("a", "x"));
    let claim = cooldown::claim(&host, cause, 10_000_000, at(0)).unwrap();
    hold(&host, &Delivery { claim, due: at(600).0, ..delivery("b", "x") });
    hold(&host, &Delivery { due: at(600).0, ..delivery("c", "y") });
    vm.on_wake(&host, at(1));
    let sent = host.take_sent();
    assert_eq!(sent.len(), 1);
    vm.on_reply(&host, sent[0].0, &answer(410), at(2));
    vm.on_tick(&host, at(700));
    let targets: Vec<String> = host.take_sent().into_iter().map(authority).collect();
    assert_eq!(targets, ["y"]);
    assert!(cooldown::peek(&host, cause, at(700)).unwrap().is_none());
    assert_eq!((host.metric(Metric::Failed), host.metric(Metric::Disabled)), (2, 1));
    assert_eq!(host.metric_named("tollbell_disabled_targets"), Some(1));
}

#[test]
fn a_vm_that_lost_the_lease_records_only_deliveries() {
    let host = MemoryHost::default();
    let (mut first, mut second) = (Vm::new(1), Vm::new(2));
    let cause = CauseDigest::new("h", 1, [0; 16]);
    first.on_tick(&host, at(0));
    let claim = cooldown::claim(&host, cause, 10_000_000, at(0)).unwrap();
    hold(&host, &Delivery { claim, attempts: 2, ..delivery("a", "x") });
    hold(&host, &delivery("b", "y"));
    first.on_wake(&host, at(1));
    let by_first = host.take_sent();
    second.on_tick(&host, at(3000));
    let by_second = host.take_sent();
    assert_eq!((by_first.len(), by_second.len()), (2, 2));
    first.on_reply(&host, by_first[0].0, &answer(503), at(3001));
    assert_eq!(host.metric(Metric::Failed), 0, "its last attempt, but the second VM has one under way");
    assert!(cooldown::peek(&host, cause, at(3002)).unwrap().is_some());
    first.on_reply(&host, by_first[1].0, &answer(200), at(3003));
    for (id, _) in by_second {
        second.on_reply(&host, id, &answer(200), at(3004));
    }
    assert_eq!(host.metric(Metric::Delivered), 2, "each once");
    assert!(outbox::taken(&host).unwrap().is_empty());
}

#[test]
fn a_clock_that_is_set_back_does_not_delay_messages() {
    let host = MemoryHost::default();
    let mut vm = Vm::new(1);
    let far = 3_600_000;
    vm.on_tick(&host, at(far));
    hold(&host, &Delivery { due: at(far + 2000).0, decided: at(far).0, ..delivery("a", "x") });
    vm.on_tick(&host, at(far + 500));
    assert!(host.take_sent().is_empty());
    vm.on_tick(&host, at(0));
    assert_eq!(host.take_sent().len(), 1);
}

#[test]
fn an_index_of_foreign_bytes_is_rebuilt_from_the_slots() {
    let host = MemoryHost::default();
    let mut vm = Vm::new(1);
    hold(&host, &delivery("a", "x"));
    host.put("tb1/d", b"not ours").unwrap();
    vm.on_tick(&host, at(0));
    assert_eq!(host.take_sent().len(), 1);
    assert_eq!(host.metric(Metric::CorruptRecords), 1);
    assert_eq!(reserve(&host), Ok(Slot(1)));
}

proptest! {
    #[test]
    fn the_back_off_is_bounded_and_spreads_the_attempts(id in "[a-f0-9]{8}", max_attempts in 3_u32..20) {
        let policy = Retries { max_attempts, ..POLICY.retries };
        let ceiling = |attempts: u32| 1000_u64.saturating_mul(2_u64.pow(attempts - 1)).min(60_000);
        let mut failed = Delivery { first_attempt: at(0).0, ..delivery(&id, "x") };
        let mut now = at(0);
        for attempts in 1..max_attempts {
            failed.attempts = attempts;
            let delay = policy.next_delay_ms(&failed, &Failure::NoResponse, now).unwrap();
            prop_assert!(delay <= ceiling(attempts));
            now = now.plus(delay);
            let least: u64 = (1..attempts).map(ceiling).sum();
            prop_assert!(now.since(at(0)) >= least, "attempt {} after {}", attempts + 1, now.since(at(0)));
        }
        failed.attempts = max_attempts;
        prop_assert_eq!(policy.next_delay_ms(&failed, &Failure::NoResponse, now), None);
    }

    #[test]
    fn held_messages_are_read_back(id in ".*", body in ".*", attempts in any::<u32>(), due in any::<u64>()) {
        let content = Content::Webhook(WebhookRequest { body, ..WebhookRequest::default() }).encode();
        let held = Held::Message(Delivery { content, attempts, due, ..delivery(&id, "x") });
        prop_assert_eq!(Held::decode(&held.encode()), Ok(held));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Held::decode(&bytes);
    }
}
