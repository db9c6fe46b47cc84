//! Sessions that are fetched: one JSON object of them, looked at every so often.
//!
//! One VM fetches, takes the answer apart and puts it into shared data in chunks, and all others read it there: a VM
//! that starts finds it at once. All of this happens a piece at a time, in ticks, so that requests wait for a
//! millisecond or two at most. Only a whole answer that is good in every part takes the place of the former one.

mod members;
mod shelf;

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::access::{Directory, KeyHash, Sessions, Shared};
use crate::base::{Troubles, UnixMillis};
use crate::config::{KeysFrom, SessionMaker, is_identity};
use crate::delivery::{ClusterUse, Target, UnknownClusters};
use crate::host::{Callout, CalloutId, CalloutRefused, CalloutReply, Fetch, Gauge, Host, Metric};
use members::Members;
use shelf::{Head, Shelf};

/// Where what was fetched by such a setting is put.
fn shelf_of(from: &KeysFrom) -> Shelf {
    let Target { scheme, authority, path_and_query, cluster, .. } = &from.target;
    let most = from.max_bytes.to_string();
    let mut parts = vec![scheme.as_str(), authority, path_and_query, cluster, &most];
    parts.extend(from.headers.iter().flat_map(|(name, value)| [name.as_str(), value]));
    Shelf::new(&parts)
}

/// Sessions that are read in one piece. One takes 10 to 20 µs in wasm.
const SESSIONS_A_PIECE: usize = 50;

/// Keys of a document that the log names where something closes them.
const REPORTED_KEYS: u64 = 20;

/// Bytes at which a chunk is full; about as many sessions.
const CHUNK_BYTES: usize = 16 * 1024;

/// From one tick to the next while sessions are being read.
pub const LOADING_TICK_MS: u64 = 2;

/// Pieces of work in one tick of a VM that serves no requests.
const PIECES_WHEN_IDLE: usize = 8;

/// The time for one look.
const TIMEOUT_MS: u64 = 30_000;

/// How long after that its reply may come.
const REPLY_PATIENCE_MS: u64 = 5000;

/// The next look after one that failed, doubled for each further one, to the interval or a minute.
const RETRY_MS: u64 = 2000;
const MAX_RETRY_MS: u64 = 60_000;

/// How long a VM that could not use a document leaves the fetching to others, whose configuration may be another.
const REST_MS: u64 = 10_000;

/// A VM serves requests that had one less than this ago.
const SERVING_MS: u64 = 10_000;

// What can fail at every look.
const SHELF: &str = "keys_from: what others have fetched";
const LEASE: &str = "keys_from: the lease";

/// Looks for sessions, for one VM.
pub struct KeyFetcher {
    from: KeysFrom,
    /// What its cluster is needed for.
    used: Option<ClusterUse>,
    session_maker: SessionMaker,
    unknown: UnknownClusters,
    vm: u64,
    shelf: Shelf,
    last_request: Option<UnixMillis>,
    due: UnixMillis,
    /// Until then it does not fetch.
    rests_until: UnixMillis,
    /// Looks that failed since one did not.
    failures: u32,
    in_flight: Option<(CalloutId, UnixMillis)>,
    /// The document whose sessions are in use.
    generation: u64,
    /// A document that is of no use here.
    bad_edition: Option<u64>,
    work: Work,
    troubles: Troubles,
}

/// What is to be done a piece at a time.
enum Work {
    Nothing,
    /// An answer is read and put onto the shelf.
    Publish {
        head: Head,
        text: Members,
        chunk: String,
        draft: Draft,
    },
    /// What another VM has put there is read.
    Follow {
        head: Head,
        next: u32,
        draft: Draft,
    },
    /// Former sessions go.
    Drop(Sessions),
}

/// Sessions of a document that is being read.
#[derive(Default)]
struct Draft {
    sessions: Sessions,
    shared: Shared,
    /// Keys that are closed, for every API or for some, by something in their session that is not honoured.
    closed: u64,
    /// Says so of the first of them in the log.
    reports: bool,
}

/// What a step of work came to.
enum Step {
    More,
    Done(u64, Draft),
}

