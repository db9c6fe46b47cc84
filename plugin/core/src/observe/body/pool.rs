//! The memory for bodies that are being collected, shared by all exchanges of a VM.

use std::cell::RefCell;
use std::rc::Rc;

use litemap::LiteMap;

/// Maximum bytes of all bodies together.
pub(super) const MAX_BYTES: usize = 32 * 1024 * 1024;

/// The memory. All clones share it.
///
/// If it is full, the body that began first is dropped. So a client that begins many bodies and ends none does not
/// prevent others from being read.
#[derive(Clone, Debug, Default)]
pub struct BodyPool(Rc<RefCell<Bodies>>);

#[derive(Debug, Default)]
struct Bodies {
    /// The bodies in the order in which they began.
    by_number: LiteMap<u64, Vec<u8>>,
    begun: u64,
    bytes: usize,
}

/// One body in a pool. Dropping it frees its memory.
#[derive(Debug)]
pub(super) struct Pooled {
    pool: BodyPool,
    number: u64,
}

impl BodyPool {
    /// Starts an empty body.
    pub(super) fn begin(&self) -> Pooled {
        let number = self.0.try_borrow_mut().map(|mut bodies| bodies.begin()).unwrap_or_default();
        Pooled { pool: self.clone(), number }
    }
}

impl Pooled {
    /// The length of the body; `None` if the pool dropped it.
    pub(super) fn len(&self) -> Option<usize> {
        self.pool.0.try_borrow().ok()?.by_number.get(&self.number).map(Vec::len)
    }

    /// Adds bytes to the body. `false` means that the pool dropped it.
    pub(super) fn push(&self, chunk: &[u8]) -> bool {
        self.pool.0.try_borrow_mut().is_ok_and(|mut bodies| bodies.push(self.number, chunk))
    }

    /// Takes the body out; `None` if the pool dropped it.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        self.pool.0.try_borrow_mut().ok()?.remove(self.number)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.take();
    }
}

impl Bodies {
    fn begin(&mut self) -> u64 {
        self.begun = self.begun.saturating_add(1);
        self.by_number.insert(self.begun, Vec::new());
        self.begun
    }

    fn push(&mut self, number: u64, chunk: &[u8]) -> bool {
        while self.bytes.saturating_add(chunk.len()) > MAX_BYTES {
            // Dropping an empty body would free no memory.
            let first = self.by_number.iter().find(|(_, body)| !body.is_empty()).map(|(number, _)| *number);
            let Some(first) = first else { return false };
            self.remove(first);
        }
        let Some(body) = self.by_number.get_mut(&number) else { return false };
        body.extend_from_slice(chunk);
        self.bytes = self.bytes.saturating_add(chunk.len());
        true
    }

    fn remove(&mut self, number: u64) -> Option<Vec<u8>> {
        let body = self.by_number.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(body.len());
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    static CHUNK: [u8; 1024 * 1024] = [b'x'; 1024 * 1024];

    #[test]
    fn the_bodies_that_began_first_are_dropped() {
        let pool = BodyPool::default();
        let (awaited, stalled, ours) = (pool.begin(), pool.begin(), pool.begin());
        assert!(stalled.push(&CHUNK) && ours.push(b"ours"));
        let others: Vec<Pooled> = (0..31).map(|_| pool.begin()).collect();
        assert!(others.iter().all(|other| other.push(&CHUNK)));
        assert_eq!((stalled.len(), stalled.push(b"x"), stalled.take()), (None, false, None));
        assert_eq!(ours.take(), Some(b"ours".to_vec()));
        assert!(awaited.push(b"an answer"), "an empty body stays");
        drop((awaited, stalled, ours, others));
        assert_eq!(pool.0.borrow().bytes, 0);
        assert!(pool.0.borrow().by_number.is_empty());
    }

    #[test]
    fn a_body_that_alone_is_too_large_is_dropped() {
        let pool = BodyPool::default();
        let body = pool.begin();
        assert!((0..32).all(|_| body.push(&CHUNK)));
        assert!(!body.push(b"x"));
        assert_eq!((body.len(), pool.0.borrow().bytes), (None, 0));
    }
}
