//! The two hosts.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use host_shim::LogLine;
use host_shim::server::Server;

use crate::client;
use crate::envoy::{Process, binary};
use crate::shim;

/// A program that serves an Envoy configuration with one worker. Its log has the level info.
pub(super) trait Host: Sized + Send + Sync + 'static {
    /// Starts, and waits until it serves.
    fn start(yaml: &str, admin: u16) -> impl Future<Output = Result<Self>> + Send;

    /// A number that changes with each line of the log.
    fn activity(&self) -> usize;

    /// The lines of the modules so far: `[plugin level] text`.
    fn lines(&self) -> Vec<String>;
}

/// The shim, serving in this process.
pub(super) struct Shim(Server);

impl Host for Shim {
    async fn start(yaml: &str, _admin: u16) -> Result<Self> {
        Ok(Shim(shim::serve(yaml, "the configuration").await?))
    }

    fn activity(&self) -> usize {
        self.0.host().logs.lines().len()
    }

    fn lines(&self) -> Vec<String> {
        let line = |line: LogLine| {
            let message = line.text.strip_prefix("wasm log ").filter(|_| line.from_module)?;
            let (origin, text) = message.split_once(": ")?;
            Some(format!("[{origin} {}] {}", line.level.name(), text.replace('\n', "\\n")))
        };
        self.0.host().logs.lines().into_iter().filter_map(line).collect()
    }
}

/// A real Envoy.
pub(super) struct Envoy {
    folder: PathBuf,
    _process: Process,
}

impl Host for Envoy {
    async fn start(yaml: &str, admin: u16) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("compare-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)?;
        let config = folder.join("envoy.yaml");
        fs::write(&config, yaml)?;
        let mut command = Command::new(binary()?);
        command.arg("--config-path").arg(&config).args(["--use-dynamic-base-id", "--concurrency", "1"]);
        command.args(["--log-level", "warning", "--component-log-level", "wasm:info", "--log-format", "%l|%n|%_"]);
        command.stdout(Stdio::null()).stderr(fs::File::create(folder.join("log"))?);
        let mut envoy = Envoy { folder, _process: Process::start(&mut command)? };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !client::get(admin, "/ready", &[]).await.is_ok_and(|reply| reply.status == 200) {
            ensure!(envoy._process.ended()?.is_none() && Instant::now() < deadline, "Envoy ended:\n{}", envoy.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(envoy)
    }

    fn activity(&self) -> usize {
        let length = fs::metadata(self.folder.join("log")).map(|file| file.len()).unwrap_or_default();
        usize::try_from(length).unwrap_or_default()
    }

    fn lines(&self) -> Vec<String> {
        let line = |line: &str| {
            let (level, rest) = line.split_once('|')?;
            let message = rest.split_once('|')?.1.strip_prefix("wasm log ")?;
            let (origin, text) = message.split_once(": ")?;
            Some(format!("[{origin} {level}] {text}"))
        };
        self.log().lines().filter_map(line).collect()
    }
}

impl Envoy {
    fn log(&self) -> String {
        fs::read(self.folder.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