impl KeyFetcher {
    /// For the VM of that number. `used`: what needs the cluster.
    pub(super) fn new(
        from: KeysFrom,
        session_maker: SessionMaker,
        used: Option<ClusterUse>,
        vm: u64,
        now: UnixMillis,
    ) -> Self {
        KeyFetcher {
            shelf: shelf_of(&from),
            session_maker,
            used,
            unknown: UnknownClusters::default(),
            from,
            vm,
            last_request: None,
            due: now,
            rests_until: now,
            failures: 0,
            in_flight: None,
            generation: 0,
            bad_edition: None,
            work: Work::Nothing,
            troubles: Troubles::default(),
        }
    }

    /// A request is being served: another VM should fetch.
    pub fn on_request(&mut self, now: UnixMillis) {
        self.last_request = Some(now);
    }

    /// Whether there is work for which ticks should come faster.
    pub fn is_busy(&self) -> bool {
        !matches!(self.work, Work::Nothing)
    }

    /// Does a piece of work, or looks for some. `true`: other sessions are in use now.
    pub fn on_tick(&mut self, host: &impl Host, directory: &mut Directory, now: UnixMillis) -> bool {
        if !self.is_busy() {
            self.look_around(host, now);
            return false;
        }
        let pieces = if self.is_serving(now) { 1 } else { PIECES_WHEN_IDLE };
        if matches!(self.work, Work::Publish { .. }) && !self.leads(host, now) {
            // Whoever has the lease now publishes.
            self.work = Work::Nothing;
            return false;
        }
        for _ in 0..pieces {
            let work = std::mem::replace(&mut self.work, Work::Nothing);
            match self.step(host, directory, work) {
                Ok(Step::More) => {}
                Ok(Step::Done(generation, draft)) => {
                    self.generation = generation;
                    self.put_in_use(host, directory, draft);
                    return true;
                }
                Err(why) => {
                    self.rest(host, now);
                    self.fail(host, &why, now);
                    return false;
                }
            }
        }
        false
    }

    fn is_serving(&self, now: UnixMillis) -> bool {
        self.last_request.is_some_and(|last| now.since(last) < SERVING_MS)
    }

    /// Follows what others have put onto the shelf, or fetches for them.
    fn look_around(&mut self, host: &impl Host, now: UnixMillis) {
        let head = match self.shelf.head(host) {
            Ok(head) => head,
            Err(error) => return self.troubles.fails(SHELF, &error),
        };
        self.troubles.works(SHELF);
        if head.generation != self.generation && self.bad_edition != Some(head.edition) {
            self.work = Work::Follow { head, next: 0, draft: Draft::default() };
            return;
        }
        if now < self.rests_until && self.rests_until.since(now) <= REST_MS || !self.leads(host, now) {
            return;
        }
        // A clock that was set back must not put the next look off for longer than the interval.
        let is_due = self.due <= now || self.due.since(now) > self.from.interval_ms.max(MAX_RETRY_MS);
        if self.in_flight.is_some_and(|(_, began)| now.since(began) > TIMEOUT_MS.saturating_add(REPLY_PATIENCE_MS)) {
            self.in_flight = None;
            return self.fail(host, "the proxy never said what became of the request", now);
        }
        if is_due && self.in_flight.is_none() {
            self.fetch(host, &head.etag, now);
        }
    }

    /// Takes or renews the lease.
    fn leads(&mut self, host: &impl Host, now: UnixMillis) -> bool {
        // Work that has begun is finished, requests or not.
        let is_serving = self.is_serving(now) && !self.is_busy();
        match self.shelf.lead(host, self.vm, is_serving, now) {
            Ok(leads) => {
                self.troubles.works(LEASE);
                leads
            }
            Err(error) => {
                self.troubles.fails(LEASE, &error);
                false
            }
        }
    }

    /// Leaves the fetching to others for a while.
    fn rest(&mut self, host: &impl Host, now: UnixMillis) {
        self.rests_until = now.plus(REST_MS);
        if let Err(error) = self.shelf.give_up(host, self.vm) {
            log::error!("keys_from: {error}");
        }
    }

