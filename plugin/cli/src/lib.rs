//! The commands of `tollbell` other than run, check and replay, which it shares with every host of filters.

mod connection;
pub mod demo;
mod import;
mod init;
mod key;
pub mod mesh;
mod module;
mod pages;
mod plugins;
mod rehearse;
mod render;
mod schema;
pub mod store;

pub use connection::TestConnection;
pub use import::ImportTyk;
pub use init::Init;
pub use key::Key;
pub use mesh::Export;
pub use module::folders;
pub use pages::{Completions, ManPages};
pub use rehearse::Rehearse;
pub use render::Render;
pub use schema::Schema;
