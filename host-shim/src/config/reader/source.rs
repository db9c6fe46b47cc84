//! Reads a `DataSource`: bytes from a file, the environment or the configuration itself.

use std::path::PathBuf;

use super::{Located, Place};

pub(super) enum Source {
    /// The path of a file, and the place of the path in the configuration.
    File(PathBuf, Located),
    Bytes(Vec<u8>),
}

/// Reads a `DataSource`, but not its file.
pub(super) fn source(place: &Place<'_>) -> Option<Source> {
    let message = place.message("DataSource")?;
    let found = message.required_one_of(&["filename", "inline_bytes", "inline_string", "environment_variable"]);
    message.done();
    let (kind, place) = found?;
    if kind == "inline_bytes" {
        return place.bytes().map(Source::Bytes);
    }
    let text = place.string()?;
    match kind {
        "inline_string" => Some(Source::Bytes(text.into_bytes())),
        _ if text.is_empty() => {
            place.error("empty");
            None
        }
        "filename" => Some(Source::File(text.into(), place.at())),
        _ => match std::env::var(&text) {
            Ok(value) => Some(Source::Bytes(value.into_bytes())),
            Err(_) => {
                place.error(format!("the environment has no variable {text:?}"));
                None
            }
        },
    }
}

/// Reads a `DataSource` with its file.
pub(super) fn bytes(place: &Place<'_>) -> Option<Vec<u8>> {
    match source(place)? {
        Source::Bytes(bytes) => Some(bytes),
        Source::File(path, _) => match std::fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                place.error(format!("{} cannot be read: {error}", path.display()));
                None
            }
        },
    }
}
