//! Health checks. They run on the main thread, and all threads read their results.

mod http;
mod tcp;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;

use super::connect::{Addresses, Connector, Duplex, resolve};
use super::load::Load;
use super::{alpn, server_name};
use crate::config::model::{Cluster, Discovery, HealthCheck, HealthProbe, HostAddress, HostPort};
use crate::config::tls;
use crate::worker::Program;

/// How often the names of checked hosts are resolved: Envoy's default.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are kept.
const MAX_ANSWER: usize = 1024 * 1024;

/// Starts the checks of all clusters on this thread, and waits for the first result of each host. The checks end when
/// the load is dropped.
pub async fn start(program: &Program, load: &Arc<Load>) {
    let mut firsts = JoinSet::new();
    for cluster in program.clusters.values() {
        let Some(check) = &cluster.health_check else { continue };
        let session = |address: HostAddress| Session::new(load, cluster, check, address);
        match &cluster.discovery {
            Discovery::Static(addresses) => {
                for address in addresses {
                    firsts.spawn(ignored(begin(session(address.clone())).1));
                }
            }
            Discovery::StrictDns(hosts) => {
                for host in hosts {
                    firsts.spawn(ignored(watch_name(host.clone(), usize::MAX, session)));
                }
            }
            Discovery::LogicalDns(host) => {
                firsts.spawn(ignored(watch_name(host.clone(), 1, session)));
            }
            Discovery::DynamicForwardProxy | Discovery::OriginalDestination { .. } => {}
        }
    }
    firsts.join_all().await;
}

async fn ignored(first: oneshot::Receiver<()>) {
    // The check has ended.
    let _ = first.await;
}

/// Starts the checks of a host. The channel tells that the first one has a result.
fn begin(session: Session) -> (AbortHandle, oneshot::Receiver<()>) {
    let (told, first) = oneshot::channel();
    (tokio::task::spawn_local(session.run(told)).abort_handle(), first)
}

/// Checks the addresses of a name, at most so many, and resolves it again and again.
fn watch_name(host: HostPort, most: usize, session: impl Fn(HostAddress) -> Session) -> oneshot::Receiver<()> {
    let template = session(HostAddress::Pipe(String::new().into()));
    let (told, first) = oneshot::channel();
    tokio::task::spawn_local(async move {
        let mut told = Some(told);
        let mut sessions: HashMap<HostAddress, AbortHandle> = HashMap::new();
        while let Some(load) = template.load.upgrade() {
            let found = resolve(&host, template.cluster.dns_family).await.unwrap_or_default();
            let found: Vec<_> = found.into_iter().take(most).map(HostAddress::Ip).collect();
            for (gone, task) in sessions.extract_if(|address, _| !found.contains(address)) {
                task.abort();
                load.set_healthy(&template.cluster.name, &gone, false);
            }
            drop(load);
            for address in found {
                if let Entry::Vacant(entry) = sessions.entry(address) {
                    let (task, first) = begin(template.to(entry.key().clone()));
                    entry.insert(task);
                    if told.is_some() {
                        ignored(first).await;
                    }
                }
            }
            if let Some(told) = told.take() {
                // Nothing has to wait for it.
                let _ = told.send(());
            }
            tokio::time::sleep(RESOLVE_EVERY).await;
        }
        sessions.values().for_each(AbortHandle::abort);
    });
    first
}

/// A connection for the next check.
enum Kept {
    Tcp(Box<dyn Duplex>),
    Http(http::Sender),
}

/// Why a check did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// There was no answer, or one after which the check is made again. The threshold counts these.
    NoAnswer,
    /// The answer says that the host is not healthy.
    Refused,
}

/// The checks of one host.
struct Session {
    load: Weak<Load>,
    cluster: Arc<Cluster>,
    check: HealthCheck,
    address: HostAddress,
    kept: Option<Kept>,
    is_healthy: bool,
    is_first: bool,
    /// The results in a row that differ from `is_healthy`.
    others: u32,
}

impl Session {
    fn new(load: &Arc<Load>, cluster: &Arc<Cluster>, check: &HealthCheck, address: HostAddress) -> Self {
        Session {
            load: Arc::downgrade(load),
            cluster: Arc::clone(cluster),
            check: check.clone(),
            address,
            kept: None,
            is_healthy: false,
            is_first: true,
            others: 0,
        }
    }

    /// The checks of another address of the same cluster.
    fn to(&self, address: HostAddress) -> Self {
        Session {
            load: self.load.clone(),
            cluster: Arc::clone(&self.cluster),
            check: self.check.clone(),
            address,
            kept: None,
            ..*self
        }
    }

