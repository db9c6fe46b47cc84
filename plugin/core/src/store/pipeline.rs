//! What goes out in one callout, and what comes back.

use std::net::SocketAddr;

use super::client::{Call, Settings};
use super::protocol::{Command, Protocol, Reply};
use super::scripts::Script;
use crate::host::{Callout, CalloutReply, Callouts};

/// The longest reply that is read.
const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// The start of an error for a script that the store does not know.
pub const UNKNOWN_SCRIPT: &str = "NOSCRIPT";

/// The header in which a cluster of the type ORIGINAL_DST finds the address.
pub const DESTINATION: &str = "x-envoy-original-dst-host";

/// The commands of one callout.
#[derive(Debug)]
pub struct Pipeline<'s> {
    settings: &'s Settings,
    commands: Vec<Command>,
    texts_sent: Vec<Script>,
}

impl<'s> Pipeline<'s> {
    /// With the commands that must come first, since each callout has its own connection.
    pub fn new(settings: &'s Settings) -> Self {
        Pipeline { settings, commands: prelude(settings), texts_sent: Vec::new() }
    }

    pub fn push(&mut self, command: &[&str]) {
        self.commands.push(command.iter().map(|part| (*part).to_owned()).collect());
    }

    /// Adds a part of a call. With `has_text`, the first call of each script contains its text.
    pub fn push_call(&mut self, call: &Call, has_text: bool) {
        self.commands.push(match call {
            Call::Command(command) => command.clone(),
            Call::Script { script, keys, arguments } => {
                let has_text = has_text && !self.texts_sent.contains(script);
                if has_text {
                    self.texts_sent.push(*script);
                }
                let (command, script) = if has_text { ("EVAL", script.text) } else { ("EVALSHA", script.sha1) };
                let mut parts = vec![command.to_owned(), script.to_owned(), keys.len().to_string()];
                parts.extend(keys.iter().chain(arguments).cloned());
                parts
            }
        });
    }

    /// The callout, to that node of a Redis Cluster, if it is one.
    pub fn callout(&self, node: Option<SocketAddr>) -> Callout {
        let Settings { protocol, authority, token, cluster, timeout_ms, .. } = self.settings;
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
        if let Some(node) = node {
            headers.push((DESTINATION.to_owned(), node.to_string()));
        }
        let body = protocol.encode(&self.commands);
        Callout { cluster: cluster.clone(), headers, body, timeout_ms: *timeout_ms }
    }
}

fn prelude(settings: &Settings) -> Vec<Command> {
    let Settings { protocol, username, password, database, .. } = settings;
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

/// The replies to a callout.
#[derive(Debug)]
pub struct Replies {
    replies: std::vec::IntoIter<Reply>,
    /// The error of a command before the parts of the call.
    pub refused: Option<String>,
}

impl Replies {
    /// Reads the reply to a callout.
    ///
    /// # Errors
    /// There is none.
    pub fn read(settings: &Settings, host: &impl Callouts, reply: &CalloutReply) -> Result<Self, NoReply> {
        match reply.status {
            Some(200) => {}
            Some(status) => return Err(NoReply(format!("status {status}"))),
            None => return Err(NoReply("no answer".to_owned())),
        }
        let body = host.reply_body(MAX_REPLY_BYTES).map_err(|error| NoReply(error.to_string()))?;
        let mut replies = settings.protocol.decode(&body).into_iter();
        if replies.len() == 0 {
            return Err(NoReply("an answer without a reply".to_owned()));
        }
        let mut refused = None;
        for _ in prelude(settings) {
            if let Some(Reply::Error(error)) = replies.next() {
                refused = refused.or(Some(error));
            }
        }
        Ok(Replies { replies, refused })
    }
}

impl Iterator for Replies {
    type Item = Reply;

    fn next(&mut self) -> Option<Reply> {
        self.replies.next()
    }
}

/// Why a callout has no replies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoReply(String);
