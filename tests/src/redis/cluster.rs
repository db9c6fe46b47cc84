use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Redis;
use crate::envoy::free_port;

const SLOTS: u16 = 16_384;

/// How long the nodes may take until they agree.
const AGREEMENT: Duration = Duration::from_secs(30);

/// Masters and their replicas on this machine. A master that does not answer for a second is replaced.
pub struct RedisCluster {
    nodes: Vec<Redis>,
    /// True for nodes that were killed.
    dead: Vec<AtomicBool>,
}

/// A line of `CLUSTER NODES`.
#[derive(Clone, Debug)]
struct Line {
    port: u16,
    flags: String,
    is_connected: bool,
    /// The ranges of its slots.
    slots: Vec<(u16, u16)>,
}

impl RedisCluster {
    /// Starts `masters` masters, each with so many replicas, and waits until they serve all slots.
    ///
    /// # Errors
    /// A server does not start, or they do not agree.
    pub fn start(masters: u16, replicas: u16) -> Result<Self> {
        let nodes: Vec<Redis> = (0..masters * (1 + replicas)).map(|_| start_node()).collect::<Result<_>>()?;
        let dead = nodes.iter().map(|_| AtomicBool::new(false)).collect();
        let cluster = RedisCluster { dead, nodes };
        for (place, node) in (0..).zip(&cluster.nodes) {
            node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()])?;
            if place < masters {
                let slot = |place: u16| u32::from(place) * u32::from(SLOTS) / u32::from(masters);
                let (first, last) = (slot(place), slot(place + 1) - 1);
                node.run(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            }
            if place > 0 {
                let bus = bus_port(node)?;
                cluster.nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), &bus])?;
            }
        }
        let count = cluster.nodes.len();
        cluster.agree("know each other", |lines| {
            lines.len() == count && lines.iter().all(|line| line.is_connected && !line.flags.contains("handshake"))
        })?;
        let (leading, following) = cluster.nodes.split_at(usize::from(masters));
        for (master, replica) in leading.iter().cycle().zip(following) {
            let id = text(&master.run(&["CLUSTER", "MYID"])?).context("no id")?;
            replica.run(&["CLUSTER", "REPLICATE", &id])?;
        }
        cluster.agree("have replicas", |lines| {
            lines.iter().filter(|line| line.flags.contains("slave")).count() == following.len()
        })?;
        for replica in following {
            wait("replicas are in step", || {
                Ok(replica.run(&["INFO", "replication"])?.contains("master_link_status:up"))
            })?;
        }
        cluster.wait_until_ok()?;
        Ok(cluster)
    }

    /// Waits until all nodes that live serve all slots.
    ///
    /// # Errors
    /// They do not.
    pub fn wait_until_ok(&self) -> Result<()> {
        for node in self.living() {
            wait("the cluster is ok", || Ok(node.run(&["CLUSTER", "INFO"])?.contains("cluster_state:ok")))?;
        }
        Ok(())
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect()
    }

    /// The node at this address.
    pub fn at(&self, address: &str) -> Option<&Redis> {
        let port = address.strip_prefix("127.0.0.1:")?.parse().ok()?;
        self.nodes.get(self.place(port)?)
    }

    /// The node with this number.
    pub fn node(&self, place: usize) -> &Redis {
        &self.nodes[place]
    }

    /// Every key that starts so, with the number of the master that has it.
    ///
    /// # Errors
    /// A master does not answer.
    pub fn keys(&self, pattern: &str) -> Result<Vec<(String, usize)>> {
        let mut keys = Vec::new();
        for master in self.masters()? {
            let reply = self.nodes[master].run(&["KEYS", pattern])?;
            keys.extend(texts(&reply).into_iter().map(|key| (key, master)));
        }
        Ok(keys)
    }

    /// The slot of a key.
    ///
    /// # Errors
    /// No node answers.
    pub fn slot(&self, key: &str) -> Result<u16> {
        let reply = self.first()?.run(&["CLUSTER", "KEYSLOT", key])?;
        Ok(reply.trim().trim_start_matches(':').parse()?)
    }

    /// The masters that live and have slots.
    ///
    /// # Errors
    /// No node answers.
    pub fn masters(&self) -> Result<Vec<usize>> {
        let lines = lines(self.first()?)?;
        let masters = lines.iter().filter(|line| !line.slots.is_empty());
        Ok(masters.filter_map(|line| self.place(line.port)).filter(|place| !self.is_dead(*place)).collect())
    }

    /// The node that says that it has a slot.
    ///
    /// # Errors
    /// There is none.
    pub fn owner(&self, slot: u16) -> Result<usize> {
        for place in (0..self.nodes.len()).filter(|place| !self.is_dead(*place)) {
            let lines = lines(&self.nodes[place])?;
            let own = lines.iter().find(|line| line.flags.contains("myself")).context("no line of its own")?;
            if own.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot)) {
                return Ok(place);
            }
        }
        bail!("no node has the slot {slot}")
    }

    /// Kills a node, as with `kill -9`.
    ///
    /// # Errors
    /// There is no command `kill`.
    pub fn kill(&self, place: usize) -> Result<()> {
        self.dead[place].store(true, Ordering::SeqCst);
        let status = Command::new("kill").arg("-KILL").arg(self.nodes[place].process.id().to_string()).status()?;
        ensure!(status.success(), "kill failed");
        Ok(())
    }

    /// How many calls the nodes that live refused with this error.
    ///
    /// # Errors
    /// A node does not answer.
    pub fn refusals(&self, error: &str) -> Result<u64> {
        let mut sum = 0;
        for node in self.living() {
            let reply = node.run(&["INFO", "errorstats"])?;
            let line = reply.lines().find_map(|line| line.strip_prefix(&format!("errorstat_{error}:count=")));
            sum += line.map_or(Ok(0), |count| count.trim().parse::<u64>())?;
        }
        Ok(sum)
    }

    /// Moves a slot with its keys to another master, with a pause after each of the steps.
    ///
    /// # Errors
    /// A node refuses.
    pub fn move_slot(&self, slot: u16, to: usize, pause: Duration) -> Result<()> {
        let from = self.owner(slot)?;
        ensure!(from != to, "the slot is there already");
        self.begin_move(slot, from, to)?;
        std::thread::sleep(pause);
        self.move_keys(slot, from, to)?;
        std::thread::sleep(pause);
        self.end_move(slot, from, to)
    }

    /// From now on, `from` sends calls for keys that it does not have to `to`.
    ///
    /// # Errors
    /// A node refuses.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let slot = slot.to_string();
        self.nodes[to].run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)?])?;
        self.nodes[from].run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)?])?;
        Ok(())
    }

    /// Moves all keys of a slot.
    ///
    /// # Errors
    /// A node refuses.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        let (slot, port) = (slot.to_string(), self.nodes[to].port().to_string());
        loop {
            let keys = texts(&self.nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"])?);
            if keys.is_empty() {
                return Ok(());
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys.iter().map(String::as_str));
            self.nodes[from].run(&command)?;
        }
    }

    /// Gives a slot without keys to `to`.
    ///
    /// # Errors
    /// A node refuses, or the slot has keys.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) -> Result<()> {
        for place in [to, from] {
            self.nodes[place].run(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &self.id(to)?])?;
        }
        Ok(())
    }

    fn id(&self, place: usize) -> Result<String> {
        text(&self.nodes[place].run(&["CLUSTER", "MYID"])?).context("no id")
    }

    fn is_dead(&self, place: usize) -> bool {
        self.dead[place].load(Ordering::SeqCst)
    }

    fn living(&self) -> impl Iterator<Item = &Redis> {
        (0..).zip(&self.nodes).filter_map(|(place, node)| (!self.is_dead(place)).then_some(node))
    }

    fn first(&self) -> Result<&Redis> {
        self.living().next().context("all nodes are dead")
    }

    fn place(&self, port: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.port() == port)
    }

    fn agree(&self, what: &str, is_so: impl Fn(&[Line]) -> bool) -> Result<()> {
        for node in self.living() {
            wait(what, || Ok(is_so(&lines(node)?)))?;
        }
        Ok(())
    }
}

