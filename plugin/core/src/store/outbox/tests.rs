use super::*;
use crate::store::client::{Call, Outcome};
use crate::store::protocol::Reply;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const CAUSE: Cause = Cause { digest: [7; 16], until: UnixMillis(60_000) };

fn at(millis: u64) -> UnixMillis {
    UnixMillis(millis)
}

fn outbox() -> FleetOutbox {
    let mut outbox = FleetOutbox::new(1, "born".to_owned());
    outbox.set_member("me".to_owned());
    outbox
}

fn offer(outbox: &FleetOutbox, is_first: bool) -> Offer {
    let cap = Some(MessageCap { digest: [9; 16], most: 3 });
    Offer { shard: outbox.shard("h"), body: "mbody".to_owned(), is_first, cause: Some(CAUSE), cap }
}

fn first(outbox: &mut FleetOutbox, now: u64) -> Poll<Verdict> {
    outbox.offer("m", at(now), |outbox| offer(outbox, true))
}

fn numbers(numbers: &[i64]) -> Outcome {
    Outcome::Ran(Reply::List(numbers.iter().copied().map(Reply::Integer).collect()))
}

/// The keys and arguments of the only part of the next call.
fn only_call(outbox: &mut FleetOutbox, now: u64) -> (Vec<String>, Vec<String>, OutboxCall) {
    let mut calls = outbox.calls("p", at(now));
    assert_eq!(calls.len(), 1, "{calls:?}");
    match calls.remove(0) {
        (Call::Script { keys, arguments, .. }, call) => (keys, arguments, call),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_goes_out_when_the_store_has_answered() {
    let mut outbox = outbox();
    assert_eq!(first(&mut outbox, 0), Poll::Pending);
    let (keys, arguments, call) = only_call(&mut outbox, 10);
    let cause = format!("p{{o0}}:cause:{}", "07".repeat(16));
    assert_eq!(keys[..4], ["p{o0}:held:me", "p{o0}:given:me", "p{o0}:seen:m", &cause].map(str::to_owned));
    assert_eq!(arguments[..], ["m", "mbody", "1", "59990", "3", "me"].map(str::to_owned));
    assert!(!outbox.is_due(), "it is asked once");
    outbox.settle(call.clone(), Outcome::Unknown, at(10));
    assert!(outbox.is_due(), "and again, if the outcome is unknown");
    outbox.calls("p", at(20));
    outbox.settle(call, numbers(&[0, 500]), at(20));
    assert!(outbox.take_answered() && !outbox.take_answered());
    assert_eq!(first(&mut outbox, 30), Poll::Ready(Verdict::CoolsDown(500)));
}

#[test]
fn a_first_attempt_does_not_wait_for_a_store_that_fails() {
    let mut outbox = outbox();
    assert_eq!(first(&mut outbox, 0), Poll::Pending);
    let (.., call) = only_call(&mut outbox, 1);
    assert_eq!(first(&mut outbox, PATIENCE_MS), Poll::Ready(Verdict::Send));
    outbox.settle(call, numbers(&[1, 0]), at(1));
    assert!(!outbox.take_answered(), "nobody waits for the answer");
    outbox.set_lost(true);
    assert_eq!(outbox.offer("n", at(0), |outbox| offer(outbox, true)), Poll::Ready(Verdict::Send));
}

/// Other members may have the message by now.
#[test]
fn a_further_attempt_waits_while_the_store_is_out_of_reach() {
    let mut outbox = outbox();
    outbox.lead(true, 10, at(0));
    let (.., beat) = only_call(&mut outbox, 1000);
    let nothing = || Reply::List(Vec::new());
    let end = Reply::Text("-".to_owned());
    let answer = Reply::List(vec![Reply::Integer(3), nothing(), nothing(), nothing(), end]);
    outbox.settle(beat, Outcome::Ran(answer), at(1000));
    assert_eq!(outbox.members(), 3);
    outbox.set_lost(true);
    let mut again = |now| outbox.offer("m", at(now), |outbox| offer(outbox, false));
    assert_eq!(again(2000), Poll::Ready(Verdict::Send));
    assert_eq!(again(1000 + OWNED_MS + 1), Poll::Pending);
    assert_eq!(again(1000 + DOUBT_MS + 1), Poll::Ready(Verdict::Send));
}

#[test]
fn what_the_store_gives_is_confirmed_or_declined() {
    let mut outbox = outbox();
    outbox.lead(true, 10, at(0));
    let (_, arguments, beat) = only_call(&mut outbox, 0);
    assert_eq!(arguments[..], ["p{o0}", "me", "10", "0", "0"].map(str::to_owned));
    let texts = |texts: &[&str]| Reply::List(texts.iter().map(|text| Reply::Text((*text).to_owned())).collect());
    let given = texts(&["a", "mx", "b", "ty z", "c", "?"]);
    let end = Reply::Text("-".to_owned());
    let answer = Reply::List(vec![Reply::Integer(1), given, texts(&["d"]), texts(&["1.2"]), end]);
    outbox.settle(beat, Outcome::Ran(answer), at(0));
    let given = outbox.take_given();
    let digest = GivenBody::Digest(vec!["y".to_owned(), "z".to_owned()]);
    let shard = Shard(0);
    assert_eq!(
        given,
        [
            Given { shard, id: "a".to_owned(), body: GivenBody::Message("x".to_owned()) },
            Given { shard, id: "b".to_owned(), body: digest }
        ]
    );
    assert_eq!(outbox.take_listed(), [(shard, "d".to_owned())]);
    assert_eq!(outbox.take_disabled(), ["1.2"]);
    outbox.confirm(shard, "b".to_owned(), false);
    outbox.confirm(shard, "a".to_owned(), true);
    let (_, arguments, beat) = only_call(&mut outbox, 1);
    assert_eq!(arguments[3..], ["-", "1", "a", "b"].map(str::to_owned), "listed once; confirmed, then declined");
    outbox.settle(beat, Outcome::NotRun, at(1));
    outbox.lead(false, 10, at(2));
    let (_, arguments, _) = only_call(&mut outbox, 2);
    assert_eq!(arguments[4..], ["1", "a", "b"].map(str::to_owned), "said again");
}

#[test]
fn an_end_is_told_until_the_store_has_heard_it() {
    let mut outbox = outbox();
    outbox.end(Ended { shard: Shard(0), id: "m".to_owned(), released: Some(CAUSE) });
    let (keys, arguments, call) = only_call(&mut outbox, 0);
    assert_eq!((keys.len(), &arguments[..]), (4, &["m".to_owned(), "1".to_owned()][..]));
    outbox.settle(call.clone(), Outcome::NotRun, at(0));
    assert!(outbox.is_due());
    outbox.calls("p", at(0));
    outbox.settle(call, Outcome::Ran(Reply::Integer(1)), at(0));
    assert!(!outbox.is_due());
}

#[test]
fn a_count_is_told_or_lost() {
    let mut outbox = outbox();
    let part = |outbox: &FleetOutbox| {
        let shard = outbox.shard("h");
        Part { shard, cause: [1; 16], events: 4, body: "b".to_owned(), until: at(100) }
    };
    assert_eq!(outbox.count("t", at(40), part), Poll::Pending);
    let (_, arguments, call) = only_call(&mut outbox, 40);
    assert_eq!(arguments[..], ["t", &"01".repeat(16), "4", "b", "60"].map(str::to_owned));
    outbox.settle(call, numbers(&[1, 55]), at(40));
    assert_eq!(outbox.count("t", at(45), part), Poll::Ready(PartVerdict::Counted(55)));
    assert_eq!(outbox.count("t", at(50), part), Poll::Pending);
    assert_eq!(outbox.count("t", at(50 + PATIENCE_MS), part), Poll::Ready(PartVerdict::Lost));
}

#[test]
fn a_long_message_and_a_long_list_come_in_pieces() {
    let mut outbox = outbox();
    outbox.lead(true, 10, at(0));
    let (.., beat) = only_call(&mut outbox, 0);
    let texts = |texts: &[&str]| Reply::List(texts.iter().map(|text| Reply::Text((*text).to_owned())).collect());
    let nothing = || Reply::List(Vec::new());
    let more = Reply::Text("7".to_owned());
    let answer = Reply::List(vec![Reply::Integer(1), texts(&["a", "p6"]), texts(&["d"]), nothing(), more]);
    outbox.settle(beat, Outcome::Ran(answer), at(0));
    assert!(outbox.take_given().is_empty() && outbox.is_due());
    let mut calls = outbox.calls("p", at(1)).into_iter();
    let (Some((Call::Script { arguments, .. }, fetch)), Some((Call::Script { arguments: beat, .. }, _))) =
        (calls.next(), calls.next())
    else {
        panic!("two parts")
    };
    assert_eq!((arguments[1].as_str(), beat[3].as_str()), ("1", "7"), "from the start, and where the list goes on");
    outbox.settle(fetch.clone(), Outcome::Ran(Reply::Text("mxyz".to_owned())), at(1));
    assert!(outbox.take_given().is_empty());
    let (_, arguments, fetch) = only_call(&mut outbox, 3);
    assert_eq!(arguments[1], "5");
    outbox.settle(fetch, Outcome::Ran(Reply::Text("vw".to_owned())), at(3));
    let body = GivenBody::Message("xyzvw".to_owned());
    assert_eq!(outbox.take_given(), [Given { shard: Shard(0), id: "a".to_owned(), body }]);
}
