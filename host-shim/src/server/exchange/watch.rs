//! The time-outs of the connection manager, and the longest duration of a stream.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::ServerExchange;
use crate::config::model::RouteAction;
use crate::router;
use crate::traffic::{LocalReply, flags};
use crate::worker::Stream;

/// The status of gRPC for a request that took too long.
const DEADLINE_EXCEEDED: i32 = 4;

/// Answers the request if nothing was sent or received for too long, or if the request is not complete in time.
pub fn watch(exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    let manager = &exchange.site.listener.manager;
    if idle_timeout(exchange, stream).is_some() {
        watch_idle(exchange, stream);
    }
    if !manager.request_timeout.is_zero() && !exchange.is_received.get() {
        watch_request(exchange, stream, manager.request_timeout);
    }
    if longest(stream).is_some() {
        watch_longest(exchange, stream);
    }
}

/// Returns the `idle_timeout` of the route, or else the `stream_idle_timeout` of the manager.
fn idle_timeout(exchange: &ServerExchange, stream: &Rc<RefCell<Stream>>) -> Option<Duration> {
    // While the stream is in use, nothing is idle.
    let data = stream.try_borrow().ok()?.data();
    let data = data.try_borrow().ok()?;
    let of_route = data.info.route.as_ref().and_then(|route| match &route.action {
        RouteAction::Forward(forward) => forward.idle_timeout,
        _ => None,
    });
    let timeout = of_route.unwrap_or(exchange.site.listener.manager.stream_idle_timeout);
    (!timeout.is_zero()).then_some(timeout)
}

fn watch_idle(exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    let (me, stream) = (Rc::downgrade(exchange), Rc::downgrade(stream));
    exchange.keep(&tokio::task::spawn_local(async move {
        loop {
            let (Some(exchange), Some(stream)) = (me.upgrade(), stream.upgrade()) else { return };
            let Some(timeout) = idle_timeout(&exchange, &stream) else { return };
            let due = exchange.active_at.get() + timeout;
            drop((exchange, stream));
            if due <= Instant::now() {
                break;
            }
            tokio::time::sleep_until(due).await;
        }
        let (Some(exchange), Some(stream)) = (me.upgrade(), stream.upgrade()) else { return };
        let status = if exchange.is_received.get() { 504 } else { 408 };
        let reply = router::reply(status, "stream timeout", "stream_idle_timeout", flags::STREAM_IDLE_TIMEOUT);
        answer(reply, &exchange, &stream);
    }));
}

fn watch_request(exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>, timeout: Duration) {
    let (me, stream) = (Rc::downgrade(exchange), Rc::downgrade(stream));
    exchange.keep(&tokio::task::spawn_local(async move {
        tokio::time::sleep(timeout).await;
        let (Some(exchange), Some(stream)) = (me.upgrade(), stream.upgrade()) else { return };
        if !exchange.is_received.get() {
            answer(router::reply(408, "request timeout", "request_overall_timeout", 0), &exchange, &stream);
        }
    }));
}

/// Returns the longest duration of the stream, by its current route, and the time that has passed.
fn longest(stream: &Rc<RefCell<Stream>>) -> Option<(Duration, Duration)> {
    let data = stream.try_borrow().ok()?.data();
    let data = data.try_borrow().ok()?;
    let passed = Duration::from_nanos(data.info.clock.now().saturating_sub(data.info.started));
    Some((data.info.longest?, passed))
}

/// Ends the stream when it has lasted too long.
pub fn watch_longest(exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    let (me, stream) = (Rc::downgrade(exchange), Rc::downgrade(stream));
    exchange.keep(&tokio::task::spawn_local(async move {
        while let Some((longest, passed)) = stream.upgrade().as_ref().and_then(longest) {
            if passed >= longest {
                let (Some(exchange), Some(stream)) = (me.upgrade(), stream.upgrade()) else { return };
                let status = if exchange.is_received.get() { 504 } else { 408 };
                let reply = router::reply(status, "downstream duration timeout", "max_duration_timeout", 0);
                return answer(LocalReply { grpc_status: DEADLINE_EXCEEDED, ..reply }, &exchange, &stream);
            }
            tokio::time::sleep(longest.saturating_sub(passed)).await;
        }
    }));
}

fn answer(mut reply: LocalReply, exchange: &Rc<ServerExchange>, stream: &Rc<RefCell<Stream>>) {
    let data = stream.borrow().data();
    exchange.site.change_response(&data.borrow(), &mut reply.headers);
    stream.borrow_mut().upstream_failed(reply);
    exchange.worker.drain();
}
