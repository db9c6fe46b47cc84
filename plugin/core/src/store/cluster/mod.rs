//! A Redis Cluster: the parts of a call go to the nodes that have their keys, all at the same time.
//!
//! ```text
//! parts ─ slot of the first key ─▶ owner ─▶ one callout for each node ─▶ replies ─ MOVED, ASK ─▶ one more callout
//!                                    └──── the map of slots, asked of any node beside the call
//! ```
//! A call is complete when each node has answered or failed. [`topology`] is the map of slots.

#[cfg(test)]
mod tests;
mod topology;
mod trouble;

use std::net::SocketAddr;

use litemap::LiteMap;

use super::client::{Call, Outcome, Settings};
use super::health::Health;
use super::pipeline::{Pipeline, Replies, UNKNOWN_SCRIPT};
use super::protocol::Reply;
use super::slots::slot;
use crate::base::UnixMillis;
use crate::host::{CalloutId, CalloutReply, Callouts, Metric, Metrics, StoreCall};
pub use topology::{Redirect, Topology};
use trouble::Troubles;

/// The most callouts for one part.
const MAX_HOPS: u8 = 6;

/// How long a map of slots is used without asking again.
const MAP_HOLDS_MS: u64 = 10_000;

/// The time between questions for the map, while nodes fail or slots move.
const MAP_RETRY_MS: u64 = 500;

/// The client of one VM.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    topology: Topology,
    map: MapQuestion,
    parts: Vec<Part>,
    /// The callouts of the call in flight. Empty if there is none.
    legs: Vec<Leg>,
    /// Why a part of the call in flight failed.
    trouble: Option<String>,
    troubles: Troubles,
    health: Health,
    /// Failed calls since all owners of slots answered.
    failed_calls: u32,
    /// The time of the latest reply.
    now: UnixMillis,
}

/// Asking for the map.
#[derive(Debug, Default)]
struct MapQuestion {
    in_flight: Option<(CalloutId, SocketAddr)>,
    /// When it was asked last.
    asked: Option<UnixMillis>,
    /// True if it is known to be old.
    is_wanted: bool,
    /// Whether to ask with CLUSTER SLOTS: Redis before 7.0 has no CLUSTER SHARDS.
    uses_slots: bool,
    /// Counts the questions, so that they go to all nodes in turn.
    turn: usize,
    /// Why the last answer was no map.
    trouble: String,
}

/// A part of the call in flight.
#[derive(Debug)]
struct Part {
    call: Call,
    hops: u8,
    /// True if the node did not know the script.
    needs_text: bool,
    outcome: Outcome,
}

/// A callout to one node.
#[derive(Debug)]
struct Leg {
    id: CalloutId,
    node: SocketAddr,
    parts: Vec<Errand>,
}

/// A part in a callout.
#[derive(Clone, Copy, Debug)]
struct Errand {
    part: usize,
    /// True after ASK: the command ASKING comes before it.
    asks: bool,
}

impl Cluster {
    pub fn new(settings: Settings) -> Self {
        Cluster {
            settings,
            topology: Topology::default(),
            map: MapQuestion::default(),
            parts: Vec::new(),
            legs: Vec::new(),
            trouble: None,
            troubles: Troubles::default(),
            health: Health::default(),
            failed_calls: 0,
            now: UnixMillis(0),
        }
    }

    pub fn is_busy(&self) -> bool {
        !self.legs.is_empty()
    }

