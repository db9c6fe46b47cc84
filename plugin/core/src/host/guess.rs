//! Guesses: a compare-and-swap on what this VM wrote last, without reading it again.
//!
//! Envoy numbers all writes of a process in one sequence, and does not tell a VM the number of its own write. But the
//! write got a greater number than every one that was given out before, so that the VM knows the least number that it
//! can have got, and remembers that with the value. Where the key still has this least number, it still holds this
//! value: a write after it has a greater number, and a value from before it was replaced by it. So a compare-and-swap
//! that names the least number either counts on the current value, or fails and changes nothing.
//!
//! With one busy VM almost every guess is right. Another VM's write to any key makes the next numbers greater than the
//! least ones, and one guess fails; with several busy VMs most do. A failure costs a write, and a guess that is right
//! saves a read, which takes about twice as long. So guessing pauses after a failure, for longer each time, and goes on
//! where more than one of three guesses is right.

use std::cell::RefCell;

/// Values that are remembered.
const MAX_VALUES: usize = 32;

/// Longer values are not remembered.
const MAX_BYTES: usize = 4096;

/// Failures in a row of which each makes the pause twice as long.
const MAX_LEVEL: u32 = 10;

/// A failure outweighs half a success.
const LEVELS_OF_A_HIT: u32 = 2;

/// What a VM remembers of its own writes. Only for a host that gives each write of a process a greater number than all
/// writes before: see [`crate::host::cas::CompareAndSwap::numbers_all_writes`].
#[derive(Debug, Default)]
pub struct Guesses(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    values: Vec<Remembered>,
    /// Where the value was found that was asked for last.
    latest: usize,
    /// No number beyond this one is known to have been given out. `None`: nothing is known yet.
    newest: Option<u32>,
    /// The logarithm of the next pause.
    level: u32,
    /// Updates that are left of a pause.
    pause: u32,
    /// Updates so far, to tell which value was not asked for the longest.
    updates: u64,
    /// Whether a guess was right since the last tick.
    has_hit: bool,
}

#[derive(Debug)]
struct Remembered {
    key: String,
    value: Vec<u8>,
    /// The least number that the write of the value can have got; `None`: no guess.
    number: Option<u32>,
    used: u64,
    /// It has been there for a tick.
    is_old: bool,
}

/// A value, and the number of its write if nobody wrote since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Not empty.
    pub value: Vec<u8>,
    /// Not 0.
    pub number: u32,
}

impl Guesses {
    /// Takes out what is remembered of a key. It is a guess: only a compare-and-swap with its number may follow from it.
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

    /// A guess was right, and this value has been written in its place.
    pub fn hit(&self, key: &str, value: Vec<u8>) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.level = inner.level.saturating_sub(LEVELS_OF_A_HIT);
            inner.has_hit = true;
            inner.write(key, value);
        }
    }

    /// A guess was wrong. The others, of which each would fail for the same reason, are forgotten.
    pub fn miss(&self) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.level = inner.level.saturating_add(1).min(MAX_LEVEL);
            inner.pause = 1_u32.checked_shl(inner.level).unwrap_or_default();
            for remembered in &mut inner.values {
                remembered.number = None;
            }
        }
    }

    /// A value with this number was read.
    pub fn saw(&self, number: u32) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.newest = Some(inner.newest.filter(|newest| !is_after(number, *newest)).unwrap_or(number));
        }
    }

    /// This value has been written.
    pub fn wrote(&self, key: &str, value: Vec<u8>) {
        if let Ok(mut inner) = self.0.try_borrow_mut() {
            inner.write(key, value);
        }
    }

    /// Forgets what has not been written since the last tick: numbers begin anew after four billion writes, and no guess
    /// may be that old.
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

/// The number after `number`; 0 is none.
fn after(number: u32) -> u32 {
    number.wrapping_add(1).max(1)
}

/// Whether a number was given out later than another. They begin anew at their end.
fn is_after(number: u32, other: u32) -> bool {
    matches!(number.wrapping_sub(other), 1..=0x7fff_ffff)
}

#[cfg(test)]
mod tests;
