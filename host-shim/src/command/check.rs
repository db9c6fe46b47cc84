//! The command `check`.

use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::ModuleOptions;
use crate::check::{Finding, FindingKind, check};
use crate::config::{self, model::Bootstrap};

/// The options of `check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The Envoy configuration, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The modules to load.
    #[command(flatten)]
    pub modules: ModuleOptions,
}

impl Check {
    /// Prints the findings. Returns whether there is no error.
    ///
    /// # Errors
    /// The module of `--wasm` cannot be read.
    pub fn execute(&self) -> Result<bool> {
        self.execute_with(|_| Vec::new())
    }

    /// As [`Check::execute`], with further checks of the configuration.
    ///
    /// # Errors
    /// As for [`Check::execute`].
    pub fn execute_with(&self, further: impl FnOnce(&Bootstrap) -> Vec<Finding>) -> Result<bool> {
        let mut findings = check(&self.config, &self.modules.modules()?, self.modules.memory());
        if let Ok(loaded) = config::read(&self.config) {
            findings.extend(further(&loaded.bootstrap));
        }
        for finding in &findings {
            let kind = match finding.kind {
                FindingKind::Error => "error",
                FindingKind::Warning => "warning",
                FindingKind::Note => "note",
            };
            writeln!(stdout(), "{kind}: {}", finding.text)?;
        }
        let errors = findings.iter().filter(|finding| finding.kind == FindingKind::Error).count();
        let file = self.config.display();
        match errors {
            0 => writeln!(stdout(), "{file}: the configuration is valid")?,
            1 => writeln!(stdout(), "{file}: 1 error")?,
            errors => writeln!(stdout(), "{file}: {errors} errors")?,
        }
        Ok(errors == 0)
    }
}
