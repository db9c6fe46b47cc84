//! Where the module is.

use std::path::{Path, PathBuf};

/// Where a module file is looked for that is not where the configuration says: beside the command, and in `dist/`.
pub fn folders() -> Vec<PathBuf> {
    let command = std::env::current_exe().ok();
    let beside = command.as_deref().and_then(Path::parent).map(Path::to_owned);
    beside.into_iter().chain([PathBuf::from("dist")]).collect()
}
