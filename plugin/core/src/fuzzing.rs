//! What the fuzz targets of `tests/fuzz` reach of the inside. What they can do through [`Engine`](crate::engine::Engine)
//! or [`Config`](crate::config::Config) is not here.

use std::cell::RefCell;
use std::net::SocketAddr;

use crate::access::{KeyLocation, Prefix, Readings, Request};
use crate::base::{Address, Mailbox, Name};
use crate::event::{Event, EventKind, Meta};
use crate::host::{HeaderChange, HeaderPair};
use crate::notify::content::template::Templates;
use crate::store::{Protocol, Redirect, Reply, Topology};

/// Compiles a template and renders it for events of all kinds, each field of which is `text`. `ending` says what it
/// writes, such as `.json`. Returns what it wrote, or nothing where it is no template.
pub fn render(ending: &str, source: &str, text: &str) -> Option<Vec<Result<String, String>>> {
    let name = format!("fuzzed{ending}");
    TEMPLATES.with_borrow_mut(|templates| {
        templates.add(&name, source).ok()?;
        rendered(templates, &name, text)
    })
}

thread_local! {
    /// To compile the built-in ones takes most of the time.
    static TEMPLATES: RefCell<Templates> = RefCell::new(Templates::builtin());
}

fn rendered(templates: &Templates, name: &str, text: &str) -> Option<Vec<Result<String, String>>> {
    let template = templates.find(name)?;
    let _ = templates.json_fault(name);
    let rendered = EventKind::of_gateway().map(|kind| {
        let rendered = templates.render(&template, &event(kind, text)).map_err(|error| error.to_string())?;
        let _ = rendered.stable();
        Ok(rendered.body)
    });
    Some(rendered.collect())
}

fn event(kind: EventKind, text: &str) -> Event {
    let text = || text.to_owned();
    let meta = Meta {
        message: text(),
        path: text(),
        origin: text(),
        key: text(),
        org_id: text(),
        api_id: text(),
        reason: text(),
        cluster: text(),
        alias: text(),
        ..Event::sample(kind).meta
    };
    Event { meta, ..Event::sample(kind) }
}

/// What servers may make of a request's path, before percent-decoding and after it. Nothing: in too many ways to tell.
pub fn readings(path: &[u8]) -> Option<[Vec<Vec<u8>>; 2]> {
    let readings = Readings::of(path).ok()?;
    let paths = |of: &[crate::access::paths::Reading<'_>]| of.iter().map(|reading| reading.path.to_vec()).collect();
    Some([paths(readings.encoded()), paths(readings.decoded())])
}

/// Where a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below a `listen_path`, in one of its readings.
    Below,
    /// Below it in none.
    Elsewhere,
    /// It can be read in too many ways to tell, and is refused.
    Unclear,
}

/// Whether a path is below a `listen_path`. Nothing where that is none.
pub fn place(listen_path: &str, path: &[u8]) -> Option<Place> {
    let prefix = Prefix::parse(listen_path).ok()?;
    let Ok(readings) = Readings::of(path) else { return Some(Place::Unclear) };
    for reading in readings.decoded() {
        prefix.rest(&String::from_utf8_lossy(&reading.path));
    }
    let is_below = readings.decoded().iter().any(|reading| prefix.serves(&reading.path));
    Some(if is_below { Place::Below } else { Place::Elsewhere })
}

/// The key that a request carries, where it stands in a header, a query parameter or a cookie of these names.
pub fn find_key([header, parameter, cookie]: [&str; 3], headers: &[HeaderPair<'_>]) -> Option<Vec<u8>> {
    let request = Request { headers, property: &|_| None };
    Some(location(header, parameter, cookie).find(&request)?.key.into_owned())
}

/// What takes the key out of a request.
pub fn strip_key([header, parameter, cookie]: [&str; 3], headers: &[HeaderPair<'_>]) -> Vec<HeaderChange> {
    location(header, parameter, cookie).strip(&Request { headers, property: &|_| None })
}

fn location(header: &str, parameter: &str, cookie: &str) -> KeyLocation {
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    KeyLocation { header: header.to_owned(), parameter: named(parameter), cookie: named(cookie) }
}

/// An address with a name beside it, as a header of an email shows it. Nothing where the address is none.
pub fn mailbox_in_header(address: &str, name: &str) -> Option<String> {
    let address = Address::parse(address).ok()?;
    let _ = Name::parse(name);
    Some(Mailbox { address, name: Name::lossy(name) }.in_header())
}

/// The replies of the store of a fleet, as text, and the numbers that each of them is read as.
pub fn store_replies(is_resp: bool, bytes: &[u8]) -> Vec<(String, Option<Vec<u64>>)> {
    let protocol = if is_resp { Protocol::Resp } else { Protocol::Upstash };
    let shown = |reply: &Reply| (format!("{reply:?}"), reply.numbers());
    protocol.decode(bytes).iter().map(shown).collect()
}

/// What a node of a Redis Cluster answers, as a map of slots and as redirects. Returns the owners of the first and the
/// last slot in the map, and the addresses that the redirects name.
pub fn store_slots(bytes: &[u8]) -> Vec<Option<SocketAddr>> {
    let asked = SocketAddr::from(([10, 0, 0, 1], 6379));
    let mut found = Vec::new();
    let mut topology = Topology::default();
    for reply in Protocol::Resp.decode(bytes) {
        if let Some(map) = Topology::read(&reply, asked) {
            found.extend([map.owner(0), map.owner(16_383)]);
            topology = map;
        }
        if let Reply::Error(error) = &reply
            && let Some(redirect) = Redirect::read(error, &topology, asked)
        {
            found.push(redirect.to);
            if let Some(to) = redirect.to {
                topology.set_owner(redirect.slot, to);
            }
        }
    }
    found
}
