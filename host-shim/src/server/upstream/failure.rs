//! Envoy's replies to requests that failed before the upstream answered.

use std::error::Error;

use super::connect::{NotResolved, TimedOut};
use crate::router;
use crate::traffic::{LocalReply, flags};

/// Converts an error to Envoy's reply.
pub fn reply(error: &hyper_util::client::legacy::Error) -> LocalReply {
    if let Some(reply) = before_connection(error) {
        return reply;
    }
    let causes = causes(error);
    if error.is_connect() {
        return router::connect_failure(&deepest(&causes));
    }
    if causes.iter().any(|cause| cause.downcast_ref::<h2::Error>().is_some_and(|error| error.is_reset())) {
        return before_response(503, "remote reset", flags::UPSTREAM_REMOTE_RESET);
    }
    if causes.iter().any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)) {
        return before_response(502, "protocol error", flags::UPSTREAM_PROTOCOL_ERROR);
    }
    before_response(503, "connection termination", flags::UPSTREAM_CONNECTION_TERMINATION)
}

/// Converts the error of a connection to Envoy's reply.
pub fn of_connection(error: &(dyn Error + 'static)) -> LocalReply {
    before_connection(error).unwrap_or_else(|| router::connect_failure(&deepest(&causes(error))))
}

fn before_connection(error: &(dyn Error + 'static)) -> Option<LocalReply> {
    let causes = causes(error);
    if causes.iter().any(|cause| cause.is::<NotResolved>()) {
        return Some(router::reply(503, router::NO_HOST_BODY, "dns_resolution_failure", flags::NO_HEALTHY_UPSTREAM));
    }
    if causes.iter().any(|cause| cause.is::<TimedOut>()) {
        return Some(before_response(503, "connection timeout", flags::UPSTREAM_CONNECTION_FAILURE));
    }
    causes.iter().any(|cause| cause.is::<rustls::Error>()).then(|| router::tls_failure(&deepest(&causes)))
}

/// The error, its cause, the cause of that, and so on.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> Vec<&'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).collect()
}

fn deepest(causes: &[&(dyn Error + 'static)]) -> String {
    causes.last().map(ToString::to_string).unwrap_or_default()
}

fn before_response(status: u32, reason: &str, flags: u64) -> LocalReply {
    let details = format!("upstream_reset_before_response_started{{{}}}", reason.replace(' ', "_"));
    router::reply(status, &router::reset_body(reason), &details, flags)
}
