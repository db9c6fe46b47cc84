//! The headers that show a client its limits.

use crate::access::quota::{LimitScope, Usage};
use crate::base::UnixMillis;

/// The form of the headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitHeaders {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` of the tighter quota. If only rates apply, the values are -1, 0
    /// and 0, as in Tyk.
    #[default]
    Legacy,
    /// `X-RateLimit-*` of the tighter rate, as in Tyk with `rate_limit_response_headers: rate_limits`.
    LegacyRates,
    /// `RateLimit-Policy` and `RateLimit` of every limit (draft-ietf-httpapi-ratelimit-headers-10).
    Ietf,
    /// Both `Legacy` and `Ietf`.
    Both,
    /// No headers. A refused request still gets its `Retry-After`.
    None,
}

impl LimitHeaders {
    /// Reads the word in the configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "legacy" => LimitHeaders::Legacy,
            "legacy_rates" => LimitHeaders::LegacyRates,
            "ietf" => LimitHeaders::Ietf,
            "both" => LimitHeaders::Both,
            "none" => LimitHeaders::None,
            _ => return None,
        })
    }

    /// True if the headers say how many seconds remain in a window.
    pub fn tells_time(self) -> bool {
        matches!(self, LimitHeaders::Ietf | LimitHeaders::Both)
    }

    /// Calls `show` with each header of an answer to a request that was counted on these limits. Names are in lower
    /// case.
    pub fn show(self, usages: &[(LimitScope, Usage)], now: UnixMillis, mut show: impl FnMut(&'static str, &str)) {
        match self {
            LimitHeaders::Legacy | LimitHeaders::Both if !usages.is_empty() => match tightest(usages, false) {
                Some(quota) => show_legacy(quota, &mut show),
                None => NO_QUOTA.into_iter().for_each(|(name, value)| show(name, value)),
            },
            LimitHeaders::LegacyRates => {
                if let Some(rate) = tightest(usages, true) {
                    show_legacy(rate, &mut show);
                }
            }
            _ => {}
        }
        if self.tells_time() && !usages.is_empty() {
            show_ietf(usages, now, &mut show);
        }
    }

    /// The headers of a refusal by this limit.
    pub fn of_refusal(self, refused_by: &(LimitScope, Usage), now: UnixMillis) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        let mut add = |name, value: &str| headers.push((name, value.to_owned()));
        if matches!(self, LimitHeaders::Legacy | LimitHeaders::LegacyRates | LimitHeaders::Both) {
            show_legacy(&refused_by.1, &mut add);
        }
        if self.tells_time() {
            show_ietf(std::slice::from_ref(refused_by), now, &mut add);
        }
        headers
    }
}

/// Tyk's headers for a key that has a rate and an unlimited quota.
const NO_QUOTA: [(&str, &str); 3] =
    [("x-ratelimit-limit", "-1"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "0")];

/// The quota, or the rate, that has the fewest requests left. If two have the same number, the one that renews later.
fn tightest(usages: &[(LimitScope, Usage)], of_rates: bool) -> Option<&Usage> {
    let later = |usage: &Usage| std::cmp::Reverse(usage.renews.unwrap_or(UnixMillis(u64::MAX)));
    let wanted = usages.iter().filter(|(scope, _)| scope.is_rate() == of_rates).map(|(_, usage)| usage);
    wanted.min_by_key(|usage| (usage.remaining(), later(usage)))
}

