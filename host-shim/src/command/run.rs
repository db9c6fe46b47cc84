//! The command `run`.

use std::io::{Write as _, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::{ModuleOptions, load};
use crate::base::LogLevel;
use crate::config::Loaded;
use crate::server::{Options, Server};
use crate::state::Limits;

/// The options of `run`.
#[derive(Clone, Debug, Args)]
// Another command that is also called Run may flatten these options.
#[group(skip)]
pub struct Run {
    /// The Envoy configuration, YAML or JSON
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Number of worker threads; each has its own VMs
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Log messages of this level and above
    #[arg(long, value_enum, default_value_t = Level::Info)]
    log_level: Level,
    /// The modules to load.
    #[command(flatten)]
    pub modules: ModuleOptions,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warning => LogLevel::Warn,
            Level::Error => LogLevel::Error,
            Level::Critical => LogLevel::Critical,
        }
    }
}

impl Run {
    /// Starts the server and prints the addresses on which it listens.
    ///
    /// # Errors
    /// An address is in use, a module does not load, or a module refuses its configuration.
    pub fn start(&self, loaded: Loaded) -> Result<Running> {
        let names: Vec<String> = loaded.bootstrap.listeners.iter().map(|listener| listener.name.clone()).collect();
        let options = Options {
            bootstrap: loaded.bootstrap,
            dump: loaded.dump,
            modules: self.modules.modules()?,
            workers: usize::from(self.workers),
            log_level: self.log_level.into(),
            keeps_log: false,
            limits: Limits { memory: self.modules.memory(), callback: None },
        };
        let server = Server::start(options)?;
        for (name, address) in names.iter().zip(&server.addresses) {
            writeln!(stdout(), "{} listens on {address}", if name.is_empty() { "the listener" } else { name })?;
        }
        if let Some(admin) = server.admin {
            writeln!(stdout(), "the admin interface listens on {admin}")?;
        }
        Ok(Running { server, config: self.config.clone() })
    }

    /// Serves the configuration until a signal ends it.
    ///
    /// # Errors
    /// The configuration has an error, or the server does not start.
    pub fn execute(&self) -> Result<()> {
        self.start(load(&self.config)?)?.wait()
    }
}

/// A server that [`Run::start`] started.
pub struct Running {
    server: Server,
    config: PathBuf,
}

impl Running {
    /// The address of the first listener.
    pub fn listener(&self) -> Option<SocketAddr> {
        self.server.addresses.first().copied()
    }

    /// The address of the admin interface.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.server.admin
    }

    /// Waits for a signal. SIGHUP reads the configuration again. SIGINT and SIGTERM end the server.
    ///
    /// # Errors
    /// The system does not allow waiting for signals.
    pub fn wait(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hang_up = signal(SignalKind::hangup())?;
            // A module can make a reload take very long. The other signals must still end the server.
            let reloads = async {
                while hang_up.recv().await.is_some() {
                    reload(&self.server, &self.config).await;
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = self.server.asked_to_quit() => {}
                () = reloads => {}
            }
            Ok(())
        })
    }
}

async fn reload(server: &Server, path: &Path) {
    let outcome = match load(path) {
        Ok(loaded) => server.update(loaded).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(unapplied) => {
            eprintln!("{} was reloaded", path.display());
            unapplied.iter().for_each(|what| eprintln!("warning: {what} changes only after a restart"));
        }
        Err(error) => eprintln!("error: {error:#}; the old configuration stays in use"),
    }
}
