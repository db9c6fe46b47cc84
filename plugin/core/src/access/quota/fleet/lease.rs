//! One counter of the fleet, as one VM knows it.
//!
//! Let the *grant* be what this VM may admit in the window. It rises only by the reply to the VM's latest call, and the
//! VM lowers it before it tells the store. So the grant is never more than the claim that the store has of this VM, the
//! claims together are never more than the limit, and so no more requests than the limit are admitted.

use super::super::{Charged, LimitScope, Notice, Owner, Quota, QuotaChange, QuotaNews, Usage, Usages};
use crate::base::{Percent, UnixMillis, fingerprint};
use crate::store::Reply;

/// The smallest number of requests that a VM asks for when it reads ahead.
const MIN_AHEAD: u64 = 8;

/// The largest one.
const MAX_AHEAD: u64 = 4096;

/// How long the store's answer holds that a limit is used up. A request that was granted but did not happen is given
/// back.
const USED_UP_MS: u64 = 500;

/// How long its answer holds that all requests are granted, but not all used. Other VMs give back what they do not need
/// when they see that.
const ALL_GRANTED_MS: u64 = 100;

/// How long after an alert came this VM confirms it: until then its message is in the fleet's outbox. If the VM dies
/// before, another one gets the alert.
const CONFIRM_MS: u64 = 1000;

/// The time after its last use after which a VM gives back what it holds.
const IDLE_MS: u64 = 1000;

/// The numbers of a line in a reply before its alerts, and those of an alert: see `lease.lua`.
const NUMBERS: usize = 11;
const ALERT_NUMBERS: usize = 4;

/// The kinds of alerts.
const CROSSED: u64 = 1;
const FORETOLD: u64 = 3;

/// The store's answer about a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Granted,
    UsedUp,
    AllGranted,
}

/// A counter and this VM's part of it.
#[derive(Debug)]
pub struct Lease {
    /// The counter's key in the store.
    pub key: String,
    pub scope: LimitScope,
    pub quota: Quota,
    owner: Owner,
    /// False if a request waits for the store each time.
    reads_ahead: bool,
    /// The start of the window on the store's clock, which also is its name; 0 if this VM knows no window.
    start: u64,
    /// The end of the window on this VM's clock; `None` if it never ends.
    ends: Option<UnixMillis>,
    /// Requests that this VM admitted in the window.
    used: u64,
    /// Requests that it may admit in the window.
    grant: u64,
    /// The part of `used` that the store knows.
    reported: u64,
    /// True if a call may have run whose reply did not come, or if the store does not know yet that this VM got an
    /// alert. The next call settles it.
    is_unsettled: bool,
    /// The number of the call up to which this VM confirms alerts.
    confirmed: u64,
    /// The call to be confirmed next, and when its alerts came.
    heard: Option<(UnixMillis, u64)>,
    /// The alerts that came and are not confirmed yet: each reply repeats them.
    told: Vec<[u64; ALERT_NUMBERS]>,
    /// Requests that it asks for in the next call, and the part of them that wait.
    want: u64,
    need: u64,
    /// True if the store gave less than the VM asked for, because little is left.
    is_scarce: bool,
    /// True if the call in flight contains this counter.
    in_call: bool,
    /// At the last reply: granted to all VMs, used by all, and how many VMs count on it.
    granted_to_all: u64,
    used_by_all: u64,
    lessees: u64,
    verdict: Verdict,
    answered: UnixMillis,
    /// When the last reply came.
    settled: UnixMillis,
    /// True if another VM found all requests granted, but not all used.
    is_hungry: bool,
    /// Requests since the last report, and in the interval before.
    recent: u64,
    recent_before: u64,
    last_used: UnixMillis,
    /// Requests admitted while the store could not be reached and no window of it was known, and the end of the window
    /// that this VM made for them.
    lent: u64,
    lent_until: UnixMillis,
}