    fn fetch(&mut self, host: &impl Host, etag: &str, now: UnixMillis) {
        let target = &self.from.target;
        let own = [
            (":method", "GET"),
            (":path", &target.path_and_query),
            (":authority", &target.authority),
            (":scheme", target.scheme.as_str()),
            ("accept", "application/json"),
            ("user-agent", concat!("tollbell/", env!("CARGO_PKG_VERSION"))),
            ("if-none-match", etag),
        ];
        let set = own.into_iter().filter(|(_, value)| !value.is_empty());
        let mut headers: Vec<_> = set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        headers.extend(self.from.headers.iter().cloned());
        let callout = Callout { cluster: target.cluster.clone(), headers, body: Vec::new(), timeout_ms: TIMEOUT_MS };
        self.due = now.plus(self.from.interval_ms);
        match host.send(&callout) {
            Ok(id) => {
                self.unknown.found(host, &target.cluster);
                self.in_flight = Some((id, now));
            }
            Err(CalloutRefused::UnknownCluster) => {
                self.unknown.refused(host, self.used.as_ref(), target);
                self.back_off(host, now);
            }
            Err(why) => self.fail(host, &why.to_string(), now),
        }
    }

    /// Takes a reply; `false` where it is not to a look of this fetcher's.
    pub fn on_reply(&mut self, host: &impl Host, id: CalloutId, reply: &CalloutReply, now: UnixMillis) -> bool {
        if self.in_flight.is_none_or(|(fetched, _)| fetched != id) {
            return false;
        }
        self.in_flight = None;
        match reply.status {
            Some(304) => self.unchanged(host),
            // What another VM has put onto the shelf meanwhile is newer than this.
            Some(200) if self.is_busy() => {}
            Some(200) => match host.reply_body(self.from.max_bytes) {
                Ok(body) => self.publish(host, body, now),
                Err(why) => self.fail(host, &why.to_string(), now),
            },
            Some(status) => self.fail(host, &format!("answered {status}"), now),
            None => self.fail(host, "no answer came", now),
        }
        true
    }

    fn unchanged(&mut self, host: &impl Host) {
        self.failures = 0;
        host.count(Metric::KeysFetched(Fetch::Unchanged));
    }

    /// Begins to take an answer apart, unless it is the same as the last.
    fn publish(&mut self, host: &impl Host, body: Vec<u8>, now: UnixMillis) {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let checksum = hasher.finish().max(1);
        let known = self.shelf.head(host).unwrap_or_default();
        if known.checksum == checksum && self.generation == known.generation {
            return self.unchanged(host);
        }
        let head = Head {
            generation: known.generation.saturating_add(1),
            edition: checksum ^ now.0.rotate_left(16) ^ self.vm.rotate_left(48),
            checksum,
            chunks: 0,
            etag: host.reply_header("etag").unwrap_or_default(),
        };
        let draft = Draft { reports: true, ..Draft::default() };
        self.work = Work::Publish { head, text: Members::new(body), chunk: String::new(), draft };
    }

    /// Does a piece of the work; what is left of it stands in `self.work`.
    fn step(&mut self, host: &impl Host, directory: &mut Directory, work: Work) -> Result<Step, String> {
        match work {
            Work::Publish { mut head, mut text, mut chunk, mut draft } => {
                for _ in 0..SESSIONS_A_PIECE {
                    let member = text.next()?;
                    let is_last = member.is_none();
                    if let Some((name, session)) = member {
                        draft.add((&self.session_maker, directory), &name, session)?;
                        let separator = if chunk.is_empty() { '{' } else { ',' };
                        let session = std::str::from_utf8(session).map_err(|_| "not UTF-8")?;
                        // Writing to a string has no way to fail.
                        let _ = write!(chunk, "{separator}{}:{session}", serde_json::Value::from(name));
                    }
                    if chunk.len() >= CHUNK_BYTES || is_last && !chunk.is_empty() {
                        chunk.push('}');
                        self.shelf.put(host, &head, head.chunks, &chunk).map_err(|error| error.to_string())?;
                        chunk.clear();
                        head.chunks = head.chunks.saturating_add(1);
                    }
                    if is_last {
                        // Where another VM was quicker, that is followed next.
                        return match self.shelf.show(host, &head) {
                            Ok(true) => Ok(Step::Done(head.generation, draft)),
                            Ok(false) => Ok(Step::More),
                            Err(error) => Err(error.to_string()),
                        };
                    }
                }
                self.work = Work::Publish { head, text, chunk, draft };
            }
            Work::Follow { head, next, mut draft } => {
                if next >= head.chunks {
                    return Ok(Step::Done(head.generation, draft));
                }
                let chunk = self.shelf.chunk(host, &head, next).map_err(|error| error.to_string())?;
                let Some(chunk) = chunk else {
                    // A newer document is being written over this one; or it is not whole, and is to be fetched anew.
                    return match self.shelf.report_damage(host, &head) {
                        Ok(()) => Ok(Step::More),
                        Err(error) => Err(error.to_string()),
                    };
                };
                if let Err(why) = draft.add_all((&self.session_maker, directory), chunk) {
                    self.bad_edition = Some(head.edition);
                    return Err(why);
                }
                self.work = Work::Follow { head, next: next.saturating_add(1), draft };
            }
            Work::Drop(mut former) => {
                if former.drop_some() {
                    self.work = Work::Drop(former);
                }
            }
            Work::Nothing => {}
        }
        Ok(Step::More)
    }

