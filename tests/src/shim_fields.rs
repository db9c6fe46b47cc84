//! The page on the fields that the host shim honours, made from the shim's own table.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use host_shim::config::{Field, Treatment, messages};

/// Everything below this line of the page is generated.
const MARK: &str = "<!-- `make reference` writes everything below from host-shim/src/config/fields.txt. -->";

/// The page with the part below the mark generated again.
///
/// # Errors
/// The page has no mark.
pub fn page(page: &str) -> Result<String> {
    let (introduction, _) = page.split_once(MARK).with_context(|| format!("the page has no line {MARK:?}"))?;
    let mut text = format!("{introduction}{MARK}\n");
    for (message, fields) in messages() {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n## {message}\n\n| Fields | The shim | Details |\n|---|---|---|\n");
        for row in fields.chunk_by(|one, other| (one.treatment, one.reason) == (other.treatment, other.reason)) {
            write_row(&mut text, row);
        }
    }
    Ok(text)
}

fn write_row(text: &mut String, fields: &[Field]) {
    let Some(first) = fields.first() else { return };
    let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.name)).collect();
    let treatment = match first.treatment {
        Treatment::Honoured => "honours",
        Treatment::Partly => "honours in part",
        Treatment::Told | Treatment::Warned => "warns",
        Treatment::Opens => "warns: less strict than Envoy",
        Treatment::Harmless => "ignores",
    };
    let _ = writeln!(text, "| {} | {treatment} | {} |", names.join(", "), first.reason);
}
