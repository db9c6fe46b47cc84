//! A Redis with replicas that Sentinels watch.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::envoy::{Process, free_port};
use crate::redis::Redis;

/// The number of Sentinels. Two of them must agree.
const SENTINELS: usize = 3;

/// How long the nodes may take until a primary has a replica.
const START: Duration = Duration::from_secs(30);

/// Nodes of one Redis, and their Sentinels. Dropping it ends all of them.
pub struct Watched {
    /// The first one is the primary at the start. The others are its replicas.
    pub nodes: Vec<Redis>,
    sentinels: Vec<Process>,
    folder: PathBuf,
}

impl Watched {
    /// Starts a primary with two replicas and three Sentinels.
    ///
    /// # Errors
    /// `redis-server` is not installed, or does not start.
    pub fn start() -> Result<Self> {
        let primary = Redis::start_with(&["--min-replicas-to-write", "1", "--repl-diskless-sync-delay", "0"])?;
        let of = format!("127.0.0.1 {}", primary.port());
        let folder = std::env::temp_dir().join(format!("tollbell-sentinel-{}-{}", std::process::id(), primary.port()));
        fs::create_dir_all(&folder)?;
        let mut watched = Watched { nodes: vec![primary], sentinels: Vec::new(), folder };
        for _ in 0..2 {
            watched.nodes.push(Redis::start_with(&[
                "--min-replicas-to-write",
                "1",
                "--repl-diskless-sync-delay",
                "0",
                "--replicaof",
                &of,
            ])?);
        }
        let started = Instant::now();
        while !watched.nodes[0].run(&["INFO", "replication"])?.contains("connected_slaves:2") {
            if started.elapsed() > START {
                bail!("the replicas do not connect");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for _ in 0..SENTINELS {
            let sentinel = watched.sentinel(&of)?;
            watched.sentinels.push(sentinel);
        }
        Ok(watched)
    }

    fn sentinel(&self, primary: &str) -> Result<Process> {
        let port = free_port()?;
        let file = self.folder.join(format!("{port}.conf"));
        let folder = self.folder.display();
        fs::write(
            &file,
            format!(
                "port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor fleet {primary} 2\n\
                 sentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 5000\n"
            ),
        )?;
        let mut command = Command::new("redis-server");
        Process::start(command.arg(&file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// The node that is a primary with a replica.
    pub fn primary(&self) -> Option<&Redis> {
        self.nodes.iter().find(|node| {
            let role = node.run(&["INFO", "replication"]).unwrap_or_default();
            role.contains("role:master") && role.contains("state=online")
        })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.sentinels.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
