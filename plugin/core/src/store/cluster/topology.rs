//! Which node of a Redis Cluster has which slot.

use std::net::{IpAddr, SocketAddr};

use crate::store::protocol::Reply;
use crate::store::slots::SLOTS;

/// The most nodes that are known. Redis recommends at most 1,000.
const MAX_NODES: usize = 2048;

/// The place of no node.
const NOBODY: u16 = u16::MAX;

/// The nodes, and the owners of all slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    nodes: Vec<Node>,
    /// By slot: the place in `nodes`. Empty if nothing is known.
    owners: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    address: SocketAddr,
    /// Its host name, if it has one.
    name: String,
}

impl Topology {
    /// Reads the reply of the node `asked` to `CLUSTER SHARDS` or `CLUSTER SLOTS`. `None` if no slot has an owner in it.
    pub fn read(reply: &Reply, asked: SocketAddr) -> Option<Self> {
        let Reply::List(entries) = reply else { return None };
        let mut topology = Topology::default();
        for entry in entries {
            match entry {
                Reply::List(entry) if matches!(entry.first(), Some(Reply::Integer(_))) => {
                    topology.add_range(entry, asked);
                }
                Reply::List(shard) => topology.add_shard(shard, asked),
                _ => {}
            }
        }
        topology.owners.iter().any(|owner| *owner != NOBODY).then_some(topology)
    }

    /// An entry of `CLUSTER SLOTS`: first slot, last slot, master, replicas.
    fn add_range(&mut self, entry: &[Reply], asked: SocketAddr) {
        let [first, last, nodes @ ..] = entry else { return };
        let mut owner = None;
        for node in nodes {
            let Reply::List(node) = node else { continue };
            let [host, port, _id, metadata @ ..] = node.as_slice() else { continue };
            let metadata = match metadata.first() {
                Some(Reply::List(metadata)) => metadata.as_slice(),
                _ => &[],
            };
            let host = text(host);
            let ip = member(metadata, "ip").map(text).filter(|_| host.parse::<IpAddr>().is_err()).unwrap_or(host);
            let name = if host == ip { member(metadata, "hostname").map(text).unwrap_or_default() } else { host };
            let place = self.add_node(ip, number(port), name, asked);
            owner = owner.or(place);
        }
        self.give(number(first), number(last), owner);
    }

    /// An entry of `CLUSTER SHARDS`: names and values.
    fn add_shard(&mut self, shard: &[Reply], asked: SocketAddr) {
        let mut owner = None;
        for node in list(member(shard, "nodes")) {
            let Reply::List(node) = node else { continue };
            let value = |name| member(node, name);
            let port = value("port").or_else(|| value("tls-port")).and_then(number);
            let name = value("hostname").map(text).unwrap_or_default();
            let place = self.add_node(value("ip").map(text).unwrap_or_default(), port, name, asked);
            if value("role").map(text) == Some("master") {
                // A former master that has failed can be listed beside its successor.
                let is_online = value("health").map(text) == Some("online");
                owner = if is_online { place.or(owner) } else { owner.or(place) };
            }
        }
        for range in list(member(shard, "slots")).chunks_exact(2) {
            if let [first, last] = range {
                self.give(number(first), number(last), owner);
            }
        }
    }

    /// A node without an address of its own has the address at which it was asked.
    fn add_node(&mut self, ip: &str, port: Option<u16>, name: &str, asked: SocketAddr) -> Option<u16> {
        let ip = if ip.is_empty() { asked.ip() } else { ip.parse().ok()? };
        let address = SocketAddr::new(ip, port.filter(|port| *port > 0)?);
        let place = self.place(address)?;
        if let Some(node) = self.nodes.get_mut(usize::from(place)) {
            name.clone_into(&mut node.name);
        }
        Some(place)
    }

    fn place(&mut self, address: SocketAddr) -> Option<u16> {
        let place = match self.nodes.iter().position(|node| node.address == address) {
            Some(place) => place,
            None if self.nodes.len() < MAX_NODES => {
                self.nodes.push(Node { address, name: String::new() });
                self.nodes.len().saturating_sub(1)
            }
            None => return None,
        };
        u16::try_from(place).ok()
    }

    fn give(&mut self, first: Option<u16>, last: Option<u16>, owner: Option<u16>) {
        let (Some(first), Some(last), Some(owner)) = (first, last, owner) else { return };
        self.owners.resize(usize::from(SLOTS), NOBODY);
        if let Some(slots) = self.owners.get_mut(usize::from(first)..=usize::from(last)) {
            slots.fill(owner);
        }
    }

