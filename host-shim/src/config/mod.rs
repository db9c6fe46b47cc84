//! Reads Envoy's configuration: from text to a tree with lines, and from the tree to the [`model`].
//!
//! ```text
//! text ─ yaml, json ─▶ Node ─ reader (by place, message, any) ─▶ Bootstrap
//! ```
//! What Envoy refuses is an error, and the reader collects all errors. What Envoy supports and the shim does not is a
//! warning that says what the shim does instead.

mod any;
pub(crate) mod defaults;
pub(crate) mod json;
mod known;
mod locate;
mod message;
pub mod model;
pub mod node;
mod place;
mod reader;
mod report;
mod scalar;
pub(crate) mod tls;
mod wire;
mod yaml;

use std::path::Path;

pub use known::{Field, Treatment, messages};
pub use locate::Located;
pub(crate) use report::hint;
pub use report::{Errors, Problem};
pub use wire::{to_json, to_struct};

/// A valid configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration itself.
    pub bootstrap: model::Bootstrap,
    /// What Envoy supports and the shim does not, and what is unusual.
    pub warnings: Vec<Problem>,
    /// The whole configuration as JSON, without private keys.
    pub dump: serde_json::Value,
}

/// Reads a file. Like Envoy, it reads YAML if the name ends in `.yaml` or `.yml`, and otherwise JSON.
///
/// # Errors
/// All errors of the file. The function also reads files that the configuration names (certificates, bodies), but not
/// wasm modules.
pub fn read(path: &Path) -> Result<Loaded, Errors> {
    let name = path.display().to_string();
    let ends_in = |endings: &[&str]| {
        path.extension().is_some_and(|given| endings.iter().any(|ending| given.eq_ignore_ascii_case(ending)))
    };
    let refused = |message: String| {
        Err(Errors(vec![Problem { file: name.as_str().into(), line: 0, path: String::new(), message }]))
    };
    if ends_in(&["pb", "pb_text"]) {
        return refused("the shim reads YAML and JSON, not protobuf".to_owned());
    }
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, &name, !ends_in(&["yaml", "yml"])),
        Err(error) => refused(format!("cannot be read: {error}")),
    }
}

/// Reads a text. Errors call it `name`.
///
/// # Errors
/// All errors of the text.
pub fn parse(text: &str, name: &str, json: bool) -> Result<Loaded, Errors> {
    let report = report::Report::new(name);
    let parsed = match if json { json::parse(text) } else { yaml::parse(text) } {
        Ok(parsed) => parsed,
        Err(fault) => {
            report.error(fault.line, "", fault.message);
            return report.finish(None).map(|(never, _): (Loaded, _)| never);
        }
    };
    for (line, message) in parsed.notices {
        report.warn(line, "", message);
    }
    let bootstrap = reader::bootstrap(&parsed.root, &report);
    let (bootstrap, warnings) = report.finish(bootstrap)?;
    let mut dump = to_json(&parsed.root);
    redact(&mut dump);
    Ok(Loaded { bootstrap, warnings, dump })
}

/// Removes private keys from a dump, as Envoy does.
fn redact(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                if name == "private_key" || name == "privateKey" {
                    *value = "[redacted]".into();
                }
                redact(value);
            }
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Converts YAML to JSON as Envoy's reader does.
///
/// # Errors
/// The text is not YAML.
pub fn yaml_to_json(text: &str) -> Result<serde_json::Value, Errors> {
    let fault = |(line, message)| Errors(vec![Problem { file: "YAML".into(), line, path: String::new(), message }]);
    node_of_yaml(text).map(|node| to_json(&node)).map_err(fault)
}

/// Parses YAML to a tree with lines.
///
/// # Errors
/// The text is not YAML. The error has the line and the message.
pub(crate) fn node_of_yaml(text: &str) -> Result<node::Node, (usize, String)> {
    yaml::parse(text).map(|parsed| parsed.root).map_err(|fault| (fault.line, fault.message))
}

#[cfg(test)]
mod tests;