    async fn run(mut self, told: oneshot::Sender<()>) {
        let mut told = Some(told);
        let mut checked = self.check().await;
        loop {
            let Some(load) = self.load.upgrade() else { return };
            let wait = self.note(checked, &load);
            drop(load);
            if let Some(told) = told.take() {
                // Nothing has to wait for it.
                let _ = told.send(());
            }
            checked = match self.is_closed_within(wait).await {
                true => Err(Failed::NoAnswer),
                false => self.check().await,
            };
        }
    }

    /// Notes a result, and returns the time until the next check.
    fn note(&mut self, checked: Result<(), Failed>, load: &Load) -> Duration {
        let passed = checked.is_ok();
        let mut is_pending = false;
        if passed == self.is_healthy {
            self.others = 0;
        } else {
            self.others = self.others.saturating_add(1);
            let threshold = if passed { self.check.healthy_threshold } else { self.check.unhealthy_threshold };
            // The first success is enough, and an answer that says so.
            let is_certain = (self.is_first && passed) || checked == Err(Failed::Refused);
            if self.others >= threshold || is_certain {
                self.is_healthy = passed;
                self.others = 0;
                load.set_healthy(&self.cluster.name, &self.address, passed);
            } else {
                is_pending = true;
            }
        }
        self.is_first = false;
        let check = &self.check;
        match (load.has_traffic(&self.cluster.name), passed, is_pending) {
            (true, true, false) => check.interval,
            (true, true, true) => check.healthy_edge_interval,
            (true, false, false) => check.unhealthy_interval,
            (true, false, true) => check.unhealthy_edge_interval,
            (false, true, false) => check.no_traffic_healthy_interval,
            (false, ..) => check.no_traffic_interval,
        }
    }

    /// Waits, and returns earlier if the host closes the connection of a TCP health check.
    async fn is_closed_within(&mut self, wait: Duration) -> bool {
        let Some(Kept::Tcp(connection)) = &mut self.kept else {
            tokio::time::sleep(wait).await;
            return false;
        };
        let mut bytes = [0; 1024];
        let closed = async { while connection.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
        let is_closed = tokio::time::timeout(wait, closed).await.is_ok();
        if is_closed {
            self.kept = None;
        }
        is_closed
    }

    async fn check(&mut self) -> Result<(), Failed> {
        let kept = self.kept.take();
        let checked = tokio::time::timeout(self.check.timeout, self.exchange(kept)).await;
        let kept = checked.unwrap_or(Err(Failed::NoAnswer))?;
        self.kept = kept.filter(|_| self.check.reuse_connection);
        Ok(())
    }

    /// Makes a check. Returns the connection if it can be used again.
    async fn exchange(&self, kept: Option<Kept>) -> Result<Option<Kept>, Failed> {
        match (&self.check.probe, kept) {
            (HealthProbe::Tcp { send, receive }, kept) => {
                let connection = match kept {
                    Some(Kept::Tcp(connection)) => connection,
                    _ => self.connect(alpn(&self.cluster)).await?,
                };
                let kept = tcp::check(send, receive, connection).await.map_err(|_| Failed::NoAnswer)?;
                Ok(kept.map(Kept::Tcp))
            }
            (HealthProbe::Http(probe), kept) => {
                let sender = match kept {
                    Some(Kept::Http(sender)) if !sender.is_closed() => sender,
                    _ => {
                        let protocol = if probe.http2 { "h2" } else { "http/1.1" };
                        http::Sender::new(self.connect(protocol).await?, probe.http2).await?
                    }
                };
                Ok(http::check(probe, sender).await?.map(Kept::Http))
            }
        }
    }

    async fn connect(&self, protocol: &str) -> Result<Box<dyn Duplex>, Failed> {
        let tls = match &self.cluster.tls {
            None => None,
            Some(tls) => {
                let config = tls::client(tls, protocol).map_err(|_| Failed::NoAnswer)?;
                let name = ServerName::try_from(server_name(tls, &self.address.to_string()));
                Some((TlsConnector::from(config), name.map_err(|_| Failed::NoAnswer)?))
            }
        };
        let addresses = Addresses::One(self.address.clone());
        let connector = Connector { addresses, timeout: self.cluster.connect_timeout, tls, is_http2: false };
        let (stream, _) = connector.connect().await.map_err(|_| Failed::NoAnswer)?;
        Ok(stream)
    }
}

/// Whether the parts are in the answer, in their order.
fn matches(answer: &[u8], parts: &[Vec<u8>]) -> bool {
    let mut rest = answer;
    parts.iter().all(|part| {
        let start = match part.len() {
            0 => Some(0),
            length => rest.windows(length).position(|window| window == part.as_slice()),
        };
        let found = start.and_then(|start| rest.get(start.saturating_add(part.len())..));
        rest = found.unwrap_or_default();
        found.is_some()
    })
}
