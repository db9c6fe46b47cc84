//! An Envoy process that runs one of the project's YAML files, on its own ports.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use serde_json::Value;

use crate::{client, project_root};

/// Within this time, each VM of the filter ticks at least once.
const TICK: Duration = Duration::from_millis(600);

/// The ports that the project's YAML files use.
const LISTENER: &str = "10000";
const UPSTREAM: &str = "10001";
const RECEIVER: &str = "10002";
const STAND_IN: &str = "10003";
const ADMIN: &str = "9901";

const LISTENER_FILE: &str = "listener.yaml";

const MODULE: &str = "dist/tollbell.wasm";

/// The lines around tollbell's own configuration in `envoy/envoy.yaml`.
const CONFIGURATION_BEGINS: &str = "# ---- tollbell's own configuration";
const CONFIGURATION_ENDS: &str = "# ---- end of tollbell's own configuration";

/// The Envoy binary that `make` installed.
///
/// # Errors
/// It is not installed.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("TOLLBELL_ENVOY").context("TOLLBELL_ENVOY names no Envoy; run `make test`")?;
    let path = project_root().join(path);
    ensure!(path.is_file(), "no Envoy at {}; run `make test`", path.display());
    Ok(path)
}

/// The major and minor number of that Envoy.
///
/// # Errors
/// It is not installed, or does not tell its version.
pub fn version() -> Result<String> {
    let output = Command::new(binary()?).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version =
        text.split('/').find(|part| part.split('.').count() == 3 && part.starts_with(|c: char| c.is_ascii_digit()));
    let numbers: Vec<&str> = version.with_context(|| format!("no version: {text}"))?.split('.').take(2).collect();
    Ok(numbers.join("."))
}

/// A child process. Dropping this ends it.
pub struct Process(Child);

impl Process {
    /// Starts the process without standard input.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        Ok(Process(command.stdin(Stdio::null()).spawn().with_context(|| format!("{command:?}"))?))
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The CPU time of its threads whose names have this prefix; "" for all threads.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu(&self, threads: &str) -> Result<Duration> {
        cpu(self.id(), threads)
    }

