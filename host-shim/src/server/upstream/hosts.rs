//! Chooses the host of a cluster for a request.

use super::connect::{Addresses, resolve};
use super::load::Load;
use crate::base::Headers;
use crate::config::model::{Cluster, Discovery, HostAddress, HostPort};
use crate::router;

pub struct Endpoint {
    /// Identifies the connections that can carry the request.
    pub name: String,
    pub addresses: Addresses,
    /// The DNS name, if the endpoint has one.
    pub dns_name: Option<String>,
}

impl Endpoint {
    fn at(address: HostAddress, dns_name: Option<&String>) -> Self {
        Endpoint { name: address.to_string(), addresses: Addresses::One(address), dns_name: dns_name.cloned() }
    }
}

/// Whether it is certain, without resolving a name, that there is no host.
pub fn are_none(cluster: &Cluster, headers: &Headers, load: &Load) -> bool {
    match &cluster.discovery {
        Discovery::Static(addresses) => usable(cluster, addresses, load).is_empty(),
        Discovery::OriginalDestination { .. } => router::lacks_destination(cluster, headers),
        Discovery::StrictDns(_) | Discovery::LogicalDns(_) | Discovery::DynamicForwardProxy => false,
    }
}

/// Chooses a host by round robin.
pub async fn choose(cluster: &Cluster, headers: &Headers, load: &Load, turn: u64) -> Option<Endpoint> {
    match &cluster.discovery {
        Discovery::Static(addresses) => {
            let address = take_turn(&usable(cluster, addresses, load), turn)?.clone();
            Some(Endpoint::at(address, None))
        }
        Discovery::StrictDns(hosts) => {
            let mut found = Vec::new();
            for host in hosts {
                let addresses = resolve(host, cluster.dns_family).await.unwrap_or_default();
                found.extend(addresses.into_iter().map(|address| (HostAddress::Ip(address), host)));
            }
            load.retain_usable(cluster, &mut found, |(address, _)| address.clone());
            let (address, host) = take_turn(&found, turn)?;
            Some(Endpoint::at(address.clone(), Some(&host.host)))
        }
        Discovery::LogicalDns(host) => {
            let first = resolve(host, cluster.dns_family).await.ok()?.first().copied();
            let mut found: Vec<_> = first.into_iter().map(HostAddress::Ip).collect();
            load.retain_usable(cluster, &mut found, HostAddress::clone);
            Some(Endpoint::at(found.into_iter().next()?, Some(&host.host)))
        }
        Discovery::DynamicForwardProxy => {
            let authority = headers.get_str(":authority").unwrap_or_default();
            let asked = split_authority(authority, if cluster.tls.is_some() { 443 } else { 80 });
            Some(Endpoint {
                name: authority.to_owned(),
                addresses: Addresses::Dns(asked, cluster.dns_family),
                dns_name: None,
            })
        }
        Discovery::OriginalDestination { .. } => {
            Some(Endpoint::at(HostAddress::Ip(router::destination(cluster, headers)?), None))
        }
    }
}

fn usable(cluster: &Cluster, addresses: &[HostAddress], load: &Load) -> Vec<HostAddress> {
    let mut hosts = addresses.to_vec();
    load.retain_usable(cluster, &mut hosts, HostAddress::clone);
    hosts
}

fn take_turn<T>(all: &[T], turn: u64) -> Option<&T> {
    let index = turn.checked_rem(u64::try_from(all.len()).ok()?)?;
    all.get(usize::try_from(index).ok()?)
}

pub fn split_authority(authority: &str, default_port: u16) -> HostPort {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.is_empty() => {
            (host, port.parse().unwrap_or(default_port))
        }
        _ => (authority, default_port),
    };
    HostPort { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port }
}
