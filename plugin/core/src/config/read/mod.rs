//! From the host's bytes to the raw configuration: JSON text or protobuf, in the shape of the schema.

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
/// All errors if the configuration cannot be read. Otherwise the errors in its shape are added to `errors`.
pub fn read(bytes: &[u8], errors: &mut Errors) -> Result<raw::Config, ConfigError> {
    let mut value = decode::to_json(bytes)?;
    shape::conform(&embedded_schema(errors), &mut value, errors);
    raw::read(value).map_err(|fault| {
        // A value that conforms can be read. If the schema were wrong, a path below `keys` could contain a raw key.
        let field = fault.path.split(['.', '[']).next().unwrap_or_default();
        ConfigError { path: field.to_owned(), message: fault.message }
    })
}

/// The schema for the first check: [`schema()`](schema::schema) at the last run of `make schema`, without descriptions.
/// Building it would need much more code than reading it.
fn embedded_schema(errors: &mut Errors) -> Value {
    let mut text = Vec::new();
    let mut compressed = DeflateDecoder::new(&include_bytes!(concat!(env!("OUT_DIR"), "/schema.deflate"))[..]);
    // Data that cannot be decompressed is not JSON, and the next step reports that.
    let _ = compressed.read_to_end(&mut text);
    json::parse(&text).unwrap_or_else(|error| {
        errors.add("", format!("the schema in the module: {error}"));
        Value::Null
    })
}
