//! Limits and thresholds that change while requests are counted.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Requests, each with the limit and the thresholds at that time, and the thresholds that must be reported.
type Case<'c> = (&'c str, &'c [(u64, u64, &'c [f64], &'c [&'c str])]);

/// The number of requests under a limit with these thresholds, and the thresholds that are reported meanwhile.
const CASES: [Case<'_>; 15] = [
    ("lowered: the next request crosses the threshold", &[(6, 10, &[80.0], &[]), (1, 7, &[80.0], &["80"])]),
    ("lowered to the count: a refusal reports it", &[(6, 10, &[80.0], &[]), (2, 6, &[80.0], &["80"])]),
    ("lowered below the count: a refusal reports it", &[(6, 10, &[80.0], &[]), (3, 5, &[80.0, 50.0], &["80"])]),
    ("lowered, and the threshold is still ahead", &[(6, 10, &[80.0], &[]), (2, 9, &[80.0], &["80"])]),
    ("lowered after a report", &[(8, 10, &[80.0], &["80"]), (1, 9, &[80.0], &[])]),
    ("lowered: a higher one is crossed now", &[(80, 100, &[80.0, 90.0], &["80"]), (1, 85, &[80.0, 90.0], &["90"])]),
    ("raised: its threshold is reported again", &[(8, 10, &[80.0], &["80"]), (92, 100, &[80.0], &["80"])]),
    ("raised a little: usage never fell below", &[(10, 10, &[80.0], &["80"]), (2, 12, &[80.0], &[])]),
    ("raised and lowered again", &[(8, 10, &[80.0], &["80"]), (1, 100, &[80.0], &[]), (1, 10, &[80.0], &[])]),
    (
        "raised much, then lowered a little",
        &[(8, 10, &[80.0], &["80"]), (492, 1000, &[50.0], &["50"]), (1, 600, &[80.0], &["80"])],
    ),
    ("added below the count", &[(6, 10, &[], &[]), (1, 10, &[50.0], &["50"])]),
    ("added below a reported one", &[(8, 10, &[80.0], &["80"]), (1, 10, &[80.0, 50.0], &[])]),
    ("raised threshold", &[(8, 10, &[80.0], &["80"]), (2, 10, &[90.0], &["90"])]),
    ("lowered threshold", &[(6, 10, &[80.0], &[]), (2, 10, &[60.0], &["60"])]),
    ("several are crossed at once: the highest", &[(7, 100, &[50.0], &[]), (1, 10, &[50.0, 60.0, 75.0], &["75"])]),
];

fn send(host: &MemoryHost, quota: &Quota, split: bool) -> Vec<String> {
    let home = if split { Home::Own(own("k")) } else { Home::OrgOr(own("k")) };
    let line = ChargeLine { scope: LimitScope::KeyQuota, subject: 7, quota, home };
    let charge_on = Charge { org_page: Some("org"), lines: smallvec![line], owner: None };
    let charged = charge(host, &charge_on, UnixMillis(5)).unwrap();
    charged.crossings.iter().map(|crossing| crossing.limit.to_string()).collect()
}

#[test]
fn each_threshold_is_reported_when_it_is_crossed_however_a_limit_changes() {
    for split in [false, true] {
        for (name, phases) in CASES {
            let host = MemoryHost::default();
            for (requests, max, limits, expected) in phases {
                let quota = quota(*max, limits);
                let reported: Vec<String> = (0..*requests).flat_map(|_| send(&host, &quota, split)).collect();
                assert_eq!(reported, *expected, "{name}, {max}");
            }
        }
    }
}

#[test]
fn two_configurations_that_count_in_turn_report_each_threshold_once() {
    let host = MemoryHost::default();
    let (small, large) = (quota(120, &[50.0, 80.0, 100.0]), quota(200, &[25.0, 50.0, 80.0]));
    let mut reported = Vec::new();
    for n in 0..400 {
        let quota = if n % 2 == 0 { &small } else { &large };
        reported.extend(send(&host, quota, true).into_iter().map(|limit| (quota.max, limit)));
    }
    let expected = [(200, "25"), (120, "50"), (120, "80"), (200, "50"), (120, "100"), (200, "80")];
    assert_eq!(reported, expected.map(|(max, limit)| (max, limit.to_owned())));
}

#[test]
fn a_refusal_on_another_page_reports_the_threshold_of_a_lowered_limit() {
    // The organisation's page is counted first, and the key's own page is only peeked at.
    let host = MemoryHost::default();
    fill_org_page(&host);
    let org = quota(100, &[]);
    let (before, after) = (quota(10, &[80.0]), quota(4, &[80.0]));
    let mut reported = Vec::new();
    for n in 0..9 {
        let key = if n < 6 { &before } else { &after };
        let charged = charge(&host, &on(Some(&org), "k", 7, Some(key)), UnixMillis(5)).unwrap();
        assert_eq!(charged.refused_by.is_some(), n >= 6);
        reported.extend(charged.crossings.iter().map(|crossing| (n, crossing.count, crossing.max)));
    }
    assert_eq!(reported, [(6, 6, 4)]);
    assert_eq!(org_count(&host), 6);
}

