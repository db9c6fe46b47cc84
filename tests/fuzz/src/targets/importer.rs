//! Tyk's files through the importer: what it makes of them, the shim and the filter accept.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use host_shim::config;
use import_tyk::{Files, import};
use serde_json::Value;
use tollbell_core::config::Config;

use super::input::parts;

/// Where the filter's configuration stands in Envoy's.
const CONFIGURATION: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0\
    /typed_config/config/configuration/value";

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tollbell-fuzz-{}-{number}", std::process::id()));
    let written = write(&folder, parts(bytes));
    let files = |keep_going| Files {
        conf: folder.join("tyk.conf"),
        apps: folder.join("apps"),
        policies: Some(folder.join("policies.json")),
        keys: Some(folder.join("keys.json")),
        keep_going,
        ..Files::default()
    };
    if written.is_ok()
        && let Ok(imported) = import(&files(false), false).or_else(|_| import(&files(true), true))
    {
        check(&imported.yaml);
    }
    let _ = fs::remove_dir_all(&folder);
}

fn write(folder: &Path, [conf, api, other, policies, keys]: [&[u8]; 5]) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("apps"))?;
    fs::write(folder.join("tyk.conf"), conf)?;
    fs::write(folder.join("apps/one.json"), api)?;
    if !other.is_empty() {
        fs::write(folder.join("apps/other.json"), other)?;
    }
    fs::write(folder.join("policies.json"), if policies.is_empty() { b"{}" } else { policies })?;
    fs::write(folder.join("keys.json"), if keys.is_empty() { b"{}" } else { keys })
}

fn check(yaml: &str) {
    let loaded = config::parse(yaml, "imported.yaml", false).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
    let configuration = loaded.dump.pointer(CONFIGURATION).unwrap_or(&Value::Null);
    assert!(configuration.is_object(), "no configuration in {yaml}");
    if let Err(errors) = Config::load(configuration.to_string().as_bytes()) {
        panic!("{errors:?}\n{configuration:#}");
    }
}
