//! Counts a request on all its limits: rates and quotas of its organisation, its key and its API.
//!
//! An organisation's page has its own counters and those of the first keys that were seen. For those keys, one
//! compare-and-swap counts all limits or none. Entries of this page are never removed. So if the page is full for a key
//! once, it is always full for it, and the key has its own page. If a request is counted on several pages, they are
//! counted one after the other. If a later page refuses, the earlier ones are refunded.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::page::{Counter, MAX_ENTRIES, Page, PageKind, PagePlace};
use super::{Alerts, MakeOwner, Quota, QuotaChange, Usage};
use crate::base::{Percent, UnixMillis};
use crate::host::{Change, CorruptRecord, Metric, Metrics, SharedData, StoreError, read, update_often};

/// Two entries of every organisation's page are reserved for the organisation itself.
const MAX_SHARED: usize = MAX_ENTRIES - 2;

/// The owner and kind of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitScope {
    /// The organisation's rate.
    OrgRate,
    /// The organisation's quota.
    OrgQuota,
    /// The key's rate.
    KeyRate,
    /// The key's quota.
    KeyQuota,
    /// The rate of all callers of the API together.
    ApiRate,
}

impl LimitScope {
    /// The limit's name in `RateLimit` headers.
    pub fn name(self) -> &'static str {
        match self {
            LimitScope::OrgRate => "organisation-rate",
            LimitScope::OrgQuota => "organisation-quota",
            LimitScope::KeyRate => "rate",
            LimitScope::KeyQuota => "quota",
            LimitScope::ApiRate => "api-rate",
        }
    }

    /// True for a rate, false for a quota.
    pub fn is_rate(self) -> bool {
        matches!(self, LimitScope::OrgRate | LimitScope::KeyRate | LimitScope::ApiRate)
    }
}

/// A value in shared data that holds counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageName<'c> {
    /// A page that keeps its entries, by its shared-data key.
    Kept(&'c str),
    /// The page of a single subject, which keeps its entry.
    Own(u64),
    /// A page of the table of identities that clients can choose, by its number.
    Identities(u64),
    /// A page of the table of fetched keys, by its number.
    Fetched(u64),
}

impl<'c> PageName<'c> {
    /// True if a key of shared data is that of a page.
    pub fn is_page(key: &str) -> bool {
        let kind = key.strip_prefix("tb1/").and_then(|rest| rest.split_once('/'));
        kind.is_some_and(|(kind, _)| matches!(kind, "a" | "i" | "j" | "k" | "o"))
    }

    /// The shared-data key.
    pub fn key(self) -> Cow<'c, str> {
        match self {
            PageName::Kept(key) => Cow::Borrowed(key),
            PageName::Own(subject) => {
                let mut digits = [0; 16];
                // Only another length could fail.
                let _ = hex::encode_to_slice(subject.to_be_bytes(), &mut digits);
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                Cow::Owned(["tb1/k/", digits.trim_start_matches('0')].concat())
            }
            PageName::Identities(page) => Cow::Owned(["tb1/i/", itoa::Buffer::new().format(page)].concat()),
            PageName::Fetched(page) => Cow::Owned(["tb1/j/", itoa::Buffer::new().format(page)].concat()),
        }
    }

    fn kind(self) -> PageKind {
        match self {
            PageName::Kept(_) | PageName::Own(_) => PageKind::Kept,
            PageName::Identities(_) | PageName::Fetched(_) => PageKind::Table,
        }
    }
}

/// The page of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home<'c> {
    /// The organisation's page.
    Org,
    /// The organisation's page while it has room, else this page. Only for keys of that organisation: a key without an
    /// organisation may call the APIs of several, and still has one quota.
    OrgOr(PageName<'c>),
    /// This page.
    Own(PageName<'c>),
}

/// A limit that a request is counted on.
#[derive(Clone, Debug)]
pub struct ChargeLine<'c> {
    /// The owner and kind of the limit.
    pub scope: LimitScope,
    /// The counter's number, unique on its page.
    pub subject: u64,
    pub quota: &'c Quota,
    /// The page of the counter.
    pub home: Home<'c>,
}

