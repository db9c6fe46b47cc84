use proptest::prelude::*;
use smallvec::smallvec;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::host::Metric;
use crate::testing::MemoryHost;

const WINDOW: u64 = 1000;

fn quota(max: u64, limits: &[f64]) -> Quota {
    Quota::new(max, Some(WINDOW), limits.iter().map(|limit| Percent::new(*limit).unwrap()))
}

const ORG: u64 = 0;

fn own(key: &str) -> PageName<'_> {
    PageName::Kept(key)
}

fn on<'c>(org: Option<&'c Quota>, key_page: &'c str, subject: u64, key: Option<&'c Quota>) -> Charge<'c> {
    let org = org.map(|quota| ChargeLine { scope: LimitScope::OrgQuota, subject: ORG, quota, home: Home::Org });
    let key =
        key.map(|quota| ChargeLine { scope: LimitScope::KeyQuota, subject, quota, home: Home::OrgOr(own(key_page)) });
    Charge { org_page: Some("org"), lines: org.into_iter().chain(key).collect(), owner: None }
}

/// The remaining requests of the tightest quota.
fn left(charged: &Charged) -> u64 {
    charged.usages.iter().map(|(_, usage)| usage.remaining()).min().unwrap()
}

/// Fills the organisation's page so that further keys have pages of their own.
fn fill_org_page(host: &MemoryHost) {
    let quota = quota(u64::MAX, &[]);
    for subject in 1000..1000 + 30 {
        charge(host, &on(None, "unused", subject, Some(&quota)), UnixMillis(1)).unwrap();
    }
}

fn org_count(host: &MemoryHost) -> u64 {
    let page = Page::decode(crate::host::store::read(host, "org").unwrap(), PageKind::Kept).unwrap();
    page.find(ORG).map(|place| page.counter(place).count).unwrap_or_default()
}

fn counted<'c, 'l>(outcome: Result<Counted<'c, 'l>, StoreError>) -> (PageCharge<'c>, List<&'l ChargeLine<'c>>) {
    let counted = outcome.unwrap();
    assert_eq!(counted.page.charged.refused_by, None);
    (counted.page, counted.elsewhere)
}

#[test]
fn a_quota_admits_its_maximum_and_then_refuses() {
    let host = MemoryHost::default();
    let key = quota(3, &[]);
    for expected in [2, 1, 0] {
        let charged = charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(5)).unwrap();
        assert_eq!(charged.refused_by, None);
        assert_eq!(left(&charged), expected);
    }
    let charged = charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(5)).unwrap();
    assert_eq!(charged.refused_by, Some(LimitScope::KeyQuota));
    let usage = Usage { max: 3, count: 3, window_ms: Some(WINDOW), renews: Some(UnixMillis(1005)) };
    assert_eq!(charged.usages.as_slice(), [(LimitScope::KeyQuota, usage)]);
}

#[test]
fn a_window_starts_at_its_first_request_and_ends_on_time() {
    let host = MemoryHost::default();
    let key = quota(1, &[100.0]);
    let at = |now| charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(now)).unwrap();
    assert_eq!(at(300).crossings.len(), 1);
    assert_eq!(at(1299).refused_by, Some(LimitScope::KeyQuota));
    let renewed = at(1300);
    assert_eq!(renewed.refused_by, None);
    assert_eq!(renewed.usages[0].1.renews, Some(UnixMillis(2300)));
    assert_eq!(renewed.crossings.len(), 1, "a new window reports again");
    assert_eq!(at(400).refused_by, Some(LimitScope::KeyQuota), "a clock that steps back does not renew");
    assert_eq!(at(200).refused_by, None, "a window from a clock that was far ahead does not hold");
}

#[test]
fn a_quota_without_a_window_never_renews() {
    let host = MemoryHost::default();
    let key = Quota::new(1, None, []);
    assert_eq!(charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(1)).unwrap().refused_by, None);
    let later = charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(u64::MAX)).unwrap();
    assert_eq!((later.refused_by, later.usages[0].1.renews), (Some(LimitScope::KeyQuota), None));
}

