//! One configuration on its way through a log: the real module, fed with one record after another.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};
use host_shim::feed::{FedRequest, Feed, FeedSettings, Passage, response_flags};
use host_shim::gateway::Response;
use host_shim::{Limits, LogLevel, Modules};
use rustc_hash::FxHashMap;
use tollbell_core::UnixMillis;
use tollbell_core::owners::{Counted, OwnedLimit, Owner, Owners, counted};

use super::events::{self, Line};
use super::log::{Fields, Record, Slot};
use super::settings::{KEY_HEADER, Keys, Settings, fingerprint_of};
use super::tally::{ADMITTED, Tally};

const NANOS_PER_MILLI: u64 = 1_000_000;

/// How long before the first record the module starts: until then, its first ticks have taken place.
const WARM_UP: u64 = 2_000_000_000;

/// How long after the last record the module runs, so that digests end.
const COOL_DOWN: u64 = 120_000_000_000;

/// The time between ticks while no message is held.
const RARELY: u64 = 30_000_000_000;

/// The gauge of held messages and digests.
const HELD: &str = "wasmcustom.tollbell_held";

/// The header of a response whose request would have been refused (`enforcement: observe`).
const WOULD_REFUSE: &str = "x-tollbell-would-refuse";

/// The prefix of the details of every refusal by tollbell.
const REFUSAL: &str = "tollbell_";

/// The most different errors of the module that are kept.
const MAX_ERRORS: usize = 20;

/// A configuration with its module.
pub(crate) struct Stage {
    feed: Feed,
    owners: Vec<Owners>,
    keys: Keys,
    fields: Rc<Fields>,
    fingerprints: FxHashMap<String, String>,
    written: Arc<Mutex<Vec<Counted>>>,
    tally: Tally,
    /// Errors in the module's log, with their counts.
    errors: Vec<(String, u64)>,
    notes: Vec<String>,
    /// Whether a message or a digest may be held.
    is_busy: bool,
    last_tick: u64,
}

impl Stage {
    /// Starts the module before the first record.
    ///
    /// # Errors
    /// The module does not start.
    pub(crate) fn start(
        settings: Settings,
        modules: &Modules,
        memory: usize,
        keys: Keys,
        fields: &Rc<Fields>,
        first: u64,
    ) -> Result<Self> {
        let Settings { bootstrap, owners, notes, fingerprints } = settings;
        let feed = Feed::start(
            FeedSettings {
                bootstrap,
                modules: modules.clone(),
                listener: 0,
                start: first.saturating_sub(WARM_UP),
                // At this level the module says what became of each event.
                log_level: LogLevel::Debug,
                limits: Limits { memory, callback: None },
            },
            |_, _| Response::new(200),
        )?;
        let written: Arc<Mutex<Vec<Counted>>> = Arc::default();
        let inbox = Arc::clone(&written);
        feed.host().shared_data.watch(Box::new(move |key, before, after| {
            if let Ok(mut inbox) = inbox.lock() {
                counted(key, before, after, |counted| inbox.push(counted));
            }
        }));
        let tally = Tally::starting_at(first / NANOS_PER_MILLI);
        let mut stage = Stage {
            feed,
            owners,
            keys,
            fields: Rc::clone(fields),
            fingerprints,
            written,
            tally,
            errors: Vec::new(),
            notes,
            is_busy: true,
            last_tick: 0,
        };
        stage.advance(first)?;
        Ok(stage)
    }

