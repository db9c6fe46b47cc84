//! Shared queues, as in proxy-wasm-cpp-host: first in, first out, unbounded, with one registrant that is notified.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::base::{Status, lock};

/// The root context whose `proxy_on_queue_ready` is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registrant {
    pub thread: usize,
    /// The VM of that thread.
    pub vm_key: String,
    pub context: u32,
}

#[derive(Debug, Default)]
pub struct SharedQueues(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tokens: HashMap<(String, Vec<u8>), u32>,
    queues: HashMap<u32, Queue>,
    last_token: u32,
}

#[derive(Debug)]
struct Queue {
    registrant: Registrant,
    messages: VecDeque<Vec<u8>>,
}

impl SharedQueues {
    /// Creates a queue, or takes over the notifications of an existing one. Its messages stay.
    pub fn register(&self, vm_id: &str, name: &[u8], registrant: Registrant) -> u32 {
        let mut inner = lock(&self.0);
        let key = (vm_id.to_owned(), name.to_vec());
        let token = match inner.tokens.get(&key) {
            Some(token) => *token,
            None => {
                inner.last_token = inner.last_token.checked_add(1).unwrap_or(1);
                let token = inner.last_token;
                inner.tokens.insert(key, token);
                token
            }
        };
        match inner.queues.get_mut(&token) {
            Some(queue) => queue.registrant = registrant,
            None => {
                inner.queues.insert(token, Queue { registrant, messages: VecDeque::new() });
            }
        }
        token
    }

    pub fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        lock(&self.0).tokens.get(&(vm_id.to_owned(), name.to_vec())).copied()
    }

    /// Appends a message, and returns the registrant to notify.
    ///
    /// # Errors
    /// NotFound if there is no such queue.
    pub fn enqueue(&self, token: u32, message: &[u8]) -> Result<Registrant, Status> {
        let mut inner = lock(&self.0);
        let queue = inner.queues.get_mut(&token).ok_or(Status::NotFound)?;
        queue.messages.push_back(message.to_vec());
        Ok(queue.registrant.clone())
    }

    /// Removes and returns the oldest message.
    ///
    /// # Errors
    /// NotFound if there is no such queue, Empty if it has no message.
    pub fn dequeue(&self, token: u32) -> Result<Vec<u8>, Status> {
        let mut inner = lock(&self.0);
        inner.queues.get_mut(&token).ok_or(Status::NotFound)?.messages.pop_front().ok_or(Status::Empty)
    }

    /// Removes the queues of a `vm_id` after its last VM was dropped.
    pub fn forget(&self, vm_id: &str) {
        let mut inner = lock(&self.0);
        let gone: Vec<_> = inner.tokens.keys().filter(|(id, _)| id == vm_id).cloned().collect();
        for key in gone {
            if let Some(token) = inner.tokens.remove(&key) {
                inner.queues.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registrant(thread: usize) -> Registrant {
        Registrant { thread, vm_key: "key".to_owned(), context: 2 }
    }

    #[test]
    fn messages_stay_in_order() {
        let queues = SharedQueues::default();
        let token = queues.register("vm", b"q", registrant(0));
        assert_eq!(token, 1);
        assert_eq!(queues.dequeue(token), Err(Status::Empty));
        assert_eq!(queues.enqueue(token, b"1"), Ok(registrant(0)));
        assert_eq!(queues.enqueue(token, b"2"), Ok(registrant(0)));
        assert_eq!(queues.dequeue(token), Ok(b"1".to_vec()));
        assert_eq!(queues.dequeue(token), Ok(b"2".to_vec()));
        assert_eq!(queues.enqueue(9, b""), Err(Status::NotFound));
        assert_eq!(queues.dequeue(9), Err(Status::NotFound));
    }

    #[test]
    fn the_last_registrant_is_notified_and_messages_stay() {
        let queues = SharedQueues::default();
        let token = queues.register("vm", b"q", registrant(0));
        assert_eq!(queues.enqueue(token, b"1"), Ok(registrant(0)));
        assert_eq!(queues.register("vm", b"q", registrant(1)), token);
        assert_eq!(queues.enqueue(token, b"2"), Ok(registrant(1)));
        assert_eq!(queues.dequeue(token), Ok(b"1".to_vec()));
    }

    #[test]
    fn the_same_name_in_another_vm_id_is_another_queue() {
        let queues = SharedQueues::default();
        let (a, b) = (queues.register("a", b"q", registrant(0)), queues.register("b", b"q", registrant(0)));
        assert_ne!(a, b);
        assert_eq!(queues.resolve("a", b"q"), Some(a));
        assert_eq!(queues.resolve("a", b"other"), None);
        queues.forget("a");
        assert_eq!(queues.resolve("a", b"q"), None);
        assert_eq!(queues.dequeue(a), Err(Status::NotFound));
        assert_eq!(queues.resolve("b", b"q"), Some(b));
    }
}
