//! Which thresholds have been reported in a window, whatever became of the limit since.
//!
//! An update can change a limit or its thresholds between any two requests, and while Envoy drains a listener the
//! workers count with the former and the new one at the same time. So a counter keeps no threshold, but what was
//! reported: *at least so many percent, when so many requests were counted*. A threshold has been reported when an
//! alert named at least its percentage at a count that is at least the threshold's:
//!
//! - 80 % of 10 rang. The quota becomes 100: 80 % of 100 rings at 80, because no alert was that late.
//! - 6 of 10 are counted. The quota becomes 7: 80 % of 7 rings at the next request, because no alert was that high.
//! - 80 % of 10 rang. A threshold of 50 is added: it stays silent, because a higher one rang at a higher count.
//!
//! Two alerts are kept. A limit alone needs one, since its thresholds ring in ascending order, and only a larger limit
//! can add a lower percentage. Two hold everything that two limits can have reported, so that each of their thresholds
//! rings once. Of a third limit in the same window the oldest alert is forgotten.

use super::Trigger;
use crate::base::Percent;

/// The alerts of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    /// The alert with the highest count.
    pub(super) latest: Alert,
    /// An earlier one, of a higher percentage.
    pub(super) higher: Alert,
}

/// "At least `percent` was reported when `count` requests had been counted"; zeros for none.
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
    /// Whether a threshold has been reported.
    pub(super) fn cover(&self, trigger: Trigger) -> bool {
        self.latest.covers(trigger) || self.higher.covers(trigger)
    }

    /// The highest percentage that was reported.
    pub(super) fn highest(&self) -> Option<Percent> {
        self.latest.percent.max(self.higher.percent)
    }

    /// Notes that a threshold is reported at this count.
    pub(super) fn add(&mut self, limit: Percent, count: u64) {
        let alert = Alert { percent: Some(limit), count };
        // The alert that stays is the latest of a higher percentage: the other one can say nothing that these do not.
        let earlier = [self.latest, self.higher].into_iter().find(|other| other.percent > alert.percent);
        *self = Alerts { latest: alert, higher: earlier.unwrap_or_default() };
    }

    /// Notes a further count while usage stays at or above what was reported, so that a limit which is raised a little
    /// does not report the same once more.
    pub(super) fn keep_up(&mut self, count: u64, max: u64) {
        let stays = |alert: Alert| alert.percent.is_some_and(|percent| percent.count_of(max) <= alert.count);
        let count = count.max(self.latest.count);
        if stays(self.higher) {
            *self = Alerts { latest: Alert { count, ..self.higher }, higher: Alert::default() };
        } else if stays(self.latest) {
            self.latest.count = count;
        }
    }

    /// Takes back an alert that was not sent, unless another one has been added since.
    pub(super) fn take_back(&mut self, limit: Percent, before: Alerts) -> bool {
        let is_last = self.latest.percent == Some(limit);
        if is_last {
            *self = before;
        }
        is_last
    }
}