/// A quota that never renews has no `X-RateLimit-Reset`.
fn show_legacy(usage: &Usage, show: &mut impl FnMut(&'static str, &str)) {
    let mut digits = itoa::Buffer::new();
    show("x-ratelimit-limit", digits.format(usage.max));
    show("x-ratelimit-remaining", digits.format(usage.remaining()));
    if let Some(renews) = usage.renews {
        show("x-ratelimit-reset", digits.format(renews.as_secs_ceil()));
    }
}

#[cold]
#[inline(never)]
fn show_ietf(usages: &[(LimitScope, Usage)], now: UnixMillis, show: &mut impl FnMut(&'static str, &str)) {
    show("ratelimit-policy", &list(usages, policy));
    show("ratelimit", &list(usages, |scope, usage| service(scope, usage, now)));
}

fn list(usages: &[(LimitScope, Usage)], item: impl Fn(LimitScope, &Usage) -> String) -> String {
    usages.iter().map(|(scope, usage)| item(*scope, usage)).collect::<Vec<_>>().join(", ")
}

/// Windows are whole seconds in this header: a window of 500 ms is shown as 1 s.
fn policy(scope: LimitScope, usage: &Usage) -> String {
    let window = usage.window_ms.map(|window| format!(";w={}", window.div_ceil(1000)));
    format!("\"{}\";q={}{}", scope.name(), usage.max, window.unwrap_or_default())
}

fn service(scope: LimitScope, usage: &Usage, now: UnixMillis) -> String {
    let reset = usage.renews.map(|renews| format!(";t={}", renews.since(now).div_ceil(1000)));
    format!("\"{}\";r={}{}", scope.name(), usage.remaining(), reset.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn usage(max: u64, count: u64, window_ms: Option<u64>) -> Usage {
        Usage { max, count, window_ms, renews: window_ms.map(|window| UnixMillis(10_000).plus(window)) }
    }

    #[test]
    fn each_form_has_its_headers() {
        let usages = [
            (LimitScope::OrgQuota, usage(1000, 10, Some(86_400_000))),
            (LimitScope::KeyRate, usage(5, 5, Some(500))),
            (LimitScope::KeyQuota, usage(100, 10, None)),
        ];
        let now = UnixMillis(10_200);
        let text = |form: LimitHeaders, usages: &[(LimitScope, Usage)]| {
            let mut lines = Vec::new();
            form.show(usages, now, |name, value| lines.push(format!("{name}: {value}")));
            lines
        };
        let legacy = ["x-ratelimit-limit: 100", "x-ratelimit-remaining: 90"];
        let ietf = [
            "ratelimit-policy: \"organisation-quota\";q=1000;w=86400, \"rate\";q=5;w=1, \"quota\";q=100",
            "ratelimit: \"organisation-quota\";r=990;t=86400, \"rate\";r=0;t=1, \"quota\";r=90",
        ];
        assert_eq!(text(LimitHeaders::Legacy, &usages), legacy);
        assert_eq!(text(LimitHeaders::Ietf, &usages), ietf);
        assert_eq!(text(LimitHeaders::Both, &usages), [legacy, ietf].concat());
        assert!(text(LimitHeaders::None, &usages).is_empty());
        assert!(text(LimitHeaders::Both, &[]).is_empty());
        let rate = ["x-ratelimit-limit: 5", "x-ratelimit-remaining: 0", "x-ratelimit-reset: 11"];
        assert_eq!(text(LimitHeaders::LegacyRates, &usages), rate);
        assert!(text(LimitHeaders::LegacyRates, &usages[2..]).is_empty());
    }

    #[test]
    fn without_a_quota_the_legacy_headers_are_as_in_tyk() {
        let rates = [(LimitScope::KeyRate, usage(5, 1, Some(1000))), (LimitScope::ApiRate, usage(50, 1, Some(1000)))];
        let now = UnixMillis(10_200);
        let values = |form: LimitHeaders, usages: &[(LimitScope, Usage)]| {
            let mut values = Vec::new();
            form.show(usages, now, |_, value| values.push(value.to_owned()));
            values
        };
        for of in [&rates[..], &rates[..1], &rates[1..]] {
            assert_eq!(values(LimitHeaders::Legacy, of), ["-1", "0", "0"]);
            assert_eq!(values(LimitHeaders::Both, of)[..3], ["-1", "0", "0"]);
        }
        assert!(values(LimitHeaders::Legacy, &[]).is_empty(), "nothing is counted, so there is no header");
        for form in [LimitHeaders::Legacy, LimitHeaders::LegacyRates] {
            let headers = form.of_refusal(&rates[0], now);
            let values: Vec<_> = headers.iter().map(|(_, value)| value.as_str()).collect();
            assert_eq!(values, ["5", "4", "11"], "a refusal shows the limit that refused");
        }
        assert!(LimitHeaders::None.of_refusal(&rates[0], now).is_empty());
    }
}
