//! Sessions that are fetched: one JSON object of them, looked at every so often.
//!
//! An answer is taken apart a piece at a time, in ticks, so that requests wait for a millisecond or two at most. Only a
//! whole answer that is good in every part takes the place of the former one.

use std::mem;

use crate::config::{Config, is_identity};
use crate::handler::Target;
use crate::metrics::{Fetch, Gauge, Metric};
use crate::ports::{Callout, CalloutId, CalloutReply, Host};
use crate::session::{KeyHash, Sessions};
use crate::units::UnixMillis;

/// Where sessions are fetched, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysFrom {
    /// The URL.
    pub target: Target,
    /// Headers of the request, lower case.
    pub headers: Vec<(String, String)>,
    /// From one look to the next.
    pub interval_ms: u64,
    /// The largest answer that is read.
    pub max_bytes: usize,
}

/// Sessions that are read in one tick. One takes about 5 µs in wasm.
const SESSIONS_A_TICK: usize = 200;

/// From one tick to the next while an answer is being read.
pub const LOADING_TICK_MS: u64 = 5;

/// The time for one look.
const TIMEOUT_MS: u64 = 30_000;

/// The next look after one that failed, unless the interval is shorter.
const RETRY_MS: u64 = 2000;

/// Looks for sessions, for one VM.
pub struct KeyFetcher {
    from: KeysFrom,
    due: UnixMillis,
    in_flight: Option<CalloutId>,
    /// The entity tag of the sessions that are in use.
    etag: Option<String>,
    loading: Option<Loading>,
    /// Former sessions, which go a part at a time.
    former: Sessions,
}

/// An answer that is being read.
struct Loading {
    etag: Option<String>,
    text: Members,
    sessions: Sessions,
}

impl KeyFetcher {
    /// Of a configuration that has some to fetch.
    pub fn new(config: &Config, now: UnixMillis) -> Option<Self> {
        let from = config.keys_from.clone()?;
        Some(KeyFetcher { from, due: now, in_flight: None, etag: None, loading: None, former: Sessions::default() })
    }

    /// Whether there is work for which ticks should come faster.
    pub fn is_busy(&self) -> bool {
        self.loading.is_some() || !self.former.is_empty()
    }

    /// Looks, if it is time; reads a piece of what has come. `true`: other sessions are in use now.
    pub fn on_tick(&mut self, host: &impl Host, config: &mut Config, now: UnixMillis) -> bool {
        if !self.former.is_empty() {
            if !self.former.drop_some() {
                self.former = Sessions::default();
            }
            return false;
        }
        if let Some(loading) = &mut self.loading {
            return match loading.read(config) {
                Ok(false) => false,
                Ok(true) => {
                    self.put_in_use(host, config);
                    true
                }
                Err(why) => {
                    self.loading = None;
                    self.fail(host, &why, now);
                    false
                }
            };
        }
        // A clock that was set back must not put the next look off for longer than the interval.
        let is_due = self.due <= now || self.due.since(now) > self.from.interval_ms;
        if is_due && self.in_flight.is_none() {
            self.look(host, now);
        }
        false
    }

    fn look(&mut self, host: &impl Host, now: UnixMillis) {
        let target = &self.from.target;
        let pseudo = [
            (":method", "GET"),
            (":path", &target.path_and_query),
            (":authority", &target.authority),
            (":scheme", target.scheme),
            ("accept", "application/json"),
            ("user-agent", concat!("tollbell/", env!("CARGO_PKG_VERSION"))),
        ];
        let mut headers: Vec<_> = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        headers.extend(self.from.headers.iter().cloned());
        headers.extend(self.etag.iter().map(|etag| ("if-none-match".to_owned(), etag.clone())));
        let callout = Callout { cluster: target.cluster.clone(), headers, body: Vec::new(), timeout_ms: TIMEOUT_MS };
        self.due = now.plus(self.from.interval_ms);
        match host.send(&callout) {
            Ok(id) => self.in_flight = Some(id),
            Err(why) => self.fail(host, &why.to_string(), now),
        }
    }

    /// Takes a reply; `false` where it is not to a look of this fetcher's.
    pub fn on_reply(&mut self, host: &impl Host, id: CalloutId, reply: &CalloutReply, now: UnixMillis) -> bool {
        if self.in_flight != Some(id) {
            return false;
        }
        self.in_flight = None;
        match reply.status {
            Some(304) if self.etag.is_some() => host.count(Metric::KeysFetched(Fetch::Unchanged)),
            Some(200) => match host.reply_body(self.from.max_bytes) {
                Ok(body) => {
                    let etag = host.reply_header("etag");
                    self.loading = Some(Loading { etag, text: Members::new(body), sessions: Sessions::default() });
                }
                Err(why) => self.fail(host, &why.to_string(), now),
            },
            Some(status) => self.fail(host, &format!("answered {status}"), now),
            None => self.fail(host, "no answer came", now),
        }
        true
    }

