//! The places of the module file.

use std::path::{Path, PathBuf};

/// The folders in which a module file is searched for if it is not where the configuration says: beside the command,
/// and `dist/`.
pub fn folders() -> Vec<PathBuf> {
    let command = std::env::current_exe().ok();
    let beside = command.as_deref().and_then(Path::parent).map(Path::to_owned);
    beside.into_iter().chain([PathBuf::from("dist")]).collect()
}
