//! The headers with which a request changes the timeouts and the retries of the router.

use std::time::Duration;

use super::replies::{TIMEOUT_BODY, reply};
use crate::base::Headers;
use crate::config::model::RetryPolicy;
use crate::traffic::{LocalReply, flags};

const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(250);

/// The timeouts and the retries of a request.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The timeout of all tries together. `None` means no timeout.
    pub timeout: Option<Duration>,
    /// The timeout of each try until the head of its answer.
    pub try_timeout: Option<Duration>,
    /// The timeout of the whole request, from its beginning.
    pub stream_timeout: Option<Duration>,
    /// Whether the answer to a timeout is 204 instead of 504.
    answers_204: bool,
    pub retries: Retries,
}

/// The failures after which a request is sent again.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    /// The conditions, with Envoy's names, those of gRPC too.
    pub conditions: Vec<String>,
    pub most: u32,
    pub status_codes: Vec<u16>,
    pub header_names: Vec<String>,
}

/// Takes the headers for the router out of a request. `default` is the timeout without them.
pub fn plan(headers: &mut Headers, default: Option<Duration>) -> Plan {
    plan_of_route(headers, default.unwrap_or_default(), &RetryPolicy::default())
}

/// Like [`plan`], with the timeout and the retry policy of a route. A timeout of zero means no timeout.
pub fn plan_of_route(headers: &mut Headers, default: Duration, policy: &RetryPolicy) -> Plan {
    let timeout = take_millis(headers, "x-envoy-upstream-rq-timeout-ms").unwrap_or(default);
    let given = take_millis(headers, "x-envoy-upstream-rq-per-try-timeout-ms");
    let try_timeout = given.unwrap_or(policy.per_try_timeout);
    let stream_timeout = take_millis(headers, "x-envoy-upstream-stream-duration-ms").unwrap_or_default();
    let is_useful = !try_timeout.is_zero() && (timeout.is_zero() || try_timeout < timeout);
    headers.remove("x-envoy-hedge-on-per-try-timeout");
    headers.remove("x-envoy-upstream-alt-stat-name");
    Plan {
        timeout: (!timeout.is_zero()).then_some(timeout),
        stream_timeout: (!stream_timeout.is_zero()).then_some(stream_timeout),
        try_timeout: is_useful.then_some(try_timeout),
        answers_204: headers.remove("x-envoy-upstream-rq-timeout-alt-response"),
        retries: Retries::take(headers, policy),
    }
}

fn take(headers: &mut Headers, name: &str) -> Option<String> {
    let value = headers.get_str(name).map(str::to_owned);
    headers.remove(name);
    value
}

fn take_millis(headers: &mut Headers, name: &str) -> Option<Duration> {
    take(headers, name)?.trim().parse().ok().map(Duration::from_millis)
}

fn take_list(headers: &mut Headers, name: &str) -> Vec<String> {
    list(&take(headers, name).unwrap_or_default())
}

fn list(names: &str) -> Vec<String> {
    names.split(',').map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).collect()
}

impl Plan {
    /// Sets the header that tells the upstream how long it may take.
    pub fn tell(&self, headers: &mut Headers, passed: Duration) {
        if let Some(timeout) = self.try_timeout.or(self.timeout.map(|timeout| timeout.saturating_sub(passed))) {
            headers.set_in_place("x-envoy-expected-rq-timeout-ms", timeout.as_millis().max(1).to_string());
        }
    }

    /// Makes Envoy's reply to a request that took too long.
    pub fn timed_out(&self) -> LocalReply {
        self.too_late("response_timeout")
    }

    /// Like [`Self::timed_out`], with the details of another timeout.
    pub fn too_late(&self, details: &str) -> LocalReply {
        let (status, body) = if self.answers_204 { (204, "") } else { (504, TIMEOUT_BODY) };
        reply(status, body, details, flags::UPSTREAM_REQUEST_TIMEOUT)
    }
}

impl Retries {
    fn take(headers: &mut Headers, policy: &RetryPolicy) -> Self {
        let mut conditions = list(&policy.on);
        conditions.extend(take_list(headers, "x-envoy-retry-on"));
        conditions.extend(take_list(headers, "x-envoy-retry-grpc-on"));
        let most = take(headers, "x-envoy-max-retries").and_then(|number| number.trim().parse().ok());
        let mut status_codes = policy.codes.clone();
        let given = take_list(headers, "x-envoy-retriable-status-codes");
        status_codes.extend(given.iter().filter_map(|code| code.parse::<u16>().ok()));
        Retries {
            conditions,
            most: most.unwrap_or(policy.retries),
            status_codes,
            header_names: take_list(headers, "x-envoy-retriable-header-names"),
        }
    }

