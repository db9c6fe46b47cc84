//! Retries, as `x-envoy-retry-on`, its siblings and the retry policy of a route ask for them.

use std::time::Duration;

use crate::base::Headers;
use crate::config::model::RetryPolicy;
use crate::traffic::{LocalReply, flags};

const BASE: Duration = Duration::from_millis(25);
const MAX: Duration = Duration::from_millis(250);

/// The conditions for a retry, and the number of retries that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// The conditions of the headers and of the policy.
    on: Vec<String>,
    codes: Vec<u16>,
    headers: Vec<String>,
    left: u32,
    made: u32,
}

/// Whether a try is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    No,
    Yes,
    /// The conditions are met, but no retry is left.
    TooOften,
}

impl Retries {
    /// Makes the retries of a request. `take` returns the value of a header, and removes it.
    pub(super) fn take(take: &mut impl FnMut(&str) -> Option<String>, policy: &RetryPolicy) -> Option<Self> {
        let mut retries =
            Retries { codes: policy.codes.clone(), left: policy.retries, on: list(&policy.on), ..Retries::default() };
        let (on, grpc_on) = (take("x-envoy-retry-on"), take("x-envoy-retry-grpc-on"));
        retries.on.extend(on.iter().chain(&grpc_on).flat_map(|names| list(names)));
        let left = take("x-envoy-max-retries").and_then(|number| number.parse().ok());
        let codes = take("x-envoy-retriable-status-codes").unwrap_or_default();
        retries.codes.extend(list(&codes).iter().filter_map(|code| code.parse::<u16>().ok()));
        retries.headers = list(&take("x-envoy-retriable-header-names").unwrap_or_default());
        retries.left = left.unwrap_or(retries.left);
        (!retries.on.is_empty()).then_some(retries)
    }

    /// Decides after the headers of a response.
    pub fn after_response(&self, headers: &Headers) -> Again {
        let is_on = |name: &str| self.on.iter().any(|on| on == name);
        if headers.get("x-envoy-ratelimited").is_some() {
            return self.again(is_on("envoy-ratelimited"));
        }
        let status = headers.get_str(":status").and_then(|status| status.parse::<u16>().ok()).unwrap_or_default();
        let grpc = match headers.get_str("grpc-status") {
            Some("1") => "cancelled",
            Some("4") => "deadline-exceeded",
            Some("8") => "resource-exhausted",
            Some("13") => "internal",
            Some("14") => "unavailable",
            _ => "",
        };
        self.again(
            (is_on("5xx") && (500..600).contains(&status))
                || (is_on("gateway-error") && (502..505).contains(&status))
                || (is_on("retriable-4xx") && status == 409)
                || (is_on("retriable-status-codes") && self.codes.contains(&status))
                || (is_on("retriable-headers") && self.headers.iter().any(|name| headers.get(name).is_some()))
                || is_on(grpc),
        )
    }

    /// Decides after a try without a response.
    pub fn after_reset(&self, reply: &LocalReply) -> Again {
        let is = |flag: u64| reply.flags & flag != 0;
        if is(flags::UPSTREAM_OVERFLOW | flags::NO_HEALTHY_UPSTREAM) {
            return Again::No;
        }
        self.again(self.on.iter().any(|on| match on.as_str() {
            "5xx" | "gateway-error" | "reset" => true,
            "connect-failure" | "reset-before-request" => is(flags::UPSTREAM_CONNECTION_FAILURE),
            "refused-stream" => is(flags::UPSTREAM_REMOTE_RESET),
            _ => false,
        }))
    }

    fn again(&self, is_wanted: bool) -> Again {
        match is_wanted {
            false => Again::No,
            true if self.left == 0 => Again::TooOften,
            true => Again::Yes,
        }
    }

    /// Counts a retry. Returns the time to wait before it, which is random like Envoy's.
    pub fn use_one(&mut self, random: u32) -> Duration {
        self.left = self.left.saturating_sub(1);
        let longest = BASE.saturating_mul(2_u32.saturating_pow(self.made.saturating_add(1))).min(MAX);
        self.made = self.made.saturating_add(1);
        let millis = u32::try_from(longest.as_millis()).unwrap_or(u32::MAX).max(1);
        Duration::from_millis(u64::from(random.checked_rem(millis).unwrap_or_default()))
    }

    /// The number of retries so far.
    pub fn made(&self) -> u32 {
        self.made
    }
}

/// Splits a list into names in lower case.
fn list(names: &str) -> Vec<String> {
    names.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(headers: &[(&str, &str)]) -> Option<Retries> {
        let take =
            &mut |name: &str| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        Retries::take(take, &RetryPolicy::default())
    }

    fn response(status: &str) -> Headers {
        [(":status", status)].into_iter().collect()
    }

    #[test]
    fn conditions_decide() {
        let retries = retries(&[("x-envoy-retry-on", "gateway-error, retriable-4xx")]).unwrap();
        assert_eq!(retries.after_response(&response("503")), Again::Yes);
        assert_eq!(retries.after_response(&response("500")), Again::No);
        assert_eq!(retries.after_response(&response("409")), Again::Yes);
        assert_eq!(retries.after_reset(&super::super::connection_refused()), Again::Yes);
    }

    #[test]
    fn the_number_of_retries_is_limited() {
        let mut retries = retries(&[("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")]).unwrap();
        for _ in 0..2 {
            assert_eq!(retries.after_response(&response("500")), Again::Yes);
            assert!(retries.use_one(u32::MAX) < MAX);
        }
        assert_eq!(retries.after_response(&response("500")), Again::TooOften);
    }

    #[test]
    fn without_a_condition_nothing_is_repeated() {
        assert_eq!(retries(&[("x-envoy-max-retries", "2")]), None);
    }
}
