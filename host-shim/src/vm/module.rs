//! A module as loaded: compiled, with its ABI version.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use wasmtime::{Config, Engine, Linker, Module, Store};

use super::state::VmState;
use crate::abi::types::AbiVersion;
use crate::state::lock;

/// How often a running guest's time is looked at.
const EPOCH: Duration = Duration::from_millis(20);

/// A compiled module.
#[derive(Clone)]
pub(crate) struct LoadedModule {
    pub(crate) module: Module,
    pub(crate) abi: AbiVersion,
}

impl LoadedModule {
    /// Compiles a module, or finds it compiled.
    ///
    /// # Errors
    /// When it is no wasm module, or no proxy-wasm one.
    pub(crate) fn load(code: &[u8]) -> Result<Self> {
        static LOADED: OnceLock<Mutex<HashMap<Vec<u8>, LoadedModule>>> = OnceLock::new();
        let loaded = LOADED.get_or_init(Mutex::default);
        // The lock is held while compiling, so that several gateways at once compile a module once.
        let mut loaded = lock(loaded);
        if let Some(module) = loaded.get(code) {
            return Ok(module.clone());
        }
        let module = Module::from_binary(engine()?, code)
            .map_err(told)
            .context("cannot load the module: it is not valid WebAssembly")?;
        let abi = AbiVersion::MARKERS.into_iter().rev().find(|(name, _)| module.get_export(name).is_some());
        let Some((_, abi)) = abi else {
            bail!(
                "Missing or unknown Proxy-Wasm ABI version: the module exports none of {}",
                AbiVersion::MARKERS.map(|(name, _)| name).join(", ")
            );
        };
        let module = LoadedModule { module, abi };
        loaded.insert(code.to_vec(), module.clone());
        Ok(module)
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.module.engine()
    }

    /// # Errors
    /// Names every import that the host does not offer.
    pub(crate) fn check_imports(&self, linker: &Linker<VmState>, store: &mut Store<VmState>) -> Result<()> {
        let missing: Vec<String> = self
            .module
            .imports()
            .filter(|import| linker.get_by_import(&mut *store, import).is_none())
            .map(|import| format!("{}.{}", import.module(), import.name()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        bail!("Failed to load Wasm module due to a missing import: {}", missing.join(", "))
    }
}

/// All modules share an engine, whose epochs a thread counts.
fn engine() -> Result<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(|error| error.to_string())?;
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("epochs".to_owned())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(EPOCH);
                }
            })
            .map_err(|error| error.to_string())?;
        Ok(engine)
    });
    engine.as_ref().map_err(|error| anyhow::anyhow!("cannot start wasmtime: {error}"))
}

/// A duration in epochs, at least two: one may be over at once.
pub(super) fn epochs(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / EPOCH.as_millis()).unwrap_or(u64::MAX / 2).max(1) + 1
}

/// A wasmtime error with its causes.
pub(super) fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}