    pub fn awaits(&self, id: CalloutId) -> bool {
        self.legs.iter().any(|leg| leg.id == id) || self.map.in_flight.is_some_and(|(known, _)| known == id)
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// See [`super::Client::send`].
    pub fn send(&mut self, host: &(impl Callouts + Metrics), calls: &[Call]) -> bool {
        self.ask_for_map(host);
        let mut nodes: LiteMap<SocketAddr, Vec<Errand>> = LiteMap::new();
        let new = |call: &Call| Part { call: call.clone(), hops: 0, needs_text: false, outcome: Outcome::Unknown };
        self.parts = calls.iter().map(new).collect();
        let mut any_node = None;
        for (part, call) in calls.iter().enumerate() {
            let owner = call.key().and_then(|key| self.topology.owner(slot(key)));
            let node = owner.or_else(|| *any_node.get_or_insert_with(|| self.any_node()));
            let Some(node) = node else { continue };
            nodes.entry(node).or_default().push(Errand { part, asks: false });
        }
        let (resting, ready): (Vec<_>, Vec<_>) =
            nodes.into_iter().partition(|(node, _)| self.troubles.is_resting(*node, self.now));
        for (node, errands) in ready {
            self.start(host, node, errands);
        }
        // Nodes that do not answer would hold up the others. The time is known from replies, so something must be sent.
        if self.legs.is_empty() {
            for (node, errands) in resting {
                self.start(host, node, errands);
            }
        } else if let Some((node, _)) = resting.first() {
            self.map.is_wanted = true;
            let trouble = format!("{node} does not answer");
            self.trouble = self.trouble.take().or(Some(trouble));
        }
        if self.legs.is_empty() {
            self.complete();
        }
        self.is_busy()
    }

    /// See [`super::Client::on_reply`].
    pub fn on_reply(
        &mut self,
        host: &(impl Callouts + Metrics),
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> Option<Vec<Outcome>> {
        if let Some((_, node)) = self.map.in_flight.take_if(|(known, _)| *known == id) {
            self.now = now;
            self.read_map(host, node, reply);
            return None;
        }
        let place = self.legs.iter().position(|leg| leg.id == id)?;
        self.now = now;
        let Leg { node, parts, .. } = self.legs.swap_remove(place);
        let next = match Replies::read(&self.settings, host, reply) {
            Ok(replies) => self.take_replies(host, node, &parts, replies),
            Err(error) => {
                self.fail(host, node, &error.to_string());
                self.troubles.rest(node, now);
                self.map.is_wanted = true;
                LiteMap::new()
            }
        };
        for (node, errands) in next {
            self.start(host, node, errands);
        }
        self.ask_for_map(host);
        self.legs.is_empty().then(|| self.complete())
    }

    /// Takes the replies of a node. Returns the parts that must be sent once more.
    fn take_replies(
        &mut self,
        host: &impl Metrics,
        node: SocketAddr,
        errands: &[Errand],
        mut replies: Replies,
    ) -> LiteMap<SocketAddr, Vec<Errand>> {
        let mut next: LiteMap<SocketAddr, Vec<Errand>> = LiteMap::new();
        let mut trouble = replies.refused.take();
        for errand in errands {
            if errand.asks {
                replies.next();
            }
            let Some(part) = self.parts.get_mut(errand.part) else { continue };
            let error = match replies.next() {
                Some(Reply::Error(error)) => error,
                Some(reply) => {
                    part.outcome = Outcome::Ran(reply);
                    self.health.last_answer = self.now;
                    continue;
                }
                None => "the answer ended early".to_owned(),
            };
            let may_go_on = part.hops < MAX_HOPS;
            if error.starts_with(UNKNOWN_SCRIPT) && may_go_on {
                part.needs_text = true;
                next.entry(node).or_default().push(*errand);
                continue;
            }
            let redirect = Redirect::read(&error, &self.topology, node);
            if let Some(Redirect { slot, asks, to }) = redirect {
                self.map.is_wanted |= !asks;
                if let Some(to) = to {
                    if !asks {
                        self.topology.set_owner(slot, to);
                    }
                    if may_go_on {
                        next.entry(to).or_default().push(Errand { part: errand.part, asks });
                        continue;
                    }
                }
            }
            trouble = trouble.or(Some(error));
        }
        match trouble {
            Some(trouble) => {
                self.fail(host, node, &trouble);
                self.troubles.wake(node);
            }
            None => self.troubles.end(host, node),
        }
        next
    }

    /// Starts a callout. If the proxy refuses it, the outcome of its parts stays unknown.
    fn start(&mut self, host: &(impl Callouts + Metrics), node: SocketAddr, errands: Vec<Errand>) {
        let mut pipeline = Pipeline::new(&self.settings);
        for errand in &errands {
            let Some(part) = self.parts.get_mut(errand.part) else { continue };
            part.hops = part.hops.saturating_add(1);
            if errand.asks {
                pipeline.push(&["ASKING"]);
            }
            pipeline.push_call(&part.call, part.needs_text);
        }
        match host.send(&pipeline.callout(Some(node))) {
            Ok(id) => self.legs.push(Leg { id, node, parts: errands }),
            Err(refused) => self.fail(host, node, &refused.to_string()),
        }
    }

    fn fail(&mut self, host: &impl Metrics, node: SocketAddr, trouble: &str) {
        self.troubles.begin(host, (&self.settings.cluster, node), trouble);
        self.trouble = self.trouble.take().or_else(|| Some(format!("{node}: {trouble}")));
    }

    /// Ends the call in flight.
    fn complete(&mut self) -> Vec<Outcome> {
        match self.trouble.take() {
            Some(trouble) => {
                self.health.failures = self.health.failures.saturating_add(1);
                self.health.trouble = trouble;
                self.failed_calls = self.failed_calls.saturating_add(1);
            }
            None => {
                self.health = Health { last_answer: self.health.last_answer, ..Health::default() };
                if self.failed_calls > 0 && !self.troubles.any(|node| self.topology.is_owner(node)) {
                    let count = std::mem::take(&mut self.failed_calls);
                    log::warn!("the store {} answers again, after {count} failed calls", self.settings.cluster);
                }
            }
        }
        self.parts.drain(..).map(|part| part.outcome).collect()
    }

    /// A node that can say where the keys are: all of them in turn, first those that answer.
    fn any_node(&self) -> Option<SocketAddr> {
        let seeds = self.settings.seeds.iter().copied().filter(|seed| !self.topology.contains(*seed));
        let known: Vec<SocketAddr> = self.topology.addresses().chain(seeds).collect();
        let well: Vec<SocketAddr> = known.iter().copied().filter(|node| !self.troubles.has(*node)).collect();
        let nodes = if well.is_empty() { known } else { well };
        let place = self.map.turn.checked_rem(nodes.len())?;
        nodes.get(place).copied()
    }

    /// Asks for the map, if it is not known or old.
    fn ask_for_map(&mut self, host: &(impl Callouts + Metrics)) {
        let holds_ms = if self.map.is_wanted { MAP_RETRY_MS } else { MAP_HOLDS_MS };
        let is_due = self.map.asked.is_none_or(|asked| self.now.since(asked) >= holds_ms);
        if self.map.in_flight.is_some() || !is_due {
            return;
        }
        let Some(node) = self.any_node() else { return };
        let mut pipeline = Pipeline::new(&self.settings);
        pipeline.push(&["CLUSTER", if self.map.uses_slots { "SLOTS" } else { "SHARDS" }]);
        self.map.turn = self.map.turn.wrapping_add(1);
        self.map.asked = Some(self.now);
        match host.send(&pipeline.callout(Some(node))) {
            Ok(id) => self.map.in_flight = Some((id, node)),
            Err(refused) => self.troubles.begin(host, (&self.settings.cluster, node), &refused.to_string()),
        }
    }

    fn read_map(&mut self, host: &(impl Callouts + Metrics), node: SocketAddr, reply: &CalloutReply) {
        (self.map.is_wanted, self.map.asked) = (true, Some(self.now));
        let mut replies = match Replies::read(&self.settings, host, reply) {
            Ok(replies) => replies,
            Err(error) => {
                self.troubles.begin(host, (&self.settings.cluster, node), &error.to_string());
                return self.troubles.rest(node, self.now);
            }
        };
        let trouble = match (replies.refused.take(), replies.next()) {
            (None, Some(Reply::Error(error))) => {
                self.map.uses_slots = !self.map.uses_slots;
                if self.map.uses_slots {
                    // Redis before 7.0: ask again at once.
                    self.map.asked = None;
                    return self.ask_for_map(host);
                }
                error
            }
            (None, reply) => match reply.and_then(|reply| Topology::read(&reply, node)) {
                Some(topology) => {
                    self.topology = topology;
                    (self.map.is_wanted, self.map.trouble) = (false, String::new());
                    let (topology, seeds) = (&self.topology, &self.settings.seeds);
                    self.troubles.retain(|node| topology.contains(node) || seeds.contains(&node));
                    return self.troubles.end(host, node);
                }
                None => "no slot has a node".to_owned(),
            },
            (Some(error), _) => error,
        };
        host.count(Metric::StoreCalls(StoreCall::Failed));
        if self.map.trouble != trouble {
            log::error!("the store {} fails: the slots are unknown: {node}: {trouble}", self.settings.cluster);
            self.map.trouble = trouble;
        }
    }
}