#[test]
fn a_request_that_its_key_refuses_counts_on_neither_quota() {
    for split in [false, true] {
        let host = MemoryHost::default();
        if split {
            fill_org_page(&host);
        }
        let (org, key) = (quota(10, &[]), quota(2, &[]));
        for _ in 0..5 {
            charge(&host, &on(Some(&org), "k", 7, Some(&key)), UnixMillis(5)).unwrap();
        }
        assert_eq!(org_count(&host), 2, "split: {split}");
    }
}

#[test]
fn the_organisation_refuses_before_the_key() {
    for split in [false, true] {
        let host = MemoryHost::default();
        if split {
            fill_org_page(&host);
        }
        let (org, key) = (quota(1, &[]), quota(1, &[]));
        let first = charge(&host, &on(Some(&org), "k", 7, Some(&key)), UnixMillis(5)).unwrap();
        assert_eq!(first.refused_by, None);
        let second = charge(&host, &on(Some(&org), "k", 7, Some(&key)), UnixMillis(5)).unwrap();
        assert_eq!(second.refused_by, Some(LimitScope::OrgQuota), "split: {split}");
    }
}

#[test]
fn each_threshold_is_reported_once_although_refunds_move_the_count() {
    let host = MemoryHost::default();
    fill_org_page(&host);
    let org = quota(10, &[50.0]);
    let (open, closed) = (quota(100, &[]), quota(1, &[]));
    let mut reported = 0;
    let mut send = |key_page, subject, key| {
        let charged = charge(&host, &on(Some(&org), key_page, subject, Some(key)), UnixMillis(5)).unwrap();
        reported += charged.crossings.len();
    };
    send("closed", 8, &closed);
    for _ in 0..3 {
        send("open", 7, &open);
    }
    // Each of these takes the organisation from 4 to 5 and back. The threshold is not reached.
    for _ in 0..3 {
        send("closed", 8, &closed);
    }
    assert_eq!(org_count(&host), 4);
    send("open", 7, &open);
    assert_eq!(org_count(&host), 5);
    for _ in 0..3 {
        send("closed", 8, &closed);
    }
    send("open", 7, &open);
    assert_eq!(reported, 1);
}

#[test]
fn a_refused_request_reports_its_crossing_if_others_counted_past_it() {
    let host = MemoryHost::default();
    fill_org_page(&host);
    let (org, key) = (quota(2, &[50.0]), quota(1, &[]));
    let both = on(Some(&org), "k", 7, Some(&key));
    let lines: Vec<&ChargeLine<'_>> = both.lines.iter().collect();
    let (first, elsewhere) = counted(count_on(&host, own("org"), &lines, &[], UnixMillis(5)));
    assert_eq!(elsewhere.len(), 1);
    assert_eq!(first.charged.crossings.len(), 1);
    let other = charge(&host, &on(Some(&org), "k2", 9, Some(&key)), UnixMillis(5)).unwrap();
    assert!(other.crossings.is_empty(), "it was already reported for this one");
    assert_eq!(refund(&host, &first).len(), 1);
    assert_eq!(org_count(&host), 1);
}

#[test]
fn a_key_of_no_organisation_has_one_quota_wherever_it_goes() {
    let host = MemoryHost::default();
    let key = quota(2, &[]);
    let org = quota(10, &[]);
    let by = |org_page, has_quota: bool| {
        let org =
            has_quota.then_some(ChargeLine { scope: LimitScope::OrgQuota, subject: ORG, quota: &org, home: Home::Org });
        let key = ChargeLine { scope: LimitScope::KeyQuota, subject: 7, quota: &key, home: Home::Own(own("k")) };
        Charge { org_page, lines: org.into_iter().chain([key]).collect(), owner: None }
    };
    let outcomes = [by(Some("a"), true), by(Some("b"), false), by(None, false), by(Some("a"), true)]
        .map(|way| charge(&host, &way, UnixMillis(5)).unwrap().refused_by);
    assert_eq!(outcomes, [None, None, Some(LimitScope::KeyQuota), Some(LimitScope::KeyQuota)]);
}

