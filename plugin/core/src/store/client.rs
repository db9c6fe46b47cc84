//! The connection to the store, for one VM: one call in flight, which carries all commands that were due when it
//! started.

use std::collections::VecDeque;

use super::protocol::{Command, Protocol, Reply};
use super::scripts::Script;
use crate::base::UnixMillis;
use crate::host::{Callout, CalloutId, CalloutReply, Callouts, Metric, Metrics, StoreCall};

/// The longest reply that is read.
const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// The start of an error for a script that the store does not know.
const UNKNOWN_SCRIPT: &str = "NOSCRIPT";

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
}

/// A part of a call: a command, or a call of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Command(Command),
    Script { script: Script, keys: Vec<String>, arguments: Vec<String> },
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

/// The state of the store, as this VM sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The time of the last good answer; 0 for none.
    pub last_answer: UnixMillis,
    /// The number of failed calls since.
    pub failures: u32,
    /// Why the last call failed.
    pub trouble: String,
}

/// The client of one VM.
#[derive(Debug)]
pub struct Client {
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

impl Client {
    pub fn new(settings: Settings) -> Self {
        Client { settings, in_flight: None, sends_texts: false, health: Health::default() }
    }

    /// True if a call is in flight. No other may start.
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Starts a call. `false` means that the proxy refused it at once, so that nothing ran.
    pub fn send(&mut self, host: &(impl Callouts + Metrics), calls: &[Call]) -> bool {
        let callout = self.callout(calls);
        match host.send(&callout) {
            Ok(id) => {
                self.in_flight = Some(InFlight { id, calls: calls.len() });
                true
            }
            Err(refused) => {
                self.fail(host, &format!("cluster {}: {refused}", self.settings.cluster));
                false
            }
        }
    }

    /// Takes the reply to the call in flight: one outcome for each of its parts. `None` means that the reply is for
    /// another callout.
    pub fn on_reply(
        &mut self,
        host: &(impl Callouts + Metrics),
        id: CalloutId,
        reply: &CalloutReply,
        now: UnixMillis,
    ) -> Option<Vec<Outcome>> {
        let InFlight { calls, .. } = self.in_flight.take_if(|call| call.id == id)?;
        let replies = match reply.status {
            Some(200) => match host.reply_body(MAX_REPLY_BYTES) {
                Ok(body) => {
                    let replies = self.settings.protocol.decode(&body);
                    if replies.is_empty() {
                        self.fail(host, "an answer without a reply");
                    }
                    replies
                }
                Err(error) => {
                    self.fail(host, &error.to_string());
                    Vec::new()
                }
            },
            Some(status) => {
                self.fail(host, &format!("status {status}"));
                Vec::new()
            }
            None => {
                self.fail(host, "no answer");
                Vec::new()
            }
        };
        Some(self.outcomes(host, replies.into(), calls, now))
    }

    fn outcomes(
        &mut self,
        host: &impl Metrics,
        mut replies: VecDeque<Reply>,
        calls: usize,
        now: UnixMillis,
    ) -> Vec<Outcome> {
        let was_answered = !replies.is_empty();
        let mut trouble = None;
        for _ in 0..self.prelude().len() {
            if let Some(Reply::Error(error)) = replies.pop_front() {
                trouble = trouble.or(Some(error));
            }
        }
        let mut outcomes = Vec::with_capacity(calls);
        for _ in 0..calls {
            outcomes.push(match replies.pop_front() {
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
                    trouble = trouble.or_else(|| was_answered.then(|| "the answer ended early".to_owned()));
                    Outcome::Unknown
                }
            });
        }
        match trouble {
            Some(trouble) => self.fail(host, &trouble),
            None if was_answered => self.succeed(host, now),
            None => {}
        }
        outcomes
    }

    fn callout(&mut self, calls: &[Call]) -> Callout {
        let mut commands = self.prelude();
        let mut texts_sent: Vec<Script> = Vec::new();
        for call in calls {
            commands.push(match call {
                Call::Command(command) => command.clone(),
                Call::Script { script, keys, arguments } => {
                    let sends_text = self.sends_texts && !texts_sent.contains(script);
                    if sends_text {
                        texts_sent.push(*script);
                    }
                    let (command, script) = if sends_text { ("EVAL", script.text) } else { ("EVALSHA", script.sha1) };
                    let mut parts = vec![command.to_owned(), script.to_owned(), keys.len().to_string()];
                    parts.extend(keys.iter().chain(arguments).cloned());
                    parts
                }
            });
        }
        self.sends_texts = false;
        let Settings { protocol, authority, token, cluster, timeout_ms, .. } = &self.settings;
        let (path, authority) = match protocol {
            Protocol::Resp => ("/", cluster),
            Protocol::Upstash => ("/pipeline", authority),
        };
        let pairs = [(":method", "POST"), (":path", path), (":authority", authority)];
        let mut headers: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        if *protocol == Protocol::Upstash {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        Callout { cluster: cluster.clone(), headers, body: protocol.encode(&commands), timeout_ms: *timeout_ms }
    }

    /// The commands before the scripts: each call has its own connection.
    fn prelude(&self) -> Vec<Command> {
        let Settings { protocol, username, password, database, .. } = &self.settings;
        let mut commands = Vec::new();
        if *protocol == Protocol::Upstash {
            return commands;
        }
        if !password.is_empty() {
            let parts = ["AUTH", username, password];
            commands.push(parts.into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect());
        }
        if *database > 0 {
            commands.push(vec!["SELECT".to_owned(), database.to_string()]);
        }
        commands
    }

    fn succeed(&mut self, host: &impl Metrics, now: UnixMillis) {
        host.count(Metric::StoreCalls(StoreCall::Answered));
        if self.health.failures > 0 {
            log::warn!(
                "the store {} answers again, after {} failed calls",
                self.settings.cluster,
                self.health.failures
            );
        }
        self.health = Health { last_answer: now, ..Health::default() };
    }

    fn fail(&mut self, host: &impl Metrics, trouble: &str) {
        host.count(Metric::StoreCalls(StoreCall::Failed));
        if self.health.trouble != trouble {
            log::error!("the store {} fails: {trouble}", self.settings.cluster);
            trouble.clone_into(&mut self.health.trouble);
        }
        self.health.failures = self.health.failures.saturating_add(1);
    }
}
