//! What a rehearsal has found: who used how much, which messages, who was refused.

use std::collections::BTreeMap;

use rustc_hash::{FxBuildHasher, FxHashMap};
use tollbell_core::owners::{Counted, CounterId, OwnedLimit, Owner};

use super::events::EventLine;
use super::series::Series;

/// The most quotas that are followed. Identities that clients choose can be any number, and those with the lowest use
/// are given up.
const MAX_QUOTAS: usize = 100_000;

/// The most crossings and marks that are listed.
const MAX_LISTED: usize = 10_000;
const MAX_MARKS: usize = 200;

/// What a rehearsal has found. Times are in Unix milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests in the log.
    pub(crate) requests: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Requests by outcome: `admitted`, `quota_exceeded` and so on.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Messages by handler and event.
    pub(crate) messages: BTreeMap<(String, String), Messages>,
    pub(crate) crossings: Vec<Crossing>,
    /// Crossings beyond those that are listed.
    pub(crate) more_crossings: u64,
    /// Refused requests by outcome, organisation and key.
    pub(crate) refusals: BTreeMap<(String, String, String), Refused>,
    pub(crate) quotas: Vec<QuotaUse>,
    /// Quotas that were given up, because there were too many.
    pub(crate) given_up: u64,
    /// The counters that were seen, with their quota; `None` for rates.
    places: FxHashMap<CounterId, Option<usize>>,
    by_owner: FxHashMap<Owner, Vec<usize>>,
    /// Identities by the fingerprints that events show.
    identities: FxHashMap<String, Owner>,
}

/// The messages of one handler about one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    pub(crate) sent: u64,
    pub(crate) digests: u64,
    /// Messages that were not sent, by reason: `suppressed`, `capped` and so on.
    pub(crate) held_back: BTreeMap<String, u64>,
    /// The first and last message that was sent.
    pub(crate) times: Option<(u64, u64)>,
}

/// A threshold that was crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) time: u64,
    pub(crate) owner: Owner,
    pub(crate) org: String,
    pub(crate) alias: String,
    pub(crate) trigger_limit: String,
    pub(crate) used: u64,
    pub(crate) max: u64,
    /// The handlers that would have told someone.
    pub(crate) told: Vec<String>,
}

/// Refused requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The use of one quota.
#[derive(Debug)]
pub(crate) struct QuotaUse {
    pub(crate) limit: OwnedLimit,
    /// The highest count of a window, and its time.
    pub(crate) peak: u64,
    pub(crate) peak_time: u64,
    pub(crate) windows: u64,
    pub(crate) refused: u64,
    pub(crate) series: Series,
    pub(crate) marks: Vec<Mark>,
    pub(crate) more_marks: u64,
    window: u64,
}

impl QuotaUse {
    /// The highest use in percent.
    #[expect(clippy::cast_precision_loss, reason = "a share is not exact")]
    pub(crate) fn percent(&self) -> f64 {
        self.peak as f64 * 100.0 / self.limit.max as f64
    }
}

/// A moment in a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) time: u64,
    /// The count at that time.
    pub(crate) count: u64,
    /// `TriggerExceeded 80`, for example.
    pub(crate) what: String,
    /// Whether a message went out.
    pub(crate) is_told: bool,
}

impl Tally {
    /// A tally of a log that begins at a time.
    pub(crate) fn starting_at(first: u64) -> Self {
        Tally { first, last: first, ..Tally::default() }
    }

    /// Whether a counter was seen before.
    pub(crate) fn knows(&self, counter: &CounterId) -> bool {
        self.places.contains_key(counter)
    }

    /// Adds the owner of a counter; `None` if nobody knows it.
    pub(crate) fn add_limit(&mut self, counter: &CounterId, limit: Option<OwnedLimit>) {
        let Some(limit) = limit.filter(|limit| !limit.is_rate) else {
            self.places.insert(counter.clone(), None);
            return;
        };
        if self.quotas.len() >= MAX_QUOTAS {
            self.give_up();
        }
        if let Owner::Identity(_) = &limit.owner {
            self.identities.insert(limit.fingerprint.clone(), limit.owner.clone());
        }
        let place = self.quotas.len();
        self.places.insert(counter.clone(), Some(place));
        self.by_owner.entry(limit.owner.clone()).or_default().push(place);
        self.quotas.push(QuotaUse {
            limit,
            peak: 0,
            peak_time: 0,
            windows: 0,
            refused: 0,
            series: Series::new(self.first),
            marks: Vec::new(),
            more_marks: 0,
            window: 0,
        });
    }

    /// Forgets the half of the identities with the lowest use.
    fn give_up(&mut self) {
        let is_identity = |quota: &QuotaUse| matches!(quota.limit.owner, Owner::Identity(_));
        let mut uses: Vec<f64> = self.quotas.iter().filter(|quota| is_identity(quota)).map(QuotaUse::percent).collect();
        uses.sort_by(f64::total_cmp);
        let Some(middle) = uses.get(uses.len() / 2).copied() else { return };
        let before = self.quotas.len();
        let quotas = std::mem::take(&mut self.quotas);
        self.quotas = quotas.into_iter().filter(|quota| !is_identity(quota) || quota.percent() > middle).collect();
        self.given_up += u64::try_from(before - self.quotas.len()).unwrap_or_default();
        self.places.retain(|_, place| place.is_none());
        let kept: std::collections::HashSet<&Owner> = self.quotas.iter().map(|quota| &quota.limit.owner).collect();
        self.identities.retain(|_, owner| kept.contains(owner));
        self.by_owner = FxHashMap::with_capacity_and_hasher(self.quotas.len(), FxBuildHasher);
        for (place, quota) in self.quotas.iter().enumerate() {
            self.places.insert(quota.limit.counter.clone(), Some(place));
            self.by_owner.entry(quota.limit.owner.clone()).or_default().push(place);
        }
    }

