//! Hosts that run an Envoy configuration.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use host_shim::LogLine;
use host_shim::server::Server;
use tollbell_tests::envoy::{Process, command};
use tollbell_tests::{client, project_root, shim};

/// A program that runs the cases.
pub trait Host: Sized + Send + Sync + 'static {
    /// Starts with an Envoy configuration with one worker, and waits until it serves. If it ends instead, the error
    /// contains the host's log.
    fn start(yaml: &str, admin: u16) -> impl Future<Output = Result<Self>> + Send;

    /// The lines of the guests so far, at level info and above.
    fn lines(&self) -> Vec<Line>;
}

/// A line that a guest has logged.
pub struct Line {
    /// The plugin's name, root_id and vm_id, without empty ones, with spaces between.
    pub origin: String,
    /// `info`, `warning`, `error` or `critical`.
    pub level: String,
    /// The text, with `\n` for a newline.
    pub text: String,
}

/// The shim, serving in this process.
pub struct Shim(Server);

impl Host for Shim {
    async fn start(yaml: &str, _admin: u16) -> Result<Self> {
        Ok(Shim(shim::serve(yaml, "case.yaml").await?))
    }

    fn lines(&self) -> Vec<Line> {
        let line = |line: LogLine| {
            let message = line.text.strip_prefix("wasm log ").filter(|_| line.from_module)?;
            let (origin, text) = message.split_once(": ")?;
            let text = text.replace('\n', "\\n");
            Some(Line { origin: origin.to_owned(), level: line.level.name().to_owned(), text })
        };
        self.0.host().logs.lines().into_iter().filter_map(line).collect()
    }
}

/// A real Envoy.
pub struct Envoy {
    folder: PathBuf,
    _process: Process,
}

impl Host for Envoy {
    async fn start(yaml: &str, admin: u16) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("conformance-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = project_root().join("target/envoy").join(name);
        fs::create_dir_all(&folder)?;
        let config = folder.join("envoy.yaml");
        fs::write(&config, yaml)?;
        let mut command = command(&config, 1)?;
        command.args(["--log-format", "%l|%n|%_"]).stdout(Stdio::null());
        let process = Process::start(command.stderr(fs::File::create(folder.join("envoy.log"))?))?;
        let mut envoy = Envoy { folder, _process: process };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !client::get(admin, "/ready", &[]).await.is_ok_and(|reply| reply.status == 200) {
            ensure!(envoy._process.ended()?.is_none() && Instant::now() < deadline, "Envoy ended:\n{}", envoy.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(envoy)
    }

    fn lines(&self) -> Vec<Line> {
        let line = |line: &str| {
            let (level, rest) = line.split_once('|')?;
            let message = rest.split_once('|')?.1.strip_prefix("wasm log ")?;
            let (origin, text) = message.split_once(": ")?;
            Some(Line { origin: origin.to_owned(), level: level.to_owned(), text: text.to_owned() })
        };
        self.log().lines().filter_map(line).collect()
    }
}

impl Envoy {
    fn log(&self) -> String {
        fs::read(self.folder.join("envoy.log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::env::var_os("KEEP").is_none() {
            // The output of a test is shown only if it fails.
            println!("---- Envoy's log ----\n{}", self.log());
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