    /// The exit status, if the process has ended by itself.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

/// The CPU time of a process, of its threads whose names have this prefix; "" for all threads.
///
/// # Errors
/// The process has ended.
pub fn cpu(process: u32, threads: &str) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        // A thread may have ended meanwhile.
        let (Ok(name), Ok(statistics)) =
            (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        if name.starts_with(threads) {
            nanos += statistics.split(' ').next().context("an empty schedstat")?.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command for Envoy with a configuration file, in the project's folder, with its warnings and tollbell's log.
///
/// # Errors
/// Envoy is not installed.
pub fn command(config: &Path, workers: u32) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .arg("--config-path")
        .arg(config)
        .args(["--use-dynamic-base-id", "--log-level", "warning", "--component-log-level", "wasm:info"])
        .args(["--concurrency", &workers.to_string()])
        .current_dir(project_root());
    Ok(command)
}

/// The Envoy to start.
pub struct Setup {
    yaml: String,
    workers: u32,
    ports: Ports,
    watches_listener: bool,
}

#[derive(Clone, Copy)]
struct Ports {
    listener: u16,
    admin: u16,
}

impl Setup {
    /// One of the project's YAML files, with the given ports instead of the demo's.
    ///
    /// # Errors
    /// The file cannot be read, the module is not built, or no port is free.
    pub fn file(name: &str, upstream: u16, receiver: u16) -> Result<Self> {
        let text = fs::read_to_string(project_root().join(name)).with_context(|| name.to_owned())?;
        Setup::yaml(&text, LISTENER, upstream, receiver)
    }

    /// A whole Envoy configuration whose listener has the port `listener`, and which uses the ports of the project's
    /// demo.
    ///
    /// # Errors
    /// The module is not built, or no port is free.
    pub fn yaml(text: &str, listener: &str, upstream: u16, receiver: u16) -> Result<Self> {
        let module = project_root().join(MODULE);
        ensure!(module.is_file(), "{MODULE} is not built; run `make build`");
        let ports = Ports { listener: free_port()?, admin: free_port()? };
        let mut yaml = text.to_owned();
        let places = [
            (listener, ports.listener),
            (ADMIN, ports.admin),
            (UPSTREAM, upstream),
            (RECEIVER, receiver),
            (STAND_IN, free_port()?),
        ];
        for (from, to) in places {
            let port = Regex::new(&format!(r"port_value: {from}\b"))?;
            yaml = port.replace_all(&yaml, format!("port_value: {to}")).into_owned();
        }
        let yaml = yaml
            .replace(&format!("127.0.0.1:{RECEIVER}"), &format!("127.0.0.1:{receiver}"))
            .replace(MODULE, &module.display().to_string());
        Ok(Setup { yaml, workers: 2, ports, watches_listener: false })
    }

    /// `envoy/envoy.yaml` with another configuration of tollbell. `RECEIVER` in it is replaced by the receiver.
    ///
    /// # Errors
    /// As for [`Setup::file`].
    pub fn config(config: &Value, upstream: u16, receiver: u16) -> Result<Self> {
        let mut setup = Setup::file("envoy/envoy.yaml", upstream, receiver)?;
        setup.yaml = with_config(&setup.yaml, config, receiver)?;
        Ok(setup)
    }

    /// Replaces the configuration of tollbell in the file. The ports of the project's files in it are replaced by those
    /// of this setup.
    ///
    /// # Errors
    /// The file has no marks around the configuration.
    pub fn with_configuration(mut self, config: &Value, receiver: u16) -> Result<Self> {
        let config = serde_json::from_str(&config.to_string().replace(&format!("127.0.0.1:{RECEIVER}"), "RECEIVER"))?;
        self.yaml = with_config(&self.yaml, &config, receiver)?;
        Ok(self)
    }

    /// Sets the number of worker threads.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Puts the listener into a file that Envoy watches, as if a control plane had sent it: see
    /// [`Envoy::update_listener`].
    #[must_use]
    pub fn watch_listener(mut self) -> Self {
        self.watches_listener = true;
        self
    }

    /// Edits the YAML.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(String) -> String) -> Self {
        self.yaml = edit(self.yaml);
        self
    }

    /// The whole configuration, for another gateway.
    pub fn text(&self) -> &str {
        &self.yaml
    }

    /// The ports of the listener and of the admin interface.
    pub fn listener_and_admin(&self) -> (u16, u16) {
        (self.ports.listener, self.ports.admin)
    }

    /// Starts Envoy and waits until it is ready.
    ///
    /// # Errors
    /// Envoy refuses the configuration. The error contains its log.
    pub async fn start(self) -> Result<Envoy> {
        let mut envoy = self.spawn()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = envoy.process.ended()? {
                bail!("Envoy ended with {status}:\n{}", envoy.log());
            }
            if client::get(envoy.admin, "/ready", &[]).await.is_ok_and(|reply| reply.status == 200) {
                return Ok(envoy);
            }
            ensure!(Instant::now() < deadline, "Envoy is not ready after 60 s:\n{}", envoy.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts Envoy, and returns its log when it has ended.
    ///
    /// # Errors
    /// Envoy does not end within 30 s.
    pub async fn refused(self) -> Result<String> {
        let mut envoy = self.spawn()?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while envoy.process.ended()?.is_none() {
            ensure!(Instant::now() < deadline, "Envoy runs although it should have refused:\n{}", envoy.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(envoy.log())
    }

    fn spawn(self) -> Result<Envoy> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = project_root().join("target/envoy").join(name);
        fs::create_dir_all(&folder)?;
        let (config, log) = (folder.join("envoy.yaml"), folder.join("envoy.log"));
        if self.watches_listener {
            let (bootstrap, _) = split_listener(&self.yaml)?;
            write_listener(&folder, &self.yaml)?;
            let watch = format!(
                "node: {{ id: test, cluster: test }}\n\
                 dynamic_resources: {{ lds_config: {{ path_config_source: {{ path: {:?} }} }} }}\n",
                folder.join(LISTENER_FILE)
            );
            fs::write(&config, watch + &bootstrap)?;
        } else {
            fs::write(&config, &self.yaml)?;
        }
        let mut command = command(&config, self.workers)?;
        let process = Process::start(command.stdout(Stdio::null()).stderr(fs::File::create(&log)?))?;
        Ok(Envoy { port: self.ports.listener, admin: self.ports.admin, process, folder, log })
    }
}

/// `yaml` with the configuration between the marks replaced. JSON is YAML, in which Envoy converts floats to strings.
fn with_config(yaml: &str, config: &Value, receiver: u16) -> Result<String> {
    let begin = yaml.find(CONFIGURATION_BEGINS).context("the beginning of tollbell's configuration is not marked")?;
    let end = yaml.find(CONFIGURATION_ENDS).context("the end of tollbell's configuration is not marked")?;
    let config = config.to_string().replace("RECEIVER", &format!("127.0.0.1:{receiver}"));
    Ok(format!("{}{config}\n{}", &yaml[..begin], &yaml[end..].split_once('\n').map_or("", |(_, rest)| rest)))
}

/// The bootstrap without its listeners, and the listeners as items of a list.
fn split_listener(yaml: &str) -> Result<(String, String)> {
    let (head, rest) = yaml.split_once("  listeners:\n").context("no listeners")?;
    let (listener, clusters) = rest.split_once("\n  clusters:\n").context("no clusters behind the listeners")?;
    Ok((format!("{head}  clusters:\n{clusters}"), listener.to_owned()))
}

/// Envoy notices a file that is moved into place.
fn write_listener(folder: &Path, yaml: &str) -> Result<()> {
    let (_, listener) = split_listener(yaml)?;
    let typed = format!("\n{listener}")
        .replace("\n  - name:", "\n  - \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener\n    name:");
    let next = folder.join("next");
    fs::write(&next, format!("resources:{typed}\n"))?;
    Ok(fs::rename(next, folder.join(LISTENER_FILE))?)
}

/// A running Envoy. When dropped, it ends and prints its log.
pub struct Envoy {
    /// The listener's port.
    pub port: u16,
    /// The admin port.
    pub admin: u16,
    process: Process,
    folder: PathBuf,
    log: PathBuf,
}

impl Envoy {
    /// The log so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// True if a VM has died of a panic or another trap.
    pub fn has_trapped(&self) -> bool {
        let log = self.log();
        log.contains("RuntimeError") || log.contains("panicked")
    }

    /// The CPU time since its start.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu(&self) -> Result<Duration> {
        self.process.cpu("")
    }

    /// Replaces the listener of an Envoy that [watches](Setup::watch_listener) it. The port stays the same.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn update_listener(&self, setup: Setup) -> Result<()> {
        let (own, other) = (self.port.to_string(), setup.ports.listener.to_string());
        write_listener(
            &self.folder,
            &setup.yaml.replace(&format!("port_value: {other} "), &format!("port_value: {own} ")),
        )
    }

    /// The value of a statistic, by its name in Envoy.
    ///
    /// # Errors
    /// The statistic does not exist.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        let text = self.admin(&format!("/stats?filter=^{name}$")).await?;
        let value = text.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
        value.with_context(|| format!("no statistic {name}: {text}"))?.parse().context("not a number")
    }

    /// The answer of an admin path.
    ///
    /// # Errors
    /// The request fails.
    pub async fn admin(&self, path: &str) -> Result<String> {
        Ok(client::get(self.admin, path, &[]).await?.body)
    }

    /// The value of a Prometheus sample, given by its name with labels, as in `tollbell_requests{outcome="admitted"}`.
    /// The filter passes counts of requests and events to Envoy at ticks, so these are read after the next tick.
    ///
    /// # Errors
    /// The sample does not exist.
    pub async fn metric(&self, sample: &str) -> Result<u64> {
        if ["tollbell_requests", "tollbell_events"].iter().any(|summed| sample.starts_with(summed)) {
            tokio::time::sleep(TICK).await;
        }
        let text = self.admin("/stats/prometheus").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = line.with_context(|| format!("no sample {sample} in the statistics"))?;
        value.trim().parse().with_context(|| format!("{sample} is {value:?}"))
    }

    /// The bytes that the process has allocated.
    ///
    /// # Errors
    /// The admin interface does not answer.
    pub async fn allocated(&self) -> Result<u64> {
        let memory: Value = serde_json::from_str(&self.admin("/memory").await?)?;
        memory["allocated"].as_str().context("no figure")?.parse().context("not a number")
    }

    /// The memory in use by the process in bytes, including its wasm VMs.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no figure")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // The output of a test is shown only if it fails.
        println!("---- Envoy's log ----\n{}", self.log());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A port that was free a moment ago. This process gets each port once, because an Envoy would share it with another.
///
/// # Errors
/// No port is free.
pub fn free_port() -> Result<u16> {
    // Below the range of ports that the system gives to clients: a client could take the port before it is used.
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time start at different ports.
    let start = std::process::id().wrapping_mul(577) % u32::from(COUNT);
    for _ in 0..COUNT {
        let offset = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((start + offset) % u32::from(COUNT))?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
