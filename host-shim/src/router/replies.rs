//! Envoy's replies to requests that the router cannot forward.

use crate::traffic::{LocalReply, flags};

/// Makes a reply of the router.
pub fn reply(status: u32, body: &str, details: &str, flags: u64) -> LocalReply {
    LocalReply {
        status,
        body: body.as_bytes().to_vec(),
        grpc_status: -1,
        details: details.to_owned(),
        flags,
        ..LocalReply::default()
    }
}

/// Envoy's body if the upstream did not answer.
pub fn reset_body(reason: &str) -> String {
    format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}")
}

/// Changes the reply to a request that failed again after a retry.
pub fn retried(mut reply: LocalReply) -> LocalReply {
    let body = String::from_utf8_lossy(&reply.body);
    reply.body = body.replace("headers. reset reason:", "headers. retried and the latest reset reason:").into_bytes();
    reply
}

/// Envoy's reply if no connection can be made. `cause` is the error of the system.
pub fn connect_failure(cause: &str) -> LocalReply {
    let cause = cause.split(" (os error").next().unwrap_or(cause);
    transport_failure(&format!("delayed connect error: {cause}"))
}

fn transport_failure(reason: &str) -> LocalReply {
    let details = format!("upstream_reset_before_response_started{{remote_connection_failure|{reason}}}");
    let body = reset_body("remote connection failure");
    reply(503, &body, &details.replace(' ', "_"), flags::UPSTREAM_CONNECTION_FAILURE)
}

/// Envoy's reply if the upstream refuses the connection.
pub fn connection_refused() -> LocalReply {
    connect_failure("Connection refused")
}

/// Envoy's reply if the TLS handshake fails.
pub fn tls_failure(cause: &str) -> LocalReply {
    transport_failure(&format!("TLS error: {cause}"))
}

/// Envoy's body if the upstream takes too long.
pub const TIMEOUT_BODY: &str = "upstream request timeout";

/// Envoy's body if a cluster has no host.
pub const NO_HOST_BODY: &str = "no healthy upstream";