/// The limits that one request is counted on.
#[derive(Clone, Debug, Default)]
pub struct Charge<'c> {
    /// The shared-data key of the organisation's page; `None` for a request without an organisation.
    pub org_page: Option<&'c str>,
    /// The limits, in the order in which they refuse.
    pub lines: List<ChargeLine<'c>>,
    /// Who the counters belong to, for a store that needs it.
    pub owner: Option<MakeOwner<'c>>,
}

/// A list that needs no allocation: it has room for one of each [`LimitScope`], the most that a request can have.
pub type List<T> = SmallVec<[T; 5]>;

/// The usage of limits. It needs no allocation for two limits, which is what most requests have. Unlike a [`List`] it
/// is moved around and kept until the response, so its size matters.
pub type Usages = SmallVec<[(LimitScope, Usage); 2]>;

/// A threshold that this request crosses first: no other request reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The quota that was crossed.
    pub scope: LimitScope,
    pub limit: Percent,
    /// The count, which includes this request unless it was refused.
    pub count: u64,
    /// The quota's maximum.
    pub max: u64,
}

/// Something that happened to a quota, for its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaNews {
    pub scope: LimitScope,
    pub change: QuotaChange,
    /// The count when it happened.
    pub count: u64,
    /// The quota's maximum.
    pub max: u64,
}

impl From<Crossing> for QuotaNews {
    fn from(Crossing { scope, limit, count, max }: Crossing) -> Self {
        QuotaNews { scope, change: QuotaChange::Crossed(limit), count, max }
    }
}

/// The outcome of a charge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charged {
    /// The limit that refused the request. The request then counts on no limit.
    pub refused_by: Option<LimitScope>,
    /// The refusing limit alone, else all limits.
    pub usages: Usages,
    /// At most one per scope.
    pub crossings: Vec<Crossing>,
    /// Windows that ended before this request and in which a threshold was reported, and forecasts.
    pub others: Vec<QuotaNews>,
}

impl Charged {
    fn and(mut self, other: Self) -> Self {
        self.usages.extend(other.usages);
        self.crossings.extend(other.crossings);
        self.others.extend(other.others);
        self
    }
}

