//! The answers to clients: Tyk's statuses and texts, as data.

use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};

use crate::access::challenge::Challenge;
use crate::access::limit_headers::LimitHeaders;
use crate::access::quota::{LimitScope, Usage};
use crate::base::UnixMillis;
use crate::event::EventKind;
pub use crate::host::Answer;
use crate::host::{Label, Metric};

/// `Meta.Message` of every AuthFailure.
pub const AUTH_FAILURE: &str = "Auth Failure";

/// `Meta.Message` of a RatelimitExceeded for a key's rate.
pub const RATE_LIMITED: &str = "Rate Limit Exceeded";

const VERSION_UNKNOWN: &str = "This API version does not seem to exist";

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RequestOutcome {
    /// It went to the upstream.
    Admitted,
    /// It carried no key.
    MissingKey,
    /// Its key is not in the configuration.
    UnknownKey,
    /// Its key has no right to this API.
    NoAccess,
    /// Its key has a right to this API, but not to this path and method.
    UrlNotAllowed,
    /// It names no version of an API that has versions, and there is no default version.
    VersionMissing,
    /// It names a version that does not exist.
    VersionUnknown,
    /// It names a version that does not exist, and the API's versions are APIs of their own.
    VersionApiUnknown,
    /// It names a version that has ended.
    VersionExpired,
    /// Its key has expired.
    KeyExpired,
    /// Its key is inactive.
    KeyInactive,
    /// Its organisation's quota is exceeded.
    OrgQuotaExceeded,
    /// Its key's quota is exceeded.
    QuotaExceeded,
    /// Its organisation is inactive.
    OrgInactive,
    /// Its organisation's rate is exceeded.
    OrgRateLimited,
    /// Its key's rate is exceeded.
    RateLimited,
    /// The API's rate is exceeded.
    ApiRateLimited,
    /// Its key is not in the configuration, and the fetched keys have not arrived yet.
    KeysNotLoaded,
    /// A quota could not be counted. The request was refused, so that no request passes uncounted.
    CounterUnavailable,
    /// It belongs to no API, and the configuration refuses such requests.
    Unmatched,
    /// It is a browser's preflight, which needs no key and counts on no limit.
    Preflight,
    /// Its path can mean several APIs, none of which is stricter.
    AmbiguousPath,
}

impl RequestOutcome {
    /// All outcomes, in the order of their discriminants.
    pub fn all() -> impl Iterator<Item = RequestOutcome> {
        RequestOutcome::iter()
    }

    /// The metric that counts requests with this outcome.
    pub fn metric(self) -> Metric {
        Metric::Requests(Label { place: self as usize, text: self.label() })
    }

    /// The metric that counts requests that were admitted although they would have had this outcome.
    pub fn would_refuse(self) -> Metric {
        Metric::WouldRefuse(Label { place: self as usize, text: self.label() })
    }

