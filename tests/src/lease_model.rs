//! `plugin/core/src/store/lease.lua` in Rust, for simulations with more calls than a Redis could run. A test compares it
//! with the script (`tests/it/fleet/model.rs`).

use std::collections::{BTreeMap, HashMap};

/// What a lessee says of one counter: see the script.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The counter's key.
    pub key: String,
    /// The numbers before the alerts: max, window, seq, start, used, claim, want, need, and ahead.
    pub numbers: [i64; 9],
    /// Counts and percentages, ascending.
    pub alerts: Vec<(i64, i64)>,
    /// The last call whose reply the lessee got.
    pub confirmed: i64,
    /// The forecast: within, and from.
    pub forecast: (i64, i64),
}

/// A lessee's part of a counter.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    seq: i64,
    start: i64,
    used: i64,
    claim: i64,
    before_start: i64,
    before_used: i64,
    open: i64,
}

/// An alert that no lessee has confirmed.
#[derive(Clone, Debug)]
struct Alert {
    lessee: String,
    seq: i64,
    at: i64,
    kind: i64,
    percent: i64,
    count: i64,
    start: i64,
}

/// A counter.
#[derive(Clone, Debug, Default)]
struct Counter {
    start: i64,
    end: i64,
    granted: i64,
    used: i64,
    alert: (i64, i64),
    lessees: i64,
    hungry: i64,
    /// The start of the window in which the end of the quota was foretold.
    foretold: i64,
    before: (i64, i64),
    before_alert: (i64, i64),
    alerts: Vec<Alert>,
    parts: HashMap<String, Part>,
    /// When [`Store::expire`] removes it; 0 for never.
    expires: i64,
}

/// The size of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Requests granted to all lessees.
    pub granted: i64,
    /// Requests that they said they used.
    pub used: i64,
    /// The start of its window.
    pub start: i64,
    /// The lessees that it knows.
    pub parts: usize,
}

/// All counters of a store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    counters: HashMap<String, Counter>,
    /// Keys by the time at which they may end.
    expiring: BTreeMap<i64, Vec<String>>,
}

/// A line while the script runs.
struct Work<'c> {
    counter: Counter,
    part: Part,
    line: &'c Line,
    verdict: i64,
    told: Vec<i64>,
}