/// All possible limits of a request, on three pages.
fn everything<'c>(limits: [&'c Quota; 5], shares: bool) -> Charge<'c> {
    let [org_rate, org_quota, key_rate, key_quota, api_rate] = limits;
    let key_home = || if shares { Home::OrgOr(own("k")) } else { Home::Own(own("k")) };
    let lines = smallvec![
        ChargeLine { scope: LimitScope::OrgRate, subject: 1, quota: org_rate, home: Home::Org },
        ChargeLine { scope: LimitScope::OrgQuota, subject: ORG, quota: org_quota, home: Home::Org },
        ChargeLine { scope: LimitScope::KeyRate, subject: 70, quota: key_rate, home: key_home() },
        ChargeLine { scope: LimitScope::KeyQuota, subject: 7, quota: key_quota, home: key_home() },
        ChargeLine { scope: LimitScope::ApiRate, subject: 2, quota: api_rate, home: Home::Own(own("a")) },
    ];
    Charge { org_page: Some("org"), lines, owner: None }
}

fn counts(host: &MemoryHost) -> u64 {
    ["org", "k", "a"]
        .iter()
        .map(|key| Page::decode(crate::host::store::read(host, key).unwrap(), PageKind::Kept).unwrap())
        .map(|page| [1, ORG, 70, 7, 2].iter().filter_map(|s| page.find(*s)).map(|p| page.counter(p).count).sum::<u64>())
        .sum()
}

#[test]
fn a_refused_request_counts_on_no_limit() {
    let scopes =
        [LimitScope::OrgRate, LimitScope::OrgQuota, LimitScope::KeyRate, LimitScope::KeyQuota, LimitScope::ApiRate];
    for shares in [true, false] {
        for (place, scope) in scopes.into_iter().enumerate() {
            let (wide, tight) = (quota(100, &[]), quota(3, &[]));
            let mut limits = [&wide; 5];
            limits[place] = &tight;
            let host = MemoryHost::default();
            for n in 0..10 {
                let charged = charge(&host, &everything(limits, shares), UnixMillis(5)).unwrap();
                assert_eq!(charged.refused_by, (n >= 3).then_some(scope), "{scope:?}");
            }
            assert_eq!(counts(&host), 15, "{scope:?}, shares: {shares}");
        }
    }
}

#[test]
fn an_unexpected_refusal_is_refunded_on_all_pages() {
    // Another VM takes the API's last request between the peek at its page and the count on it.
    let host = MemoryHost::default();
    let (wide, tight) = (quota(100, &[]), quota(1, &[]));
    let all = everything([&wide, &wide, &wide, &wide, &tight], false);
    let (first, rest): (Vec<&ChargeLine<'_>>, Vec<&ChargeLine<'_>>) =
        all.lines.iter().partition(|line| line.home == Home::Org);
    let (org, _) = counted(count_on(&host, own("org"), &first, &rest, UnixMillis(5)));
    charge(&host, &Charge { org_page: None, lines: smallvec![all.lines[4].clone()], owner: None }, UnixMillis(5))
        .unwrap();
    let api: Vec<&ChargeLine<'_>> = all.lines.iter().skip(4).collect();
    let refused = count_on(&host, own("a"), &api, &[], UnixMillis(5)).unwrap();
    assert_eq!(refused.page.charged.refused_by, Some(LimitScope::ApiRate));
    refund_all(&host, &[org]);
    assert_eq!(counts(&host), 1);
}

#[test]
fn a_subjects_own_page_that_is_full_of_others_is_an_error() {
    let host = MemoryHost::default();
    let key = quota(9, &[]);
    for subject in 0..32 {
        let line = ChargeLine { scope: LimitScope::KeyQuota, subject, quota: &key, home: Home::Own(own("k")) };
        charge(&host, &Charge { org_page: None, lines: smallvec![line], owner: None }, UnixMillis(5)).unwrap();
    }
    let line = ChargeLine { scope: LimitScope::KeyQuota, subject: 32, quota: &key, home: Home::Own(own("k")) };
    assert!(charge(&host, &Charge { org_page: None, lines: smallvec![line], owner: None }, UnixMillis(5)).is_err());
}

