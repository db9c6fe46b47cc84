//! The configuration to rehearse: tollbell's part of an Envoy configuration, changed as the rehearsal needs it.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use host_shim::config;
use host_shim::config::model::Bootstrap;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tollbell_core::config::document;
use tollbell_core::owners::Owners;

use super::change::Change;

/// The header in which a rehearsal presents the key that the log names.
pub(super) const KEY_HEADER: &str = "x-tollbell-rehearsed-key";

/// How the log names keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// The log does not name them: requests have what the log has.
    Unnamed,
    /// As clients send them.
    Raw,
    /// By their fingerprints.
    Fingerprints,
}

/// What is rehearsed.
pub(crate) struct Settings {
    /// The configuration, with one listener.
    pub(crate) bootstrap: Bootstrap,
    /// Those who count, for each filter of the listener with tollbell.
    pub(crate) owners: Vec<Owners>,
    /// What the rehearsal does differently.
    pub(crate) notes: Vec<String>,
    /// The fingerprints of the keys by their stand-ins: see [`stand_in`].
    pub(crate) fingerprints: FxHashMap<String, String>,
}

impl Settings {
    /// Reads a configuration, and makes the changes.
    ///
    /// # Errors
    /// The configuration has an error, no listener with tollbell, or a change does not fit.
    pub(crate) fn load(path: &Path, listener: Option<&str>, changes: &[Change]) -> Result<Self> {
        // Warnings are about what the shim would serve.
        let mut bootstrap = config::read(path).map_err(|errors| anyhow!("{errors}"))?.bootstrap;
        let is_tollbell = |bytes: &[u8]| document(bytes).is_ok() && Owners::load(bytes).is_ok();
        let has_tollbell = |listener: &host_shim::config::model::Listener| {
            listener.manager.filters.iter().any(|filter| is_tollbell(&filter.plugin.configuration))
        };
        let index = match listener {
            Some(name) => bootstrap.listeners.iter().position(|listener| listener.name == name).with_context(|| {
                let known: Vec<&str> = bootstrap.listeners.iter().map(|listener| listener.name.as_str()).collect();
                format!("{} has no listener {name:?}; there are {}", path.display(), known.join(", "))
            })?,
            None => bootstrap.listeners.iter().position(has_tollbell).unwrap_or_default(),
        };
        // Only this listener gets requests. The others would start VMs for nothing.
        let chosen = bootstrap.listeners.get(index).with_context(|| format!("{} has no listener", path.display()))?;
        bootstrap.listeners = vec![chosen.clone()];
        let mut settings =
            Settings { bootstrap, owners: Vec::new(), notes: Vec::new(), fingerprints: FxHashMap::default() };
        settings.edit(path, |settings, value| {
            changes.iter().try_for_each(|change| change.apply(value))?;
            settings.adapt(value);
            Ok(())
        })?;
        ensure!(!settings.owners.is_empty(), "{} has no listener with tollbell", path.display());
        Ok(settings)
    }

    /// Lets keys be where the rehearsal presents them.
    ///
    /// # Errors
    /// The configuration has an error, which cannot be.
    pub(crate) fn with_keys(mut self, path: &Path, keys: Keys) -> Result<Self> {
        if keys != Keys::Unnamed {
            self.edit(path, |settings, value| {
                settings.place_keys(value, keys);
                Ok(())
            })?;
        }
        Ok(self)
    }

    /// Edits each configuration of tollbell.
    fn edit(&mut self, path: &Path, mut edit: impl FnMut(&mut Self, &mut Value) -> Result<()>) -> Result<()> {
        self.owners.clear();
        let mut listeners = std::mem::take(&mut self.bootstrap.listeners);
        for filter in listeners.iter_mut().flat_map(|listener| &mut listener.manager.filters) {
            let bytes = &mut filter.plugin.configuration;
            let Ok(mut value) = document(bytes) else { continue };
            edit(self, &mut value)?;
            *bytes = serde_json::to_vec(&value)?;
            match Owners::load(bytes) {
                Ok(owners) => self.owners.push(owners),
                Err(errors) => {
                    errors.iter().for_each(|error| eprintln!("error: {error}"));
                    bail!("{}: the configuration of tollbell has errors; see above", path.display());
                }
            }
        }
        self.bootstrap.listeners = listeners;
        Ok(())
    }

    /// Removes what a rehearsal cannot have.
    fn adapt(&mut self, config: &mut Value) {
        let Some(config) = config.as_object_mut() else { return };
        if config.remove("store").is_some() {
            self.note("store: the rehearsal counts as one Envoy, without the store");
        }
        if config.get("keys_from").and_then(|from| from.get("url")).is_some_and(|url| url.as_str() != Some("")) {
            config.remove("keys_from");
            self.note("keys_from: no keys are fetched; put them into keys to rehearse them");
        }
    }

    fn place_keys(&mut self, config: &mut Value, keys: Keys) {
        for api in config.get_mut("apis").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(api) = api.as_object_mut() else { continue };
            let own = api.get("auth").and_then(|auth| auth.get("fire_on_missing_key")).cloned();
            let auth = json!({ "auth_header_name": KEY_HEADER, "fire_on_missing_key": own.unwrap_or(false.into()) });
            api.insert("auth".to_owned(), auth);
        }
        if keys == Keys::Fingerprints
            && let Some(Value::Object(sessions)) = config.get_mut("keys")
        {
            let renamed = std::mem::take(sessions).into_iter().map(|(name, session)| {
                let name = if tollbell_core::config::is_identity(&name) { name } else { self.stand_in_for(&name) };
                (name, session)
            });
            *sessions = renamed.collect::<Map<_, _>>();
        }
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// The name of a key's session if its fingerprint is presented instead of the key.
    fn stand_in_for(&mut self, name: &str) -> String {
        let fingerprint = fingerprint_of(name);
        let stand_in = stand_in(&fingerprint);
        self.fingerprints.insert(stand_in.clone(), fingerprint);
        stand_in
    }
}

/// The fingerprint of a key, or of a fingerprint itself.
pub(crate) fn fingerprint_of(key: &str) -> String {
    if is_fingerprint(key) { key.to_ascii_lowercase() } else { sha256(key) }
}

/// The fingerprint of a fingerprint. A log with fingerprints has no keys, and the module looks up what a client
/// presents by its hash. So the rehearsal presents fingerprints, and the configuration has the hashes of these.
fn stand_in(fingerprint: &str) -> String {
    sha256(fingerprint)
}

fn sha256(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

pub(crate) fn is_fingerprint(key: &str) -> bool {
    let digits = key.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}
