//! What the filter tells the client: the table of `product.md`, section 3, as data.

use crate::quota::Usage;
use crate::units::UnixMillis;

/// What became of a request to a known API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went on to the upstream.
    Admitted,
    /// It carried no key.
    MissingKey,
    /// Its key is not in the configuration.
    UnknownKey,
    /// Its key has no right to this API.
    NoAccess,
    /// Its key has expired.
    KeyExpired,
    /// Its key is switched off.
    KeyInactive,
    /// Its organisation's quota is used up.
    OrgQuotaExceeded,
    /// Its key's quota is used up.
    QuotaExceeded,
    /// A quota could not be counted, so the request was not let through uncounted.
    CounterUnavailable,
}

impl Outcome {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Outcome; 9] = [
        Outcome::Admitted,
        Outcome::MissingKey,
        Outcome::UnknownKey,
        Outcome::NoAccess,
        Outcome::KeyExpired,
        Outcome::KeyInactive,
        Outcome::OrgQuotaExceeded,
        Outcome::QuotaExceeded,
        Outcome::CounterUnavailable,
    ];

    /// The word for metrics, and for Envoy's `response_code_details` behind `tollbell_`.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Admitted => "admitted",
            Outcome::MissingKey => "missing_key",
            Outcome::UnknownKey => "unknown_key",
            Outcome::NoAccess => "no_access",
            Outcome::KeyExpired => "key_expired",
            Outcome::KeyInactive => "key_inactive",
            Outcome::OrgQuotaExceeded => "org_quota_exceeded",
            Outcome::QuotaExceeded => "quota_exceeded",
            Outcome::CounterUnavailable => "counter_unavailable",
        }
    }

    /// The status and the text of the answer, as Tyk gives them; `None` for an admitted request.
    pub fn refusal(self) -> Option<(u16, &'static str)> {
        Some(match self {
            Outcome::Admitted => return None,
            Outcome::MissingKey => (401, "Authorization field missing"),
            Outcome::UnknownKey | Outcome::NoAccess => (403, "Access to this API has been disallowed"),
            Outcome::KeyExpired => (401, "Key has expired, please renew"),
            Outcome::KeyInactive => (403, "Key is inactive, please renew"),
            Outcome::OrgQuotaExceeded => {
                (403, "This organisation quota has been exceeded, please contact your API administrator")
            }
            Outcome::QuotaExceeded => (403, "Quota exceeded"),
            Outcome::CounterUnavailable => (503, "Quota could not be checked, please try again"),
        })
    }
}

/// A whole answer, made here instead of by the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, lower case.
    pub headers: Vec<(&'static str, String)>,
    /// `{"error": "<text>"}`.
    pub body: String,
    /// For Envoy's `response_code_details`: no spaces.
    pub details: String,
}

impl Answer {
    /// The refusal of `outcome`, with the quota that caused it where one did; `None` for an admitted request.
    pub fn refuse(outcome: Outcome, quota: Option<&Usage>, now: UnixMillis) -> Option<Self> {
        let (status, text) = outcome.refusal()?;
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if let Some(usage) = quota {
            headers.extend(rate_limit_headers(usage));
            if let Some(renews) = usage.renews {
                headers.push(("retry-after", renews.since(now).div_ceil(1000).max(1).to_string()));
            }
        }
        Some(Answer {
            status,
            headers,
            body: format!(r#"{{"error": "{text}"}}"#),
            details: format!("tollbell_{}", outcome.label()),
        })
    }
}

/// The `X-RateLimit-*` headers of a quota. One that never renews has no `X-RateLimit-Reset`.
pub fn rate_limit_headers(usage: &Usage) -> impl Iterator<Item = (&'static str, String)> {
    [
        Some(("x-ratelimit-limit", usage.max.to_string())),
        Some(("x-ratelimit-remaining", usage.remaining().to_string())),
        usage.renews.map(|renews| ("x-ratelimit-reset", renews.as_secs_ceil().to_string())),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_quota_refusal_says_when_to_come_back() {
        let usage = Usage { max: 10, count: 10, renews: Some(UnixMillis(61_500)) };
        let answer = Answer::refuse(Outcome::QuotaExceeded, Some(&usage), UnixMillis(60_000)).unwrap();
        assert_eq!(answer.status, 403);
        assert_eq!(answer.body, r#"{"error": "Quota exceeded"}"#);
        let header = |name| answer.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(header("x-ratelimit-limit"), Some("10"));
        assert_eq!(header("x-ratelimit-remaining"), Some("0"));
        assert_eq!(header("x-ratelimit-reset"), Some("62"));
        assert_eq!(header("retry-after"), Some("2"));
    }

    #[test]
    fn a_quota_that_never_renews_promises_no_time() {
        let usage = Usage { max: 10, count: 10, renews: None };
        let answer = Answer::refuse(Outcome::QuotaExceeded, Some(&usage), UnixMillis(0)).unwrap();
        assert!(!answer.headers.iter().any(|(name, _)| *name == "retry-after" || *name == "x-ratelimit-reset"));
    }

    #[test]
    fn outcomes_stand_in_the_order_of_their_discriminants() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place);
        }
        assert_eq!(Answer::refuse(Outcome::Admitted, None, UnixMillis(0)), None);
    }
}