impl Lease {
    pub fn new(key: String, (scope, quota): (LimitScope, &Quota), owner: Owner, reads_ahead: bool) -> Self {
        Lease {
            key,
            scope,
            quota: quota.clone(),
            owner,
            reads_ahead,
            start: 0,
            ends: None,
            used: 0,
            grant: 0,
            reported: 0,
            is_unsettled: false,
            confirmed: 0,
            heard: None,
            told: Vec::new(),
            want: 0,
            need: 0,
            is_scarce: false,
            in_call: false,
            granted_to_all: 0,
            used_by_all: 0,
            lessees: 0,
            verdict: Verdict::Granted,
            answered: UnixMillis(0),
            settled: UnixMillis(0),
            is_hungry: false,
            recent: 0,
            recent_before: 0,
            last_used: UnixMillis(0),
            lent: 0,
            lent_until: UnixMillis(0),
        }
    }

    /// True if the window has ended, or this VM knows none.
    fn is_over(&self, now: UnixMillis) -> bool {
        self.start == 0 || self.ends.is_some_and(|ends| now >= ends)
    }

    /// The number of requests that can be admitted now.
    pub fn stock(&self, now: UnixMillis) -> u64 {
        if self.is_over(now) { 0 } else { self.grant.saturating_sub(self.used) }
    }

    /// True if the store has said what it knows since then.
    pub fn is_known(&self, since: UnixMillis) -> bool {
        self.settled >= since
    }

    /// Admits a request.
    pub fn take(&mut self, now: UnixMillis) {
        self.used = self.used.saturating_add(1);
        self.recent = self.recent.saturating_add(1);
        self.last_used = now;
    }

    /// True if the store's last answer refuses a request, and still holds.
    pub fn refuses(&self, now: UnixMillis) -> bool {
        let holds_ms = match self.verdict {
            Verdict::Granted => return false,
            Verdict::UsedUp => USED_UP_MS,
            Verdict::AllGranted => ALL_GRANTED_MS,
        };
        !self.is_over(now) && now.since(self.answered) < holds_ms
    }

    /// True if the store's last answer refused a request, in this window.
    pub fn has_refused(&self, now: UnixMillis) -> bool {
        self.verdict != Verdict::Granted && !self.is_over(now)
    }

    /// True if the VM should ask for more before it needs it.
    pub fn is_low(&self, now: UnixMillis) -> bool {
        self.reads_ahead
            && self.want == 0
            && !self.in_call
            && !self.is_hungry
            && !self.is_scarce
            && self.verdict == Verdict::Granted
            && self.stock(now) <= self.ahead() / 2
    }

    /// The number of requests that the VM asks for, if `needed` requests wait: what it needs in about a second.
    fn ahead(&self) -> u64 {
        self.recent.max(self.recent_before).saturating_mul(2).clamp(MIN_AHEAD, MAX_AHEAD)
    }

    /// Asks for at least `needed` requests with the next call.
    pub fn ask(&mut self, needed: u64) {
        let ahead = if self.reads_ahead && !self.is_hungry { self.ahead() } else { 0 };
        self.need = self.need.max(needed);
        self.want = self.want.max(needed).max(ahead);
    }

    /// Whether the VM has something to tell the store at its regular report. What it no longer needs is given back: the
    /// grant is lowered here, before the store hears of it.
    pub fn is_due(&mut self, now: UnixMillis) -> bool {
        self.recent_before = std::mem::take(&mut self.recent);
        let is_idle = now.since(self.last_used) >= IDLE_MS;
        let gives_back = self.grant > self.used && (is_idle || self.is_hungry || self.is_over(now));
        if gives_back && !self.in_call {
            self.grant = self.used;
        }
        self.is_unsettled || self.start > 0 && (gives_back || self.used != self.reported)
    }

    /// Gives back everything, because the VM will not count any more.
    pub fn give_back(&mut self) -> bool {
        let has_news = self.start > 0 && (self.grant != self.used || self.used != self.reported);
        (self.grant, self.want, self.need) = (self.used, 0, 0);
        has_news
    }

