//! `make reference`: generates the reference of the configuration in `docs/configuration.md`, and the list of fields in
//! `docs/host-shim-configuration.md`.

use std::fs;

use anyhow::Result;
use tollbell_tests::{project_root, reference, shim_fields};

fn main() -> Result<()> {
    let path = project_root().join("docs/configuration.md");
    let schema = serde_json::from_str(&fs::read_to_string(project_root().join("envoy/tollbell.schema.json"))?)?;
    let page = reference::page(&fs::read_to_string(&path)?, &schema, &reference::configurations()?)?;
    fs::write(path, page)?;
    let path = project_root().join("docs/host-shim-configuration.md");
    let page = shim_fields::page(&fs::read_to_string(&path)?)?;
    Ok(fs::write(path, page)?)
}
