//! The results of a rehearsal: as a table, as JSON, and as an HTML page.

mod chart;
mod compare;
mod format;
mod json;
mod page;
mod table;

use std::path::PathBuf;

use tollbell_core::owners::Owner;

use super::change::Change;
use super::log::Troubles;
use super::settings::Keys;
use super::tally::{QuotaUse, Tally};

/// How many rows a table has.
const ROWS: usize = 20;

/// The results of all configurations.
pub(super) struct Report {
    runs: Vec<Run>,
    troubles: Troubles,
    keys: Keys,
}

/// The results of one configuration.
struct Run {
    /// The file, with its changes.
    name: String,
    tally: Tally,
    notes: Vec<String>,
}

impl Report {
    pub(super) fn new(
        files: &[(&PathBuf, &[Change])],
        results: Vec<(Tally, Vec<String>)>,
        troubles: &Troubles,
        keys: Keys,
    ) -> Self {
        let runs = files.iter().zip(results).map(|((path, changes), (tally, notes))| {
            let changes: String = changes.iter().map(|change| format!(" --set {change}")).collect();
            Run { name: format!("{}{changes}", path.display()), tally, notes }
        });
        Report { runs: runs.collect(), troubles: troubles.clone(), keys }
    }

    /// What a reader must know about the log.
    fn warnings(&self) -> Vec<String> {
        let Troubles { malformed, late, broken } = &self.troubles;
        let mut warnings: Vec<String> = broken.clone();
        for (fault, (count, first)) in malformed {
            warnings.push(format!("{} not used: {fault} (first: {first})", format::lines(*count)));
        }
        if let Some((count, first)) = late {
            let lines = format::lines(*count);
            warnings.push(format!(
                "{lines} more than a minute late, and used at the time of the line before (first: {first})"
            ));
        }
        let has_no_keys =
            |run: &Run| run.tally.outcomes.get("missing_key").is_some_and(|count| *count * 2 > run.tally.requests);
        if self.keys == Keys::Unnamed && self.runs.iter().any(has_no_keys) {
            warnings.push("most requests have no key: name the log's field with --key-field".to_owned());
        }
        warnings
    }
}

impl Run {
    /// The quotas with the highest use first.
    fn nearest(&self) -> Vec<&QuotaUse> {
        let mut quotas: Vec<&QuotaUse> = self.tally.quotas.iter().collect();
        let order = |a: &&QuotaUse, b: &&QuotaUse| {
            b.percent().total_cmp(&a.percent()).then(b.refused.cmp(&a.refused)).then(a.limit.owner.cmp(&b.limit.owner))
        };
        quotas.sort_by(order);
        quotas
    }

    /// The quotas to draw: of every organisation, and of the nearest keys.
    fn drawn(&self) -> Vec<&QuotaUse> {
        let nearest = self.nearest();
        let is_org = |quota: &&&QuotaUse| matches!(quota.limit.owner, Owner::Organisation(_));
        let orgs = nearest.iter().filter(is_org);
        orgs.chain(nearest.iter().filter(|quota| !is_org(quota)).take(ROWS)).copied().collect()
    }

    fn refused(&self) -> u64 {
        self.tally.refusals.values().map(|refused| refused.count).sum()
    }
}