    /// True if the VM can forget it: nothing is used or held that the store does not know.
    pub fn is_settled(&self, now: UnixMillis) -> bool {
        let is_idle = now.since(self.last_used) >= 4 * IDLE_MS;
        !self.in_call
            && !self.is_unsettled
            && self.want == 0
            && is_idle
            && self.grant == self.used
            && self.used == self.reported
            && (self.lent == 0 || now >= self.lent_until)
    }

    /// The values of its line in a call: see `lease.lua`. They are fixed when the call starts.
    pub fn line(&mut self, call: u64, now: UnixMillis, arguments: &mut Vec<String>) -> Sent {
        let alerts = self.quota.triggers.iter().map(|at| format!("{}:{}", at.at, at.limit.millionths()));
        let alerts = alerts.collect::<Vec<_>>().join(",");
        if self.is_over(now) {
            self.grant = self.used;
        }
        if let Some((_, heard)) = self.heard.take_if(|(at, _)| now.since(*at) >= CONFIRM_MS) {
            self.confirmed = heard;
        }
        let window = self.quota.window_ms.unwrap_or_default();
        let claim = self.grant.max(self.used);
        let numbers = [self.quota.max, window, call, self.start, self.used, claim, self.want, self.need];
        arguments.extend(numbers.map(|number| number.to_string()));
        arguments.push(if self.reads_ahead { "1" } else { "0" }.to_owned());
        arguments.push(alerts);
        arguments.push(self.confirmed.to_string());
        let forecast =
            self.quota.forecast.map(|forecast| (forecast.within_ms, forecast.min_used.count_of(self.quota.max)));
        let (within, from) = forecast.unwrap_or_default();
        arguments.extend([within, from].map(|number| number.to_string()));
        self.in_call = true;
        self.need = 0;
        Sent { used: self.used, claim, want: std::mem::take(&mut self.want) }
    }

    /// Takes over the store's answer to the call of that number, which was sent at `sent`.
    ///
    /// # Errors
    /// The reply is not one of `lease.lua`.
    pub fn settle(
        &mut self,
        (call, sent, line): (u64, UnixMillis, &Sent),
        clock: u64,
        numbers: &[u64],
        now: UnixMillis,
        notices: &mut Vec<Notice>,
    ) -> Result<(), BadReply> {
        let Some((numbers, reported_alerts)) = numbers.split_first_chunk::<NUMBERS>() else { return Err(BadReply) };
        let &[seq, start, end, used, claim, granted, used_by_all, lessees, verdict, hungry, _] = numbers;
        if seq != call {
            return Err(BadReply);
        }
        (self.in_call, self.is_unsettled, self.settled) = (false, false, now);
        if verdict == 2 {
            return Ok(());
        }
        let is_same = start == self.start;
        let given = claim.saturating_sub(if is_same { line.claim } else { used });
        if is_same {
            self.grant = claim;
        } else {
            // What passed before the window was known is reported with it.
            let lent = if now < self.lent_until { std::mem::take(&mut self.lent) } else { 0 };
            (self.start, self.used, self.grant) = (start, used.saturating_add(lent), claim.saturating_add(lent));
            // The window lasts from now on at the store, and this VM knows of it since it asked.
            self.ends = (end > 0).then(|| sent.plus(end.saturating_sub(clock)));
        }
        self.reported = if is_same { line.used } else { used };
        (self.granted_to_all, self.used_by_all, self.lessees) = (granted, used_by_all, lessees);
        if line.want > 0 {
            self.is_scarce = given < line.want.min(MIN_AHEAD);
            self.verdict = match verdict {
                0 => Verdict::UsedUp,
                3 => Verdict::AllGranted,
                _ => Verdict::Granted,
            };
            self.answered = now;
        }
        self.is_hungry = hungry > 0;
        self.is_unsettled = !reported_alerts.is_empty();
        if self.is_unsettled && self.heard.is_none() {
            self.heard = Some((now, call));
        }
        let reported: Vec<_> =
            reported_alerts.chunks_exact(ALERT_NUMBERS).filter_map(|alert| alert.first_chunk().copied()).collect();
        let before = std::mem::replace(&mut self.told, reported);
        for alert in self.told.iter().filter(|alert| !before.contains(alert)) {
            let [kind, percent, count, start] = *alert;
            let limit = u32::try_from(percent).ok().and_then(Percent::from_millionths);
            let change = match (kind, limit) {
                (FORETOLD, _) => QuotaChange::Foretold(sent.plus(percent.saturating_sub(clock))),
                (CROSSED, Some(limit)) => QuotaChange::Crossed(limit),
                (_, Some(limit)) => QuotaChange::Renewed(limit),
                (_, None) => continue,
            };
            let news = QuotaNews { scope: self.scope, change, count, max: self.quota.max };
            let facts = alert.map(|number| number.to_string()).join(" ");
            let id = format!("{:016x}{start:015x}", fingerprint(&[&self.key, &facts]));
            notices.push(Notice { id, owner: self.owner.clone(), news });
        }
        Ok(())
    }

