//! Decides which configuration takes over another's messages.
//!
//! A message belongs to the configuration that made it. An update of that configuration takes it over and sends it with
//! its own URL, headers and secrets. Another configuration that lives beside it does not, whatever its handlers are
//! called. Envoy tells a filter neither its listener nor that the listener is drained. So this module uses the *scope*,
//! which Envoy does tell (`name` and `root_id` of the plugin), and the order of events:
//!
//! - A configuration that starts in a scope where all others have ticked is an update of the one that started last.
//! - A configuration that starts before the others of its scope have ticked lives beside them: Envoy starts all its
//!   listeners before it serves anything. From then on the scope has several *lines*, and it is unknown which of them
//!   an update belongs to. So an update starts its own line and takes over nothing. Placements with different names do
//!   not have this problem.
//! - A configuration that never ticks was only tested: Envoy refused the update for another reason.

use serde::{Deserialize, Serialize};

use super::disabled::ConfigId;
use crate::base::{UnixMillis, fingerprint, record};
use crate::host::{Change, Metrics, SharedData, StoreError, read, update};

const VERSION: u8 = 2;
const TICKED: u8 = 1;
const ENDED: u8 = 2;

/// How long a configuration may take until its first tick. One that has not ticked by then was never used.
const START_MS: u64 = 5000;

/// How long messages wait for an update that takes them over, while its predecessor still leads.
const HANDOVER_MS: u64 = 10_000;

/// The maximum number of configurations in a scope.
const CAPACITY: usize = 16;

/// A fingerprint of the plugin's name and root id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginScope(pub u64);

impl PluginScope {
    /// Made from the proxy's properties.
    pub fn of(property: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let names = ["plugin_name", "plugin_root_id"].map(|name| property(name).unwrap_or_default());
        let [name, root_id] = &names.map(|name| String::from_utf8_lossy(&name).into_owned());
        PluginScope(fingerprint(&[name, root_id]))
    }

    fn key(self) -> String {
        format!("tb1/s/{:08x}", self.0 >> 32)
    }
}

/// A configuration and its updates, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line(pub u64);

impl Line {
    /// The mark of its slots in the outbox. Two lines may have the same mark.
    pub fn mark(self) -> u8 {
        u8::try_from(self.0 % 255).unwrap_or_default().saturating_add(1)
    }
}

/// The maker of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub config: ConfigId,
    pub line: Line,
}

/// The place of a configuration among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    pub id: ConfigId,
    /// The scope of the plugin.
    pub scope: PluginScope,
    /// The line of the configuration and its updates.
    pub line: Line,
}

impl Placement {
    /// The origin of the configuration's messages.
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
    /// True if `own` takes over the messages that `origin` made at `made`.
    pub fn takes_over(&self, own: ConfigId, origin: Origin, made: UnixMillis) -> bool {
        self.heir(origin, made).is_some_and(|heir| heir.config == own)
    }

    /// True if a configuration other than `own` will soon take them over.
    pub fn is_due_to_another(&self, own: ConfigId, origin: Origin, made: UnixMillis, now: UnixMillis) -> bool {
        self.heir(origin, made).is_some_and(|heir| heir.config != own && now.since(heir.began) < HANDOVER_MS)
    }

    /// The configuration that takes over what `origin` made at `made`: the latest living one of its line, if it started
    /// after that, or if the maker has ended. A maker keeps what it makes after an update started, because Envoy may
    /// return to it (a rollback), and does not tell.
    fn heir(&self, origin: Origin, made: UnixMillis) -> Option<&Entry> {
        let latest = self.entries.iter().rev().find(|entry| entry.line == origin.line && entry.lives())?;
        let has_ended = || self.find(origin.config).is_none_or(|maker| maker.has(ENDED));
        (latest.config != origin.config && (made <= latest.began || has_ended())).then_some(latest)
    }

    /// True if `own` may have to take over messages.
    pub fn has_predecessor(&self, own: ConfigId) -> bool {
        let line = self.find(own).map(|entry| entry.line);
        self.entries.iter().any(|entry| Some(entry.line) == line && entry.config != own)
    }

    fn find(&self, config: ConfigId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.config == config)
    }

    /// Adds a configuration, unless it exists. One that has ended, or was only tested, starts again as the latest.
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

    /// Sets the flags of a configuration; `false` if nothing changes.
    fn mark(&mut self, config: ConfigId, change: impl Fn(u8) -> u8) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.config == config) else { return false };
        let flags = change(entry.flags);
        std::mem::replace(&mut entry.flags, flags) != flags
    }

    /// Bytes that do not decode count as empty. The next configuration that starts overwrites them.
    fn decode(stored: Option<&[u8]>) -> Self {
        stored.and_then(|bytes| record::decode(VERSION, bytes)).unwrap_or_default()
    }

    fn encode(&self) -> Vec<u8> {
        record::encode(VERSION, self)
    }
}

/// The result of starting a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Began {
    pub line: Line,
    /// True if the configuration is new, not only another VM or a replacement of a VM.
    pub is_new: bool,
    /// True if others of its scope are alive, and it is unknown which of them it replaces.
    is_beside: bool,
}

/// Called when a VM starts with a configuration.
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

/// Called when a VM ticks, which shows that its configuration is alive. Returns the configurations of its scope.
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

/// Called when the proxy deletes a configuration.
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
