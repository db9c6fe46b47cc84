//! The fuzz targets: each takes any bytes, and panics where something is wrong. A test of the ordinary suite replays
//! what once crashed through the same functions.

pub mod addresses;
pub mod bodies;
pub mod configuration;
pub mod cookies;
mod exchange;
pub mod hostcalls;
pub mod importer;
mod input;
pub mod paths;
pub mod posted;
pub mod records;
pub mod replies;
pub mod requests;
pub mod sessions;
pub mod store;
pub mod templates;
mod world;
pub mod yaml;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 15] = [
    ("addresses", addresses::run),
    ("bodies", bodies::run),
    ("configuration", configuration::run),
    ("cookies", cookies::run),
    ("hostcalls", hostcalls::run),
    ("importer", importer::run),
    ("paths", paths::run),
    ("posted", posted::run),
    ("records", records::run),
    ("replies", replies::run),
    ("requests", requests::run),
    ("sessions", sessions::run),
    ("store", store::run),
    ("templates", templates::run),
    ("yaml", yaml::run),
];
