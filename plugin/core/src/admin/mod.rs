//! The endpoints that the filter answers itself.

pub mod connection_test;
pub mod endpoints;
mod page;
pub mod resend;
pub mod status;
pub mod usage;

pub use connection_test::ConnectionTests;
pub use endpoints::{BODY_PATIENCE_MS, Command, MAX_BODY_BYTES};

pub use endpoints::Admin;
pub use usage::OwnUsage;
