//! A serving thread with its worker, its listeners and its connections.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use super::connection::Connection;
use super::network::ServerNetwork;
use super::stats::ListenerStats;
use super::upstream::Load;
use crate::base::LogLevel;
use crate::state::{Host, QueueReady};
use crate::traffic::Network;
use crate::worker::{Program, Worker};

pub(super) enum ThreadMessage {
    /// A queue has a message for one of its VMs.
    Queue(QueueReady),
    Configure(Arc<Program>, Arc<Load>, oneshot::Sender<Result<()>>),
}

/// The worker of a thread, with its network.
pub(super) struct ServerThread {
    pub(super) worker: Rc<Worker>,
    pub(super) network: Rc<ServerNetwork>,
}

impl ServerThread {
    pub(super) fn new(host: &Arc<Host>, number: usize, program: &Arc<Program>, load: &Arc<Load>) -> Rc<Self> {
        let network = ServerNetwork::new(program, load);
        let worker = Worker::new(host, number, Rc::clone(&network) as Rc<dyn Network>);
        network.set_worker(&worker);
        Rc::new(ServerThread { worker, network })
    }

    /// Handles messages and ticks until all senders are dropped.
    pub(super) async fn run(self: Rc<Self>, mut messages: mpsc::UnboundedReceiver<ThreadMessage>) {
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    None => return,
                    Some(ThreadMessage::Queue(ready)) => self.worker.queue_ready(&ready),
                    Some(ThreadMessage::Configure(program, load, told)) => {
                        let (old_program, old_load) = self.network.set_program(&program, &load);
                        let configured = self.worker.configure(&program.plugins);
                        if configured.is_err() {
                            self.network.set_program(&old_program, &old_load);
                        }
                        // The caller can have stopped waiting.
                        let _ = told.send(configured);
                    }
                },
                () = self.next_tick() => self.worker.fire_ticks(),
            }
        }
    }

    async fn next_tick(&self) {
        loop {
            let rung = self.network.tick_set.notified();
            match self.worker.next_tick() {
                None => rung.await,
                Some(due) => {
                    let wait = Duration::from_nanos(due.saturating_sub(self.worker.host().clock.now()));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => return,
                        () = rung => {}
                    }
                }
            }
        }
    }

    /// Accepts the connections of a listener. It never returns.
    pub(super) async fn listen(self: Rc<Self>, listener: usize, socket: TcpListener, tls: Option<TlsAcceptor>) {
        let program = self.network.program();
        let Some(site) = program.listeners.get(listener) else { return };
        let stats = Rc::new(ListenerStats::new(self.worker.host(), &site.listener.manager.stat_prefix));
        loop {
            let (tcp, peer) = match socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    let text = format!("cannot accept a connection: {error}");
                    self.worker.host().log(self.worker.thread(), LogLevel::Warn, text);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // A small answer must not wait for an acknowledgement.
            let _ = tcp.set_nodelay(true);
            let local = tcp.local_addr().unwrap_or(site.listener.address);
            let connection = Connection::new(&self, listener, peer, local, &stats);
            let acceptor = tls.clone();
            tokio::task::spawn_local(connection.run(tcp, acceptor));
        }
    }
}