#[test]
fn a_refunded_request_returns_the_report_of_a_lowered_limit() {
    let host = MemoryHost::default();
    fill_org_page(&host);
    let (wide, tight, key) = (quota(10, &[80.0]), quota(7, &[80.0]), quota(1, &[]));
    for n in 0..6 {
        charge(&host, &on(Some(&wide), "k", 100 + n, None), UnixMillis(5)).unwrap();
    }
    let both = on(Some(&tight), "k", 7, Some(&key));
    let lines: Vec<&ChargeLine<'_>> = both.lines.iter().collect();
    let (first, _) = counted(count_on(&host, own("org"), &lines, &[], UnixMillis(5)));
    assert_eq!(first.charged.crossings.len(), 1);
    assert!(refund(&host, &first).is_empty(), "it is returned");
    let next = charge(&host, &on(Some(&tight), "k", 8, Some(&key)), UnixMillis(5)).unwrap();
    assert_eq!(next.crossings.len(), 1, "and the next request reports it");
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    /// A request under one of the two current configurations.
    Request(usize),
    /// A request that another limit refuses after it was counted.
    Refunded(usize),
    /// One of the two configurations gets other thresholds.
    Configure(usize, Vec<u32>),
    WindowEnds,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_usize..2).prop_map(Step::Request),
        2 => (0_usize..2).prop_map(Step::Refunded),
        2 => (0_usize..2, prop::collection::vec(1_u32..=100, 0..4))
            .prop_map(|(which, limits)| Step::Configure(which, limits)),
        1 => Just(Step::WindowEnds),
    ];
    prop::collection::vec(step, 1..120)
}

/// A counter with unlimited memory for alerts, each with the count up to which it holds.
#[derive(Clone, Default)]
struct Model {
    count: u64,
    alerts: Vec<(Percent, u64)>,
}

impl Model {
    /// Whether the request is admitted, and the reported threshold.
    fn request(&mut self, max: u64, limits: &[Percent]) -> (bool, Option<Percent>) {
        let is_admitted = self.count < max;
        if is_admitted {
            self.count += 1;
            for (limit, until) in &mut self.alerts {
                if limit.count_of(max) <= *until {
                    *until = self.count.max(*until);
                }
            }
        }
        let passed = limits.iter().copied().filter(|limit| limit.count_of(max) <= self.count).max();
        let is_reported =
            |limit: Percent| self.alerts.iter().any(|(told, until)| *told >= limit && *until >= limit.count_of(max));
        let reported = passed.filter(|limit| !is_reported(*limit));
        self.alerts.extend(reported.map(|limit| (limit, self.count)));
        (is_admitted, reported)
    }

    /// A request that is refunded. The next request reports what it would have reported.
    fn refunded(&mut self, max: u64, limits: &[Percent]) {
        let before = self.clone();
        match self.request(max, limits) {
            (true, None) => self.count = before.count,
            (true, Some(_)) => *self = before,
            (false, _) => {}
        }
    }
}

proptest! {
    /// With two limits in a window and any thresholds in turn, the reports are the same as with unlimited memory.
    #[test]
    fn a_random_history_reports_the_same_as_the_model(
        maxima in prop::array::uniform2(1_u64..40),
        steps in steps(),
        split in any::<bool>(),
    ) {
        let host = MemoryHost::default();
        let percents = |limits: &[u32]| -> Vec<Percent> {
            limits.iter().map(|limit| Percent::new(f64::from(*limit)).unwrap()).collect()
        };
        let mut limits = [percents(&[50, 80]), percents(&[80])];
        let (mut now, mut window, mut model) = (UnixMillis(5), None, Model::default());
        for step in steps {
            let (which, is_refunded) = match step {
                Step::Configure(which, new) => {
                    limits[which] = percents(&new);
                    continue;
                }
                Step::WindowEnds => {
                    now = now.plus(WINDOW);
                    continue;
                }
                Step::Request(which) => (which, false),
                Step::Refunded(which) => (which, true),
            };
            if window.is_none_or(|started| now.since(started) >= WINDOW) {
                (window, model) = (Some(now), Model::default());
            }
            let quota = Quota::new(maxima[which], Some(WINDOW), limits[which].clone());
            let home = if split { Home::Own(own("k")) } else { Home::OrgOr(own("k")) };
            let line = ChargeLine { scope: LimitScope::KeyQuota, subject: 7, quota: &quota, home };
            if is_refunded {
                let page = own(if split { "k" } else { "org" });
                let counted = count_on(&host, page, &[&line], &[], now).unwrap().page;
                if counted.charged.refused_by.is_none() {
                    prop_assert!(refund(&host, &counted).is_empty(), "no other request counted past it");
                }
                model.refunded(quota.max, &limits[which]);
                continue;
            }
            let charged = charge(&host, &Charge { org_page: Some("org"), lines: smallvec![line], owner: None }, now).unwrap();
            let (is_admitted, reported) = model.request(quota.max, &limits[which]);
            prop_assert_eq!(charged.refused_by.is_none(), is_admitted);
            let crossings: Vec<Percent> = charged.crossings.iter().map(|crossing| crossing.limit).collect();
            prop_assert_eq!(crossings, reported.into_iter().collect::<Vec<_>>());
        }
    }
}
