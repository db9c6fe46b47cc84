//! The request headers that control the router: time-outs and retries. The router removes them.

use std::time::Duration;

use super::retries::Retries;
use crate::base::Headers;
use crate::config::model::RetryPolicy;

/// How the router sends a request.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The time from the end of the request to the end of the response. `None` means no limit.
    pub timeout: Option<Duration>,
    /// The time of each try, from the end of the request to the headers of the response.
    pub per_try: Option<Duration>,
    /// The time of the whole upstream request.
    pub stream_duration: Option<Duration>,
    /// Whether the answer after a time-out is 204 instead of 504.
    pub answers_204: bool,
    /// `None` means no retries.
    pub retries: Option<Retries>,
}

const ONLY_READ: [&str; 2] = ["x-envoy-upstream-alt-stat-name", "x-envoy-hedge-on-per-try-timeout"];

impl Plan {
    /// Makes the plan for a request, and removes the headers that control it. `timeout` is that of the route or of the
    /// callout; zero means no limit. With `tells`, the upstream gets `x-envoy-expected-rq-timeout-ms`.
    pub fn take(headers: &mut Headers, timeout: Duration, policy: &RetryPolicy, tells: bool) -> Self {
        let mut take = |name: &str| {
            let value = headers.get_str(name).map(str::to_owned);
            headers.remove(name).then_some(value.unwrap_or_default())
        };
        let millis = |value: Option<String>| Some(Duration::from_millis(value?.parse().ok()?));
        let timeout = millis(take("x-envoy-upstream-rq-timeout-ms")).unwrap_or(timeout);
        let per_try = millis(take("x-envoy-upstream-rq-per-try-timeout-ms")).unwrap_or(policy.per_try_timeout);
        let stream_duration = millis(take("x-envoy-upstream-stream-duration-ms"));
        let answers_204 = take("x-envoy-upstream-rq-timeout-alt-response").is_some();
        let retries = Retries::take(&mut take, policy);
        for name in ONLY_READ {
            take(name);
        }
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        let per_try = some(per_try).filter(|per_try| timeout.is_zero() || *per_try < timeout);
        let stream_duration = stream_duration.and_then(some);
        let plan = Plan { timeout: some(timeout), per_try, stream_duration, answers_204, retries };
        if tells {
            plan.tell(headers, Duration::ZERO);
        }
        plan
    }

    /// Tells the upstream how long the router waits.
    pub fn tell(&self, headers: &mut Headers, elapsed: Duration) {
        let left = self.timeout.map(|timeout| timeout.saturating_sub(elapsed).max(Duration::from_millis(1)));
        let expected = match (self.per_try, left) {
            (Some(per_try), Some(left)) => Some(per_try.min(left)),
            (per_try, left) => per_try.or(left),
        };
        if let Some(expected) = expected {
            headers.set_in_place("x-envoy-expected-rq-timeout-ms", expected.as_millis().to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(headers: &[(&str, &str)]) -> (Plan, Headers) {
        let mut headers = headers.iter().copied().collect();
        let plan = Plan::take(&mut headers, Duration::from_secs(15), &RetryPolicy::default(), true);
        (plan, headers)
    }

    #[test]
    fn headers_replace_the_time_outs() {
        let (plan, headers) =
            plan(&[("x-envoy-upstream-rq-timeout-ms", "100"), ("x-envoy-upstream-rq-per-try-timeout-ms", "20")]);
        assert_eq!((plan.timeout, plan.per_try), (Some(Duration::from_millis(100)), Some(Duration::from_millis(20))));
        assert_eq!(headers.get_str("x-envoy-expected-rq-timeout-ms"), Some("20"));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn what_is_no_number_is_ignored_and_removed() {
        let (plan, headers) = plan(&[("x-envoy-upstream-rq-timeout-ms", "1s")]);
        assert_eq!(plan.timeout, Some(Duration::from_secs(15)));
        assert_eq!(headers.get_str("x-envoy-expected-rq-timeout-ms"), Some("15000"));
    }

    #[test]
    fn zero_means_no_limit() {
        let (plan, headers) = plan(&[("x-envoy-upstream-rq-timeout-ms", "0")]);
        assert_eq!(plan.timeout, None);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_try_that_may_last_longer_than_all_has_no_limit() {
        let (plan, _) = plan(&[("x-envoy-upstream-rq-per-try-timeout-ms", "15000")]);
        assert_eq!(plan.per_try, None);
    }
}
