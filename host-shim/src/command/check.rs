//! `check`: what is wrong with a configuration.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::ModuleOptions;
use crate::check::{FindingKind, check};

/// The options of `check`.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The Envoy configuration, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Which modules to load.
    #[command(flatten)]
    pub modules: ModuleOptions,
}

impl Check {
    /// Prints what it finds; whether there is no error.
    ///
    /// # Errors
    /// When the module that replaces others cannot be read.
    pub fn execute(&self) -> Result<bool> {
        let findings = check(&self.config, &self.modules.modules()?, self.modules.memory());
        for finding in &findings {
            let kind = match finding.kind {
                FindingKind::Error => "error",
                FindingKind::Warning => "warning",
                FindingKind::Note => "note",
            };
            println!("{kind}: {}", finding.text);
        }
        let errors = findings.iter().filter(|finding| finding.kind == FindingKind::Error).count();
        match errors {
            0 => println!("{}: the configuration is good", self.config.display()),
            1 => println!("{}: 1 error", self.config.display()),
            errors => println!("{}: {errors} errors", self.config.display()),
        }
        Ok(errors == 0)
    }
}
