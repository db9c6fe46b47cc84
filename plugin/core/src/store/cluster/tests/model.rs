//! A model of a Redis Cluster: what its nodes answer, and what they ran.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::base::UnixMillis;
use crate::host::{Callout, CalloutId, CalloutReply};
use crate::store::client::{Call, Client, Outcome, Settings};
use crate::store::pipeline::DESTINATION;
use crate::store::protocol::{Protocol, Reply};
use crate::store::scripts::Script;
use crate::store::slots::{SLOTS, slot};
use crate::testing::MemoryHost;

pub(super) const PORTS: [u16; 3] = [1, 2, 3];

pub(super) fn node(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// A key on the node with this port, in the cluster's first state.
pub(super) fn key_on(port: u16, number: usize) -> String {
    let mut keys = (0..).map(|tag| format!("p{{{tag}}}")).filter(|key| first_owner(slot(key)) == port);
    keys.nth(number).unwrap()
}

fn first_owner(slot: u16) -> u16 {
    PORTS[usize::from(slot) * PORTS.len() / usize::from(SLOTS)]
}

/// A part that can be told from others.
pub(super) fn run(key: &str, name: &str) -> Call {
    Call::Command(vec!["RUN".to_owned(), key.to_owned(), name.to_owned()])
}

pub(super) fn script(key: &str) -> Call {
    Call::Script { script: Script::END, keys: vec![key.to_owned()], arguments: vec!["m".to_owned(), "1".to_owned()] }
}

pub(super) struct Model {
    /// By slot, as the nodes know it.
    pub(super) owners: Vec<u16>,
    /// Slots on their way to a node.
    pub(super) moving: BTreeMap<u16, u16>,
    /// Keys that are at the new node already.
    pub(super) moved: BTreeSet<String>,
    /// Nodes that do not answer.
    pub(super) down: BTreeSet<u16>,
    /// Errors that a node gives to all calls with keys.
    pub(super) errors: BTreeMap<u16, String>,
    /// Before Redis 7.0, there is no CLUSTER SHARDS.
    pub(super) is_old: bool,
    knows_script: BTreeSet<u16>,
    /// How often each named part ran.
    pub(super) ran: BTreeMap<String, u32>,
    /// The callouts: the port, and the commands.
    pub(super) callouts: Vec<(u16, Vec<Vec<String>>)>,
    pub(super) now: u64,
}

impl Model {
    pub(super) fn new() -> Self {
        Model {
            owners: (0..SLOTS).map(first_owner).collect(),
            moving: BTreeMap::new(),
            moved: BTreeSet::new(),
            down: BTreeSet::new(),
            errors: BTreeMap::new(),
            is_old: false,
            knows_script: BTreeSet::new(),
            ran: BTreeMap::new(),
            callouts: Vec::new(),
            now: 1_000_000,
        }
    }

    pub(super) fn client(password: &str) -> Client {
        Client::new(Settings {
            cluster: "redis".to_owned(),
            password: password.to_owned(),
            timeout_ms: 250,
            seeds: vec![node(1), node(2)],
            ..Settings::default()
        })
    }

    /// Runs a call to its end, with the replies in the order of `pick`. `None` if the client did not start it.
    pub(super) fn call(
        &mut self,
        client: &mut Client,
        calls: &[Call],
        mut pick: impl FnMut(usize) -> usize,
    ) -> Option<Vec<Outcome>> {
        let host = MemoryHost::default();
        if !client.send(&host, calls) {
            return None;
        }
        let mut open: Vec<(CalloutId, Callout)> = Vec::new();
        let mut outcomes = None;
        loop {
            open.extend(host.take_sent());
            if open.is_empty() {
                break;
            }
            let (id, callout) = open.remove(pick(open.len()));
            let body = self.answer(&callout);
            self.now += 1;
            host.set_reply(&[], body.as_deref().unwrap_or_default().as_bytes());
            let status = if body.is_some() { 200 } else { 503 };
            let reply = CalloutReply { status: Some(status), ..CalloutReply::default() };
            assert!(client.awaits(id));
            if let Some(ended) = client.on_reply(&host, id, &reply, UnixMillis(self.now)) {
                assert!(outcomes.replace(ended).is_none(), "a call ends once");
            }
        }
        assert!(!client.is_busy());
        let outcomes = outcomes.expect("a call ends");
        assert_eq!(outcomes.len(), calls.len());
        Some(outcomes)
    }

    /// The reply of a node; `None` if it does not answer.
    fn answer(&mut self, callout: &Callout) -> Option<String> {
        let destination = &callout.headers.iter().find(|(name, _)| name == DESTINATION).unwrap().1;
        let port = destination.parse::<SocketAddr>().unwrap().port();
        let commands: Vec<Vec<String>> = Protocol::Resp.decode(&callout.body).into_iter().map(words).collect();
        self.callouts.push((port, commands.clone()));
        if self.down.contains(&port) {
            return None;
        }
        let mut reply = String::new();
        let mut is_asking = false;
        for command in commands {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            reply += &match words.as_slice() {
                ["AUTH", ..] => "+OK\r\n".to_owned(),
                ["ASKING"] => {
                    is_asking = true;
                    "+OK\r\n".to_owned()
                }
                ["CLUSTER", "SHARDS"] if self.is_old => "-ERR Unknown subcommand\r\n".to_owned(),
                ["CLUSTER", form] => self.map(form),
                ["RUN", key, name] => self.redirect(port, key, is_asking).unwrap_or_else(|| {
                    *self.ran.entry((*name).to_owned()).or_default() += 1;
                    ":1\r\n".to_owned()
                }),
                ["EVAL" | "EVALSHA", _, _, key, ..] => self.redirect(port, key, is_asking).unwrap_or_else(|| {
                    if words[0] == "EVAL" {
                        self.knows_script.insert(port);
                    }
                    let is_known = self.knows_script.contains(&port);
                    (if is_known { ":1\r\n" } else { "-NOSCRIPT No matching script.\r\n" }).to_owned()
                }),
                other => panic!("{other:?}"),
            };
            is_asking &= words == ["ASKING"];
        }
        Some(reply)
    }

    fn redirect(&self, port: u16, key: &str, is_asking: bool) -> Option<String> {
        if let Some(error) = self.errors.get(&port) {
            return Some(format!("-{error}\r\n"));
        }
        let slot = slot(key);
        let owner = self.owners[usize::from(slot)];
        match self.moving.get(&slot) {
            Some(to) if port == owner => self.moved.contains(key).then(|| format!("-ASK {slot} 10.0.0.1:{to}\r\n")),
            Some(to) if port == *to && is_asking => None,
            _ => (port != owner).then(|| format!("-MOVED {slot} 10.0.0.1:{owner}\r\n")),
        }
    }

    fn map(&self, form: &str) -> String {
        let mut ranges: Vec<(usize, usize, u16)> = Vec::new();
        for (slot, owner) in self.owners.iter().enumerate() {
            match ranges.last_mut() {
                Some((_, last, port)) if port == owner => *last = slot,
                _ => ranges.push((slot, slot, *owner)),
            }
        }
        let entries = ranges.iter().map(|(first, last, port)| match form {
            "SLOTS" => format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n$8\r\n10.0.0.1\r\n:{port}\r\n$2\r\nid\r\n"),
            _ => format!(
                "*4\r\n$5\r\nslots\r\n*2\r\n:{first}\r\n:{last}\r\n$5\r\nnodes\r\n*1\r\n*8\r\n$4\r\nport\r\n:{port}\r\n\
                 $2\r\nip\r\n$8\r\n10.0.0.1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"
            ),
        });
        format!("*{}\r\n{}", ranges.len(), entries.collect::<String>())
    }
}

fn words(reply: Reply) -> Vec<String> {
    let Reply::List(words) = reply else { panic!("{reply:?}") };
    words.into_iter().map(|word| if let Reply::Text(text) = word { text } else { panic!("{word:?}") }).collect()
}
