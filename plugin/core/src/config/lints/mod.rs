//! Settings that are legal and cannot be meant: those that have no effect, and numbers that only a mistake explains.

mod effects;
pub mod numbers;

use super::error::Errors;
use super::raw;

/// Warns of what has no effect; a number that would be dangerous is an error.
pub fn check(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) {
    effects::check(raw, warnings);
    numbers::check(raw, errors, warnings);
}
