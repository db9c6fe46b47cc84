//! `tollbell schema`.

use anyhow::Result;
use clap::Args;
use tollbell_core::config::{envoy_schema, schema};

/// The options of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// The schema of a whole Envoy configuration that contains tollbell
    #[arg(long)]
    envoy: bool,
}

impl Schema {
    /// Prints the schema.
    ///
    /// # Errors
    /// The schema cannot be written as JSON.
    pub fn execute(&self) -> Result<()> {
        let schema = if self.envoy { envoy_schema() } else { schema() };
        println!("{}", serde_json::to_string_pretty(&schema)?);
        Ok(())
    }
}
