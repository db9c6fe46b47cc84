//! Serves an Envoy configuration on real sockets.

mod admin;
mod admission;
mod body;
mod connection;
mod convert;
mod exchange;
mod network;
mod origin;
mod prometheus;
mod restart;
mod sockets;
mod stats;
mod thread;
mod upstream;
mod wire;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use socket2::Socket;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use crate::base::LogLevel;
use crate::config::model::Bootstrap;
use crate::config::{Loaded, tls};
use crate::state::clock::Clock;
use crate::state::logs::Logs;
use crate::state::{Host, Limits};
use crate::traffic::Network;
use crate::worker::{Bases, Modules, Program};
use admin::Admin;
use sockets::bind;
pub use sockets::refuse_taken;
use thread::{ServerThread, ThreadMessage};
use upstream::{Load, health};
pub(crate) use upstream::{server_name, split_authority};

/// The settings of a server.
pub struct Options {
    /// The configuration.
    pub bootstrap: Bootstrap,
    /// The configuration as JSON, for `/config_dump`.
    pub dump: serde_json::Value,
    /// The source of the modules.
    pub modules: Modules,
    /// The number of worker threads, at least one.
    pub workers: usize,
    /// The lowest level that is logged.
    pub log_level: LogLevel,
    /// Whether to keep the log for [`Server::host`] instead of writing it to standard error.
    pub keeps_log: bool,
    /// The limits of each VM.
    pub limits: Limits,
}

/// The maximum time to wait for the end of a thread, because a module can run without end.
const PATIENCE: Duration = Duration::from_secs(3);

/// A running server. Dropping it shuts its modules down and ends it.
pub struct Server {
    main: Option<std::thread::JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
    commands: mpsc::UnboundedSender<Command>,
    /// The addresses of the listeners in their order. A port 0 is replaced by the port that the system chose.
    pub addresses: Vec<SocketAddr>,
    /// The address of the admin interface.
    pub admin: Option<SocketAddr>,
    host: Arc<Host>,
    quit: Arc<Notify>,
}

/// A message to the main thread.
enum Command {
    Update(Box<Loaded>, oneshot::Sender<Result<Vec<String>>>),
}

impl Server {
    /// Starts the server, and returns when it serves.
    ///
    /// # Errors
    /// An address is in use, a module does not load, or a module refuses its configuration. The log has the reason.
    pub fn start(options: Options) -> Result<Server> {
        let level = options.log_level;
        let logs = if options.keeps_log { Logs::kept(level) } else { Logs::standard_error(level) };
        let host = Host::new(Clock::System, logs, options.limits);
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        for listener in &options.bootstrap.listeners {
            refuse_taken(listener.address)?;
            let first = bind(listener.address)?;
            let address = first.local_addr()?.as_socket().unwrap_or(listener.address);
            let mut of_workers = vec![first];
            for _ in 1..options.workers.max(1) {
                of_workers.push(bind(address)?);
            }
            addresses.push(address);
            sockets.push(of_workers);
        }
        options.bootstrap.admin.map(refuse_taken).transpose()?;
        let admin = options.bootstrap.admin.map(bind).transpose()?;
        let admin_address =
            admin.as_ref().map(|socket| socket.local_addr()).transpose()?.and_then(|address| address.as_socket());
        let (started, is_started) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (commands, inbox) = mpsc::unbounded_channel();
        let (for_main, quit) = (Arc::clone(&host), Arc::new(Notify::new()));
        let quits = Arc::clone(&quit);
        let main = std::thread::Builder::new().name("main".to_owned()).spawn(move || {
            let result =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from);
            match result {
                Err(error) => drop(started.send(Err(error))),
                Ok(runtime) => {
                    let main = MainThread { host: for_main, options, sockets, admin, quit: quits };
                    LocalSet::new().block_on(&runtime, main.run(started, stopped, inbox));
                }
            }
        })?;
        is_started.recv().map_err(|_| anyhow!("the main thread died while starting"))??;
        Ok(Server { main: Some(main), stop: Some(stop), commands, addresses, admin: admin_address, host, quit })
    }

    /// Replaces routes, clusters and plugins, like an update of the listeners. Addresses do not change. The VMs of an
    /// unchanged plugin stay. For a changed plugin, new VMs start before the old ones are shut down. Returns the
    /// changes that need a restart. The update continues even if the returned future is dropped.
    ///
    /// # Errors
    /// The configuration is refused, or a listener was added or removed. The old configuration then stays in use.
    pub async fn update(&self, loaded: Loaded) -> Result<Vec<String>> {
        let (told, result) = oneshot::channel();
        self.commands.send(Command::Update(Box::new(loaded), told)).map_err(|_| anyhow!("the server has stopped"))?;
        result.await.map_err(|_| anyhow!("the server has stopped"))?
    }

    /// Waits for a request to the admin interface to end the process.
    pub async fn asked_to_quit(&self) {
        self.quit.notified().await;
    }

    /// Returns the state that all VMs share.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The main thread can have stopped already.
            let _ = stop.send(());
        }
        let Some(main) = self.main.take() else { return };
        let (asked, patience) = (Instant::now(), PATIENCE.saturating_mul(2));
        while !main.is_finished() && asked.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

