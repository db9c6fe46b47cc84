//! The connection to the store, for one VM: one call in flight, which carries all commands that were due when it
//! started. In a Redis Cluster, a call has one callout for each node.

use std::net::SocketAddr;

use super::cluster::Cluster;
use super::health::Health;
use super::pipeline::{Pipeline, Replies, UNKNOWN_SCRIPT};
use super::protocol::{Command, Protocol, Reply};
use super::scripts::Script;
use crate::base::UnixMillis;
use crate::host::{CalloutId, CalloutReply, Callouts, Metrics};

/// How the store is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Envoy cluster.
    pub cluster: String,
    pub protocol: Protocol,
    /// The host of Upstash's REST API.
    pub authority: String,
    /// Its bearer token.
    pub token: String,
    /// The user for AUTH; empty for the default user.
    pub username: String,
    /// The password for AUTH; empty for no AUTH.
    pub password: String,
    /// The database for SELECT.
    pub database: u32,
    /// At least 1.
    pub timeout_ms: u64,
    /// The first nodes of a Redis Cluster; empty for a single node.
    pub seeds: Vec<SocketAddr>,
}

/// A part of a call: a command, or a call of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Command(Command),
    Script { script: Script, keys: Vec<String>, arguments: Vec<String> },
}

impl Call {
    /// The first key, which decides on the node in a Redis Cluster.
    pub fn key(&self) -> Option<&str> {
        match self {
            Call::Command(command) => command.get(1).map(String::as_str),
            Call::Script { keys, .. } => keys.first().map(String::as_str),
        }
    }
}

/// The result of a part of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran, and this is its reply.
    Ran(Reply),
    /// The script did not run, because the store does not know it yet. The next call contains its text.
    NotRun,
    /// It may or may not have run.
    Unknown,
}

/// The client of one VM.
#[derive(Debug)]
pub struct Client(Way);

#[derive(Debug)]
enum Way {
    Single(Box<Single>),
    Cluster(Box<Cluster>),
}

impl Client {
    pub fn new(settings: Settings) -> Self {
        Client(if settings.seeds.is_empty() {
            Way::Single(Box::new(Single { settings, in_flight: None, sends_texts: false, health: Health::default() }))
        } else {
            Way::Cluster(Box::new(Cluster::new(settings)))
        })
    }

    /// True if a call is in flight. No other may start.
    pub fn is_busy(&self) -> bool {
        match &self.0 {
            Way::Single(single) => single.in_flight.is_some(),
            Way::Cluster(cluster) => cluster.is_busy(),
        }
    }

    /// True if the client waits for the reply to this callout.
    pub fn awaits(&self, id: CalloutId) -> bool {
        match &self.0 {
            Way::Single(single) => single.in_flight.as_ref().is_some_and(|call| call.id == id),
            Way::Cluster(cluster) => cluster.awaits(id),
        }
    }

    pub fn health(&self) -> &Health {
        match &self.0 {
            Way::Single(single) => &single.health,
            Way::Cluster(cluster) => cluster.health(),
        }
    }

    /// Starts a call. `false` means that the proxy refused it at once, so that nothing ran.
    pub fn send(&mut self, host: &(impl Callouts + Metrics), calls: &[Call]) -> bool {
        match &mut self.0 {
            Way::Single(single) => single.send(host, calls),
            Way::Cluster(cluster) => cluster.send(host, calls),
        }
    }

    /// Takes a reply. Returns the outcomes of all parts of the call in flight, in their order, when it is complete.
    pub fn on_reply(
        &mut self,
        host: &(impl Callouts + Metrics),
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> Option<Vec<Outcome>> {
        match &mut self.0 {
            Way::Single(single) => single.on_reply(host, id, reply, now),
            Way::Cluster(cluster) => cluster.on_reply(host, id, reply, now),
        }
    }
}

/// One node, or several of which Envoy chooses one.
#[derive(Debug)]
struct Single {
    settings: Settings,
    in_flight: Option<InFlight>,
    /// True if the next call contains the texts of scripts.
    sends_texts: bool,
    health: Health,
}

#[derive(Debug)]
struct InFlight {
    id: CalloutId,
    /// The number of its parts.
    calls: usize,
}

impl Single {
    fn send(&mut self, host: &(impl Callouts + Metrics), calls: &[Call]) -> bool {
        let mut pipeline = Pipeline::new(&self.settings);
        for call in calls {
            pipeline.push_call(call, self.sends_texts);
        }
        self.sends_texts = false;
        match host.send(&pipeline.callout(None)) {
            Ok(id) => {
                self.in_flight = Some(InFlight { id, calls: calls.len() });
                true
            }
            Err(refused) => {
                let trouble = format!("cluster {}: {refused}", self.settings.cluster);
                self.health.fail(host, &self.settings.cluster, &trouble);
                false
            }
        }
    }

    fn on_reply(
        &mut self,
        host: &(impl Callouts + Metrics),
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> Option<Vec<Outcome>> {
        let InFlight { calls, .. } = self.in_flight.take_if(|call| call.id == id)?;
        match Replies::read(&self.settings, host, reply) {
            Ok(replies) => Some(self.outcomes(host, replies, calls, now)),
            Err(error) => {
                self.health.fail(host, &self.settings.cluster, &error.to_string());
                Some(vec![Outcome::Unknown; calls])
            }
        }
    }

    fn outcomes(&mut self, host: &impl Metrics, mut replies: Replies, calls: usize, now: UnixMillis) -> Vec<Outcome> {
        let mut trouble = replies.refused.take();
        let mut outcomes = Vec::with_capacity(calls);
        for _ in 0..calls {
            outcomes.push(match replies.next() {
                Some(Reply::Error(error)) if error.starts_with(UNKNOWN_SCRIPT) => {
                    self.sends_texts = true;
                    Outcome::NotRun
                }
                Some(Reply::Error(error)) => {
                    trouble = trouble.or(Some(error));
                    Outcome::Unknown
                }
                Some(reply) => Outcome::Ran(reply),
                None => {
                    trouble = trouble.or_else(|| Some("the answer ended early".to_owned()));
                    Outcome::Unknown
                }
            });
        }
        match trouble {
            Some(trouble) => self.health.fail(host, &self.settings.cluster, &trouble),
            None => self.health.succeed(host, &self.settings.cluster, now),
        }
        outcomes
    }
}
