//! Guesses: a compare-and-swap on this VM's last written value, without reading it again.
//!
//! Envoy numbers all writes of a process in one sequence, and does not give a VM the number of its own write. But the
//! write got a greater number than every number that was given out before. So the VM knows the lowest number that its
//! write can have, and stores it with the value. If the key still has this lowest number, it still holds this value: a
//! later write would have a greater number, and this write has replaced any earlier value. So a compare-and-swap with
//! the lowest number either counts on the current value, or fails and changes nothing.
//!
//! With one busy VM almost every guess is right. Another VM's write to any key makes the next numbers greater than the
//! lowest ones, and one guess fails. With several busy VMs most guesses fail. A failure costs a write. A right guess
//! saves a read, which takes about twice as long. So guessing pauses after a failure, longer each time, and continues
//! where more than one of three guesses is right.

use std::cell::RefCell;

/// The number of values that are kept.
const MAX_VALUES: usize = 32;

/// Longer values are not kept.
const MAX_BYTES: usize = 4096;

/// The number of failures in a row that each double the pause.
const MAX_LEVEL: u32 = 10;

/// One success compensates two failures.
const LEVELS_OF_A_HIT: u32 = 2;

/// This VM's own last writes. They are only for a host that gives each write of a process a greater number than all
/// writes before: see [`crate::host::cas::CompareAndSwap::numbers_all_writes`].
#[derive(Debug, Default)]
pub struct Guesses(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    values: Vec<Remembered>,
    /// The index of the value that was used last.
    latest: usize,
    /// The greatest number that is known to be given out; `None` if none is known yet.
    newest: Option<u32>,
    /// The logarithm of the next pause.
    level: u32,
    /// The updates that remain of a pause.
    pause: u32,
    /// The number of updates so far, from which the least recently used value follows.
    updates: u64,
    /// Whether a guess was right since the last tick.
    has_hit: bool,
}

#[derive(Debug)]
struct Remembered {
    key: String,
    value: Vec<u8>,
    /// The lowest number that the write of the value can have; `None` if no guess is possible.
    number: Option<u32>,
    used: u64,
    /// True if the value was not written since the tick before the last.
    is_old: bool,
}

/// A value, and the number of its write if no other VM wrote since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Never empty.
    pub value: Vec<u8>,
    /// Never 0.
    pub number: u32,
}

impl Guesses {
    /// Takes the stored value of a key. It is a guess: use it only for a compare-and-swap with its number.
    pub fn take(&self, key: &str) -> Option<Guess> {
        let mut inner = self.0.try_borrow_mut().ok()?;
        inner.updates = inner.updates.saturating_add(1);
        if inner.pause > 0 {
            inner.pause = inner.pause.saturating_sub(1);
            return None;
        }
        let remembered = inner.find(key)?;
        let number = remembered.number.take()?;
        Some(Guess { value: std::mem::take(&mut remembered.value), number })
    }

    /// Records that a guess was right and that `value` was written in its place.
    pub fn hit(&self, key: &str, value: Vec<u8>) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.level = inner.level.saturating_sub(LEVELS_OF_A_HIT);
            inner.has_hit = true;
            inner.write(key, value);
        }
    }

    /// Records that a guess was wrong. All others are forgotten, because they would fail for the same reason.
    pub fn miss(&self) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.level = inner.level.saturating_add(1).min(MAX_LEVEL);
            inner.pause = 1_u32.checked_shl(inner.level).unwrap_or_default();
            for remembered in &mut inner.values {
                remembered.number = None;
            }
        }
    }

    /// Records that a value with this number was read.
    pub fn saw(&self, number: u32) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.newest = Some(inner.newest.filter(|newest| !is_after(number, *newest)).unwrap_or(number));
        }
    }

    /// Records that this value was written.
    pub fn wrote(&self, key: &str, value: Vec<u8>) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.write(key, value);
        }
    }

    /// Forgets each value that was not written since the last tick. Numbers start again after four billion writes, and
    /// no guess may be that old.
    pub fn tick(&self) {
        let Ok(mut inner) = self.0.try_borrow_mut() else { return };
        inner.values.retain(|remembered| !remembered.is_old);
        for remembered in &mut inner.values {
            remembered.is_old = true;
        }
        if !std::mem::take(&mut inner.has_hit) {
            inner.newest = None;
        }
    }
}

impl Inner {
    fn find(&mut self, key: &str) -> Option<&mut Remembered> {
        if self.values.get(self.latest).is_none_or(|remembered| remembered.key != key) {
            self.latest = self.values.iter().position(|remembered| remembered.key == key)?;
        }
        self.values.get_mut(self.latest)
    }

    fn write(&mut self, key: &str, value: Vec<u8>) {
        self.newest = self.newest.map(after);
        let (number, used) = (self.newest, self.updates);
        if value.len() > MAX_BYTES {
            return;
        }
        if let Some(remembered) = self.find(key) {
            remembered.value = value;
            (remembered.number, remembered.used, remembered.is_old) = (number, used, false);
            return;
        }
        let remembered = Remembered { key: key.to_owned(), value, number, used, is_old: false };
        if self.values.len() < MAX_VALUES {
            self.values.push(remembered);
        } else if let Some(longest_unused) = self.values.iter_mut().min_by_key(|remembered| remembered.used) {
            *longest_unused = remembered;
        }
    }
}

/// The number after `number`, skipping 0, which no write has.
fn after(number: u32) -> u32 {
    number.wrapping_add(1).max(1)
}

/// True if a number was given out later than another. Numbers start again after the last.
fn is_after(number: u32, other: u32) -> bool {
    matches!(number.wrapping_sub(other), 1..=0x7fff_ffff)
}

#[cfg(test)]
mod tests;
