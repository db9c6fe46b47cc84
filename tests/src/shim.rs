//! The shim, serving in this process.

use anyhow::{Result, anyhow};
use host_shim::server::{Options, Server};
use host_shim::{Limits, LogLevel, Modules, config};

/// Serves an Envoy configuration with one worker, and keeps the log at level info. `name` stands for the file in
/// errors.
///
/// # Errors
/// The configuration is refused, or cannot be served.
pub async fn serve(yaml: &str, name: &str) -> Result<Server> {
    let loaded = config::parse(yaml, name, false).map_err(|errors| anyhow!("{errors}"))?;
    let options = Options {
        bootstrap: loaded.bootstrap,
        dump: loaded.dump,
        modules: Modules::default(),
        workers: 1,
        log_level: LogLevel::Info,
        keeps_log: true,
        limits: Limits::default(),
    };
    tokio::task::spawn_blocking(|| Server::start(options)).await?
}