    fn put_in_use(&mut self, host: &impl Host, config: &mut Config) {
        let Some(Loading { etag, sessions, .. }) = self.loading.take() else { return };
        log::info!("keys_from: {} sessions are in use", sessions.len());
        host.set(Gauge::FetchedKeys, u64::try_from(sessions.len()).unwrap_or(u64::MAX));
        host.count(Metric::KeysFetched(Fetch::Loaded));
        self.former = config.directory.replace_fetched(sessions);
        config.keys_are_loaded = true;
        self.etag = etag;
    }

    fn fail(&mut self, host: &impl Host, why: &str, now: UnixMillis) {
        host.count(Metric::KeysFetched(Fetch::Failed));
        let host_name = &self.from.target.authority;
        log::error!("keys_from: {host_name}: {why}; the sessions that were in use stay so");
        self.due = now.plus(RETRY_MS.min(self.from.interval_ms));
    }
}

impl Loading {
    /// Reads a piece; `true` at the end.
    fn read(&mut self, config: &mut Config) -> Result<bool, String> {
        for _ in 0..SESSIONS_A_TICK {
            let Some((name, session)) = self.text.next()? else { return Ok(true) };
            if is_identity(&name) {
                return Err(format!("{name:?} is no key: the sessions of other identities stand under keys"));
            }
            let hash = KeyHash::from_config(&name).filter(|_| !name.is_empty());
            let hash = hash.ok_or("a key is empty, or \"sha256:\" is not followed by 64 hex digits")?;
            if !session.starts_with(b"{") {
                return Err(format!("{}: an object was expected", hash.fingerprint()));
            }
            let session = config.session_maker.read(hash, session, &mut config.directory);
            let session = session.map_err(|why| format!("{}: {why}", hash.fingerprint()))?;
            if !self.sessions.add(session) {
                return Err(format!("{}: the same key twice", hash.fingerprint()));
            }
        }
        Ok(false)
    }
}

/// The members of a JSON object, one after the other, without reading all of it at once.
struct Members {
    text: Vec<u8>,
    at: usize,
}

impl Members {
    fn new(text: Vec<u8>) -> Self {
        Members { text, at: 0 }
    }

    /// The next member's name and the text of its value; `None` at the object's end.
    fn next(&mut self) -> Result<Option<(String, &[u8])>, String> {
        let is_first = self.at == 0;
        if is_first {
            self.expect(b'{')?;
        }
        match (self.peek(), is_first) {
            (Some(b'}'), _) => {
                self.at = self.at.saturating_add(1);
                return if self.peek().is_none() { Ok(None) } else { Err(self.error("something after the end")) };
            }
            (Some(b','), false) => self.at = self.at.saturating_add(1),
            (_, true) => {}
            _ => return Err(self.error("a comma or the end was expected")),
        }
        self.peek();
        let name = self.value()?;
        let name: String = serde_json::from_slice(self.text.get(name).unwrap_or_default())
            .map_err(|_| self.error("a key in quotes was expected"))?;
        self.expect(b':')?;
        self.peek();
        let value = self.value()?;
        Ok(Some((name, self.text.get(value).unwrap_or_default())))
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at = self.at.saturating_add(space);
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(self.error(&format!("{:?} was expected", char::from(byte))));
        }
        self.at = self.at.saturating_add(1);
        Ok(())
    }

    /// Passes over one value: a string, or an object. Whether it is well-formed inside is for others to see.
    fn value(&mut self) -> Result<std::ops::Range<usize>, String> {
        let start = self.at;
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for byte in self.text.get(start..).unwrap_or_default() {
            self.at = self.at.saturating_add(1);
            match (in_string, byte) {
                (true, _) if mem::take(&mut escaped) => continue,
                (true, b'\\') => {
                    escaped = true;
                    continue;
                }
                (_, b'"') => in_string = !in_string,
                (false, b'{' | b'[') => depth = depth.saturating_add(1),
                (false, b'}' | b']') => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 && !in_string {
                return Ok(start..self.at);
            }
        }
        self.at = start;
        Err(self.error("the answer ends in the middle of something"))
    }

    fn error(&self, what: &str) -> String {
        format!("byte {}: {what}", self.at)
    }
}

#[cfg(test)]
mod tests;
