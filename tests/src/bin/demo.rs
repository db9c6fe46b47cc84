//! `make run-envoy`: the same as `tollbell run --demo`, with a real Envoy.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use host_shim::config;
use tokio::signal::unix::{SignalKind, signal};
use tollbell_cli::demo;
use tollbell_tests::envoy::Process;
use tollbell_tests::{client, envoy, project_root};

const CONFIG: &str = "envoy/envoy.yaml";

#[tokio::main]
async fn main() -> Result<()> {
    let path = project_root().join(CONFIG);
    let bootstrap = config::read(&path).map_err(|errors| anyhow!("{errors}"))?.bootstrap;
    demo::start(&bootstrap)?;
    let mut process = Process::start(&mut envoy::command(Path::new(CONFIG), 2)?)?;
    while !client::get(9901, "/ready", &[]).await.is_ok_and(|reply| reply.status == 200) {
        if let Some(status) = process.ended()? {
            bail!("Envoy ended with {status}; its log is above");
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let listener = bootstrap.listeners.first().map(|listener| listener.address);
    println!("{}", demo::proposals(&fs::read_to_string(&path)?, listener, bootstrap.admin));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
