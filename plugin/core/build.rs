//! Makes what the module embeds of the JSON Schema: everything that is checked, without the words for people.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use serde_json::{Map, Value};

const SCHEMA: &str = "../../envoy/tollbell.schema.json";

/// Keywords that nothing is checked by.
const FOR_PEOPLE: [&str; 8] =
    ["$schema", "title", "description", "default", "format", "examples", "allOf", "propertyNames"];

/// The best level of compression.
const BEST: u8 = 10;

/// Keywords whose members are schemas by name.
const NAMED_SCHEMAS: [&str; 2] = ["$defs", "properties"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(SCHEMA)?)?;
    strip(&mut schema);
    let compressed = miniz_oxide::deflate::compress_to_vec(schema.to_string().as_bytes(), BEST);
    fs::write(Path::new(&env::var("OUT_DIR")?).join("schema.deflate"), compressed)?;
    Ok(())
}

fn strip(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => strip_keywords(keywords),
        Value::Array(schemas) => schemas.iter_mut().for_each(strip),
        _ => {}
    }
}

fn strip_keywords(keywords: &mut Map<String, Value>) {
    keywords.retain(|name, _| !FOR_PEOPLE.contains(&name.as_str()));
    for (name, value) in keywords {
        match value {
            Value::Object(named) if NAMED_SCHEMAS.contains(&name.as_str()) => named.values_mut().for_each(strip),
            _ => strip(value),
        }
    }
}