    pub fn owner(&self, slot: u16) -> Option<SocketAddr> {
        let place = self.owners.get(usize::from(slot))?;
        self.nodes.get(usize::from(*place)).map(|node| node.address)
    }

    /// A node has said that the slot is there.
    pub fn set_owner(&mut self, slot: u16, address: SocketAddr) {
        let owner = self.place(address);
        self.give(Some(slot), Some(slot), owner);
    }

    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.nodes.iter().map(|node| node.address)
    }

    /// True if the node has a slot.
    pub fn is_owner(&self, address: SocketAddr) -> bool {
        let place = self.nodes.iter().position(|node| node.address == address);
        place.is_some_and(|place| self.owners.iter().any(|owner| usize::from(*owner) == place))
    }

    pub fn contains(&self, address: SocketAddr) -> bool {
        self.addresses().any(|known| known == address)
    }

    /// The address of a host that the node `asked` has named. A host name must be that of a known node, because Envoy
    /// needs an address.
    fn resolve(&self, host: &str, port: u16, asked: SocketAddr) -> Option<SocketAddr> {
        if host.is_empty() || host == "?" {
            return Some(SocketAddr::new(asked.ip(), port));
        }
        if let Ok(ip) = host.parse() {
            return Some(SocketAddr::new(ip, port));
        }
        let is_it = |node: &&Node| node.name == host && node.address.port() == port;
        self.nodes.iter().find(is_it).map(|node| node.address)
    }
}

/// An error that says that a key is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub slot: u16,
    /// True for ASK: only this call goes there.
    pub asks: bool,
    /// `None` if a host was named whose address is not known.
    pub to: Option<SocketAddr>,
}

impl Redirect {
    /// Reads `MOVED slot host:port` or `ASK slot host:port`, from the node `asked`. `None` for any other error.
    pub fn read(error: &str, topology: &Topology, asked: SocketAddr) -> Option<Self> {
        let mut words = error.split(' ');
        let asks = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
        // An IPv6 address has no brackets.
        let (host, port) = words.next()?.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        Some(Redirect { slot, asks, to: topology.resolve(host, port, asked) })
    }
}

fn text(reply: &Reply) -> &str {
    match reply {
        Reply::Text(text) => text,
        _ => "",
    }
}

