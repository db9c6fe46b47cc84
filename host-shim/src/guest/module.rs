//! Compiled modules, with their ABI version.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine, Linker, Module, Store};

use super::codes::AbiVersion;
use super::state::VmState;
use crate::base::lock;

/// How often the time of a running guest is checked.
const EPOCH: Duration = Duration::from_millis(20);

pub struct LoadedModule {
    pub module: Module,
    pub abi: AbiVersion,
}

/// The maximum number of unused modules that stay compiled.
const KEPT: usize = 4;

/// The compiled modules by their SHA-256: all that are in use, and the last ones that were in use.
#[derive(Default)]
struct Compiled {
    all: HashMap<[u8; 32], Weak<LoadedModule>>,
    last: VecDeque<Arc<LoadedModule>>,
}

impl Compiled {
    fn load(&mut self, code: &[u8]) -> Result<Arc<LoadedModule>> {
        let digest = Sha256::digest(code).into();
        let module = match self.all.get(&digest).and_then(Weak::upgrade) {
            Some(module) => module,
            None => Arc::new(LoadedModule::compile(code)?),
        };
        self.last.retain(|other| !Arc::ptr_eq(other, &module));
        self.last.push_back(Arc::clone(&module));
        if self.last.len() > KEPT {
            self.last.pop_front();
        }
        self.all.insert(digest, Arc::downgrade(&module));
        self.all.retain(|_, module| module.strong_count() > 0);
        Ok(module)
    }
}

impl LoadedModule {
    /// Compiles a module, or returns it if it is already compiled.
    ///
    /// # Errors
    /// The code is not a wasm module, or not a proxy-wasm module.
    pub fn load(code: &[u8]) -> Result<Arc<Self>> {
        static MODULES: OnceLock<Mutex<Compiled>> = OnceLock::new();
        // The lock is held during the compilation, so that several gateways compile a module only once.
        lock(MODULES.get_or_init(Mutex::default)).load(code)
    }

    fn compile(code: &[u8]) -> Result<Self> {
        if !code.starts_with(b"\0asm") {
            let begin = code.get(..4).unwrap_or(code).escape_ascii();
            bail!("the module is not WebAssembly: it begins with \"{begin}\" instead of \"\\0asm\"");
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
        Ok(LoadedModule { module, abi })
    }

    pub fn engine(&self) -> &Engine {
        self.module.engine()
    }

    /// # Errors
    /// The host does not have an import. The error names all missing imports.
    pub fn check_imports(&self, linker: &Linker<VmState>, store: &mut Store<VmState>) -> Result<()> {
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

/// Returns the engine of all modules. A thread counts its epochs.
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

/// Converts a duration to epochs. The minimum is two, because the current epoch can end at any time.
pub(super) fn epochs(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis() / EPOCH.as_millis()).unwrap_or(u64::MAX / 2).max(1) + 1
}

/// Converts a wasmtime error with its causes.
pub(super) fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{CONST, DROP, Guest};

    #[test]
    fn unused_modules_are_removed() {
        let code = |number: u8| Guest::importing(&[]).function("proxy_on_tick", 1, 0, &[CONST, number, DROP]).module();
        let mut modules = Compiled::default();
        let used = modules.load(&code(0)).unwrap();
        for number in 1..20 {
            modules.load(&code(number)).unwrap();
        }
        assert_eq!((modules.all.len(), modules.last.len()), (KEPT + 1, KEPT));
        assert!(Arc::ptr_eq(&used, &modules.load(&code(0)).unwrap()));
        let last = modules.load(&code(19)).unwrap();
        assert!(Arc::ptr_eq(&last, &modules.load(&code(19)).unwrap()));
    }
}