struct MainThread {
    host: Arc<Host>,
    options: Options,
    sockets: Vec<Vec<Socket>>,
    admin: Option<Socket>,
    quit: Arc<Notify>,
}

impl MainThread {
    async fn run(
        self,
        started: std::sync::mpsc::Sender<Result<()>>,
        stopped: oneshot::Receiver<()>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) {
        match self.start().await {
            Err(error) => drop(started.send(Err(error))),
            Ok(running) => {
                // The caller of `start` can have stopped waiting.
                let _ = started.send(Ok(()));
                running.until(stopped, commands).await;
            }
        }
    }

    async fn start(self) -> Result<Running> {
        let MainThread { host, options, sockets, admin, quit } = self;
        let program = Arc::new(Program::load(&options.bootstrap, &options.modules)?);
        let load = Load::of(program.clusters.values());
        health::start(&program, &load).await;
        let main = ServerThread::new(&host, 0, &program, &load);
        let (mailbox, inbox) = mpsc::unbounded_channel();
        set_mailbox(&host, 0, &mailbox);
        let mut bases = Bases::default();
        let network = Rc::clone(&main.network) as Rc<dyn Network>;
        main.worker.configure_after(&program.plugins, |loaded| bases.try_plugin(&host, loaded, &network))?;
        tokio::task::spawn_local(Rc::clone(&main).run(inbox));
        let mut mailboxes = vec![mailbox];
        let mut workers = Vec::new();
        let mut by_worker: Vec<Vec<Socket>> = Vec::new();
        for of_listener in sockets {
            for (worker, socket) in of_listener.into_iter().enumerate() {
                while by_worker.len() <= worker {
                    by_worker.push(Vec::new());
                }
                if let Some(sockets) = by_worker.get_mut(worker) {
                    sockets.push(socket);
                }
            }
        }
        by_worker.resize_with(options.workers.max(1), Vec::new);
        for (number, sockets) in by_worker.into_iter().enumerate() {
            let (mailbox, inbox) = mpsc::unbounded_channel();
            set_mailbox(&host, number + 1, &mailbox);
            let (ready, is_ready) = oneshot::channel();
            let (host, program, load) = (Arc::clone(&host), Arc::clone(&program), Arc::clone(&load));
            let (ended, has_ended) = oneshot::channel();
            workers.push(has_ended);
            std::thread::Builder::new().name(format!("worker {}", number + 1)).spawn(move || {
                serve(&host, number + 1, &program, &load, sockets, inbox, ready);
                // It is possible that nothing waits for it.
                let _ = ended.send(());
            })?;
            mailboxes.push(mailbox);
            is_ready.await.map_err(|_| anyhow!("worker {} died while starting", number + 1))??;
        }
        let served = Admin::new(&host, &options, (Arc::clone(&program), Arc::clone(&load)), quit)?;
        if let Some(admin) = admin {
            let socket = TcpListener::from_std(admin.into())?;
            tokio::task::spawn_local(Rc::clone(&served).serve(socket));
        }
        let present = Present { bootstrap: options.bootstrap, program, load };
        Ok(Running { host, modules: options.modules, main, bases, mailboxes, workers, present, admin: served })
    }
}

fn set_mailbox(host: &Arc<Host>, number: usize, mailbox: &mpsc::UnboundedSender<ThreadMessage>) {
    // The reference is weak, so that the thread ends with the gateway.
    let mailbox = mailbox.downgrade();
    host.set_mailbox(
        number,
        Box::new(move |ready| {
            if let Some(mailbox) = mailbox.upgrade() {
                // As in Envoy, a thread that has ended does not get the notification.
                let _ = mailbox.send(ThreadMessage::Queue(ready));
            }
        }),
    );
}

