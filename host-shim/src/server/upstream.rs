//! Connections to clusters. Each thread has a pool.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::body::UpstreamBody;
use super::connect::{Addresses, Connector, resolve};
use super::convert::{self, Unsendable};
use super::failure;
use crate::base::Headers;
use crate::config::model::{Cluster, Discovery, HostPort, UpstreamTls};
use crate::config::tls;
use crate::router;
use crate::traffic::{LocalReply, flags};

/// The maximum number of endpoints for which a thread keeps connections. It is the size of Envoy's DNS cache.
const MAX_ENDPOINTS: usize = 1024;

/// The number of open requests of each cluster, on all threads.
#[derive(Default)]
pub(super) struct Load(HashMap<String, AtomicU32>);

impl Load {
    pub(super) fn of<'c>(clusters: impl Iterator<Item = &'c str>) -> Arc<Self> {
        Arc::new(Load(clusters.map(|name| (name.to_owned(), AtomicU32::new(0))).collect()))
    }

    /// Counts a request, unless the cluster is at its limit. In HTTP/1, Envoy lets requests wait for a connection.
    pub(super) fn begin(self: &Arc<Self>, cluster: &Cluster) -> Option<Open> {
        let open = self.0.get(&cluster.name)?;
        let waiting = if cluster.http2 { 0 } else { cluster.max_pending_requests };
        if open.fetch_add(1, Ordering::Relaxed) >= cluster.max_requests.saturating_add(waiting) {
            open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Open { load: Arc::clone(self), cluster: cluster.name.clone() })
    }
}