fn number(reply: &Reply) -> Option<u16> {
    match reply {
        Reply::Integer(number) => u16::try_from(*number).ok(),
        Reply::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn list(reply: Option<&Reply>) -> &[Reply] {
    match reply {
        Some(Reply::List(entries)) => entries,
        _ => &[],
    }
}

/// The value of a name in a list of names and values.
fn member<'r>(pairs: &'r [Reply], name: &str) -> Option<&'r Reply> {
    let mut pairs = pairs.chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.last()?)));
    pairs.find(|(key, _)| text(key) == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Protocol;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// RESP of nested lists, which are written as JSON.
    fn reply(json: &serde_json::Value) -> Reply {
        fn write(json: &serde_json::Value) -> String {
            match json {
                serde_json::Value::Array(values) => {
                    format!("*{}\r\n{}", values.len(), values.iter().map(write).collect::<String>())
                }
                serde_json::Value::String(text) => format!("${}\r\n{text}\r\n", text.len()),
                serde_json::Value::Null => "$-1\r\n".to_owned(),
                number => format!(":{number}\r\n"),
            }
        }
        Protocol::Resp.decode(write(json).as_bytes()).remove(0)
    }

    fn node(port: u16, role: &str, health: &str) -> serde_json::Value {
        serde_json::json!([
            "id",
            "x",
            "port",
            port,
            "ip",
            "10.0.0.1",
            "endpoint",
            "a.test",
            "hostname",
            "a.test",
            "role",
            role,
            "replication-offset",
            72156,
            "health",
            health
        ])
    }

    #[test]
    fn shards_give_each_slot_to_their_master() {
        let shards = serde_json::json!([
            ["slots", [0, 99, 200, 300], "nodes", [node(1, "replica", "online"), node(2, "master", "online")]],
            [
                "slots",
                [100, 199],
                "nodes",
                [node(3, "master", "failed"), node(4, "master", "online"), node(5, "master", "failed"),]
            ],
            ["slots", [301, 301], "nodes", [node(6, "master", "failed")]],
            ["slots", [], "nodes", [node(7, "master", "online")]],
        ]);
        let topology = Topology::read(&reply(&shards), at("10.0.0.9:1")).unwrap();
        let owners = [0, 99, 100, 199, 200, 300, 301, 302, 16383].map(|slot| topology.owner(slot).map(|to| to.port()));
        assert_eq!(owners, [Some(2), Some(2), Some(4), Some(4), Some(2), Some(2), Some(6), None, None]);
        assert_eq!(topology.addresses().count(), 7);
        assert_eq!(topology.resolve("a.test", 4, at("10.0.0.9:1")), Some(at("10.0.0.1:4")));
    }

    #[test]
    fn slots_are_read_where_there_are_no_shards() {
        let slots = serde_json::json!([
            [0, 5460, ["10.0.0.1", 7000, "id", ["hostname", "a.test"]], ["10.0.0.2", 7003, "id", []]],
            [5461, 10922, ["b.test", 7001, "id", ["ip", "10.0.0.3"]]],
            [10923, 16382, ["", 7002, "id"]],
            [16383, 16383, [null, 7004, "id", []]],
        ]);
        let topology = Topology::read(&reply(&slots), at("10.0.0.9:1")).unwrap();
        let owners = [0, 5460, 5461, 10923, 16383].map(|slot| topology.owner(slot).unwrap().to_string());
        assert_eq!(owners, ["10.0.0.1:7000", "10.0.0.1:7000", "10.0.0.3:7001", "10.0.0.9:7002", "10.0.0.9:7004"]);
        assert_eq!(topology.resolve("b.test", 7001, at("10.0.0.9:1")), Some(at("10.0.0.3:7001")));
    }

    #[test]
    fn a_reply_without_owners_is_none() {
        let asked = at("10.0.0.9:1");
        let mut many = vec![Reply::Integer(0); 4];
        many.push(Reply::List(Vec::new()));
        let wrong = serde_json::json!([
            ["slots", [0, 99999, -1, 5, 7], "nodes", [node(1, "master", "online")]],
            [5, 1, ["10.0.0.1", 1, "id"]],
            [1, 2, ["name", 1, "id"]],
            [1, 2, ["10.0.0.1", 0, "id"]],
            [1],
            [],
            7,
            ["slots", 7, "nodes", 7],
            ["nodes", [[]], "slots", [1, 2]],
        ]);
        for reply in [Reply::Nothing, Reply::List(Vec::new()), Reply::List(many), reply(&wrong)] {
            assert_eq!(Topology::read(&reply, asked), None, "{reply:?}");
        }
    }

    #[test]
    fn redirects_name_a_node() {
        let (topology, asked) = (Topology::default(), at("10.0.0.9:1"));
        let read = |text| Redirect::read(text, &topology, asked);
        let moved = |slot, to: &str| Some(Redirect { slot, asks: false, to: Some(at(to)) });
        assert_eq!(read("MOVED 3999 127.0.0.1:6381"), moved(3999, "127.0.0.1:6381"));
        assert_eq!(read("MOVED 1 ::1:6381"), moved(1, "[::1]:6381"));
        assert_eq!(read("MOVED 1 :6381"), moved(1, "10.0.0.9:6381"));
        assert_eq!(read("MOVED 1 ?:6381"), moved(1, "10.0.0.9:6381"));
        assert_eq!(read("ASK 7 10.0.0.2:1"), Some(Redirect { slot: 7, asks: true, to: Some(at("10.0.0.2:1")) }));
        assert_eq!(read("MOVED 1 unknown.test:1"), Some(Redirect { slot: 1, asks: false, to: None }));
        for other in ["MOVED", "MOVED 1", "MOVED x 1.1.1.1:1", "MOVED 16384 1.1.1.1:1", "MOVED 1 1.1.1.1", "ERR", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_moved_slot_changes_its_owner_only() {
        let mut topology = Topology::default();
        topology.set_owner(5, at("10.0.0.1:1"));
        topology.set_owner(16383, at("10.0.0.1:2"));
        assert_eq!(topology.owner(4), None);
        assert_eq!([5, 16383].map(|slot| topology.owner(slot).unwrap().port()), [1, 2]);
        topology.set_owner(5, at("10.0.0.1:2"));
        assert_eq!(topology.owner(5), Some(at("10.0.0.1:2")));
    }
}
