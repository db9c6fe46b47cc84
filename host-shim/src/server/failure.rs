//! Envoy's replies to requests that failed before the upstream answered.

use std::error::Error;

use super::connect::{NotResolved, TimedOut};
use crate::router;
use crate::traffic::{LocalReply, flags};

/// Converts an error to Envoy's reply.
pub(super) fn reply(error: &hyper_util::client::legacy::Error) -> LocalReply {
    let mut causes = Vec::new();
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        causes.push(current);
        cause = current.source();
    }
    let deepest = causes.last().map(ToString::to_string).unwrap_or_default();
    if causes.iter().any(|cause| cause.is::<NotResolved>()) {
        return router::reply(503, router::NO_HOST_BODY, "dns_resolution_failure", flags::NO_HEALTHY_UPSTREAM);
    }
    if causes.iter().any(|cause| cause.is::<TimedOut>()) {
        return before_response(503, "connection timeout", flags::UPSTREAM_CONNECTION_FAILURE);
    }
    if causes.iter().any(|cause| cause.is::<rustls::Error>()) {
        return router::tls_failure(&deepest);
    }
    if error.is_connect() {
        return router::connect_failure(&deepest);
    }
    if causes.iter().any(|cause| cause.downcast_ref::<h2::Error>().is_some_and(|error| error.is_reset())) {
        return before_response(503, "remote reset", flags::UPSTREAM_REMOTE_RESET);
    }
    if causes.iter().any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse)) {
        return before_response(502, "protocol error", flags::UPSTREAM_PROTOCOL_ERROR);
    }
    before_response(503, "connection termination", flags::UPSTREAM_CONNECTION_TERMINATION)
}

fn before_response(status: u32, reason: &str, flags: u64) -> LocalReply {
    let details = format!("upstream_reset_before_response_started{{{}}}", reason.replace(' ', "_"));
    router::reply(status, &router::reset_body(reason), &details, flags)
}