/// A counted request. Dropping it ends it.
pub(super) struct Open {
    load: Arc<Load>,
    cluster: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(open) = self.load.0.get(&self.cluster) {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

type EndpointClient = Client<Connector, UpstreamBody>;

/// The requests that can use a connection: the cluster, the endpoint, and the name for TLS.
type Key = (String, String, Option<ServerName<'static>>);

#[derive(Default)]
pub(super) struct Upstreams {
    /// The connections, each with the number of the last request that used it.
    clients: RefCell<HashMap<Key, (EndpointClient, u64)>>,
    /// The state of round robin by cluster.
    tls: RefCell<HashMap<String, Arc<ClientConfig>>>,
    requests: Cell<u64>,
}

struct Endpoint {
    /// Identifies the connections that can carry the request.
    name: String,
    addresses: Addresses,
    /// The DNS name, if the endpoint has one.
    dns_name: Option<String>,
}

impl Upstreams {
    /// Drops the idle connections.
    pub(super) fn forget(&self) {
        self.clients.borrow_mut().clear();
        self.tls.borrow_mut().clear();
    }

    /// Sends the headers of a request. The body follows through its sink. With `auto_host_rewrite`, the host becomes
    /// the name of the endpoint. `chosen` gets the address of the endpoint, unless the host has yet to be resolved.
    ///
    /// # Errors
    /// Envoy's reply to the failed request.
    pub(super) async fn send(
        self: Rc<Self>,
        cluster: Arc<Cluster>,
        headers: &Headers,
        auto_host_rewrite: bool,
        chosen: impl FnOnce(SocketAddr),
        body: UpstreamBody,
    ) -> Result<Response<Incoming>, LocalReply> {
        if let Some(refused) = router::unsendable(headers) {
            return Err(refused);
        }
        let none = || router::reply(503, router::NO_HOST_BODY, "no_healthy_upstream", flags::NO_HEALTHY_UPSTREAM);
        let asked = headers.get_str(":authority").unwrap_or_default();
        let endpoint = self.endpoint(&cluster, asked).await.ok_or_else(none)?;
        if let Addresses::One(address) = &endpoint.addresses {
            chosen(*address);
        }
        let mut headers = headers.clone();
        if let (true, Some(name)) = (auto_host_rewrite, &endpoint.dns_name) {
            router::rewrite_host(&mut headers, name);
        }
        let scheme = if cluster.tls.is_some() { "https" } else { "http" };
        let parts = if cluster.http2 {
            // Envoy sends such a request, but hyper cannot.
            convert::to_http2(&headers, scheme)
                .map_err(|Unsendable(what)| router::refused(&format!("invalid header value for: {what}")))?
        } else {
            convert::to_http1(&headers, !body.is_end_stream())
        };
        let client = self.client(&cluster, endpoint, headers.get_str(":authority").unwrap_or_default())?;
        client.request(Request::from_parts(parts, body)).await.map_err(|error| failure::reply(&error))
    }

    fn client(
        &self,
        cluster: &Arc<Cluster>,
        endpoint: Endpoint,
        authority: &str,
    ) -> Result<EndpointClient, LocalReply> {
        let (config, name) = match &cluster.tls {
            None => (None, None),
            Some(tls) => {
                let name = ServerName::try_from(server_name(tls, authority))
                    .map_err(|_| router::tls_failure("the host has no valid name"))?;
                (Some(self.tls_config(cluster, tls)?), Some(name))
            }
        };
        let request = self.requests.get();
        let key = (cluster.name.clone(), endpoint.name, name.clone());
        let mut clients = self.clients.borrow_mut();
        if let Some((client, last_used)) = clients.get_mut(&key) {
            *last_used = request;
            return Ok(client.clone());
        }
        let connector = Connector {
            addresses: endpoint.addresses,
            timeout: cluster.connect_timeout,
            tls: config.map(TlsConnector::from).zip(name),
            is_http2: cluster.http2,
        };
        let client = Client::builder(TokioExecutor::new())
            .http2_only(cluster.http2)
            .pool_timer(TokioTimer::new())
            .set_host(false)
            .build(connector);
        if clients.len() >= MAX_ENDPOINTS
            && let Some(oldest) =
                clients.iter().min_by_key(|(_, (_, last_used))| *last_used).map(|(key, _)| key.clone())
        {
            clients.remove(&oldest);
        }
        clients.insert(key, (client.clone(), request));
        Ok(client)
    }

    fn tls_config(&self, cluster: &Cluster, tls: &UpstreamTls) -> Result<Arc<ClientConfig>, LocalReply> {
        if let Some(config) = self.tls.borrow().get(&cluster.name) {
            return Ok(Arc::clone(config));
        }
        let config = tls::client(tls, cluster.http2).map_err(|error| router::tls_failure(&format!("{error:#}")))?;
        self.tls.borrow_mut().insert(cluster.name.clone(), Arc::clone(&config));
        Ok(config)
    }

    async fn endpoint(&self, cluster: &Cluster, authority: &str) -> Option<Endpoint> {
        let turn = self.requests.replace(self.requests.get().wrapping_add(1));
        let at = |address: SocketAddr, dns_name: Option<&String>| Endpoint {
            name: address.to_string(),
            addresses: Addresses::One(address),
            dns_name: dns_name.cloned(),
        };
        match &cluster.discovery {
            Discovery::Static(addresses) => Some(at(*take_turn(addresses, turn)?, None)),
            Discovery::StrictDns(hosts) => {
                let mut found = Vec::new();
                for host in hosts {
                    found.extend(resolve(host).await.unwrap_or_default().into_iter().map(|address| (address, host)));
                }
                let (address, host) = take_turn(&found, turn)?;
                Some(at(*address, Some(&host.host)))
            }
            Discovery::LogicalDns(host) => {
                let address = resolve(host).await.ok()?.first().copied()?;
                Some(at(address, Some(&host.host)))
            }
            Discovery::DynamicForwardProxy => {
                let asked = split_authority(authority, if cluster.tls.is_some() { 443 } else { 80 });
                Some(Endpoint { name: authority.to_owned(), addresses: Addresses::Dns(asked), dns_name: None })
            }
        }
    }
}

fn take_turn<T>(all: &[T], turn: u64) -> Option<&T> {
    let index = turn.checked_rem(u64::try_from(all.len()).ok()?)?;
    all.get(usize::try_from(index).ok()?)
}

/// Returns the name that TLS sends and checks. It is the request's host if the cluster says so.
pub(crate) fn server_name(tls: &UpstreamTls, authority: &str) -> String {
    match &tls.sni {
        Some(sni) if !tls.auto_sni => sni.clone(),
        None if !tls.auto_sni && !tls.auto_san_validation => "unnamed".to_owned(),
        _ => split_authority(authority, 0).host,
    }
}

pub(crate) fn split_authority(authority: &str, default_port: u16) -> HostPort {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.is_empty() => {
            (host, port.parse().unwrap_or(default_port))
        }
        _ => (authority, default_port),
    };
    HostPort { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port }
}
