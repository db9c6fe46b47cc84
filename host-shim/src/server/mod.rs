//! The gateway that serves: an Envoy configuration on real sockets.

mod admin;
mod admission;
mod body;
mod connect;
mod connection;
mod convert;
mod exchange;
mod failure;
mod network;
mod origin;
mod prometheus;
mod restart;
mod sockets;
mod stats;
mod thread;
mod upstream;

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
use upstream::Load;
pub(crate) use upstream::{server_name, split_authority};

/// How to serve.
pub struct Options {
    /// The configuration.
    pub bootstrap: Bootstrap,
    /// The same as JSON, for `/config_dump`.
    pub dump: serde_json::Value,
    /// Where modules come from.
    pub modules: Modules,
    /// Worker threads, at least one.
    pub workers: usize,
    /// The lowest level that is logged.
    pub log_level: LogLevel,
    /// Keeps the log for [`Server::host`] instead of writing it to standard error.
    pub keeps_log: bool,
    /// What each VM may use.
    pub limits: Limits,
}

/// So long a thread may take to end: a module that does not return is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// A gateway that serves. When dropped, it shuts its modules down and ends.
pub struct Server {
    main: Option<std::thread::JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
    commands: mpsc::UnboundedSender<Command>,
    /// Where each listener listens, in their order: with the system's choice for port 0.
    pub addresses: Vec<SocketAddr>,
    /// Where the admin interface listens.
    pub admin: Option<SocketAddr>,
    host: Arc<Host>,
    quit: Arc<Notify>,
}

/// What the main thread is told.
enum Command {
    Update(Box<Loaded>, oneshot::Sender<Result<Vec<String>>>),
}

impl Server {
    /// Starts serving, and returns when it does.
    ///
    /// # Errors
    /// When an address is taken, a module does not load, or one refuses its configuration: its log says why.
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

    /// Replaces routes, clusters and plugins, as an update of the listeners does; addresses stay. The VMs of an
    /// unchanged plugin stay; of a changed one, new VMs start before the old ones go. Returns what has changed and
    /// needs a new start. Whoever does not wait for the end does not end the update.
    ///
    /// # Errors
    /// When the configuration is refused, or has a listener more or less; the old one stays.
    pub async fn update(&self, loaded: Loaded) -> Result<Vec<String>> {
        let (told, result) = oneshot::channel();
        self.commands.send(Command::Update(Box::new(loaded), told)).map_err(|_| anyhow!("the server has stopped"))?;
        result.await.map_err(|_| anyhow!("the server has stopped"))?
    }

    /// Waits until somebody has asked the admin interface to end the process.
    pub async fn asked_to_quit(&self) {
        self.quit.notified().await;
    }

    /// What all VMs share.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have stopped already.
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
                // Whoever started it may have given up.
                let _ = started.send(Ok(()));
                running.until(stopped, commands).await;
            }
        }
    }

    async fn start(self) -> Result<Running> {
        let MainThread { host, options, sockets, admin, quit } = self;
        let program = Arc::new(Program::load(&options.bootstrap, &options.modules)?);
        let load = Load::of(program.clusters.keys().map(String::as_str));
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
                // Nobody may wait for it.
                let _ = ended.send(());
            })?;
            mailboxes.push(mailbox);
            is_ready.await.map_err(|_| anyhow!("worker {} died while starting", number + 1))??;
        }
        let served = Admin::new(&host, &options, &program, quit)?;
        if let Some(admin) = admin {
            let socket = TcpListener::from_std(admin.into())?;
            tokio::task::spawn_local(Rc::clone(&served).serve(socket));
        }
        let present = Present { bootstrap: options.bootstrap, program, load };
        Ok(Running { host, modules: options.modules, main, bases, mailboxes, workers, present, admin: served })
    }
}

fn set_mailbox(host: &Arc<Host>, number: usize, mailbox: &mpsc::UnboundedSender<ThreadMessage>) {
    // Weak, so that the thread ends when the gateway does.
    let mailbox = mailbox.downgrade();
    host.set_mailbox(
        number,
        Box::new(move |ready| {
            if let Some(mailbox) = mailbox.upgrade() {
                // A thread that has gone misses the notification, as in Envoy.
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
        // Whoever waits for it may have given up.
        let _ = ready.send(outcome);
        if is_ok {
            Rc::clone(&thread).run(inbox).await;
            thread.worker.shut_down_all();
        }
    });
}

struct Present {
    /// As it was at the start.
    bootstrap: Bootstrap,
    program: Arc<Program>,
    load: Arc<Load>,
}

/// The main thread while the gateway serves.
struct Running {
    host: Arc<Host>,
    modules: Modules,
    main: Rc<ServerThread>,
    bases: Bases,
    mailboxes: Vec<mpsc::UnboundedSender<ThreadMessage>>,
    /// What tells that a worker's thread has ended.
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
                        // A worker's module may not return, and the gateway is to end all the same.
                        let outcome = tokio::select! {
                            _ = &mut stopped => break,
                            outcome = self.update(*loaded) => outcome,
                        };
                        // Whoever asked may have given up.
                        let _ = told.send(outcome);
                    }
                },
            }
        }
        self.end().await;
    }

    /// Shuts the workers' modules down, then the main thread's.
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
        let load = Load::of(program.clusters.keys().map(String::as_str));
        let network = Rc::clone(&self.main.network) as Rc<dyn Network>;
        self.bases.try_out(&self.host, &program, &network)?;
        for (number, mailbox) in self.mailboxes.iter().enumerate() {
            if let Err(error) = configure(mailbox, &program, &load).await {
                // The threads before this one go back to what they had.
                for mailbox in self.mailboxes.iter().take(number) {
                    configure(mailbox, &self.present.program, &self.present.load).await?;
                }
                self.bases.keep_only(&self.present.program);
                return Err(error);
            }
        }
        self.bases.keep_only(&program);
        self.admin.show(dump, &program);
        let unapplied = restart::needed(&self.present.bootstrap, &bootstrap);
        self.present.program = program;
        self.present.load = load;
        Ok(unapplied)
    }
}

/// Gives a thread a configuration, and waits until it has it.
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