impl Work<'_> {
    fn alert(&mut self, lessee: &str, now: i64, (kind, percent, count): (i64, i64, i64), start: i64) {
        let seq = self.line.numbers[2];
        self.counter.alerts.push(Alert { lessee: lessee.to_owned(), seq, at: now, kind, percent, count, start });
    }

    fn crossed(
        &mut self,
        lessee: &str,
        now: i64,
        (used, start): (i64, i64),
        (mut count, reported): (i64, i64),
    ) -> (i64, i64) {
        if reported > 0 && used * 100_000_000 >= reported * self.line.numbers[0] && used > count {
            count = used;
        }
        let reached = self.line.alerts.iter().rfind(|(at, _)| *at <= used);
        match reached {
            Some((at, percent)) if !(reported >= *percent && count >= *at) => {
                self.alert(lessee, now, (1, *percent, used), start);
                (used, *percent)
            }
            _ => (count, reported),
        }
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn foretell(&mut self, lessee: &str, now: i64) {
        let ([max, window, ..], (within, from)) = (self.line.numbers, self.line.forecast);
        let Counter { start, used, foretold, .. } = self.counter;
        if within == 0 || window == 0 || foretold == start || used < from || used >= max {
            return;
        }
        let [elapsed, intervals, rest] = [now - start, used - 1, max - used].map(|number| number as f64);
        let certain = intervals - intervals.sqrt();
        if elapsed * 100.0 < window as f64 || certain * window as f64 <= max as f64 * elapsed {
            return;
        }
        let left = (elapsed * rest / intervals).floor() as i64;
        if left <= within {
            self.counter.foretold = start;
            self.alert(lessee, now, (3, now + left, used), start);
        }
    }

    fn join(&mut self) {
        let part = &mut self.part;
        (part.before_start, part.before_used) = (part.start, part.used + part.open);
        (part.start, part.used, part.claim, part.open) = (self.counter.start, 0, 0, 0);
        self.counter.lessees += 1;
    }

    /// Takes over what the lessee says of its windows.
    fn report(&mut self, lessee: &str, now: i64) {
        let [_, window, seq, start, used, claim, want, _, _] = self.line.numbers;
        if seq <= self.part.seq {
            self.verdict = 2;
            return;
        }
        if self.counter.start == 0 && start > 0 && claim > 0 && (window == 0 || start + window > now) {
            (self.counter.start, self.counter.end) = (start, if window == 0 { 0 } else { start + window });
        }
        if start > 0 && start == self.counter.start {
            if self.part.start != self.counter.start {
                self.join();
            }
            self.counter.used += used - self.part.used - self.part.open;
            self.counter.granted += claim - self.part.claim;
            self.counter.alert = self.crossed(lessee, now, (self.counter.used, self.counter.start), self.counter.alert);
            self.foretell(lessee, now);
            (self.part.used, self.part.claim, self.part.open) = (used, claim, 0);
        } else if self.part.start == self.counter.start {
            self.counter.used -= self.part.open;
            self.counter.granted += self.part.used - self.part.claim;
            (self.part.claim, self.part.open) = (self.part.used, 0);
        }
        if start > 0 && start == self.counter.before.0 {
            if self.part.start == self.counter.before.0 {
                let used = self.part.used + self.part.open;
                (self.part.before_start, self.part.before_used) = (self.counter.before.0, used);
            }
            if self.part.before_start != self.counter.before.0 {
                (self.part.before_start, self.part.before_used) = (self.counter.before.0, 0);
            }
            self.counter.before.1 += used - self.part.before_used;
            self.counter.before_alert =
                self.crossed(lessee, now, (self.counter.before.1, self.counter.before.0), self.counter.before_alert);
            self.part.before_used = used;
            if self.part.start == self.counter.before.0 {
                (self.part.used, self.part.open) = (used, 0);
            }
        }
        let counter = &mut self.counter;
        if want > 0 && (counter.start == 0 || (counter.end > 0 && now >= counter.end)) {
            let (percent, count, start) = (counter.alert.1, counter.used, counter.start);
            if start > 0 {
                counter.parts.retain(|_, part| part.start >= start);
            }
            counter.before = (start, count);
            counter.before_alert = counter.alert;
            (counter.start, counter.end) = (now, if window == 0 { 0 } else { now + window });
            (counter.granted, counter.used, counter.alert, counter.lessees, counter.hungry) = (0, 0, (0, 0), 0, 0);
            if percent > 0 {
                self.alert(lessee, now, (2, percent, count), start);
            }
        }
    }

    /// Grants what it asks for, or some of it.
    fn grant(&mut self, lessee: &str, now: i64, has_room: bool) {
        let [max, _, _, _, _, _, want, need, ahead] = self.line.numbers;
        let mut given = 0;
        if want > 0 {
            let left = max - self.counter.granted;
            if left <= 0 {
                self.verdict = if self.counter.used >= max { 0 } else { 3 };
                if self.verdict == 3 {
                    self.counter.hungry = now;
                }
            } else if !has_room {
                self.verdict = 4;
            } else {
                given = want.min(left);
                if ahead == 1 {
                    let next = self.line.alerts.iter().find(|(at, _)| *at > self.counter.used);
                    let rest = max - self.counter.used;
                    let until_next = next.map_or(rest, |(at, _)| rest.min(at - self.counter.used));
                    let fair = left.min(until_next).div_euclid(2 * self.counter.lessees.max(1));
                    given = given.min(if fair < 8 { need } else { fair });
                }
                if self.part.start != self.counter.start {
                    self.join();
                }
                self.counter.granted += given;
                self.part.claim += given;
            }
        }
        if ahead == 0 && given > 0 {
            self.counter.used += given;
            self.part.open += given;
            self.counter.alert = self.crossed(lessee, now, (self.counter.used, self.counter.start), self.counter.alert);
            self.foretell(lessee, now);
        }
        self.tell(lessee, now);
    }

    /// Drops the alerts that the lessee has confirmed, and tells it those that it should report.
    fn tell(&mut self, lessee: &str, now: i64) {
        let (seq, confirmed) = (self.line.numbers[2], self.line.confirmed);
        let told = &mut self.told;
        self.counter.alerts.retain_mut(|alert| {
            let mut is_own = alert.lessee == lessee;
            if is_own && alert.seq <= confirmed {
                return false;
            }
            if !is_own && now - alert.at > 10_000 {
                (alert.lessee, alert.seq, alert.at) = (lessee.to_owned(), seq, now);
                is_own = true;
            }
            if is_own {
                told.extend([alert.kind, alert.percent, alert.count, alert.start]);
            }
            true
        });
    }
}