    /// Passes a record through the module.
    ///
    /// # Errors
    /// The module has failed.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        self.advance(record.time)?;
        let presented = record.text(Slot::Key).filter(|_| self.keys != Keys::Unnamed).map(|key| match self.keys {
            Keys::Fingerprints => Cow::Owned(fingerprint_of(key)),
            _ => Cow::Borrowed(key),
        });
        let fields = Rc::clone(&self.fields);
        let headers = headers(&fields, record, presented.as_deref());
        let client = record.client.unwrap_or_else(|| SocketAddr::from((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0)));
        let details = record.text(Slot::Details);
        let flags = record.text(Slot::Flags);
        // The log's own refusal says nothing about what the upstream would have answered.
        let was_refused = details.is_some_and(|details| details.starts_with(REFUSAL));
        let passage = self.feed.request(FedRequest {
            headers: headers.iter().copied().collect(),
            client,
            status: if was_refused || record.status == 0 { 200 } else { record.status },
            details: details.filter(|_| !was_refused && flags.is_some()).map(str::to_owned),
            flags: flags.map_or(0, response_flags),
        })?;
        let time = record.time / NANOS_PER_MILLI;
        self.count(time, &headers, client);
        let outcome = match &passage {
            Passage::Held => "held",
            Passage::Answered { details, .. } => details.strip_prefix(REFUSAL).unwrap_or(ADMITTED),
            Passage::Passed { response } => response.get_str(WOULD_REFUSE).unwrap_or(ADMITTED),
        };
        self.hear(time, Some((outcome, presented.as_deref())))
    }

    /// Moves the clock to a time. While a message or a digest is held, the module ticks as in a proxy. Otherwise its
    /// ticks have nothing to do, and are rare.
    fn advance(&mut self, time: u64) -> Result<()> {
        while self.is_busy
            && let Some(due) = self.feed.next_tick().filter(|due| *due <= time)
        {
            self.feed.advance_to(due)?;
            self.last_tick = self.feed.now();
            self.is_busy = self.feed.host().metrics.value(HELD).unwrap_or_default() > 0;
            self.hear(due / NANOS_PER_MILLI, None)?;
        }
        self.feed.skip_to(time);
        if !self.is_busy && time.saturating_sub(self.last_tick) >= RARELY {
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        self.last_tick = self.feed.now();
        self.feed.fire_ticks()?;
        self.hear(self.last_tick / NANOS_PER_MILLI, None)
    }

    /// Ends the rehearsal.
    ///
    /// # Errors
    /// The module has failed.
    pub(crate) fn finish(mut self) -> Result<(Tally, Vec<String>)> {
        self.is_busy = true;
        self.advance(self.feed.now().saturating_add(COOL_DOWN))?;
        let Stage { tally, errors, mut notes, .. } = self;
        notes.extend(errors.into_iter().map(|(text, count)| match count {
            1 => text,
            count => format!("{text} ({count} times)"),
        }));
        Ok((tally, notes))
    }

    /// Reads what the module has logged since, and adds a request, if there was one, with its outcome and the key that
    /// it presented.
    fn hear(&mut self, time: u64, request: Option<(&str, Option<&str>)>) -> Result<()> {
        let lines = self.feed.take_logs();
        let (mut refusal, mut has_events) = (None, false);
        for line in lines.iter().filter(|line| line.from_module) {
            match events::read(&line.text) {
                Line::Event(mut event) => {
                    if self.keys == Keys::Fingerprints {
                        let presented = request.and_then(|(_, presented)| presented).unwrap_or_default();
                        let known = self.fingerprints.get(&*event.key).map_or(presented, String::as_str);
                        if !event.key.is_empty() {
                            event.key = Cow::Owned(known.to_owned());
                        }
                    }
                    self.tally.add_event(time, &event);
                    has_events = true;
                    if event.subject.is_empty() {
                        refusal = Some(event);
                    }
                }
                Line::Digest(_, event, handler) => self.tally.add_digest(time, event, handler),
                Line::Other if line.level >= LogLevel::Error => self.error(&line.text),
                Line::Other => {}
            }
        }
        if let Some((outcome, _)) = request {
            self.tally.add_request(time, outcome, refusal.as_ref().filter(|_| outcome != ADMITTED));
        }
        if has_events && !std::mem::replace(&mut self.is_busy, true) {
            // The VM may have to take the lease before it can send.
            self.tick()?;
        }
        match self.feed.host().failures().into_iter().next() {
            Some(failure) => bail!("the module has failed: {failure}"),
            None => Ok(()),
        }
    }

    fn error(&mut self, text: &str) {
        let text = text.split_once(": ").map_or(text, |(_, text)| text);
        if let Some((_, count)) = self.errors.iter_mut().find(|(known, _)| known == text) {
            *count += 1;
        } else if self.errors.len() < MAX_ERRORS {
            self.errors.push((text.to_owned(), 1));
        }
    }

    /// Adds the counters that the request has changed.
    fn count(&mut self, time: u64, headers: &[(&[u8], &[u8])], client: SocketAddr) {
        let Ok(mut written) = self.written.lock() else { return };
        for counted in written.drain(..) {
            if !self.tally.knows(&counted.counter) {
                let address = client.to_string();
                let property = |path: &str| (path == "source\0address").then(|| address.clone().into_bytes());
                let limits =
                    self.owners.iter_mut().flat_map(|owners| owners.limits(headers, &property, UnixMillis(time)));
                let limit = limits.into_iter().find(|limit| limit.counter == counted.counter);
                let limit = limit.map(|limit| shown(limit, &self.fingerprints));
                self.tally.add_limit(&counted.counter, limit);
            }
            self.tally.add_count(time, &counted);
        }
    }
}

/// The headers of a request.
fn headers<'r>(fields: &'r Fields, record: &'r Record, key: Option<&'r str>) -> Vec<(&'r [u8], &'r [u8])> {
    let mut headers: Vec<(&[u8], &[u8])> = Vec::with_capacity(8);
    let (mut method, mut authority, mut path) = ("GET", "", "/");
    for (slot, text) in record.texts() {
        match slot {
            Slot::Method => method = text,
            Slot::Authority => authority = text,
            Slot::Path => path = text,
            Slot::Header(place) => headers.push((fields.header_name(place).as_bytes(), text.as_bytes())),
            _ => {}
        }
    }
    headers.extend(key.map(|key| (KEY_HEADER.as_bytes(), key.as_bytes())));
    let pseudo = [(":authority", authority), (":path", path), (":method", method), (":scheme", "http")];
    headers.splice(0..0, pseudo.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    headers
}

/// A limit with the fingerprints of the log.
fn shown(limit: OwnedLimit, fingerprints: &FxHashMap<String, String>) -> OwnedLimit {
    match (&limit.owner, fingerprints.get(&limit.fingerprint)) {
        (Owner::Key(_), Some(known)) => {
            OwnedLimit { owner: Owner::Key(known.clone()), fingerprint: known.clone(), ..limit }
        }
        _ => limit,
    }
}