    /// The label in metrics. After `tollbell_` it is also Envoy's `response_code_details`.
    pub fn label(self) -> &'static str {
        self.into()
    }

    /// The outcome of a request that a limit refused.
    pub fn refused_by(scope: LimitScope) -> Self {
        match scope {
            LimitScope::OrgRate => RequestOutcome::OrgRateLimited,
            LimitScope::OrgQuota => RequestOutcome::OrgQuotaExceeded,
            LimitScope::KeyRate => RequestOutcome::RateLimited,
            LimitScope::KeyQuota => RequestOutcome::QuotaExceeded,
            LimitScope::ApiRate => RequestOutcome::ApiRateLimited,
        }
    }

    /// The event type and its message, as in Tyk; `None` if the outcome causes no event.
    pub fn event(self) -> Option<(EventKind, &'static str)> {
        Some(match self {
            RequestOutcome::MissingKey
            | RequestOutcome::UnknownKey
            | RequestOutcome::NoAccess
            | RequestOutcome::UrlNotAllowed => (EventKind::AuthFailure, AUTH_FAILURE),
            RequestOutcome::VersionMissing
            | RequestOutcome::VersionUnknown
            | RequestOutcome::VersionApiUnknown
            | RequestOutcome::VersionExpired => {
                (EventKind::VersionFailure, "Attempted access to disallowed version / path.")
            }
            RequestOutcome::KeyExpired => (EventKind::KeyExpired, "Attempted access from expired key."),
            RequestOutcome::KeyInactive => (EventKind::KeyExpired, "Attempted access from inactive key."),
            RequestOutcome::OrgRateLimited => {
                (EventKind::OrgRateLimitExceeded, "Organisation rate limit has been exceeded")
            }
            RequestOutcome::OrgQuotaExceeded => (EventKind::OrgQuotaExceeded, "Organisation quota has been exceeded"),
            RequestOutcome::RateLimited => (EventKind::RatelimitExceeded, RATE_LIMITED),
            RequestOutcome::ApiRateLimited => (EventKind::RatelimitExceeded, self.refusal()?.1),
            RequestOutcome::QuotaExceeded => (EventKind::QuotaExceeded, "Key Quota Limit Exceeded"),
            RequestOutcome::Admitted
            | RequestOutcome::OrgInactive
            | RequestOutcome::KeysNotLoaded
            | RequestOutcome::CounterUnavailable
            | RequestOutcome::Unmatched
            | RequestOutcome::Preflight
            | RequestOutcome::AmbiguousPath => return None,
        })
    }

    /// The status and the text of the answer, as in Tyk; `None` for an admitted request.
    pub fn refusal(self) -> Option<(u16, &'static str)> {
        Some(match self {
            RequestOutcome::Admitted | RequestOutcome::Preflight => return None,
            RequestOutcome::MissingKey => (401, "Authorization field missing"),
            RequestOutcome::UnknownKey | RequestOutcome::NoAccess => (403, "Access to this API has been disallowed"),
            RequestOutcome::UrlNotAllowed => (403, "Access to this resource has been disallowed"),
            RequestOutcome::VersionMissing => (403, "Version information not found"),
            RequestOutcome::VersionUnknown => (403, VERSION_UNKNOWN),
            RequestOutcome::VersionApiUnknown => (404, VERSION_UNKNOWN),
            RequestOutcome::VersionExpired => {
                (403, "Api Version has expired, please check documentation or contact administrator")
            }
            RequestOutcome::KeyExpired => (401, "Key has expired, please renew"),
            RequestOutcome::KeyInactive => (403, "Key is inactive, please renew"),
            RequestOutcome::OrgQuotaExceeded => {
                (403, "This organisation quota has been exceeded, please contact your API administrator")
            }
            RequestOutcome::QuotaExceeded => (403, "Quota exceeded"),
            RequestOutcome::OrgInactive => {
                (403, "this organisation access has been disabled, please contact your API administrator")
            }
            RequestOutcome::OrgRateLimited => {
                (403, "This organisation rate limit has been exceeded, please contact your API administrator")
            }
            RequestOutcome::RateLimited => (429, RATE_LIMITED),
            RequestOutcome::ApiRateLimited => (429, "API Rate Limit Exceeded"),
            RequestOutcome::KeysNotLoaded => (503, "Keys are not loaded yet, please try again"),
            RequestOutcome::CounterUnavailable => (503, "Quota could not be checked, please try again"),
            RequestOutcome::Unmatched => (404, "Not Found"),
            RequestOutcome::AmbiguousPath => (400, "The path can be read in more than one way"),
        })
    }
}

impl Answer {
    /// The prefix of every refusal's response code details.
    pub const DETAILS_PREFIX: &'static str = "tollbell_";