/// Counts a request, or finds the limit that refuses it.
///
/// # Errors
/// A counter cannot be read or written. The request is then counted on no limit. If a refund failed too, it stays
/// counted on some, which is logged.
pub fn charge(host: &(impl SharedData + Metrics), charge: &Charge<'_>, now: UnixMillis) -> Result<Charged, StoreError> {
    let mut waiting: List<&ChargeLine<'_>> = charge.lines.iter().collect();
    let mut done: SmallVec<[PageCharge<'_>; 2]> = SmallVec::new();
    let is_shared = |line: &&ChargeLine<'_>| !matches!(line.home, Home::Own(_));
    let mut org_page = charge.org_page.filter(|_| waiting.iter().any(is_shared)).map(PageName::Kept);
    while let Some(first) = waiting.first() {
        let (page, here, later): (PageName<'_>, List<&ChargeLine<'_>>, List<&ChargeLine<'_>>) = match org_page.take() {
            Some(page) => {
                let (here, later) = waiting.iter().copied().partition(is_shared);
                (page, here, later)
            }
            None => {
                // The organisation's own lines always find room, because its page reserves entries for them.
                let Some(page) = first.own_page() else { break };
                let (here, later) = waiting.iter().copied().partition(|line| line.own_page() == Some(page));
                (page, here, later)
            }
        };
        match count_on(host, page, &here, &later, now) {
            Ok(Counted { page: PageCharge { mut charged, .. }, due_on, .. }) if charged.refused_by.is_some() => {
                charged.crossings.extend(refund_all(host, &done));
                // The refund leaves the new windows in place, and what was foretold.
                charged.others.extend(done.into_iter().flat_map(|page| page.charged.others));
                charged.crossings.extend(due_on.and_then(|line| line.report(host, now)));
                return Ok(charged);
            }
            // Most requests are counted on one page.
            Ok(Counted { page, elsewhere, .. }) if done.is_empty() && elsewhere.is_empty() && later.is_empty() => {
                return Ok(page.charged);
            }
            Ok(Counted { page, elsewhere, .. }) => {
                done.push(page);
                waiting = elsewhere.into_iter().chain(later).collect();
            }
            Err(error) => {
                for crossing in refund_all(host, &done) {
                    log::error!("no one is notified that {} % of a quota were reached", crossing.limit);
                }
                return Err(error);
            }
        }
    }
    let each = done.into_iter().map(|page| page.charged);
    Ok(each.reduce(Charged::and).unwrap_or_default())
}

/// The usage of limits, without counting. Limits that cannot be read are left out.
pub fn usages(host: &impl SharedData, charge: &Charge<'_>, now: UnixMillis) -> Vec<(LimitScope, Usage)> {
    let page = |key: &str, kind| Page::decode(read(host, key).ok()?, kind).ok();
    let org_page = charge.org_page.and_then(|key| page(key, PageKind::Kept));
    let usage = |line: &ChargeLine<'_>| {
        let shared = org_page.as_ref().filter(|_| !matches!(line.home, Home::Own(_)));
        let on_shared = shared.and_then(|page| Some(page.counter(page.find(line.subject)?)));
        let counter = match (on_shared, line.own_page()) {
            (Some(counter), _) => counter,
            (None, None) => Counter { started: now, ..Counter::default() },
            (None, Some(name)) => {
                let own = page(&name.key(), name.kind())?;
                own.find(line.subject).map_or(Counter { started: now, ..Counter::default() }, |at| own.counter(at))
            }
        };
        let counter = line.quota.as_of(counter, now);
        Some((line.scope, line.quota.usage(counter.count, counter.started)))
    };
    charge.lines.iter().filter_map(usage).collect()
}

impl<'c> ChargeLine<'c> {
    fn own_page(&self) -> Option<PageName<'c>> {
        match self.home {
            Home::Org => None,
            Home::OrgOr(page) | Home::Own(page) => Some(page),
        }
    }

    /// The refusal of a limit whose own page shows that it is used up. A page that cannot be read does not refuse here:
    /// the count on it will return the error.
    fn peek(&self, host: &impl SharedData, now: UnixMillis) -> Option<Tally<'_, 'c>> {
        let page = self.own_page()?;
        let stored = Page::decode(read(host, &page.key()).ok()?, page.kind()).ok()?;
        Some(Tally::find(&stored, self, now)?).filter(Tally::is_used_up)
    }

    /// Reports a threshold of a used-up limit on its own page that has not been reported yet.
    fn report(&self, host: &(impl SharedData + Metrics), now: UnixMillis) -> Option<Crossing> {
        let page = self.own_page()?;
        let reported = update_often(host, &page.key(), |stored| {
            let mut counters = Page::decode(stored, page.kind())?;
            let crossing = Tally::find(&counters, self, now).and_then(|mut tally| tally.report(&mut counters));
            Ok(if crossing.is_some() { Change::Write(counters.encode(), crossing) } else { Change::Keep(None) })
        });
        reported.unwrap_or_else(|error| {
            log::error!("{}: a threshold was crossed but is not reported yet: {error}", page.key());
            None
        })
    }
}

/// A charge on one page, with the data to undo it.
struct PageCharge<'c> {
    page: PageName<'c>,
    charged: Charged,
    undo: SmallVec<[Undo; 2]>,
}

struct Undo {
    subject: u64,
    /// The start of the window in which it was counted.
    started: UnixMillis,
    /// The alerts before this charge.
    alerts: Alerts,
    crossing: Option<Crossing>,
}

/// The result of [`count_on`].
struct Counted<'c, 'l> {
    page: PageCharge<'c>,
    /// Lines that found no room on the page and must still be counted.
    elsewhere: List<&'l ChargeLine<'c>>,
    /// The limit on another page that refused, if it has a threshold to report.
    due_on: Option<&'l ChargeLine<'c>>,
}

