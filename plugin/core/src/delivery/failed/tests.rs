#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::delivery::EncodedContent;
use crate::delivery::tests::delivery;
use crate::testing::MemoryHost;

fn failed(id: &str, size: usize, at: u64) -> Delivery {
    Delivery { content: EncodedContent(vec![7; size]), decided: at, ..delivery(id, "x") }
}

fn ids(host: &MemoryHost) -> Vec<String> {
    all(host).unwrap().into_iter().map(|message| message.id).collect()
}

#[test]
fn the_latest_messages_are_kept_in_a_fixed_number_of_keys() {
    let host = MemoryHost::default();
    for n in 0..500 {
        keep(&host, failed(&n.to_string(), 10, n)).unwrap();
    }
    let kept: Vec<String> = (0..500).rev().take(CAPACITY).map(|n| n.to_string()).collect();
    assert_eq!(ids(&host), kept);
    assert_eq!(host.key_count(), CAPACITY + 1);
    assert_eq!((find(&host, "499").unwrap().unwrap().decided, find(&host, "3").unwrap()), (499, None));
}

#[test]
fn a_message_that_fails_again_is_kept_once() {
    let host = MemoryHost::default();
    for (id, at) in [("a", 1), ("b", 2), ("a", 3)] {
        keep(&host, failed(id, 10, at)).unwrap();
    }
    assert_eq!(ids(&host), ["a", "b"]);
    assert_eq!(find(&host, "a").unwrap().unwrap().decided, 3);
}

#[test]
fn one_vm_puts_a_message_back() {
    let host = MemoryHost::default();
    keep(&host, failed("a", 10, 1)).unwrap();
    let now = UnixMillis(1_000_000);
    assert_eq!(take(&host, "b", now), Ok(false), "it is not kept");
    assert_eq!(take(&host, "a", now), Ok(true));
    assert_eq!(take(&host, "a", now.plus(1)), Ok(false), "another VM has begun");
    give_back(&host, "a", now).unwrap();
    assert_eq!(take(&host, "a", now.plus(2)), Ok(true));
    assert_eq!(take(&host, "a", now.plus(2 + TAKE_MS)), Ok(true), "the other VM has died");
    remove(&host, "a", now.plus(2)).unwrap();
    assert_eq!(ids(&host), ["a"], "it was slow, and another one has taken it since");
    remove(&host, "a", now.plus(2 + TAKE_MS)).unwrap();
    assert!(ids(&host).is_empty());
}

#[test]
fn a_message_that_fails_while_it_is_put_back_stays() {
    let host = MemoryHost::default();
    keep(&host, failed("a", 10, 1)).unwrap();
    let now = UnixMillis(1_000_000);
    assert_eq!(take(&host, "a", now), Ok(true));
    keep(&host, failed("a", 10, 6)).unwrap();
    remove(&host, "a", now).unwrap();
    assert_eq!(ids(&host), ["a"]);
}

#[test]
fn foreign_bytes_are_replaced() {
    let host = MemoryHost::default();
    host.put(INDEX_KEY, b"not ours").unwrap();
    assert!(ids(&host).is_empty());
    keep(&host, failed("a", 10, 1)).unwrap();
    keep(&host, failed("b", 10, 2)).unwrap();
    host.put(&slot_key(0), b"not ours").unwrap();
    assert_eq!(ids(&host), ["b"]);
    assert_eq!(host.metric(Metric::CorruptRecords), 1);
}

#[test]
fn the_table_is_bounded_in_bytes() {
    let host = MemoryHost::default();
    let sizes = [700, 10, 700, 500, 1, 1200, 90, 800, 300].map(|kib| kib * 1024);
    for (n, size) in sizes.into_iter().enumerate() {
        keep(&host, failed(&n.to_string(), size, 1)).unwrap();
        assert!((host.stored_bytes() as u64) < MAX_BYTES + 4096);
    }
    assert_eq!(ids(&host), ["8", "7", "6"], "the oldest are evicted");
    keep(&host, failed("long", 2 * 1024 * 1024, 1)).unwrap();
    assert_eq!(ids(&host).len(), 3, "one that is too long evicts none");
}
