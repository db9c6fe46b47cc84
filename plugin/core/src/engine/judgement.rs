//! From a caller and its grant to a verdict: counted, refused by a limit, or not to be counted.

use crate::answer::Outcome;
use crate::caller::Caller;
use crate::config::Config;
use crate::notify::Occurrence;
use crate::pass::{Counters, Pass};
use crate::ports::Host;
use crate::quota::{Charged, charge};
use crate::route::{Api, ApiIndex};
use crate::session::Grant;
use crate::store::StoreError;
use crate::units::UnixMillis;

/// What became of a request, before anybody is told.
pub(super) struct Judgement {
    pub(super) outcome: Outcome,
    pub(super) charged: Charged,
    /// The counters that this pass was counted on, by scope and number.
    pub(super) counted: Counters,
}

/// Where a request is.
pub(super) struct Placed<'e> {
    pub(super) config: &'e Config,
    pub(super) api: &'e Api,
    pub(super) index: ApiIndex,
    pub(super) earlier: Option<&'e Pass>,
}

impl Judgement {
    pub(super) fn of(outcome: Outcome) -> Self {
        Judgement { outcome, charged: Charged::default(), counted: Counters::new() }
    }

    pub(super) fn count(
        host: &impl Host,
        place: &Placed<'_>,
        caller: &Caller<'_>,
        grant: Option<Grant<'_>>,
        now: UnixMillis,
    ) -> Self {
        let Placed { config, api, index, earlier } = *place;
        let mut due = caller.charge(config, api, grant);
        let before = earlier.map(|pass| pass.take(&mut due.lines, index, caller.org_index()));
        match charge(host, &due, now) {
            Ok(mut charged) => {
                let Some(scope) = charged.refused_by else {
                    charged.usages.extend(before.into_iter().flatten());
                    let counted = due.lines.iter().map(|line| (line.scope, line.subject)).collect();
                    return Judgement { outcome: Outcome::Admitted, charged, counted };
                };
                Judgement { outcome: Outcome::refused_by(scope), charged, counted: Counters::new() }
            }
            Err(error) => Judgement::uncounted(caller, &error),
        }
    }

    #[cold]
    #[inline(never)]
    fn uncounted(caller: &Caller<'_>, error: &StoreError) -> Self {
        log::error!("{} of {:?}: not counted, so refused: {error}", caller.fingerprint(), caller.org_id());
        Judgement::of(Outcome::CounterUnavailable)
    }

    /// Whether the request goes on, and nobody hears of it.
    pub(super) fn is_quiet(&self) -> bool {
        self.outcome == Outcome::Admitted && self.charged.crossings.is_empty()
    }

    /// Everything that somebody may want to hear of.
    #[cold]
    #[inline(never)]
    pub(super) fn occurrences(&self, api: &Api) -> Vec<Occurrence> {
        let refused = self.outcome.event().filter(|_| self.outcome != Outcome::MissingKey || api.fire_on_missing_key);
        let refused = refused.map(|(kind, message)| Occurrence::Refusal { kind, message, outcome: self.outcome });
        let crossings = self.charged.crossings.iter().map(|crossing| Occurrence::Crossing(*crossing));
        crossings.chain(refused).collect()
    }
}
