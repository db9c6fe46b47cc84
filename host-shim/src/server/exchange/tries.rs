//! Sends a request to an upstream, again if its plan has retries.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::Response;

use super::ServerExchange;
use crate::base::Headers;
use crate::router::{self, Plan, Target};
use crate::server::body::UpstreamBody;
use crate::server::convert;
use crate::server::upstream::{AnswerBody, Manner};
use crate::traffic::{LocalReply, flags};
use crate::worker::Stream;

/// The response that counts, with its headers.
pub type Answered = (Response<AnswerBody>, Headers);

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
) -> Result<Answered, LocalReply> {
    let retries = &target.plan.retries;
    let (mut body, mut made) = (body, 0);
    loop {
        let outcome = once(exchange, stream, &headers, target, body).await;
        let is_wanted = match &outcome {
            Ok((_, headers)) => retries.after_answer(headers),
            Err(reply) => retries.after_failure(reply),
        };
        if is_wanted && made >= retries.most {
            stream.borrow().data().borrow_mut().info.flags |= flags::UPSTREAM_RETRY_LIMIT_EXCEEDED;
        }
        let next = if is_wanted && made < retries.most { exchange.again(&headers) } else { None };
        let Some(next) = next else {
            return outcome.map_err(|reply| if made > 0 { router::retried(reply) } else { reply });
        };
        drop(outcome);
        made += 1;
        tokio::time::sleep(router::backoff(made)).await;
        body = next;
        tell(exchange, stream, &mut headers, &target.plan, made);
    }
}

/// Notes that a request is sent again.
fn tell(exchange: &ServerExchange, stream: &Rc<RefCell<Stream>>, headers: &mut Headers, plan: &Plan, made: u32) {
    let elapsed = exchange.waited().unwrap_or_default();
    let data = stream.borrow().data();
    let mut data = data.borrow_mut();
    data.info.attempts = made.saturating_add(1);
    for headers in [headers, &mut data.request_headers] {
        if headers.get("x-envoy-expected-rq-timeout-ms").is_some() {
            plan.tell(headers, elapsed);
        }
    }
}

async fn once(
    exchange: &Rc<ServerExchange>,
    stream: &Rc<RefCell<Stream>>,
    headers: &Headers,
    target: &Target,
    body: UpstreamBody,
) -> Result<Answered, LocalReply> {
    tokio::select! {
        answer = to_upstream(exchange, stream, headers, target, body) => answer,
        () = try_is_over(exchange, target.plan.try_timeout) => {
            Err(target.plan.too_late("upstream_per_try_timeout"))
        },
    }
}

async fn try_is_over(exchange: &ServerExchange, per_try: Option<Duration>) {
    let Some(per_try) = per_try else { return std::future::pending().await };
    exchange.until_whole().await;
    tokio::time::sleep(per_try).await;
}

async fn to_upstream(
    exchange: &Rc<ServerExchange>,
    stream: &Rc<RefCell<Stream>>,
    headers: &Headers,
    target: &Target,
    body: UpstreamBody,
) -> Result<Answered, LocalReply> {
    let (network, stats) = (&exchange.network, &exchange.stats);
    stats.upstream_request(&target.cluster.name);
    let upstreams = Rc::clone(&network.upstreams);
    let data = stream.borrow().data();
    let chosen = |address| {
        let info = &mut data.borrow_mut().info;
        info.upstream_address = Some(address);
        info.pool_ready = info.request_sent.map(|sent| info.clock.now().saturating_sub(sent));
    };
    let manner = Manner { auto_host_rewrite: target.auto_host_rewrite, is_raw: target.ends_connect };
    let response = upstreams.send(target.cluster.clone(), headers, manner, chosen, body).await?;
    let (parts, body) = response.into_parts();
    let headers = convert::response(&parts);
    let status = headers.get_str(":status").and_then(|status| status.parse().ok()).unwrap_or_default();
    stats.upstream_response(&target.cluster.name, status);
    Ok((Response::from_parts(parts, body), headers))
}
