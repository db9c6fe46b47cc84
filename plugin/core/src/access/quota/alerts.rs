//! The thresholds that were reported in a window, even if the limit changes during it.
//!
//! An update can change a limit or its thresholds between any two requests. While Envoy drains a listener, the workers
//! count with the former and the new limit at the same time. So a counter stores no thresholds. It stores alerts: *at
//! least so many percent were reported when so many requests were counted*. A threshold counts as reported if an alert
//! has at least its percentage and at least the threshold's count:
//!
//! - 80 % of 10 was reported. The quota becomes 100: 80 % of 100 is reported at 80, because no alert has that count.
//! - 6 of 10 are counted. The quota becomes 7: 80 % of 7 is reported at the next request, because no alert has that
//!   percentage.
//! - 80 % of 10 was reported. A threshold of 50 is added: it is not reported, because a higher one was reported at a
//!   higher count.
//!
//! Two alerts are kept. A single limit needs one, because its thresholds are reported in ascending order, and only a
//! larger limit can add a lower percentage. Two alerts hold everything that two limits can have reported, so each of
//! their thresholds is reported once. If a third limit applies in the same window, the oldest alert is lost.

use super::Trigger;
use crate::base::Percent;

/// The alerts of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    /// The alert with the highest count.
    pub(super) latest: Alert,
    /// An earlier alert with a higher percentage.
    pub(super) higher: Alert,
}

/// "At least `percent` was reported when `count` requests were counted"; zeros mean no alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) percent: Option<Percent>,
    pub(super) count: u64,
}

impl Alert {
    fn covers(self, trigger: Trigger) -> bool {
        self.percent >= Some(trigger.limit) && self.count >= trigger.at
    }
}

impl Alerts {
    /// True if the threshold was reported.
    pub(super) fn cover(&self, trigger: Trigger) -> bool {
        self.latest.covers(trigger) || self.higher.covers(trigger)
    }

    /// The highest percentage that was reported.
    pub(super) fn highest(&self) -> Option<Percent> {
        self.latest.percent.max(self.higher.percent)
    }

    /// Records that a threshold is reported at this count.
    pub(super) fn add(&mut self, limit: Percent, count: u64) {
        let alert = Alert { percent: Some(limit), count };
        // Keep the latest alert of a higher percentage. The other one adds no information.
        let earlier = [self.latest, self.higher].into_iter().find(|other| other.percent > alert.percent);
        *self = Alerts { latest: alert, higher: earlier.unwrap_or_default() };
    }

    /// Records a further count while the usage stays at or above the reported percentage. So a slightly raised limit
    /// does not cause the same report again.
    pub(super) fn keep_up(&mut self, count: u64, max: u64) {
        let stays = |alert: Alert| alert.percent.is_some_and(|percent| percent.count_of(max) <= alert.count);
        let count = count.max(self.latest.count);
        if stays(self.higher) {
            *self = Alerts { latest: Alert { count, ..self.higher }, higher: Alert::default() };
        } else if stays(self.latest) {
            self.latest.count = count;
        }
    }

    /// Removes an alert that was not sent, unless another one was added since.
    pub(super) fn take_back(&mut self, limit: Percent, before: Alerts) -> bool {
        let is_last = self.latest.percent == Some(limit);
        if is_last {
            *self = before;
        }
        is_last
    }
}
