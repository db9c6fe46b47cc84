//! From a caller and its grant to a verdict: counted, refused by a limit, or not to be counted.

use std::task::Poll;

use crate::access::{
    Access, Api, ApiIndex, Caller, Charge, ChargeResult, Charged, CountedOn, Grant, MakeOwner, Pass, RequestOutcome,
};
use crate::host::StoreError;
use crate::notify::{Incident, incident::owner};

/// The result for a request, before anyone is notified.
pub(super) struct Judgement {
    pub(super) outcome: RequestOutcome,
    pub(super) charged: Charged,
    /// The counters that this pass counted on, by scope and number.
    pub(super) counted: CountedOn,
}

/// The API of a request, with its organisation.
pub(super) struct Placed<'e> {
    pub(super) access: &'e Access,
    pub(super) api: &'e Api,
    pub(super) index: ApiIndex,
    pub(super) earlier: Option<&'e Pass>,
    /// True if events show a key's fingerprint.
    pub(super) hash_keys: bool,
}

impl Judgement {
    pub(super) fn of(outcome: RequestOutcome) -> Self {
        Judgement { outcome, charged: Charged::default(), counted: CountedOn::new() }
    }

    /// Pending if the store of counters answers later.
    pub(super) fn count(
        charge: &mut dyn FnMut(&Charge<'_>) -> Poll<ChargeResult>,
        place: &Placed<'_>,
        caller: &Caller<'_>,
        grant: Option<Grant<'_>>,
    ) -> Poll<Self> {
        let Placed { access, api, index, earlier, hash_keys } = *place;
        let owner = || owner(hash_keys, api, caller);
        let mut due = caller.charge(access, api, grant);
        let before = earlier.map(|pass| pass.take(&mut due.lines, index, caller.org_index()));
        due.owner = Some(MakeOwner(&owner));
        charge(&due).map(|charged| match charged {
            Ok(mut charged) => {
                let Some(scope) = charged.refused_by else {
                    charged.usages.extend(before.into_iter().flatten());
                    let counted = due.lines.iter().map(|line| (line.scope, line.subject)).collect();
                    return Judgement { outcome: RequestOutcome::Admitted, charged, counted };
                };
                Judgement { outcome: RequestOutcome::refused_by(scope), charged, counted: CountedOn::new() }
            }
            Err(error) => Judgement::uncounted(caller, &error),
        })
    }

    #[cold]
    #[inline(never)]
    fn uncounted(caller: &Caller<'_>, error: &StoreError) -> Self {
        // The store of a fleet logs once that it fails.
        if *error != StoreError::Late {
            log::error!("{} of {:?}: not counted, so refused: {error}", caller.fingerprint(), caller.org_id());
        }
        Judgement::of(RequestOutcome::CounterUnavailable)
    }

    /// True if the request passes and no one is notified.
    pub(super) fn is_quiet(&self) -> bool {
        self.outcome == RequestOutcome::Admitted && self.charged.crossings.is_empty() && self.charged.others.is_empty()
    }

    /// All incidents that someone may have to be notified of.
    #[cold]
    #[inline(never)]
    pub(super) fn incidents(&self, api: &Api) -> Vec<Incident> {
        let refused =
            self.outcome.event().filter(|_| self.outcome != RequestOutcome::MissingKey || api.fire_on_missing_key);
        let refused = refused.map(|(kind, message)| Incident::Refusal { kind, message, outcome: self.outcome });
        let crossings = self.charged.crossings.iter().map(|crossing| (*crossing).into());
        let of_quotas = self.charged.others.iter().copied().chain(crossings).map(Incident::Quota);
        of_quotas.chain(refused).collect()
    }
}
