//! Fetched sessions: one JSON object of them, fetched at intervals.
//!
//! One VM fetches the document, splits it, and puts it into shared data in chunks. All other VMs read it there, so a VM
//! that starts finds it at once. This work is done in small steps, in ticks, so that requests wait for one or two
//! milliseconds at most. A new document replaces the former one only if it is complete and valid.

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

/// The shelf for the documents of this setting.
fn shelf_of(from: &KeysFrom) -> Shelf {
    let Target { scheme, authority, path_and_query, cluster, .. } = &from.target;
    let most = from.max_bytes.to_string();
    let mut parts = vec![scheme.as_str(), authority, path_and_query, cluster, &most];
    parts.extend(from.headers.iter().flat_map(|(name, value)| [name.as_str(), value]));
    Shelf::new(&parts)
}

/// The sessions that are read in one step. One takes 10 to 20 µs in wasm.
const SESSIONS_A_PIECE: usize = 50;

/// The number of closed keys of a document that the log names.
const REPORTED_KEYS: u64 = 20;

/// The bytes at which a chunk is full. About as many bytes of sessions are copied at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// The interval of ticks while sessions are read.
pub const LOADING_TICK_MS: u64 = 2;

/// The steps in one tick of a VM that serves no requests.
const PIECES_WHEN_IDLE: usize = 8;

/// The time-out of one fetch.
const TIMEOUT_MS: u64 = 30_000;

/// How long a reply may be late after the time-out.
const REPLY_PATIENCE_MS: u64 = 5000;

/// The delay before the next fetch after a failure. It doubles for each further failure, up to the interval or a
/// minute.
const RETRY_MS: u64 = 2000;
const MAX_RETRY_MS: u64 = 60_000;

/// How long a VM that could not use a document leaves fetching to others, which may have another configuration.
const REST_MS: u64 = 10_000;

/// A VM counts as serving if its last request came less than this ago.
const SERVING_MS: u64 = 10_000;

// An operation that can fail at every tick.
const SHELF: &str = "keys_from: what others have fetched";
const LEASE: &str = "keys_from: the lease";

/// Fetches sessions, for one VM.
pub struct KeyFetcher {
    from: KeysFrom,
    /// The settings and targets that need its cluster.
    used: Option<ClusterUse>,
    session_maker: SessionMaker,
    unknown: UnknownClusters,
    vm: u64,
    shelf: Shelf,
    last_request: Option<UnixMillis>,
    due: UnixMillis,
    /// It does not fetch before this time.
    rests_until: UnixMillis,
    /// The number of failed fetches since the last success.
    failures: u32,
    in_flight: Option<(CalloutId, UnixMillis)>,
    /// The document whose sessions are in use.
    generation: u64,
    /// A document that this VM cannot use.
    bad_edition: Option<u64>,
    work: Work,
    troubles: Troubles,
}

/// The work that is done in steps.
enum Work {
    Nothing,
    /// Reads an answer and puts it onto the shelf.
    Publish {
        head: Head,
        text: Members,
        chunk: String,
        draft: Draft,
    },
    /// Reads a document that another VM has put there.
    Follow {
        head: Head,
        next: u32,
        draft: Draft,
    },
    /// Drops former sessions.
    Drop(Sessions),
}

/// The sessions of a document that is being read.
#[derive(Default)]
struct Draft {
    sessions: Sessions,
    shared: Shared,
    /// The number of keys that are closed, for all APIs or for some, by a field that is not honoured.
    closed: u64,
    /// True if the log names the first of these keys.
    reports: bool,
}

/// The result of a step.
enum Step {
    More,
    Done(u64, Draft),
}

impl KeyFetcher {
    /// Made for the VM with this number. `used` is the use of the cluster.
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

    /// Called when a request is served: another VM should fetch.
    pub fn on_request(&mut self, now: UnixMillis) {
        self.last_request = Some(now);
    }

    /// True if there is work that needs faster ticks.
    pub fn is_busy(&self) -> bool {
        !matches!(self.work, Work::Nothing)
    }

    /// Does a step of work, or starts some. `true` means that the sessions in use have changed.
    pub fn on_tick(&mut self, host: &impl Host, directory: &mut Directory, now: UnixMillis) -> bool {
        if !self.is_busy() {
            self.look_around(host, now);
            return false;
        }
        let pieces = if self.is_serving(now) { 1 } else { PIECES_WHEN_IDLE };
        if matches!(self.work, Work::Publish { .. }) && !self.leads(host, now) {
            // The VM that has the lease now publishes.
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

    /// Reads a new document from the shelf, or fetches one for all VMs.
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
        // If the clock was set back, the next fetch must not be later than the interval.
        let is_due = self.due <= now || self.due.since(now) > self.from.interval_ms.max(MAX_RETRY_MS);
        if self.in_flight.is_some_and(|(_, began)| now.since(began) > TIMEOUT_MS.saturating_add(REPLY_PATIENCE_MS)) {
            self.in_flight = None;
            return self.fail(host, "the proxy never reported the result of the request", now);
        }
        if is_due && self.in_flight.is_none() {
            self.fetch(host, &head.etag, now);
        }
    }

    /// Takes or renews the lease.
    fn leads(&mut self, host: &impl Host, now: UnixMillis) -> bool {
        // Work that has begun is finished, even while requests are served.
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

    /// Leaves fetching to other VMs for a while.
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

    /// Takes a reply; `false` if it belongs to another component.
    pub fn on_reply(&mut self, host: &impl Host, id: CalloutId, reply: &CalloutReply, now: UnixMillis) -> bool {
        if self.in_flight.is_none_or(|(fetched, _)| fetched != id) {
            return false;
        }
        self.in_flight = None;
        match reply.status {
            Some(304) => self.unchanged(host),
            // A document that another VM has put onto the shelf meanwhile is newer than this one.
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

    /// Starts to read an answer, unless it is the same as the last one.
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

    /// Does one step of the work. The rest of the work stays in `self.work`.
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
                        // Writing to a string cannot fail.
                        let _ = write!(chunk, "{separator}{}:{session}", serde_json::Value::from(name));
                    }
                    if chunk.len() >= CHUNK_BYTES || is_last && !chunk.is_empty() {
                        chunk.push('}');
                        self.shelf.put(host, &head, head.chunks, &chunk).map_err(|error| error.to_string())?;
                        chunk.clear();
                        head.chunks = head.chunks.saturating_add(1);
                    }
                    if is_last {
                        // If another VM was faster, its document is read next.
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
                    // A newer document is being written over this one; or this one is incomplete and must be fetched
                    // again.
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
        log::error!("keys_from: {host_name}: {why}; the former sessions stay in use");
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
            // No request finds this entry. Neither form can be a key, so it may be shown.
            let name = if name.is_empty() { "an empty name" } else { name };
            self.close(name, "it is not a key: neither a raw key nor \"sha256:\" and 64 hex digits");
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
            log::warn!("keys_from: {name} is closed: {why}");
        }
    }
}

#[cfg(test)]
mod tests;
