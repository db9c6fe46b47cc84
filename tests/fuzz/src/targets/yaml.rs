//! The shim's readers of YAML and JSON, up to its model of an Envoy configuration.

use host_shim::config;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = config::yaml_to_json(&text);
    for is_json in [false, true] {
        match config::parse(&text, "fuzzed", is_json) {
            Ok(loaded) => drop(loaded.dump.to_string()),
            Err(errors) => drop(errors.to_string()),
        }
    }
}
