//! Sends a request to an upstream, again if its plan has retries.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;

use super::ServerExchange;
use crate::base::Headers;
use crate::router::{self, Again, Plan, Target};
use crate::server::body::UpstreamBody;
use crate::server::convert;
use crate::traffic::{LocalReply, flags};
use crate::worker::Stream;

/// The response that counts, with its headers.
pub type Answer = (Response<Incoming>, Headers);

/// The reply when the upstream takes too long.
pub fn too_late(plan: &Plan, details: &str) -> LocalReply {
    let (status, body) = if plan.answers_204 { (204, "") } else { (504, router::TIMEOUT_BODY) };
    router::reply(status, body, details, flags::UPSTREAM_REQUEST_TIMEOUT)
}

/// Waits for the headers of the answer.
///
/// # Errors
/// Envoy's reply to the failed request.
pub async fn send(
    exchange: &Rc<ServerExchange>,
    stream: &Rc<RefCell<Stream>>,
    mut headers: Headers,
    target: &Target,
    body: UpstreamBody,
) -> Result<Answer, LocalReply> {
    let mut retries = target.plan.retries.clone();
    let mut body = body;
    loop {
        let outcome = once(exchange, &headers, target, body).await;
        let again = match (&retries, &outcome) {
            (None, _) => Again::No,
            (Some(retries), Ok((_, headers))) => retries.after_response(headers),
            (Some(retries), Err(reply)) => retries.after_reset(reply),
        };
        let made = retries.as_ref().map_or(0, router::Retries::made);
        let (Again::Yes, Some(next)) =
            (again, retries.as_mut().and_then(|retries| exchange.again(&headers).zip(Some(retries))))
        else {
            return last(outcome, again, made, stream);
        };
        let (next_body, left) = next;
        drop(outcome);
        tokio::time::sleep(left.use_one(random())).await;
        body = next_body;
        let elapsed = exchange.waited().unwrap_or_default();
        let data = stream.borrow().data();
        let mut data = data.borrow_mut();
        data.info.attempts = left.made().saturating_add(1);
        for headers in [&mut headers, &mut data.request_headers] {
            if headers.get("x-envoy-expected-rq-timeout-ms").is_some() {
                target.plan.tell(headers, elapsed);
            }
        }
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness, retries do not wait.
    let _ = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// Finishes the last try.
fn last(
    outcome: Result<Answer, LocalReply>,
    again: Again,
    made: u32,
    stream: &Rc<RefCell<Stream>>,
) -> Result<Answer, LocalReply> {
    if again == Again::TooOften {
        stream.borrow().data().borrow_mut().info.flags |= flags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
    }
    outcome.map_err(|mut reply| {
        if made > 0 {
            let text = String::from_utf8_lossy(&reply.body);
            reply.body = text.replacen("reset reason", "retried and the latest reset reason", 1).into_bytes();
        }
        reply
    })
}

async fn once(
    exchange: &Rc<ServerExchange>,
    headers: &Headers,
    target: &Target,
    body: UpstreamBody,
) -> Result<Answer, LocalReply> {
    tokio::select! {
        answer = to_upstream(exchange, headers, target, body) => answer,
        () = try_is_over(exchange, target.plan.per_try) => Err(too_late(&target.plan, "upstream_per_try_timeout")),
    }
}

async fn try_is_over(exchange: &ServerExchange, per_try: Option<Duration>) {
    let Some(per_try) = per_try else { return std::future::pending().await };
    exchange.until_whole().await;
    tokio::time::sleep(per_try).await;
}

async fn to_upstream(
    exchange: &Rc<ServerExchange>,
    headers: &Headers,
    target: &Target,
    body: UpstreamBody,
) -> Result<Answer, LocalReply> {
    let (network, stats) = (&exchange.network, &exchange.stats);
    stats.upstream_request(&target.cluster.name);
    let upstreams = Rc::clone(&network.upstreams);
    let response = upstreams.send(target.cluster.clone(), headers, target.auto_host_rewrite, body).await?;
    stats.upstream_response(&target.cluster.name, response.status().as_u16());
    let (parts, body) = response.into_parts();
    let headers = convert::response(&parts);
    Ok((Response::from_parts(parts, body), headers))
}