#[test]
fn a_used_up_key_never_takes_the_organisations_last_request() {
    let host = MemoryHost::default();
    fill_org_page(&host);
    let (org, key) = (quota(2, &[100.0]), quota(1, &[]));
    charge(&host, &on(Some(&org), "k", 7, Some(&key)), UnixMillis(5)).unwrap();
    let before = crate::host::store::read(&host, "org").unwrap();
    let refused = charge(&host, &on(Some(&org), "k", 7, Some(&key)), UnixMillis(5)).unwrap();
    assert_eq!((refused.refused_by, refused.crossings.len()), (Some(LimitScope::KeyQuota), 0));
    assert_eq!(crate::host::store::read(&host, "org").unwrap(), before);
}

#[test]
fn an_organisation_that_gets_a_quota_later_finds_room() {
    let host = MemoryHost::default();
    fill_org_page(&host);
    let org = quota(1, &[]);
    assert_eq!(charge(&host, &on(Some(&org), "k", 7, None), UnixMillis(5)).unwrap().refused_by, None);
    assert_eq!(
        charge(&host, &on(Some(&org), "k", 7, None), UnixMillis(5)).unwrap().refused_by,
        Some(LimitScope::OrgQuota)
    );
}

#[test]
fn a_page_that_does_not_decode_is_an_error_and_stays() {
    let host = MemoryHost::default();
    host.put("org", b"not ours").unwrap();
    let key = quota(1, &[]);
    let result = charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(5));
    assert!(matches!(result, Err(StoreError::Corrupt(_))));
    assert_eq!(host.metric(Metric::CorruptRecords), 1);
    assert_eq!(crate::host::store::read(&host, "org").unwrap(), Some(b"not ours".to_vec()));
}

#[test]
fn a_key_page_that_cannot_be_read_refunds_the_organisation() {
    let host = MemoryHost::default();
    fill_org_page(&host);
    host.put("k", b"not ours").unwrap();
    let (org, key) = (quota(9, &[]), quota(9, &[]));
    assert!(charge(&host, &on(Some(&org), "k", 7, Some(&key)), UnixMillis(5)).is_err());
    assert_eq!(org_count(&host), 0);
}

#[test]
fn lost_races_neither_lose_nor_double_a_count() {
    let host = MemoryHost::default();
    let key = quota(10, &[50.0]);
    let mut reported = 0;
    for _ in 0..10 {
        host.fail_next_writes(2);
        reported += charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(5)).unwrap().crossings.len();
    }
    assert_eq!(reported, 1);
    assert_eq!(
        charge(&host, &on(None, "k", 7, Some(&key)), UnixMillis(5)).unwrap().refused_by,
        Some(LimitScope::KeyQuota)
    );
}

proptest! {
    #[test]
    fn any_mix_admits_exactly_the_minimum_and_reports_each_threshold_once(
        split in any::<bool>(),
        org_max in 1_u64..30,
        key_max in 1_u64..30,
        requests in prop::collection::vec(0_u64..3, 1..80),
        limits in prop::collection::vec(1_u32..=100, 0..4),
    ) {
        let host = MemoryHost::default();
        if split {
            fill_org_page(&host);
        }
        let limits: Vec<f64> = limits.into_iter().map(f64::from).collect();
        let (org, key) = (quota(org_max, &limits), quota(key_max, &[]));
        let (mut per_key, mut total, mut reported) = ([0_u64; 3], 0_u64, Vec::new());
        for who in requests {
            let page = format!("k{who}");
            let charged = charge(&host, &on(Some(&org), &page, who + 1, Some(&key)), UnixMillis(5)).unwrap();
            let used = &mut per_key[usize::try_from(who).unwrap()];
            let expected = if total >= org_max { Some(LimitScope::OrgQuota) } else if *used >= key_max { Some(LimitScope::KeyQuota) } else { None };
            prop_assert_eq!(charged.refused_by, expected);
            if expected.is_none() {
                *used += 1;
                total += 1;
            }
            reported.extend(charged.crossings.iter().map(|crossing| crossing.count));
        }
        let mut expected: Vec<u64> =
            limits.iter().map(|limit| Percent::new(*limit).unwrap().count_of(org_max)).filter(|at| *at <= total).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(reported, expected);
    }
}

mod changes;
