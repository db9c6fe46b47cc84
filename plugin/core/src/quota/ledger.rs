//! Counting a request on its organisation's and its key's quota.
//!
//! An organisation's page holds its own counter and those of the first keys that were seen: for them one
//! compare-and-swap counts both, or neither. Entries are never removed, so a key that once found the page full finds
//! it full for ever, and has a page of its own; for such a key the organisation is counted first and refunded when
//! the key's quota refuses.

use super::page::{Counter, MAX_ENTRIES, Page, Place};
use super::{Quota, Usage};
use crate::ports::{Metrics, SharedData};
use crate::store::{Change, StoreError, read, update};
use crate::units::{Percent, UnixMillis};

/// One place of every organisation's page is kept for the organisation itself.
const MAX_KEYS: usize = MAX_ENTRIES - 1;

/// The organisation's own entry in its page. Key subjects are never 0.
const ORG_SUBJECT: u64 = 0;

/// Whose quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The organisation's.
    Org,
    /// The key's own.
    Key,
}

/// What one request is to be counted on.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'c> {
    /// The shared-data key of the organisation's page; `None` for a key of no organisation.
    pub org_page: Option<&'c str>,
    /// The organisation's quota, if it has one.
    pub org: Option<&'c Quota>,
    /// Whether the key belongs to that organisation, and so may be counted on its page. A key of no organisation may
    /// come by the APIs of several, and still has one quota.
    pub is_member: bool,
    /// The shared-data key of the page that the key has to itself, once its organisation's is full.
    pub key_page: &'c str,
    /// The key's subject number; not 0.
    pub subject: u64,
    /// The key's quota, if it has one.
    pub key: Option<&'c Quota>,
}

/// A threshold that this request's update crossed: nobody else will report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Whose quota.
    pub scope: Scope,
    /// The threshold.
    pub limit: Percent,
    /// Requests counted, this one included.
    pub count: u64,
    /// The quota's maximum.
    pub max: u64,
}

/// The outcome of a charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// The quota that refused the request, which then counts on none.
    pub refused_by: Option<Scope>,
    /// The refusing quota, else the one with fewer requests left; `None` where nothing limits.
    pub usage: Option<Usage>,
    /// At most one per scope.
    pub crossings: Vec<Crossing>,
}

/// Counts a request, or finds that a quota refuses it.
///
/// # Errors
/// When a counter cannot be read or written; the request is then counted on none, or, where the refund failed too,
/// on the organisation's only, which is logged.
pub fn charge(host: &(impl SharedData + Metrics), charge: &Charge<'_>, now: UnixMillis) -> Result<Charged, StoreError> {
    if charge.org.is_none() && charge.key.is_none() {
        return Ok(Charged::default());
    }
    let Some(org_page) = charge.org_page else {
        return charge_own_page(host, charge, now);
    };
    let (on_org_page, key_is_elsewhere) = charge_org_page(host, org_page, charge, now)?;
    if !key_is_elsewhere || on_org_page.charged.refused_by.is_some() {
        return Ok(on_org_page.charged);
    }
    match charge_own_page(host, charge, now) {
        Ok(own) if own.refused_by.is_none() => Ok(both(on_org_page.charged, own)),
        Ok(own) => {
            let crossings = refund(host, org_page, &on_org_page).into_iter().collect();
            Ok(Charged { crossings, ..own })
        }
        Err(error) => {
            if let Some(crossing) = refund(host, org_page, &on_org_page) {
                log::error!("{org_page}: nobody is told that {} % was reached", crossing.limit);
            }
            Err(error)
        }
    }
}

/// A charge on an organisation's page, with what it takes to undo the organisation's part.
#[derive(Default)]
struct OrgCharge {
    charged: Charged,
    /// The window in which the organisation was counted.
    started: Option<UnixMillis>,
    /// `rung` before this charge.
    rung_before: u64,
}

fn charge_org_page(
    host: &(impl SharedData + Metrics),
    org_page: &str,
    charge: &Charge<'_>,
    now: UnixMillis,
) -> Result<(OrgCharge, bool), StoreError> {
    update(host, org_page, |stored| {
        let mut page = Page::decode(stored)?;
        let org = charge.org.and_then(|quota| Tally::open(&mut page, ORG_SUBJECT, MAX_ENTRIES, Scope::Org, quota, now));
        let key = charge
            .key
            .filter(|_| charge.is_member)
            .and_then(|quota| Tally::open(&mut page, charge.subject, MAX_KEYS, Scope::Key, quota, now));
        let key_is_elsewhere = charge.key.is_some() && key.is_none();
        let mut result = OrgCharge {
            started: org.as_ref().map(|tally| tally.counter.started),
            rung_before: org.as_ref().map(|tally| tally.counter.rung).unwrap_or_default(),
            ..OrgCharge::default()
        };
        // A key that is used up must not take the organisation's last request even for a moment.
        let refused = if key_is_elsewhere && !org.as_ref().is_some_and(Tally::is_used_up) {
            refused_by_own_page(host, charge, now)
        } else {
            None
        };
        result.charged = refused.unwrap_or_else(|| count([org, key], &mut page));
        Ok(match result.charged {
            Charged { refused_by: None, usage: Some(_), .. } => {
                Change::Write(page.encode(), (result, key_is_elsewhere))
            }
            _ => Change::Keep((result, key_is_elsewhere)),
        })
    })
}