    fn put_in_use(&mut self, host: &impl Host, directory: &mut Directory, draft: Draft) {
        let Draft { sessions, closed, reports, .. } = draft;
        log::info!("keys_from: {} sessions are in use", sessions.len());
        if reports && closed > REPORTED_KEYS {
            log::warn!("keys_from: {closed} keys are closed in all, of which the first {REPORTED_KEYS} are named");
        }
        host.set(Gauge::ClosedKeys, closed);
        host.set(Gauge::FetchedKeys, u64::try_from(sessions.len()).unwrap_or(u64::MAX));
        host.count(Metric::KeysFetched(Fetch::Loaded));
        self.failures = 0;
        let former = directory.replace_fetched(sessions);
        if !former.is_empty() {
            self.work = Work::Drop(former);
        }
    }

    fn fail(&mut self, host: &impl Host, why: &str, now: UnixMillis) {
        let host_name = &self.from.target.authority;
        log::error!("keys_from: {host_name}: {why}; the sessions that were in use stay so");
        self.back_off(host, now);
    }

    fn back_off(&mut self, host: &impl Host, now: UnixMillis) {
        host.count(Metric::KeysFetched(Fetch::Failed));
        let longest = self.from.interval_ms.max(MAX_RETRY_MS);
        let wait = RETRY_MS.saturating_mul(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.due = now.plus(wait.min(self.from.interval_ms.max(RETRY_MS)));
    }
}

impl Draft {
    fn add_all(&mut self, (maker, directory): (&SessionMaker, &Directory), chunk: Vec<u8>) -> Result<(), String> {
        let mut text = Members::new(chunk);
        while let Some((name, session)) = text.next()? {
            self.add((maker, directory), &name, session)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        (maker, directory): (&SessionMaker, &Directory),
        name: &str,
        session: &[u8],
    ) -> Result<(), String> {
        let hash = KeyHash::from_config(name).filter(|_| !name.is_empty() && !is_identity(name));
        let Some(hash) = hash else {
            // No request finds it. Neither form can be a key, so that it may be shown.
            let name = if name.is_empty() { "an empty name" } else { name };
            self.close(name, "it is no key: neither a raw one nor \"sha256:\" and 64 hex digits");
            return Ok(());
        };
        if !session.starts_with(b"{") {
            self.close(&hash.fingerprint(), "a session is an object");
            return Ok(());
        }
        let session = maker.read(hash, session, directory, &mut self.shared);
        let (session, closings) = session.map_err(|why| format!("{}: {why}", hash.fingerprint()))?;
        if !closings.is_empty() {
            self.close(&hash.fingerprint(), &closings.join(", "));
        }
        if !self.sessions.add(session) {
            return Err(format!("{}: the same key occurs twice", hash.fingerprint()));
        }
        Ok(())
    }

    fn close(&mut self, name: &str, why: &str) {
        self.closed = self.closed.saturating_add(1);
        if self.reports && self.closed <= REPORTED_KEYS {
            log::warn!("keys_from: {name} is closed by what is not honoured: {why}");
        }
    }
}

#[cfg(test)]
mod tests;
