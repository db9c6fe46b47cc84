//! Values and texts that every other module may use.

pub mod datetime;
pub mod ids;
pub mod json;
pub mod mailbox;
pub mod place;
pub mod text;
pub mod troubles;
pub mod units;