fn charge_own_page(
    host: &(impl SharedData + Metrics),
    charge: &Charge<'_>,
    now: UnixMillis,
) -> Result<Charged, StoreError> {
    let Some(quota) = charge.key else { return Ok(Charged::default()) };
    update(host, charge.key_page, |stored| {
        let mut page = Page::decode(stored)?;
        let tally = Tally::open(&mut page, charge.subject, MAX_ENTRIES, Scope::Key, quota, now);
        let charged = count([tally, None], &mut page);
        Ok(match charged.refused_by {
            None => Change::Write(page.encode(), charged),
            Some(_) => Change::Keep(charged),
        })
    })
}

/// The refusal of a key whose own page says that it is used up. A page that cannot be read refuses nothing here:
/// counting on it will say why.
fn refused_by_own_page(host: &impl SharedData, charge: &Charge<'_>, now: UnixMillis) -> Option<Charged> {
    let mut page = Page::decode(read(host, charge.key_page).ok()?).ok()?;
    let tally = Tally::open(&mut page, charge.subject, MAX_ENTRIES, Scope::Key, charge.key?, now)?;
    tally.is_used_up().then(|| tally.refusal())
}

/// Takes a request off the organisation's count. Returns the crossing that must be reported although the request
/// that made it was refused: others counted past the threshold meanwhile, and they saw it as already rung.
fn refund(host: &(impl SharedData + Metrics), org_page: &str, charge: &OrgCharge) -> Option<Crossing> {
    let held = charge.charged.crossings.first().copied();
    let started = charge.started?;
    let refunded = update(host, org_page, |stored| {
        let mut page = Page::decode(stored)?;
        let Some(place) = page.find(ORG_SUBJECT) else { return Ok(Change::Keep(held)) };
        let mut counter = page.counter(place);
        if counter.started != started {
            return Ok(Change::Keep(held));
        }
        counter.count = counter.count.saturating_sub(1);
        let due = match held {
            Some(crossing) if counter.count < crossing.count && counter.rung == crossing.count => {
                counter.rung = charge.rung_before;
                None
            }
            other => other,
        };
        page.set(place, counter);
        Ok(Change::Write(page.encode(), due))
    });
    refunded.unwrap_or_else(|error| {
        log::error!("{org_page}: one request stays counted although its key refused it: {error}");
        held
    })
}

/// One counter of a page, opened to count a request on.
struct Tally<'q> {
    place: Place,
    scope: Scope,
    quota: &'q Quota,
    /// As of now: an ended window is already replaced by a new one.
    counter: Counter,
}

impl<'q> Tally<'q> {
    /// `None` where `subject` is not on the page and the page already has `capacity` entries.
    fn open(
        page: &mut Page,
        subject: u64,
        capacity: usize,
        scope: Scope,
        quota: &'q Quota,
        now: UnixMillis,
    ) -> Option<Self> {
        let place = page.find(subject).or_else(|| page.add(subject, capacity, now))?;
        let mut counter = page.counter(place);
        // A window that starts further ahead than it is long was begun by a clock that has been set right since.
        let is_over = |window| now.since(counter.started) >= window || counter.started.since(now) > window;
        if quota.window_ms.is_some_and(is_over) {
            counter = Counter { started: now, ..Counter::default() };
        }
        Some(Tally { place, scope, quota, counter })
    }

    fn usage(&self) -> Usage {
        self.quota.usage(self.counter.count, self.counter.started)
    }

    fn is_used_up(&self) -> bool {
        self.counter.count >= self.quota.max
    }

    fn refusal(&self) -> Charged {
        Charged { refused_by: Some(self.scope), usage: Some(self.usage()), crossings: Vec::new() }
    }

    fn add(&mut self) -> Option<Crossing> {
        let before = self.counter.count;
        self.counter.count = before.saturating_add(1);
        let trigger = self.quota.crossed(before, self.counter.count, self.counter.rung)?;
        self.counter.rung = trigger.at;
        Some(Crossing { scope: self.scope, limit: trigger.limit, count: self.counter.count, max: self.quota.max })
    }
}

/// Counts on all of `tallies` or, where one is used up, on none.
fn count(tallies: [Option<Tally<'_>>; 2], page: &mut Page) -> Charged {
    let used_up = tallies.iter().flatten().find(|tally| tally.is_used_up());
    if let Some(tally) = used_up {
        return tally.refusal();
    }
    let mut charged = Charged::default();
    for mut tally in tallies.into_iter().flatten() {
        charged.crossings.extend(tally.add());
        charged.usage = tighter(charged.usage, Some(tally.usage()));
        page.set(tally.place, tally.counter);
    }
    charged
}

fn both(org: Charged, key: Charged) -> Charged {
    let mut crossings = org.crossings;
    crossings.extend(key.crossings);
    Charged { refused_by: None, usage: tighter(org.usage, key.usage), crossings }
}

/// The one with fewer requests left; of two alike, the one that renews later.
fn tighter(a: Option<Usage>, b: Option<Usage>) -> Option<Usage> {
    let later = |usage: &Usage| std::cmp::Reverse(usage.renews.unwrap_or(UnixMillis(u64::MAX)));
    [a, b].into_iter().flatten().min_by_key(|usage| (usage.remaining(), later(usage)))
}

#[cfg(test)]
mod tests;
