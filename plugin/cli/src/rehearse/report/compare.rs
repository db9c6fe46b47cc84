//! What differs between the results of two configurations.

use std::collections::BTreeMap;

use super::format::{number, who};
use crate::rehearse::tally::Tally;

/// A number that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What is counted.
    pub(super) what: &'static str,
    /// Of what or whom.
    pub(super) subject: String,
    pub(super) one: u64,
    pub(super) other: u64,
}

impl Difference {
    /// How much more the first has than the second.
    pub(super) fn change(&self) -> String {
        match self.one.checked_sub(self.other) {
            Some(more) => format!("+{}", number(more)),
            None => format!("-{}", number(self.other - self.one)),
        }
    }
}

/// All numbers that differ.
pub(super) fn differences(one: &Tally, other: &Tally) -> Vec<Difference> {
    type Numbers = fn(&Tally) -> BTreeMap<String, u64>;
    let parts: [(&'static str, Numbers); 5] = [
        ("requests by outcome", |tally| tally.outcomes.clone()),
        ("messages sent", |tally| {
            let of = tally.messages.iter();
            of.map(|((handler, event), messages)| (format!("{event} to {handler}"), messages.sent + messages.digests))
                .collect()
        }),
        ("thresholds crossed", |tally| {
            let mut counts = BTreeMap::new();
            for crossing in &tally.crossings {
                let subject = format!("{} at {} %", who(&crossing.owner, &crossing.alias), crossing.trigger_limit);
                *counts.entry(subject).or_default() += 1;
            }
            counts
        }),
        ("highest use", |tally| {
            let quotas = tally.quotas.iter();
            let of = quotas.map(|quota| (who(&quota.limit.owner, &quota.limit.alias), quota.peak));
            of.fold(BTreeMap::new(), |mut highest, (subject, peak)| {
                let known: &mut u64 = highest.entry(subject).or_default();
                *known = peak.max(*known);
                highest
            })
        }),
        ("refused requests", |tally| {
            let of = tally.refusals.iter();
            of.map(|((outcome, org, key), refused)| {
                let subject = [outcome.as_str(), org, &super::format::short(key)];
                (subject.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" "), refused.count)
            })
            .collect()
        }),
    ];
    let mut found = Vec::new();
    for (what, numbers) in parts {
        let (one, mut other) = (numbers(one), numbers(other));
        for (subject, count) in one {
            let before = other.remove(&subject).unwrap_or_default();
            if before != count {
                found.push(Difference { what, subject, one: count, other: before });
            }
        }
        let gone = other.into_iter().filter(|(_, count)| *count > 0);
        found.extend(gone.map(|(subject, other)| Difference { what, subject, one: 0, other }));
    }
    found
}
