//! Fuzz targets for tollbell: README.md says how they run.

pub mod targets;