/// Counts on all lines of `here` that find room on the page, or on none. `later` is peeked at first: a request of a
/// used-up key must not take the organisation's last request, not even for a moment.
fn count_on<'c, 'l>(
    host: &(impl SharedData + Metrics),
    page: PageName<'c>,
    here: &[&'l ChargeLine<'c>],
    later: &[&'l ChargeLine<'c>],
    now: UnixMillis,
) -> Result<Counted<'c, 'l>, StoreError> {
    // A variable outside the closure, because a returned value would be copied from frame to frame.
    let mut counted = None;
    let evicted = update_often(host, &page.key(), |stored| {
        let mut counters = Page::decode(stored, page.kind())?;
        let (mut tallies, mut elsewhere) = (List::new(), List::new());
        for line in here {
            match Tally::open(&mut counters, line, now) {
                Some(tally) => tallies.push(tally),
                None if matches!(line.home, Home::OrgOr(_)) && line.own_page() != Some(page) => elsewhere.push(*line),
                // A subject's own page has room for it, unless the page is foreign data.
                None => return Err(CorruptRecord { record: "counter page", len: counters.encode().len() }),
            }
        }
        let here = tallies.iter_mut().find(|tally| tally.is_used_up());
        let refused = match here {
            Some(used_up) => {
                // A limit that was lowered below the count reports this with a refusal, or never.
                let crossing = used_up.report(&mut counters);
                Some((used_up.refusal(crossing), None, crossing.is_some()))
            }
            None => elsewhere.iter().chain(later).find_map(|line| {
                let used_up = line.peek(host, now)?;
                Some((used_up.refusal(None), used_up.is_due().then_some(*line), false))
            }),
        };
        if let Some((charged, due_on, has_rung)) = refused {
            let refused = PageCharge { page, charged, undo: SmallVec::new() };
            counted = Some(Counted { page: refused, elsewhere: List::new(), due_on });
            let is_worth_writing = has_rung || counters.is_renewed();
            return Ok(if is_worth_writing { Change::Write(counters.encode(), 0) } else { Change::Keep(0) });
        }
        let page = PageCharge { page, charged: Charged::default(), undo: SmallVec::new() };
        let counted = counted.insert(Counted { page, elsewhere, due_on: None });
        for tally in tallies {
            let undo = tally.count(&mut counters, &mut counted.page.charged);
            counted.page.undo.push(undo);
        }
        let (evicted, is_empty) = (counters.evicted(), counted.page.undo.is_empty());
        Ok(if is_empty { Change::Keep(evicted) } else { Change::Write(counters.encode(), evicted) })
    })?;
    if evicted > 0 {
        host.add(Metric::IdentitiesEvicted, evicted);
    }
    // The winning step has set it.
    counted.ok_or(StoreError::Exhausted)
}

