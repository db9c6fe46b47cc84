//! Legal settings that are probably mistakes: settings without an effect, and implausible numbers.

mod effects;
pub mod numbers;

use super::error::Errors;
use super::raw;

/// Warns of settings without an effect. A dangerous number is an error.
pub fn check(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) {
    effects::check(raw, warnings);
    numbers::check(raw, errors, warnings);
}
