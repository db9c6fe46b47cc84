//! Which configuration takes over what another one has made.
//!
//! A message belongs to the configuration that made it. An update of that configuration takes it over: its present URL,
//! headers and secrets count. Another configuration that lives beside it does not, whatever its handlers are called. Envoy
//! tells a filter neither which listener it is of nor that it is drained, so this module goes by what it does tell (the
//! *scope*: `name` and `root_id` of the plugin) and by the order of events:
//!
//! - A configuration that begins in a scope where all have ticked is an update of the one that began last.
//! - One that begins before the others of its scope have ticked stands beside them: Envoy starts all its listeners before
//!   it serves anything. From then on the scope has several *lines*, and nothing says which of them an update belongs to:
//!   it begins a line of its own and takes nothing over. Placements with names of their own do not come to this.
//! - One that never ticks was only tried: Envoy has refused the update for another reason.

use serde::{Deserialize, Serialize};

use super::disabled::ConfigId;
use crate::base::{UnixMillis, fingerprint, record};
use crate::host::{Change, Metrics, SharedData, StoreError, read, update};

const VERSION: u8 = 2;
const TICKED: u8 = 1;
const ENDED: u8 = 2;

/// How long a configuration may take to its first tick. One that has not ticked by then never lived.
const START_MS: u64 = 5000;

/// How long what an update is due waits for it, where its predecessor still leads.
const HANDOVER_MS: u64 = 10_000;

/// Configurations of a scope that are remembered.
const CAPACITY: usize = 16;

/// What the proxy calls the plugin, as a fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginScope(pub u64);

impl PluginScope {
    /// Of the proxy's properties.
    pub fn of(property: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let names = ["plugin_name", "plugin_root_id"].map(|name| property(name).unwrap_or_default());
        let [name, root_id] = &names.map(|name| String::from_utf8_lossy(&name).into_owned());
        PluginScope(fingerprint(&[name, root_id]))
    }

    fn key(self) -> String {
        format!("tb1/s/{:08x}", self.0 >> 32)
    }
}

/// A configuration and its updates, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line(pub u64);

impl Line {
    /// What its slots are marked with in the outbox; two lines may share a mark.
    pub fn mark(self) -> u8 {
        u8::try_from(self.0 % 255).unwrap_or_default().saturating_add(1)
    }
}

/// What made a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The configuration.
    pub config: ConfigId,
    /// Its line.
    pub line: Line,
}

/// Where a configuration stands among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// What tells the configuration from others.
    pub id: ConfigId,
    /// What the proxy calls the plugin.
    pub scope: PluginScope,
    /// The configurations before and after it.
    pub line: Line,
}

impl Placement {
    /// What the configuration's messages belong to.
    pub fn origin(&self) -> Origin {
        Origin { config: self.id, line: self.line }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    config: ConfigId,
    line: Line,
    began: UnixMillis,
    flags: u8,
}

impl Entry {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn lives(&self) -> bool {
        self.has(TICKED) && !self.has(ENDED)
    }

    fn is_present(&self, now: UnixMillis) -> bool {
        self.lives() || self.is_starting(now)
    }

    fn is_starting(&self, now: UnixMillis) -> bool {
        !self.has(TICKED) && !self.has(ENDED) && now.since(self.began) < START_MS
    }
}

/// The configurations of a scope, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    entries: Vec<Entry>,
}

impl Succession {
    /// Whether `own` takes over what `origin` made at `made`.
    pub fn takes_over(&self, own: ConfigId, origin: Origin, made: UnixMillis) -> bool {
        self.heir(origin, made).is_some_and(|heir| heir.config == own)
    }

    /// Whether another configuration than `own` is about to take that over.
    pub fn is_due_to_another(&self, own: ConfigId, origin: Origin, made: UnixMillis, now: UnixMillis) -> bool {
        self.heir(origin, made).is_some_and(|heir| heir.config != own && now.since(heir.began) < HANDOVER_MS)
    }

    /// Who takes over what `origin` made at `made`: the latest that lives of its line, if that began since then, or if the
    /// maker has ended. What a maker still makes is its own: it may be there for a rollback, of which nothing tells.
    fn heir(&self, origin: Origin, made: UnixMillis) -> Option<&Entry> {
        let latest = self.entries.iter().rev().find(|entry| entry.line == origin.line && entry.lives())?;
        let has_ended = || self.find(origin.config).is_none_or(|maker| maker.has(ENDED));
        (latest.config != origin.config && (made <= latest.began || has_ended())).then_some(latest)
    }