/// Removes a request from every page that it was counted on. Returns the crossings that must be reported although their
/// request was refused: meanwhile other requests counted past the threshold, and found it reported already.
fn refund_all(host: &(impl SharedData + Metrics), done: &[PageCharge<'_>]) -> Vec<Crossing> {
    done.iter().flat_map(|page| refund(host, page)).collect()
}

fn refund(host: &(impl SharedData + Metrics), charge: &PageCharge<'_>) -> Vec<Crossing> {
    let refunded = update_often(host, &charge.page.key(), |stored| {
        let mut page = Page::decode(stored, charge.page.kind())?;
        let due = charge.undo.iter().filter_map(|undo| undo.apply(&mut page)).collect();
        Ok(Change::Write(page.encode(), due))
    });
    refunded.unwrap_or_else(|error| {
        log::error!("{}: one request stays counted although it was refused: {error}", charge.page.key());
        charge.undo.iter().filter_map(|undo| undo.crossing).collect()
    })
}

impl Undo {
    fn apply(&self, page: &mut Page) -> Option<Crossing> {
        let Some(place) = page.find(self.subject) else { return self.crossing };
        let mut counter = page.counter(place);
        if counter.started != self.started {
            return self.crossing;
        }
        counter.count = counter.count.saturating_sub(1);
        let due = self.crossing.filter(|crossing| {
            let others_passed = counter.count >= crossing.count;
            others_passed || !counter.alerts.take_back(crossing.limit, self.alerts)
        });
        page.set(place, counter);
        due
    }
}

/// One counter of a page, opened to count a request.
struct Tally<'t, 'c> {
    place: PagePlace,
    line: &'t ChargeLine<'c>,
    /// The counter as of now: a window that ended is already replaced by a new one.
    counter: Counter,
    /// What the ended window has to report.
    renewal: Option<QuotaNews>,
    now: UnixMillis,
}

impl<'t, 'c> Tally<'t, 'c> {
    /// `None` if the page has neither the subject nor room for it.
    fn open(page: &mut Page, line: &'t ChargeLine<'c>, now: UnixMillis) -> Option<Self> {
        let capacity = if matches!(line.home, Home::OrgOr(_)) { MAX_SHARED } else { MAX_ENTRIES };
        let place = page.open(line.subject, capacity, now)?;
        Some(Tally::at(page, place, line, now))
    }

    /// Opens the counter of a subject that is on the page.
    fn find(page: &Page, line: &'t ChargeLine<'c>, now: UnixMillis) -> Option<Self> {
        Some(Tally::at(page, page.find(line.subject)?, line, now))
    }

    fn at(page: &Page, place: PagePlace, line: &'t ChargeLine<'c>, now: UnixMillis) -> Self {
        let stored = page.counter(place);
        let counter = line.quota.as_of(stored, now);
        let highest = stored.alerts.highest().filter(|_| counter.started != stored.started);
        let renewal = highest.map(|limit| QuotaNews {
            scope: line.scope,
            change: QuotaChange::Renewed(limit),
            count: stored.count,
            max: line.quota.max,
        });
        Tally { place, line, counter, renewal, now }
    }

    fn usage(&self) -> (LimitScope, Usage) {
        (self.line.scope, self.line.quota.usage(self.counter.count, self.counter.started))
    }

    fn is_used_up(&self) -> bool {
        self.counter.count >= self.line.quota.max
    }

    fn refusal(&self, crossing: Option<Crossing>) -> Charged {
        let crossings = crossing.into_iter().collect();
        let usages = Usages::from_iter([self.usage()]);
        Charged { refused_by: Some(self.line.scope), usages, crossings, ..Charged::default() }
    }

    fn count(mut self, page: &mut Page, charged: &mut Charged) -> Undo {
        let (alerts, quota) = (self.counter.alerts, self.line.quota);
        self.counter.count = self.counter.count.saturating_add(1);
        self.counter.alerts.keep_up(self.counter.count, quota.max);
        if let Some(ends) = quota.foretold(&self.counter, self.now) {
            self.counter.is_foretold = true;
            let (scope, change) = (self.line.scope, QuotaChange::Foretold(ends));
            charged.others.push(QuotaNews { scope, change, count: self.counter.count, max: quota.max });
        }
        page.set(self.place, self.counter);
        let crossing = self.report(page);
        charged.crossings.extend(crossing);
        charged.others.extend(self.renewal);
        charged.usages.push(self.usage());
        Undo { subject: self.line.subject, started: self.counter.started, alerts, crossing }
    }

    fn is_due(&self) -> bool {
        self.line.quota.due(&self.counter).is_some()
    }

    /// The threshold that must be reported now. It is recorded on the page as reported.
    fn report(&mut self, page: &mut Page) -> Option<Crossing> {
        let quota = self.line.quota;
        let trigger = quota.due(&self.counter)?;
        self.counter.alerts.add(trigger.limit, self.counter.count);
        page.set(self.place, self.counter);
        Some(Crossing { scope: self.line.scope, limit: trigger.limit, count: self.counter.count, max: quota.max })
    }
}

#[cfg(test)]
mod tests;
