//! A real Redis for tests.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::envoy::{cpu, free_port};

/// A Redis Cluster.
pub mod cluster;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

/// A `redis-server` on a port of its own. Dropping it kills the process.
pub struct Redis {
    process: Child,
    port: u16,
    folder: PathBuf,
}

impl Redis {
    /// Starts a server without persistence.
    ///
    /// # Errors
    /// `redis-server` is not installed, or does not start.
    pub fn start() -> Result<Self> {
        Redis::start_with(&[])
    }

    /// Starts a server with further arguments.
    ///
    /// # Errors
    /// See [`Redis::start`].
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let folder = std::env::temp_dir().join(format!("tollbell-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let process = spawn(port, &folder, arguments)?;
        let redis = Redis { process, port, folder };
        redis.wait()?;
        Ok(redis)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The CPU time since its start.
    ///
    /// # Errors
    /// The process has ended.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(self.process.id(), "")
    }

    /// Kills the server, as with `kill -9`.
    ///
    /// # Errors
    /// The process cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts a killed server again, on the same port and without data.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(self.port, &self.folder, &[])?;
        self.wait()
    }

    /// Stops the process (`SIGSTOP`), or lets it continue (`SIGCONT`).
    ///
    /// # Errors
    /// There is no command `kill`.
    pub fn pause(&self, is_paused: bool) -> Result<()> {
        let signal = if is_paused { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status()?;
        ensure!(status.success(), "kill {signal} failed");
        Ok(())
    }

    /// Sends bytes on a connection of their own, ends its sending side, and returns everything that comes back.
    ///
    /// # Errors
    /// The connection fails.
    pub fn exchange(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(bytes)?;
        stream.shutdown(Shutdown::Write)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Ok(reply)
    }

    /// Runs a command and returns its reply in Redis's protocol.
    ///
    /// # Errors
    /// The connection fails, or the reply is an error.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for part in command {
            bytes.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
        }
        let reply = String::from_utf8_lossy(&self.exchange(&bytes)?).into_owned();
        ensure!(!reply.starts_with('-'), "{command:?}: {reply}");
        Ok(reply)
    }

    fn wait(&self) -> Result<()> {
        let started = Instant::now();
        while self.run(&["PING"]).is_err() {
            if started.elapsed() > START {
                bail!("redis-server does not answer on port {}", self.port);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn spawn(port: u16, folder: &PathBuf, arguments: &[&str]) -> Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("redis-server does not start: `make test` installs it")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