    /// Whether `own` may have to take something over.
    pub fn has_predecessor(&self, own: ConfigId) -> bool {
        let line = self.find(own).map(|entry| entry.line);
        self.entries.iter().any(|entry| Some(entry.line) == line && entry.config != own)
    }

    fn find(&self, config: ConfigId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.config == config)
    }

    /// Adds a configuration, unless it is there. One that has ended, or was only tried, begins anew, as the latest.
    fn begin(&mut self, config: ConfigId, now: UnixMillis) -> Began {
        let known = self.entries.iter().position(|entry| entry.config == config);
        if let Some(entry) = self.find(config).filter(|entry| entry.is_present(now)) {
            return Began { line: entry.line, is_new: false, is_beside: false };
        }
        let others = || self.entries.iter().filter(|entry| entry.config != config && entry.is_present(now));
        let are_starting = others().any(|entry| entry.is_starting(now));
        let mut lines: Vec<Line> = others().map(|entry| entry.line).collect();
        if lines.is_empty() {
            let former = self.entries.iter().rev().find(|entry| entry.has(TICKED));
            lines.extend(former.map(|entry| entry.line));
        }
        lines.dedup();
        let own = known.and_then(|known| self.entries.get(known)).map(|entry| entry.line);
        let (line, is_beside) = match (own, &lines[..]) {
            (Some(own), _) => (own, false),
            (None, []) => (Line(config.0), false),
            (None, [line]) if !are_starting => (*line, false),
            (None, _) => (Line(config.0), true),
        };
        if let Some(known) = known {
            self.entries.remove(known);
        }
        while self.entries.len() >= CAPACITY {
            let gone = self.entries.iter().position(|entry| !entry.is_present(now));
            self.entries.remove(gone.unwrap_or_default());
        }
        self.entries.push(Entry { config, line, began: now, flags: 0 });
        Began { line, is_new: true, is_beside }
    }

    /// Sets the flags of a configuration; `false` where nothing changes.
    fn mark(&mut self, config: ConfigId, change: impl Fn(u8) -> u8) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.config == config) else { return false };
        let flags = change(entry.flags);
        std::mem::replace(&mut entry.flags, flags) != flags
    }

    /// Bytes that do not decode are none: the next to begin writes them anew.
    fn decode(stored: Option<&[u8]>) -> Self {
        stored.and_then(|bytes| record::decode(VERSION, bytes)).unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        record::encode(VERSION, self)
    }
}

/// What a configuration finds that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    /// Its line.
    pub line: Line,
    /// It was not there before: this is not only a further VM of it, or one that takes the place of another.
    pub is_new: bool,
    /// Others of its scope live, and nothing says which of them it replaces.
    is_beside: bool,
}

/// A VM starts with a configuration.
///
/// # Errors
/// As for any update of shared data.
pub fn begin(
    host: &(impl SharedData + Metrics),
    scope: PluginScope,
    config: ConfigId,
    now: UnixMillis,
) -> Result<Began, StoreError> {
    let began = update(host, &scope.key(), |stored| {
        let mut all = Succession::decode(stored.as_deref());
        let began = all.begin(config, now);
        Ok(if began.is_new { Change::Write(all.encode(), began) } else { Change::Keep(began) })
    })?;
    if began.is_beside {
        log::warn!(
            "another configuration of this vm_id has the same plugin name: an update of either takes over no held message. \
             Give each placement a `name` of its own beside its vm_config"
        );
    }
    Ok(began)
}

/// A VM ticks: its configuration lives. Returns all of the scope.
///
/// # Errors
/// As for any update of shared data.
pub fn tick(
    host: &(impl SharedData + Metrics),
    scope: PluginScope,
    config: ConfigId,
) -> Result<Succession, StoreError> {
    let live = |flags: u8| flags & !ENDED | TICKED;
    let mut all = Succession::decode(read(host, &scope.key())?.as_deref());
    if !all.mark(config, live) {
        return Ok(all);
    }
    update(host, &scope.key(), |stored| {
        let mut all = Succession::decode(stored.as_deref());
        Ok(if all.mark(config, live) { Change::Write(all.encode(), all) } else { Change::Keep(all) })
    })
}

/// The proxy deletes a configuration.
///
/// # Errors
/// As for any update of shared data.
pub fn end(host: &(impl SharedData + Metrics), scope: PluginScope, config: ConfigId) -> Result<(), StoreError> {
    update(host, &scope.key(), |stored| {
        let mut all = Succession::decode(stored.as_deref());
        Ok(if all.mark(config, |flags| flags | ENDED) { Change::Write(all.encode(), ()) } else { Change::Keep(()) })
    })
}

#[cfg(test)]
mod tests;