    /// Whether to send a request again after an answer.
    pub fn after_answer(&self, answer: &Headers) -> bool {
        let status: u16 = answer.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default();
        if answer.get("x-envoy-ratelimited").is_some() {
            return self.has("envoy-ratelimited");
        }
        let grpc_status = answer.get_str("grpc-status");
        self.conditions.iter().any(|condition| match condition.as_str() {
            "5xx" => status >= 500,
            "gateway-error" => (502..=504).contains(&status),
            "retriable-4xx" => status == 409,
            "retriable-status-codes" => self.status_codes.contains(&status),
            "retriable-headers" => self.header_names.iter().any(|name| answer.get(name).is_some()),
            "cancelled" => grpc_status == Some("1"),
            "deadline-exceeded" => grpc_status == Some("4"),
            "resource-exhausted" => grpc_status == Some("8"),
            "internal" => grpc_status == Some("13"),
            "unavailable" => grpc_status == Some("14"),
            _ => false,
        })
    }

    /// Whether to send a request again after a failure before the answer.
    pub fn after_failure(&self, failure: &LocalReply) -> bool {
        const NEVER: u64 = flags::UPSTREAM_OVERFLOW | flags::NO_HEALTHY_UPSTREAM | flags::DOWNSTREAM_PROTOCOL_ERROR;
        if failure.flags & NEVER != 0 {
            return false;
        }
        let is_connect = failure.flags & flags::UPSTREAM_CONNECTION_FAILURE != 0;
        let any = ["5xx", "gateway-error", "reset"].iter().any(|condition| self.has(condition));
        any || (is_connect && self.has("connect-failure"))
    }

    fn has(&self, condition: &str) -> bool {
        self.conditions.iter().any(|other| other == condition)
    }
}

/// Returns the pause before a retry. The first retry has the number 1. Envoy's pause is random; this is its mean.
pub fn backoff(retry: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(2u32.saturating_pow(retry.saturating_sub(1))).min(LONGEST_BACKOFF) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(pairs: &[(&str, &str)], default: u64) -> (Plan, Headers) {
        let mut headers = pairs.iter().map(|(name, value)| (*name, *value)).collect();
        let plan = plan(&mut headers, (default > 0).then(|| Duration::from_millis(default)));
        (plan, headers)
    }

    #[test]
    fn a_timeout_of_the_headers_replaces_the_default() {
        let timeouts = |pairs: &[(&str, &str)]| {
            let (plan, headers) = planned(pairs, 1000);
            assert!(headers.is_empty(), "{headers:?}");
            (plan.timeout.map(|time| time.as_millis()), plan.try_timeout.map(|time| time.as_millis()))
        };
        let (whole, each) = ("x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms");
        assert_eq!(timeouts(&[]), (Some(1000), None));
        assert_eq!(timeouts(&[(whole, "50")]), (Some(50), None));
        assert_eq!(timeouts(&[(whole, "0")]), (None, None));
        assert_eq!(timeouts(&[(whole, "5s")]), (Some(1000), None));
        assert_eq!(timeouts(&[(each, "50")]), (Some(1000), Some(50)));
        assert_eq!(timeouts(&[(each, "1000")]), (Some(1000), None));
        assert_eq!(timeouts(&[(whole, "0"), (each, "5000")]), (None, Some(5000)));
    }

    #[test]
    fn a_failure_is_retried_if_a_condition_names_it() {
        let after = |conditions: &str, answer: &[(&str, &str)]| {
            let (plan, _) = planned(&[("x-envoy-retry-on", conditions)], 0);
            plan.retries.after_answer(&answer.iter().map(|(name, value)| (*name, *value)).collect())
        };
        assert!(after("5xx", &[(":status", "500")]));
        assert!(!after("gateway-error", &[(":status", "500")]));
        assert!(after("reset, gateway-error", &[(":status", "503")]));
        assert!(after("retriable-4xx", &[(":status", "409")]));
        assert!(!after("5xx", &[(":status", "503"), ("x-envoy-ratelimited", "true")]));
        assert!(!after("", &[(":status", "503")]));
        let refused = super::super::connection_refused();
        let failed = |conditions: &str, failure: &LocalReply| {
            planned(&[("x-envoy-retry-on", conditions)], 0).0.retries.after_failure(failure)
        };
        assert!(failed("connect-failure", &refused) && failed("5xx", &refused) && !failed("retriable-4xx", &refused));
        assert!(!failed("connect-failure", &Plan::default().timed_out()));
        assert!(!failed("5xx", &super::super::refused("missing required header: :path")));
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert_eq!([1, 2, 5, 40].map(|retry| backoff(retry).as_micros()), [12_500, 25_000, 125_000, 125_000]);
    }
}
