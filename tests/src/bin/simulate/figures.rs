//! What a simulation found.

use std::fmt::Write as _;

use anyhow::Result;

use crate::Size;
use crate::demand::Demand;

/// Values of which quantiles are asked.
#[derive(Default)]
pub(crate) struct Values(Vec<f32>);

impl Values {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value as f32);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which this part of them lies.
    pub(crate) fn quantile(&mut self, part: f64) -> f32 {
        self.0.sort_by(f32::total_cmp);
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
    }
}

#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    /// Refusals by a limit of which less was used than allowed.
    pub(crate) refused_early: u64,
    pub(crate) unavailable: u64,
    /// Requests beyond their limits.
    pub(crate) beyond: u64,
    /// What the limits allowed in windows that were over and in which clients asked for more, and what they got.
    pub(crate) allowed: u64,
    pub(crate) got: u64,
    /// Milliseconds that requests waited.
    pub(crate) waits: Values,
    pub(crate) calls: u64,
    pub(crate) scripts: u64,
    /// Script calls in each second to each shard.
    pub(crate) by_shard: Vec<Vec<u64>>,
    /// Script calls for the busiest key.
    pub(crate) of_first_key: u64,
    /// The part of a limit that was granted and not used, of the 1,000 keys with most requests, at every second, while
    /// they were at least half used.
    pub(crate) idle: Values,
    /// Milliseconds between a threshold and its report, and the requests meanwhile in percent of the limit.
    pub(crate) late: Values,
    pub(crate) late_by: Values,
    pub(crate) counters: usize,
    pub(crate) parts: usize,
    pub(crate) leases: usize,
    /// Requests without an answer by the store during an outage.
    pub(crate) in_outage: [u64; 3],
}

fn percent(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of.max(1) as f64
}

impl Figures {
    pub(crate) fn table(&mut self, size: &Size, demand: &Demand) -> Result<String> {
        let seconds = size.seconds as f64;
        let vms = (size.envoys * size.workers) as f64;
        let mut out = String::from("| figure | value |\n|---|---:|\n");
        let Figures { requests, admitted, refused, refused_early, unavailable, beyond, .. } = *self;
        writeln!(out, "| requests | {requests} |")?;
        writeln!(
            out,
            "| admitted; 403; 503 | {:.1} %; {:.1} %; {:.2} % |",
            percent(admitted, requests),
            percent(refused, requests),
            percent(unavailable, requests)
        )?;
        writeln!(
            out,
            "| refused although less than the limit was used | {:.2} % of the refusals |",
            percent(refused_early, refused)
        )?;
        writeln!(out, "| admitted beyond limits | {beyond} |")?;
        writeln!(out, "| of limits that clients used up, admitted | {:.1} % |", percent(self.got, self.allowed))?;
        let waits = self.waits.len() as u64;
        writeln!(out, "| requests that waited | {:.1} % |", percent(waits, requests))?;
        writeln!(
            out,
            "| their wait, ms: median, 99 %, longest | {:.1}, {:.1}, {:.1} |",
            self.waits.quantile(0.5),
            self.waits.quantile(0.99),
            self.waits.quantile(1.0)
        )?;
        writeln!(
            out,
            "| calls a second, of all; of a worker | {:.0}; {:.1} |",
            self.calls as f64 / seconds,
            self.calls as f64 / seconds / vms
        )?;
        writeln!(
            out,
            "| script calls a second; for an admitted request | {:.0}; {:.2} |",
            self.scripts as f64 / seconds,
            self.scripts as f64 / admitted.max(1) as f64
        )?;
        let busiest = self.by_shard.iter().flatten().max().copied().unwrap_or_default();
        let shards = size.shards as f64;
        writeln!(
            out,
            "| script calls a second to each of {} shards: mean, busiest second | {:.0}, {busiest} |",
            size.shards,
            self.scripts as f64 / seconds / shards
        )?;
        writeln!(out, "| script calls a second for the busiest key | {:.0} |", self.of_first_key as f64 / seconds)?;
        writeln!(
            out,
            "| counters in the store; workers in a counter | {}; {:.1} |",
            self.counters,
            self.parts as f64 / self.counters.max(1) as f64
        )?;
        writeln!(out, "| counters that a worker knows | {:.0} |", self.leases as f64 / vms)?;
        writeln!(
            out,
            "| of a limit, idle in stocks: median, 99 % | {:.2} %, {:.2} % |",
            self.idle.quantile(0.5),
            self.idle.quantile(0.99)
        )?;
        writeln!(
            out,
            "| thresholds late, ms: median, 99 %, most | {:.0}, {:.0}, {:.0} |",
            self.late.quantile(0.5),
            self.late.quantile(0.99),
            self.late.quantile(1.0)
        )?;
        writeln!(
            out,
            "| the same in requests, of the limit: median, 99 % | {:.2} %, {:.2} % |",
            self.late_by.quantile(0.5),
            self.late_by.quantile(0.99)
        )?;
        let [passed, limited, lost] = self.in_outage;
        let all = passed + limited + lost;
        if all > 0 {
            writeln!(
                out,
                "| during the outage, of the members cut off: 200; 403; 503 | {:.1} %; {:.1} %; {:.1} % |",
                percent(passed, all),
                percent(limited, all),
                percent(lost, all)
            )?;
        }
        writeln!(
            out,
            "| keys whose clients ask for more than their limit | {} |",
            (0..demand.len()).filter(|key| demand.is_limited(*key)).count()
        )?;
        Ok(out)
    }
}