    /// The refusal for `outcome`, with the limit that caused it, if any; `None` for an admitted request.
    pub fn refuse(
        outcome: RequestOutcome,
        refused_by: Option<&(LimitScope, Usage)>,
        headers_form: LimitHeaders,
        now: UnixMillis,
    ) -> Option<Self> {
        let (status, text) = outcome.refusal()?;
        // Tyk answers with plain text if a request belongs to no API.
        let (content_type, body) = match outcome {
            RequestOutcome::Unmatched => ("text/plain; charset=utf-8", text.to_owned()),
            _ => ("application/json", [r#"{"error": ""#, text, r#""}"#].concat()),
        };
        let mut headers = vec![("content-type", content_type.to_owned())];
        if let Some(limit) = refused_by {
            headers.extend(headers_form.of_refusal(limit, now));
            if let Some(renews) = limit.1.renews {
                headers.push(("retry-after", renews.since(now).div_ceil(1000).max(1).to_string()));
            }
        }
        Some(Answer { status, headers, body, details: [Answer::DETAILS_PREFIX, outcome.label()].concat() })
    }

    /// The refusal of a request whose headers or time the host does not give.
    pub fn unseen() -> Self {
        let outcome = RequestOutcome::CounterUnavailable;
        let answer = Answer::refuse(outcome, None, LimitHeaders::None, UnixMillis::default());
        // All outcomes except two are refusals.
        answer.unwrap_or_else(|| Answer {
            status: 503,
            headers: Vec::new(),
            body: String::new(),
            details: [Answer::DETAILS_PREFIX, outcome.label()].concat(),
        })
    }

    /// Adds an API's challenge to a refusal with 401.
    #[must_use]
    pub fn with_challenge(mut self, outcome: RequestOutcome, challenge: &Challenge) -> Self {
        if self.status == 401 {
            self.headers.push(("www-authenticate", challenge.value(outcome)));
        }
        self
    }

    /// Converts the refusal for a gRPC client: Envoy makes `grpc-message` from the body and sets the content type.
    #[must_use]
    pub fn for_grpc(mut self, outcome: RequestOutcome) -> Self {
        self.headers.retain(|(name, _)| *name != "content-type");
        outcome.refusal().map_or("", |(_, text)| text).clone_into(&mut self.body);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_quota_refusal_has_retry_after() {
        let usage = Usage { max: 10, count: 10, window_ms: Some(9000), renews: Some(UnixMillis(61_500)) };
        let by = (LimitScope::KeyQuota, usage);
        let answer =
            Answer::refuse(RequestOutcome::QuotaExceeded, Some(&by), LimitHeaders::Legacy, UnixMillis(60_000)).unwrap();
        assert_eq!(answer.status, 403);
        assert_eq!(answer.body, r#"{"error": "Quota exceeded"}"#);
        let header = |name| answer.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(header("x-ratelimit-limit"), Some("10"));
        assert_eq!(header("x-ratelimit-remaining"), Some("0"));
        assert_eq!(header("x-ratelimit-reset"), Some("62"));
        assert_eq!(header("retry-after"), Some("2"));
    }

    #[test]
    fn a_refusal_by_a_quota_that_never_renews_has_no_retry_after() {
        let by = (LimitScope::KeyQuota, Usage { max: 10, count: 10, window_ms: None, renews: None });
        let answer =
            Answer::refuse(RequestOutcome::QuotaExceeded, Some(&by), LimitHeaders::Legacy, UnixMillis(0)).unwrap();
        assert!(!answer.headers.iter().any(|(name, _)| *name == "retry-after" || *name == "x-ratelimit-reset"));
    }

    #[test]
    fn a_grpc_client_gets_the_text_of_a_refusal() {
        for outcome in RequestOutcome::all() {
            let Some((_, text)) = outcome.refusal() else { continue };
            let answer = Answer::refuse(outcome, None, LimitHeaders::Legacy, UnixMillis(0)).unwrap();
            let grpc = answer.clone().for_grpc(outcome);
            assert_eq!((grpc.status, grpc.body.as_str(), &grpc.details), (answer.status, text, &answer.details));
            assert!(grpc.headers.is_empty(), "{:?}", grpc.headers);
        }
    }

    #[test]
    fn outcomes_are_in_the_order_of_their_discriminants() {
        for (place, outcome) in RequestOutcome::all().enumerate() {
            assert_eq!(outcome as usize, place);
        }
        assert_eq!(Answer::refuse(RequestOutcome::Admitted, None, LimitHeaders::Legacy, UnixMillis(0)), None);
    }
}
