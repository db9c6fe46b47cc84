//! What the command `tollbell` does beside running, checking and replaying, which it shares with any other host of filters.

mod connection;
pub mod demo;
mod import;
mod key;
mod module;
mod plugins;
mod render;
mod schema;

pub use connection::TestConnection;
pub use import::ImportTyk;
pub use key::Key;
pub use module::folders;
pub use render::Render;
pub use schema::Schema;
