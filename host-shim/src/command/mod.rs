//! The commands `run`, `check` and `replay` with their options, for the binary of this crate and for other binaries
//! that run a filter.

mod check;
mod replay;
mod run;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Error, Result, bail};
use clap::Args;

use crate::config::{self, Loaded};
use crate::worker::Modules;

pub use check::Check;
pub use replay::Replay;
pub use run::{Run, Running};

/// Options about modules and their VMs.
#[derive(Clone, Debug, Args)]
pub struct ModuleOptions {
    /// Use this module instead of the modules in the configuration
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,
    /// The memory limit of each VM, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4096))]
    memory: u32,
    /// See [`ModuleOptions::look_in`].
    #[arg(skip)]
    folders: Vec<PathBuf>,
}

impl ModuleOptions {
    /// Adds folders to search by file name if a module file is not where the configuration says.
    pub fn look_in(&mut self, folders: impl IntoIterator<Item = PathBuf>) {
        self.folders.extend(folders);
    }

    /// The source of the modules.
    ///
    /// # Errors
    /// The module cannot be read.
    pub fn modules(&self) -> Result<Modules> {
        let read =
            |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read the module {}", path.display()));
        Ok(Modules { instead: self.wasm.as_ref().map(read).transpose()?, folders: self.folders.clone() })
    }

    /// The memory limit in bytes.
    pub fn memory(&self) -> usize {
        usize::try_from(u64::from(self.memory) << 20).unwrap_or(usize::MAX)
    }
}

/// The exit status after SIGPIPE, as a shell shows it.
const BROKEN_PIPE: u8 = 141;

/// The exit status of a command that failed. Prints the error, unless the reader of a pipe, such as `head`, closed it.
pub fn failed(error: &Error) -> ExitCode {
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return BROKEN_PIPE.into();
    }
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

/// Reads a configuration, and prints its warnings or its errors on standard error.
///
/// # Errors
/// The configuration has an error.
pub fn load(path: &Path) -> Result<Loaded> {
    match config::read(path) {
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            Ok(loaded)
        }
        Err(errors) => {
            errors.0.iter().for_each(|error| eprintln!("error: {error}"));
            bail!("{} cannot be used: see the errors above", path.display())
        }
    }
}
