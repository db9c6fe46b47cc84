//! The nodes that fail.

use std::net::SocketAddr;

use litemap::LiteMap;

use crate::base::UnixMillis;
use crate::host::{Metric, Metrics, StoreCall};

/// The first time for which a node that does not answer repeatedly is left out of calls, and the longest.
const REST_MS: u64 = 250;
const MAX_REST_MS: u64 = 1000;

/// Nodes that fail, and why.
#[derive(Debug, Default)]
pub struct Troubles(LiteMap<SocketAddr, Trouble>);

#[derive(Debug, Default)]
struct Trouble {
    why: String,
    /// Calls since the last answer.
    silences: u32,
    rests_until: UnixMillis,
}

impl Troubles {
    pub fn has(&self, node: SocketAddr) -> bool {
        self.0.contains_key(&node)
    }

    /// True if calls to other nodes should not wait for this one.
    pub fn is_resting(&self, node: SocketAddr, now: UnixMillis) -> bool {
        self.0.get(&node).is_some_and(|trouble| now < trouble.rests_until)
    }

    /// A call to this node of the store failed.
    pub fn begin(&mut self, host: &impl Metrics, (cluster, node): (&str, SocketAddr), why: &str) {
        host.count(Metric::StoreCalls(StoreCall::Failed));
        let trouble = self.0.entry(node).or_default();
        if trouble.why != why {
            log::error!("the store {cluster} fails: {node}: {why}");
            why.clone_into(&mut trouble.why);
        }
    }

    /// The node did not answer. From the second time on, it is left out for a while.
    pub fn rest(&mut self, node: SocketAddr, now: UnixMillis) {
        let trouble = self.0.entry(node).or_default();
        trouble.silences = trouble.silences.saturating_add(1);
        let doublings = trouble.silences.saturating_sub(2).min(8);
        if trouble.silences > 1 {
            trouble.rests_until = now.plus((REST_MS << doublings).min(MAX_REST_MS));
        }
    }

    /// The node answered, with an error.
    pub fn wake(&mut self, node: SocketAddr) {
        if let Some(trouble) = self.0.get_mut(&node) {
            (trouble.silences, trouble.rests_until) = (0, UnixMillis(0));
        }
    }

    /// A call to this node ran without an error.
    pub fn end(&mut self, host: &impl Metrics, node: SocketAddr) {
        host.count(Metric::StoreCalls(StoreCall::Answered));
        self.0.remove(&node);
    }

    pub fn any(&self, is_such: impl Fn(SocketAddr) -> bool) -> bool {
        self.0.keys().any(|node| is_such(*node))
    }

    /// Forgets nodes.
    pub fn retain(&mut self, mut keeps: impl FnMut(SocketAddr) -> bool) {
        self.0.retain(|node, _| keeps(*node));
    }
}
