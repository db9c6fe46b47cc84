//! The results as JSON.

use serde_json::{Value, json};

use super::compare::differences;
use super::format::{exact_time, owner};
use super::{Report, Run};

impl Report {
    /// The results as JSON. Times are RFC 3339, to the millisecond.
    pub(crate) fn json(&self) -> Value {
        let difference = match self.runs.as_slice() {
            [one, other] => differences(&one.tally, &other.tally)
                .into_iter()
                .map(|found| json!({ "what": found.what, "of": found.subject, "config": found.one, "against": found.other }))
                .collect(),
            _ => Value::Null,
        };
        let malformed = self
            .troubles
            .malformed
            .iter()
            .map(|(fault, (count, first))| json!({ "fault": fault, "lines": count, "first": first }));
        json!({
            "log": {
                "malformed_lines": self.troubles.lines(),
                "malformed": malformed.collect::<Vec<_>>(),
                "late": self.troubles.late.as_ref().map(|(count, first)| json!({ "lines": count, "first": first })),
                "broken": self.troubles.broken,
            },
            "warnings": self.warnings(),
            "runs": self.runs.iter().map(Run::json).collect::<Vec<_>>(),
            "difference": difference,
        })
    }
}

impl Run {
    fn json(&self) -> Value {
        let tally = &self.tally;
        let messages = tally.messages.iter().map(|((handler, event), messages)| {
            json!({
                "handler": handler,
                "event": event,
                "sent": messages.sent,
                "digests": messages.digests,
                "held_back": messages.held_back,
                "first": messages.times.map(|(first, _)| exact_time(first)),
                "last": messages.times.map(|(_, last)| exact_time(last)),
            })
        });
        let crossings = tally.crossings.iter().map(|crossing| {
            let (kind, name) = owner(&crossing.owner);
            json!({
                "time": exact_time(crossing.time),
                "owner": kind,
                "name": name,
                "alias": crossing.alias,
                "org": crossing.org,
                "trigger_limit": crossing.trigger_limit,
                "used": crossing.used,
                "max": crossing.max,
                "handlers": crossing.told,
            })
        });
        let quotas = self.nearest().into_iter().map(|quota| {
            let (kind, name) = owner(&quota.limit.owner);
            json!({
                "owner": kind,
                "name": name,
                "alias": quota.limit.alias,
                "org": quota.limit.org,
                "api": quota.limit.api,
                "quota_max": quota.limit.max,
                "window_ms": quota.limit.window_ms,
                "thresholds": quota.limit.thresholds.iter().map(|(limit, _)| limit).collect::<Vec<_>>(),
                "highest": quota.peak,
                "highest_time": exact_time(quota.peak_time),
                "windows": quota.windows,
                "refused": quota.refused,
            })
        });
        let refusals = tally.refusals.iter().map(|((outcome, org, key), refused)| {
            json!({
                "reason": outcome,
                "org": org,
                "key": key,
                "requests": refused.count,
                "first": exact_time(refused.first),
                "last": exact_time(refused.last),
            })
        });
        json!({
            "config": self.name,
            "notes": self.notes,
            "requests": tally.requests,
            "first": exact_time(tally.first),
            "last": exact_time(tally.last),
            "outcomes": tally.outcomes,
            "messages": messages.collect::<Vec<_>>(),
            "crossings": crossings.collect::<Vec<_>>(),
            "crossings_not_listed": tally.more_crossings,
            "quotas": quotas.collect::<Vec<_>>(),
            "quotas_not_listed": tally.given_up,
            "refusals": refusals.collect::<Vec<_>>(),
        })
    }
}