    /// The call may or may not have run.
    pub fn lose_call(&mut self) {
        (self.in_call, self.is_unsettled) = (false, true);
    }

    /// The usage as this VM knows it: never below the truth by more than what other VMs have used since their reports.
    pub fn usage(&self, now: UnixMillis) -> Usage {
        let unreported = if self.reads_ahead { self.used.saturating_sub(self.reported) } else { 0 };
        let count = if self.is_over(now) { 0 } else { self.used_by_all.saturating_add(unreported) };
        let renews = self.ends.filter(|_| !self.is_over(now));
        let renews = renews.or_else(|| self.quota.window_ms.map(|window| now.plus(window)));
        let Quota { max, window_ms, .. } = self.quota;
        Usage { max, count: count.min(max), window_ms, renews }
    }

    /// The refusal by this limit. It shows that nothing is left.
    pub fn refusal(&self, now: UnixMillis) -> Charged {
        let usage = Usage { count: self.quota.max, ..self.usage(now) };
        Charged { refused_by: Some(self.scope), usages: Usages::from_iter([(self.scope, usage)]), ..Charged::default() }
    }

    /// Whether a request may pass without a grant, because the store cannot be reached: within this VM's share of what
    /// the store had not granted when it last answered. A VM that never got an answer has no share.
    pub fn can_lend(&self, now: UnixMillis) -> bool {
        if !self.is_over(now) {
            let left = self.quota.max.saturating_sub(self.granted_to_all);
            return self.used < self.grant.saturating_add(self.share_of(left));
        }
        let lent = if now >= self.lent_until { 0 } else { self.lent };
        lent < self.share_of(self.quota.max)
    }

    /// Admits a request without a grant.
    pub fn lend(&mut self, now: UnixMillis) {
        if !self.is_over(now) {
            return self.take(now);
        }
        if now >= self.lent_until {
            self.lent = 0;
            self.lent_until = now.plus(self.quota.window_ms.unwrap_or(u64::MAX));
        }
        self.lent = self.lent.saturating_add(1);
    }

    fn share_of(&self, left: u64) -> u64 {
        left.checked_div(self.lessees).unwrap_or_default()
    }
}

/// What a line said when its call was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    used: u64,
    claim: u64,
    want: u64,
}

/// A reply that is not one of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply;

/// The store's clock and the numbers of each line.
pub fn read_reply(reply: &Reply) -> Option<(u64, Vec<u64>)> {
    let mut numbers = reply.numbers()?;
    if numbers.is_empty() {
        return None;
    }
    let clock = numbers.remove(0);
    Some((clock, numbers))
}

/// The numbers of one line after another.
pub fn lines(mut numbers: &[u64]) -> impl Iterator<Item = &[u64]> {
    std::iter::from_fn(move || {
        let alerts = usize::try_from(*numbers.get(NUMBERS.saturating_sub(1))?).unwrap_or(usize::MAX);
        let length = NUMBERS.saturating_add(alerts.saturating_mul(ALERT_NUMBERS));
        let (line, rest) = numbers.split_at_checked(length)?;
        numbers = rest;
        Some(line)
    })
}
