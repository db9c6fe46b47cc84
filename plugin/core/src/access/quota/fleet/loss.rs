//! What happens to requests while the store cannot be reached and the stock is used up.

use super::FleetCounters;
use crate::access::quota::ChargeResult;
use crate::access::quota::ledger::{Charged, Usages};
use crate::base::UnixMillis;
use crate::host::{Metric, Metrics, StoreError};

/// The policy for a store that cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// Each VM admits its share of the last known rest.
    #[default]
    Share,
    /// 503.
    Refuse,
    /// All requests pass.
    Admit,
}

impl FleetCounters {
    /// Decides without the store. What a limit still has in stock is used first.
    pub(super) fn without_store(&mut self, host: &impl Metrics, limits: &[u64], now: UnixMillis) -> ChargeResult {
        if let Some(charged) = self.decide(limits, now) {
            return Ok(charged);
        }
        host.count(Metric::StoreLost);
        if self.settings.on_loss == OnLoss::Refuse {
            return Err(StoreError::Late);
        }
        let is_unlimited = self.settings.on_loss == OnLoss::Admit;
        let mut leases = limits.iter().filter_map(|place| self.leases.get(place));
        if !is_unlimited && !leases.all(|lease| lease.stock(now) > 0 || lease.can_lend(now)) {
            return Err(StoreError::Late);
        }
        let mut usages = Usages::new();
        for place in limits {
            let Some(lease) = self.leases.get_mut(place) else { continue };
            if lease.stock(now) > 0 {
                lease.take(now);
            } else {
                lease.lend(now);
            }
            usages.push((lease.scope, lease.usage(now)));
        }
        Ok(Charged { usages, ..Charged::default() })
    }
}
