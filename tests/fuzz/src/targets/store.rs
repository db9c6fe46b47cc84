//! What the store of a fleet answers: RESP, and Upstash's JSON. Also the slots of a Redis Cluster.

use tollbell_core::fuzzing::{store_replies, store_slots};

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let (resp, _) = (store_replies(true, bytes), store_replies(false, bytes));
    // An answer that ends early has the same replies up to its end.
    let some = store_replies(true, &bytes[..bytes.len() / 2]);
    assert_eq!(some[..], resp[..some.len()]);
    // No address is without a port.
    assert!(store_slots(bytes).into_iter().flatten().all(|address| address.port() > 0));
}
