//! Reads access logs: files or standard input, gzip or not, JSON or text, merged by time.

mod fields;
mod input;
mod json;
mod order;
mod record;
mod text;
mod time;

pub(crate) use fields::{Fields, Slot};
pub(crate) use order::{Entry, Logs, Troubles};
pub(crate) use record::Record;
pub(crate) use text::{DEFAULT_FORMAT, Format};
