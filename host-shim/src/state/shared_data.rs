//! Shared data, as in proxy-wasm-cpp-host: one map for each `vm_id`, and one counter for all compare-and-swap numbers.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::base::lock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CasMismatch;

/// A value with its compare-and-swap number.
pub type Entry = (Vec<u8>, u32);

/// Sees a key, its value before a write (empty if it was absent), and its new value. It must not use shared data.
pub type Watcher = Box<dyn FnMut(&[u8], &[u8], &[u8]) + Send>;

#[derive(Default)]
pub struct SharedData(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    vms: HashMap<String, HashMap<Vec<u8>, Entry>>,
    last_cas: u32,
    watcher: Option<Watcher>,
}

impl SharedData {
    /// Returns the value of a key, or `None` if it was never set.
    pub fn get(&self, vm_id: &str, key: &[u8]) -> Option<Entry> {
        lock(&self.0).vms.get(vm_id)?.get(key).cloned()
    }

    /// Whether a key was ever set.
    pub fn has(&self, vm_id: &str, key: &[u8]) -> bool {
        lock(&self.0).vms.get(vm_id).is_some_and(|data| data.contains_key(key))
    }

    /// Sets a key. If `cas` is 0, it overwrites the value. Otherwise `cas` must be the number of the current value. An
    /// absent key is set with any `cas`.
    ///
    /// # Errors
    /// The key exists with another number.
    pub fn set(&self, vm_id: &str, key: &[u8], value: &[u8], cas: u32) -> Result<(), CasMismatch> {
        let mut inner = lock(&self.0);
        let next = inner.last_cas.checked_add(1).unwrap_or(1);
        if !inner.vms.contains_key(vm_id) {
            inner.vms.insert(vm_id.to_owned(), HashMap::new());
        }
        let Inner { vms, watcher, .. } = &mut *inner;
        let Some(data) = vms.get_mut(vm_id) else { return Err(CasMismatch) };
        let present = data.get_mut(key);
        if present.as_ref().is_some_and(|(_, present)| cas != 0 && cas != *present) {
            return Err(CasMismatch);
        }
        if let Some(watcher) = watcher {
            watcher(key, present.as_ref().map_or(&[], |(value, _)| value), value);
        }
        match present {
            Some(entry) => {
                entry.0.clear();
                entry.0.extend_from_slice(value);
                entry.1 = next;
            }
            None => {
                data.insert(key.to_vec(), (value.to_vec(), next));
            }
        }
        inner.last_cas = next;
        Ok(())
    }

    /// Calls a closure at each write, of any `vm_id`.
    pub fn watch(&self, watcher: Watcher) {
        lock(&self.0).watcher = Some(watcher);
    }

    /// Returns the keys of a `vm_id`, sorted.
    pub fn keys(&self, vm_id: &str) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> =
            lock(&self.0).vms.get(vm_id).map(|data| data.keys().cloned().collect()).unwrap_or_default();
        keys.sort();
        keys
    }

    /// Removes the data of a `vm_id` after its last VM was dropped.
    pub fn forget(&self, vm_id: &str) {
        lock(&self.0).vms.remove(vm_id);
    }

    #[cfg(test)]
    fn with_last_cas(last_cas: u32) -> Self {
        SharedData(Mutex::new(Inner { last_cas, ..Inner::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The behaviour of shared_data.cc in proxy-wasm-cpp-host.
    #[test]
    fn compare_and_swap_behaves_like_proxy_wasm_cpp_host() {
        let data = SharedData::default();
        assert_eq!(data.get("vm", b"k"), None);
        assert_eq!(data.set("vm", b"k", b"1", 0), Ok(()));
        assert_eq!(data.get("vm", b"k"), Some((b"1".to_vec(), 1)));
        assert_eq!(data.set("vm", b"k", b"2", 0), Ok(()), "0 overwrites");
        assert_eq!(data.set("vm", b"k", b"3", 1), Err(CasMismatch), "an old number");
        assert_eq!(data.set("vm", b"k", b"3", u32::MAX), Err(CasMismatch));
        assert_eq!(data.set("vm", b"k", b"3", 2), Ok(()), "the present number");
        assert_eq!(data.get("vm", b"k"), Some((b"3".to_vec(), 3)), "a failed set takes no number");
        assert_eq!(data.set("vm", b"new", b"", 77), Ok(()), "an absent key is set whatever the number");
        assert_eq!(data.get("vm", b"new"), Some((Vec::new(), 4)), "one counter for all keys");
    }

    #[test]
    fn vm_ids_have_separate_data_and_one_counter() {
        let data = SharedData::default();
        assert_eq!(data.set("a", b"k", b"1", 0), Ok(()));
        assert_eq!(data.set("", b"k", b"2", 0), Ok(()));
        assert_eq!(data.get("a", b"k"), Some((b"1".to_vec(), 1)));
        assert_eq!(data.get("", b"k"), Some((b"2".to_vec(), 2)));
        data.forget("a");
        assert_eq!(data.get("a", b"k"), None);
        assert_eq!(data.get("", b"k"), Some((b"2".to_vec(), 2)));
    }

    #[test]
    fn the_counter_skips_zero() {
        let data = SharedData::with_last_cas(u32::MAX);
        assert_eq!(data.set("vm", b"k", b"1", 0), Ok(()));
        assert_eq!(data.get("vm", b"k"), Some((b"1".to_vec(), 1)));
    }

    #[test]
    fn concurrent_threads_lose_no_update() {
        let data = SharedData::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        while !increment(&data) {}
                    }
                });
            }
        });
        assert_eq!(data.get("vm", b"n").unwrap().0, 4000u32.to_le_bytes());
    }

    fn increment(data: &SharedData) -> bool {
        let (value, cas) = data.get("vm", b"n").unwrap_or((vec![0; 4], u32::MAX));
        let next = u32::from_le_bytes(value.try_into().unwrap()) + 1;
        data.set("vm", b"n", &next.to_le_bytes(), cas).is_ok()
    }
}
