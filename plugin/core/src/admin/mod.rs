//! The endpoints that the filter answers itself.

pub mod connection_test;
pub mod endpoints;

pub use endpoints::Admin;