impl Store {
    /// Runs the script.
    pub fn call(&mut self, lessee: &str, lines: &[Line], now: i64) -> Vec<i64> {
        let mut has_room = true;
        let mut works = Vec::with_capacity(lines.len());
        for line in lines {
            let counter = self.counters.remove(&line.key).unwrap_or_default();
            let part = counter.parts.get(lessee).copied().unwrap_or_default();
            let mut work = Work { counter, part, line, verdict: 1, told: Vec::new() };
            work.report(lessee, now);
            if work.verdict != 2 && line.numbers[6] > 0 && work.counter.granted >= line.numbers[0] {
                has_room = false;
            }
            works.push(work);
        }
        let mut out = vec![now];
        for mut work in works {
            if work.verdict != 2 {
                work.grant(lessee, now, has_room);
                self.keep(lessee, &mut work);
            }
            let (counter, part) = (&work.counter, &work.part);
            let is_own = part.start == counter.start;
            let own = |value: i64| if is_own { value } else { 0 };
            let is_hungry = counter.hungry > 0 && now - counter.hungry < 2000;
            out.extend([work.line.numbers[2], counter.start, counter.end, own(part.used), own(part.claim)]);
            out.extend([counter.granted, counter.used, counter.lessees, work.verdict, i64::from(is_hungry)]);
            out.push(i64::try_from(work.told.len() / 4).unwrap_or_default());
            out.extend(work.told);
            if counter.start > 0 {
                self.counters.insert(work.line.key.clone(), work.counter);
            }
        }
        out
    }

    fn keep(&mut self, lessee: &str, work: &mut Work<'_>) {
        let counter = &mut work.counter;
        if counter.start == 0 {
            return;
        }
        let part = Part { seq: work.line.numbers[2], ..work.part };
        match counter.parts.get_mut(lessee) {
            Some(known) => *known = part,
            None => drop(counter.parts.insert(lessee.to_owned(), part)),
        }
        if counter.end > 0 {
            let keep = if counter.alert.1 > 0 { work.line.numbers[1].min(86_400_000) } else { 0 };
            let expires = counter.end + 60_000 + keep;
            if counter.expires != expires {
                counter.expires = expires;
                self.expiring.entry(expires).or_default().push(work.line.key.clone());
            }
        }
    }

    /// Removes what has ended.
    pub fn expire(&mut self, now: i64) {
        while let Some(entry) = self.expiring.first_entry()
            && *entry.key() <= now
        {
            for key in entry.remove() {
                if self.counters.get(&key).is_some_and(|counter| counter.expires <= now) {
                    self.counters.remove(&key);
                }
            }
        }
    }

    /// The counter of a key.
    pub fn size(&self, key: &str) -> Option<Size> {
        let Counter { granted, used, start, parts, .. } = self.counters.get(key)?;
        Some(Size { granted: *granted, used: *used, start: *start, parts: parts.len() })
    }

    /// The number of counters, and of the lessees in all of them.
    pub fn count(&self) -> (usize, usize) {
        (self.counters.len(), self.counters.values().map(|counter| counter.parts.len()).sum())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counters.clear();
        self.expiring.clear();
    }
}
