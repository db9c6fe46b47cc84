//! Health checks. They run on the main thread, and all threads read their results.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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

/// The checks of one host.
struct Session {
    load: Weak<Load>,
    cluster: Arc<Cluster>,
    check: HealthCheck,
    address: HostAddress,
    connection: Option<Box<dyn Duplex>>,
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
            connection: None,
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
            connection: None,
            ..*self
        }
    }

    async fn run(mut self, told: oneshot::Sender<()>) {
        let mut told = Some(told);
        let mut passed = self.passes().await;
        loop {
            let Some(load) = self.load.upgrade() else { return };
            let wait = self.note(passed, &load);
            drop(load);
            if let Some(told) = told.take() {
                // Nothing has to wait for it.
                let _ = told.send(());
            }
            passed = match self.is_closed_within(wait).await {
                true => false,
                false => self.passes().await,
            };
        }
    }

    /// Notes a result, and returns the time until the next check.
    fn note(&mut self, passed: bool, load: &Load) -> Duration {
        let mut is_pending = false;
        if passed == self.is_healthy {
            self.others = 0;
        } else {
            self.others = self.others.saturating_add(1);
            let threshold = if passed { self.check.healthy_threshold } else { self.check.unhealthy_threshold };
            // The first success is enough.
            if self.others == threshold || (self.is_first && passed) {
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

    /// Waits, and returns earlier if the host closes the connection.
    async fn is_closed_within(&mut self, wait: Duration) -> bool {
        let Some(connection) = &mut self.connection else {
            tokio::time::sleep(wait).await;
            return false;
        };
        let mut bytes = [0; 1024];
        let closed = async { while connection.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
        let is_closed = tokio::time::timeout(wait, closed).await.is_ok();
        if is_closed {
            self.connection = None;
        }
        is_closed
    }

    async fn passes(&mut self) -> bool {
        let connection = self.connection.take();
        match tokio::time::timeout(self.check.timeout, self.exchange(connection)).await {
            Ok(Ok(connection)) => {
                self.connection = connection.filter(|_| self.check.reuse_connection);
                true
            }
            _ => false,
        }
    }

    /// Sends the bytes, and waits for those that are expected. Returns the connection if it can be used again.
    async fn exchange(&self, connection: Option<Box<dyn Duplex>>) -> Result<Option<Box<dyn Duplex>>> {
        let HealthProbe::Tcp { send, receive } = &self.check.probe;
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        if receive.is_empty() {
            return Ok(None);
        }
        connection.write_all(send).await?;
        connection.flush().await?;
        let mut answer = Vec::new();
        while !matches(&answer, receive) {
            ensure!(answer.len() < MAX_ANSWER, "the answer is too long");
            if connection.read_buf(&mut answer).await? == 0 {
                bail!("the connection was closed");
            }
        }
        Ok(Some(connection))
    }

    async fn connect(&self) -> Result<Box<dyn Duplex>> {
        let tls = match &self.cluster.tls {
            None => None,
            Some(tls) => {
                let config = tls::client(tls, alpn(&self.cluster))?;
                let name = ServerName::try_from(server_name(tls, &self.address.to_string()))?;
                Some((TlsConnector::from(config), name))
            }
        };
        let addresses = Addresses::One(self.address.clone());
        let connector = Connector { addresses, timeout: self.cluster.connect_timeout, tls, is_http2: false };
        let (stream, _) = connector.connect().await.map_err(anyhow::Error::from_boxed).context("cannot connect")?;
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