    /// Adds a counter as a request left it.
    pub(crate) fn add_count(&mut self, time: u64, counted: &Counted) {
        let Some(Some(place)) = self.places.get(&counted.counter) else { return };
        let Some(quota) = self.quotas.get_mut(*place) else { return };
        if quota.windows == 0 || quota.window != counted.started {
            quota.windows += 1;
            quota.window = counted.started;
        }
        if counted.count > quota.peak {
            (quota.peak, quota.peak_time) = (counted.count, time);
        }
        quota.series.add(time, counted.count, counted.started);
    }

    /// Adds an event.
    pub(crate) fn add_event(&mut self, time: u64, event: &EventLine<'_>) {
        let mut told = Vec::new();
        for (handler, outcome) in &event.handlers {
            let messages = self.messages.entry((handler.to_string(), event.event.to_string())).or_default();
            if outcome == "sent" {
                messages.sent += 1;
                messages.times = Some((messages.times.map_or(time, |(first, _)| first), time));
                told.push(handler.to_string());
            } else {
                count_up(&mut messages.held_back, outcome);
            }
        }
        if event.subject.is_empty() {
            return;
        }
        let owner = match &*event.subject {
            "organisation" => Owner::Organisation(event.org.to_string()),
            _ => self.caller_of(event),
        };
        let is_crossing = event.event == "TriggerExceeded";
        let what = match is_crossing {
            true => format!("{} % crossed", event.trigger_limit),
            false => event.event.to_string(),
        };
        // The end of a window is seen in the chart, too.
        if is_crossing || !told.is_empty() {
            self.mark(&owner, event.max, &Mark { time, count: event.used, what, is_told: !told.is_empty() });
        }
        if !is_crossing {
            return;
        }
        if self.crossings.len() >= MAX_LISTED {
            self.more_crossings += 1;
            return;
        }
        self.crossings.push(Crossing {
            time,
            // An event of an organisation has the alias of the caller.
            alias: if matches!(owner, Owner::Organisation(_)) { String::new() } else { event.alias.to_string() },
            owner,
            org: event.org.to_string(),
            trigger_limit: event.trigger_limit.to_string(),
            used: event.used,
            max: event.max,
            told,
        });
    }

    /// Adds the end of a digest: one message.
    pub(crate) fn add_digest(&mut self, time: u64, event: &str, handler: &str) {
        let messages = self.messages.entry((handler.to_owned(), event.to_owned())).or_default();
        messages.digests += 1;
        messages.times = Some((messages.times.map_or(time, |(first, _)| first), time));
    }

    /// Adds a request. `event` is that of its refusal, if there is one.
    pub(crate) fn add_request(&mut self, time: u64, outcome: &str, event: Option<&EventLine<'_>>) {
        self.requests += 1;
        self.last = time;
        count_up(&mut self.outcomes, outcome);
        if outcome == ADMITTED {
            return;
        }
        let is_of_org = outcome.starts_with("org_");
        let (org, owner) = match event {
            None => (String::new(), None),
            Some(event) if is_of_org => (event.org.to_string(), Some(Owner::Organisation(event.org.to_string()))),
            Some(event) => (event.org.to_string(), Some(self.caller_of(event))),
        };
        let who = match &owner {
            Some(Owner::Key(name) | Owner::Identity(name)) => name.clone(),
            _ => String::new(),
        };
        if let Some(owner) = &owner {
            for place in self.by_owner.get(owner).into_iter().flatten() {
                if let Some(quota) = self.quotas.get_mut(*place) {
                    quota.refused += 1;
                    quota.series.add_refused(time);
                }
            }
        }
        // A flood of unknown keys must not grow the table.
        let who = if self.refusals.len() < MAX_LISTED { who } else { String::new() };
        let refused = self.refusals.entry((outcome.to_owned(), org, who)).or_default();
        refused.first = if refused.count == 0 { time } else { refused.first };
        refused.count += 1;
        refused.last = time;
    }

    /// Marks a moment in the charts of an owner's quotas with this limit.
    fn mark(&mut self, owner: &Owner, max: u64, mark: &Mark) {
        for place in self.by_owner.get(owner).into_iter().flatten() {
            let Some(quota) = self.quotas.get_mut(*place).filter(|quota| quota.limit.max == max) else { continue };
            if quota.marks.len() >= MAX_MARKS {
                quota.more_marks += 1;
            } else {
                quota.marks.push(mark.clone());
            }
        }
    }

    /// The caller of the request that caused an event. An identity has a fingerprint in events, too.
    fn caller_of(&self, event: &EventLine<'_>) -> Owner {
        let identity = self.identities.get(&*event.key).cloned();
        identity.unwrap_or_else(|| Owner::Key(event.key.to_string()))
    }
}

/// The outcome of a request that the filters let pass.
pub(crate) const ADMITTED: &str = "admitted";

fn count_up(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}