fn start_node() -> Result<Redis> {
    let bus = free_port()?.to_string();
    let timeout = ["--cluster-node-timeout", "1000"];
    Redis::start_with(&[&["--cluster-enabled", "yes", "--cluster-port", &bus][..], &timeout].concat())
}

fn bus_port(node: &Redis) -> Result<String> {
    let reply = node.run(&["CONFIG", "GET", "cluster-port"])?;
    texts(&reply).get(1).cloned().context("no bus port")
}

fn lines(node: &Redis) -> Result<Vec<Line>> {
    let reply = node.run(&["CLUSTER", "NODES"])?;
    let words = reply.lines().skip(1).map(|line| line.split(' ').collect::<Vec<_>>());
    words.filter(|words| words.len() >= 8).map(|words| line(&words)).collect()
}

fn line(words: &[&str]) -> Result<Line> {
    let (address, _) = words[1].split_once('@').context("no bus port")?;
    let (_, port) = address.rsplit_once(':').context("no port")?;
    let ranges = words[8..].iter().filter(|range| !range.starts_with('['));
    let slots = ranges.map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Ok((first.parse()?, last.parse()?))
    });
    Ok(Line {
        port: port.parse()?,
        flags: words[2].to_owned(),
        is_connected: words[7] == "connected",
        slots: slots.collect::<Result<_>>()?,
    })
}

/// The texts of a reply, without the lines that give lengths.
fn texts(reply: &str) -> Vec<String> {
    reply.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect()
}

fn text(reply: &str) -> Option<String> {
    texts(reply).into_iter().next()
}

fn wait(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_so().unwrap_or_default() {
        ensure!(started.elapsed() < AGREEMENT, "not within {AGREEMENT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
