//! `make reference`: generates the reference of the configuration in `docs/configuration.md`.

use std::fs;

use anyhow::Result;
use tollbell_tests::{project_root, reference};

fn main() -> Result<()> {
    let path = project_root().join("docs/configuration.md");
    let schema = serde_json::from_str(&fs::read_to_string(project_root().join("envoy/tollbell.schema.json"))?)?;
    let page = reference::page(&fs::read_to_string(&path)?, &schema, &reference::configurations()?)?;
    Ok(fs::write(path, page)?)
}
