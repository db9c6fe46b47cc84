//! Connections to clusters. Each thread has a pool.

mod connect;
mod failure;
pub mod health;
mod hosts;
mod load;
mod raw;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Result;
use http::{Request, Response};
use http_body_util::Either;
use hyper::body::Body as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::base::Headers;
use crate::config::model::{Cluster, HostAddress, UpstreamTls};
use crate::config::tls;
use crate::router;
use crate::server::body::UpstreamBody;
use crate::server::convert::{self, Unsendable};
use crate::traffic::{LocalReply, flags};

pub use connect::Peer;
use connect::{Addresses, Connector};
use hosts::Endpoint;
pub use hosts::split_authority;
pub use load::{Load, Open};
pub use raw::{AnswerBody, Terminated};

/// The maximum number of endpoints for which a thread keeps connections. It is the size of Envoy's DNS cache.
const MAX_ENDPOINTS: usize = 1024;

type EndpointClient = Client<Connector, UpstreamBody>;

/// The requests that can use a connection: the cluster, the endpoint, and the name for TLS.
type Key = (String, String, Option<ServerName<'static>>);

/// How a request is sent.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    /// The host becomes the name of the endpoint.
    pub auto_host_rewrite: bool,
    /// Only the body is sent, as by the TCP connection pool.
    pub is_raw: bool,
}

pub(super) struct Upstreams {
    load: RefCell<Arc<Load>>,
    /// The connections, each with the number of the last request that used it.
    clients: RefCell<HashMap<Key, (EndpointClient, u64)>>,
    /// The state of round robin by cluster.
    tls: RefCell<HashMap<String, Arc<ClientConfig>>>,
    requests: Cell<u64>,
}

impl Upstreams {
    pub(super) fn new(load: &Arc<Load>) -> Rc<Self> {
        Rc::new(Upstreams {
            load: RefCell::new(Arc::clone(load)),
            clients: RefCell::default(),
            tls: RefCell::default(),
            requests: Cell::default(),
        })
    }

    /// Drops the idle connections. The clusters are new.
    pub(super) fn renew(&self, load: &Arc<Load>) {
        *self.load.borrow_mut() = Arc::clone(load);
        self.clients.borrow_mut().clear();
        self.tls.borrow_mut().clear();
    }

    /// Whether it is certain, without resolving a name, that there is no host for a request.
    pub(super) fn has_no_host(&self, cluster: &Cluster, headers: &Headers) -> bool {
        hosts::are_none(cluster, headers, &self.load.borrow())
    }

    /// Sends the headers of a request. The body follows through its sink. `chosen` gets the address of the endpoint,
    /// unless the host has yet to be resolved.
    ///
    /// # Errors
    /// Envoy's reply to the failed request.
    pub(super) async fn send(
        self: Rc<Self>,
        cluster: Arc<Cluster>,
        headers: &Headers,
        manner: Manner,
        chosen: impl FnOnce(HostAddress),
        body: UpstreamBody,
    ) -> Result<Response<AnswerBody>, LocalReply> {
        let is_raw = cluster.tcp_pool || manner.is_raw;
        // The TCP connection pool sends no headers, so nothing checks them.
        if let (false, Some(refused)) = (is_raw, router::unsendable(headers)) {
            return Err(refused);
        }
        let none = || router::reply(503, router::NO_HOST_BODY, "no_healthy_upstream", flags::NO_HEALTHY_UPSTREAM);
        let turn = self.requests.replace(self.requests.get().wrapping_add(1));
        let load = Arc::clone(&self.load.borrow());
        let endpoint = hosts::choose(&cluster, headers, &load, turn).await.ok_or_else(none)?;
        if let Addresses::One(address) = &endpoint.addresses {
            chosen(address.clone());
        }
        if is_raw {
            let authority = headers.get_str(":authority").unwrap_or_default();
            return raw::send(self.connector(&cluster, endpoint.addresses, authority)?, body).await;
        }
        let mut headers = headers.clone();
        if let (true, Some(name)) = (manner.auto_host_rewrite, &endpoint.dns_name) {
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
        let sent = client.request(Request::from_parts(parts, body)).await.map_err(|error| failure::reply(&error));
        sent.map(|response| response.map(Either::Left))
    }

    fn client(
        &self,
        cluster: &Arc<Cluster>,
        endpoint: Endpoint,
        authority: &str,
    ) -> Result<EndpointClient, LocalReply> {
        let connector = self.connector(cluster, endpoint.addresses, authority)?;
        let request = self.requests.get();
        let name = connector.tls.as_ref().map(|(_, name)| name.clone());
        let key = (cluster.name.clone(), endpoint.name, name);
        let mut clients = self.clients.borrow_mut();
        if let Some((client, last_used)) = clients.get_mut(&key) {
            *last_used = request;
            return Ok(client.clone());
        }
        let kept = if cluster.one_request_per_connection { 0 } else { usize::MAX };
        let client = Client::builder(TokioExecutor::new())
            .http2_only(cluster.http2)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(kept)
            .pool_idle_timeout(Some(cluster.idle_timeout).filter(|timeout| !timeout.is_zero()))
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

    /// Makes a connector for a host of a cluster.
    ///
    /// # Errors
    /// Envoy's reply if the settings for TLS cannot be used.
    fn connector(&self, cluster: &Cluster, addresses: Addresses, authority: &str) -> Result<Connector, LocalReply> {
        let tls = match &cluster.tls {
            None => None,
            Some(tls) => {
                let name = ServerName::try_from(server_name(tls, authority))
                    .map_err(|_| router::tls_failure("the host has no valid name"))?;
                Some((TlsConnector::from(self.tls_config(cluster, tls)?), name))
            }
        };
        Ok(Connector { addresses, timeout: cluster.connect_timeout, tls, is_http2: cluster.http2 })
    }

    fn tls_config(&self, cluster: &Cluster, tls: &UpstreamTls) -> Result<Arc<ClientConfig>, LocalReply> {
        if let Some(config) = self.tls.borrow().get(&cluster.name) {
            return Ok(Arc::clone(config));
        }
        let config = tls::client(tls, alpn(cluster)).map_err(|error| router::tls_failure(&format!("{error:#}")))?;
        self.tls.borrow_mut().insert(cluster.name.clone(), Arc::clone(&config));
        Ok(config)
    }
}

/// The protocol that TLS offers.
pub(super) fn alpn(cluster: &Cluster) -> &'static str {
    match (cluster.tcp_pool, cluster.http2) {
        (true, _) => "",
        (_, true) => "h2",
        _ => "http/1.1",
    }
}

/// Returns the name that TLS sends and checks. It is the request's host if the cluster says so.
pub(crate) fn server_name(tls: &UpstreamTls, authority: &str) -> String {
    match &tls.sni {
        Some(sni) if !tls.auto_sni => sni.clone(),
        None if !tls.auto_sni && !tls.auto_san_validation => "unnamed".to_owned(),
        _ => split_authority(authority, 0).host,
    }
}

#[cfg(test)]
mod tests;