/// A worker thread, from its start to its end.
fn serve(
    host: &Arc<Host>,
    number: usize,
    program: &Arc<Program>,
    load: &Arc<Load>,
    sockets: Vec<Socket>,
    inbox: mpsc::UnboundedReceiver<ThreadMessage>,
    ready: oneshot::Sender<Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    LocalSet::new().block_on(&runtime, async {
        let thread = ServerThread::new(host, number, program, load);
        let start = || -> Result<()> {
            thread.worker.configure(&program.plugins)?;
            for (listener, socket) in sockets.into_iter().enumerate() {
                let socket = TcpListener::from_std(socket.into())?;
                let downstream = program.listeners.get(listener).and_then(|site| site.listener.tls.as_ref());
                let tls = downstream.map(|tls| tls::server(tls).map(TlsAcceptor::from)).transpose()?;
                tokio::task::spawn_local(Rc::clone(&thread).listen(listener, socket, tls));
            }
            Ok(())
        };
        let outcome = start();
        let is_ok = outcome.is_ok();
        // The main thread can have stopped waiting.
        let _ = ready.send(outcome);
        if is_ok {
            Rc::clone(&thread).run(inbox).await;
            thread.worker.shut_down_all();
        }
    });
}

struct Present {
    /// The configuration at the start.
    bootstrap: Bootstrap,
    program: Arc<Program>,
    load: Arc<Load>,
}

/// The state of the main thread while the gateway serves.
struct Running {
    host: Arc<Host>,
    modules: Modules,
    main: Rc<ServerThread>,
    bases: Bases,
    mailboxes: Vec<mpsc::UnboundedSender<ThreadMessage>>,
    /// For each worker, the channel that reports the end of its thread.
    workers: Vec<oneshot::Receiver<()>>,
    present: Present,
    admin: Rc<Admin>,
}

impl Running {
    async fn until(mut self, mut stopped: oneshot::Receiver<()>, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                command = commands.recv() => match command {
                    None => break,
                    Some(Command::Update(loaded, told)) => {
                        // The gateway must also end if a worker's module runs without end.
                        let outcome = tokio::select! {
                            _ = &mut stopped => break,
                            outcome = self.update(*loaded) => outcome,
                        };
                        // The caller can have stopped waiting.
                        let _ = told.send(outcome);
                    }
                },
            }
        }
        self.end().await;
    }

    /// Shuts down the modules of the workers, then those of the main thread.
    async fn end(self) {
        drop(self.mailboxes);
        for ended in self.workers {
            if tokio::time::timeout(PATIENCE, ended).await.is_err() {
                self.host.log(0, LogLevel::Warn, "a worker does not stop".to_owned());
                return;
            }
        }
        self.main.worker.shut_down_all();
    }

    async fn update(&mut self, loaded: Loaded) -> Result<Vec<String>> {
        let Loaded { mut bootstrap, dump, .. } = loaded;
        restart::in_order(&self.present.bootstrap, &mut bootstrap)?;
        let program = Arc::new(Program::load(&bootstrap, &self.modules)?);
        let load = Load::of(program.clusters.values());
        health::start(&program, &load).await;
        let network = Rc::clone(&self.main.network) as Rc<dyn Network>;
        self.bases.try_out(&self.host, &program, &network)?;
        for (number, mailbox) in self.mailboxes.iter().enumerate() {
            if let Err(error) = configure(mailbox, &program, &load).await {
                // The threads before this one get their old configuration again.
                for mailbox in self.mailboxes.iter().take(number) {
                    configure(mailbox, &self.present.program, &self.present.load).await?;
                }
                self.bases.keep_only(&self.present.program);
                return Err(error);
            }
        }
        self.bases.keep_only(&program);
        self.admin.show(dump, (Arc::clone(&program), Arc::clone(&load)));
        let unapplied = restart::needed(&self.present.bootstrap, &bootstrap);
        self.present.program = program;
        self.present.load = load;
        Ok(unapplied)
    }
}

/// Sends a configuration to a thread, and waits until the thread uses it.
async fn configure(
    mailbox: &mpsc::UnboundedSender<ThreadMessage>,
    program: &Arc<Program>,
    load: &Arc<Load>,
) -> Result<()> {
    let gone = || anyhow!("a thread of the gateway has died");
    let (told, outcome) = oneshot::channel();
    let message = ThreadMessage::Configure(Arc::clone(program), Arc::clone(load), told);
    mailbox.send(message).map_err(|_| gone())?;
    outcome.await.map_err(|_| gone())?
}

#[cfg(test)]
mod tests;
