//! From the host's bytes to the raw configuration: JSON text or protobuf, in the shape that the schema asks for.

pub mod decode;
pub mod duplicates;
pub mod schema;
pub mod shape;

use std::io::Read;

use flate2::read::DeflateDecoder;
use serde_json::Value;

use super::error::{ConfigError, Errors};
use super::raw;
use crate::base::json;

/// Reads a configuration.
///
/// # Errors
/// All of them, where it cannot be read; else the shape's faults are in `errors`.
pub fn read(bytes: &[u8], errors: &mut Errors) -> Result<raw::Config, ConfigError> {
    let mut value = decode::to_json(bytes)?;
    shape::conform(&embedded_schema(errors), &mut value, errors);
    raw::read(value).map_err(|fault| {
        // What conforms can be read. Were the schema wrong, a path below `keys` could name a raw key.
        let field = fault.path.split(['.', '[']).next().unwrap_or_default();
        ConfigError { path: field.to_owned(), message: fault.message }
    })
}

/// What is checked first: [`schema()`](schema::schema) as it was when `make schema` ran last, without descriptions. Building
/// it takes much more code than reading it.
fn embedded_schema(errors: &mut Errors) -> Value {
    let mut text = Vec::new();
    let mut compressed = DeflateDecoder::new(&include_bytes!(concat!(env!("OUT_DIR"), "/schema.deflate"))[..]);
    // What cannot be decompressed is not JSON either.
    let _ = compressed.read_to_end(&mut text);
    json::parse(&text).unwrap_or_else(|error| {
        errors.add("", format!("the schema in the module: {error}"));
        Value::Null
    })
}
