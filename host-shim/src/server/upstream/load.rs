//! What all threads know of the clusters: the number of open requests, and the health of the hosts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::base::lock;
use crate::config::model::{Cluster, HostAddress};

#[derive(Default)]
pub struct Load(HashMap<String, ClusterLoad>);

#[derive(Default)]
struct ClusterLoad {
    open: AtomicU32,
    has_traffic: AtomicBool,
    /// The hosts that the health check has found healthy, if the cluster has one.
    healthy: Option<Mutex<Vec<HostAddress>>>,
}

impl Load {
    pub fn of<'c>(clusters: impl Iterator<Item = &'c Arc<Cluster>>) -> Arc<Self> {
        let load = |cluster: &Arc<Cluster>| {
            let healthy = cluster.health_check.is_some().then(Mutex::default);
            (cluster.name.clone(), ClusterLoad { healthy, ..ClusterLoad::default() })
        };
        Arc::new(Load(clusters.map(load).collect()))
    }

    /// Counts a request, unless the cluster is at its limit. In HTTP/1, Envoy lets requests wait for a connection.
    pub fn begin(self: &Arc<Self>, cluster: &Cluster) -> Option<Open> {
        let of_cluster = self.0.get(&cluster.name)?;
        let waiting = if cluster.http2 { 0 } else { cluster.max_pending_requests };
        if of_cluster.open.fetch_add(1, Ordering::Relaxed) >= cluster.max_requests.saturating_add(waiting) {
            of_cluster.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        of_cluster.has_traffic.store(true, Ordering::Relaxed);
        Some(Open { load: Arc::clone(self), cluster: cluster.name.clone() })
    }

    /// Whether the cluster ever had a request.
    pub fn has_traffic(&self, cluster: &str) -> bool {
        self.0.get(cluster).is_some_and(|cluster| cluster.has_traffic.load(Ordering::Relaxed))
    }

    /// Notes the result of a health check.
    pub fn set_healthy(&self, cluster: &str, host: &HostAddress, is_healthy: bool) {
        let Some(healthy) = self.0.get(cluster).and_then(|cluster| cluster.healthy.as_ref()) else { return };
        let mut healthy = lock(healthy);
        healthy.retain(|other| other != host);
        if is_healthy {
            healthy.push(host.clone());
        }
    }

    /// Whether the last health checks of a host have succeeded, or there are none.
    pub fn is_healthy(&self, cluster: &str, host: &HostAddress) -> bool {
        let healthy = self.0.get(cluster).and_then(|cluster| cluster.healthy.as_ref());
        healthy.is_none_or(|healthy| lock(healthy).contains(host))
    }

    /// Removes the hosts that must not get requests. If too few are healthy, all hosts get requests, as in Envoy.
    pub fn retain_usable<T>(&self, cluster: &Cluster, hosts: &mut Vec<T>, address: impl Fn(&T) -> HostAddress) {
        let Some(healthy) = self.0.get(&cluster.name).and_then(|cluster| cluster.healthy.as_ref()) else { return };
        let healthy = lock(healthy);
        let is_healthy = |host: &T| healthy.contains(&address(host));
        let count = hosts.iter().filter(|host| is_healthy(host)).count();
        let threshold = usize::try_from(cluster.panic_threshold).unwrap_or_default();
        if count.saturating_mul(100) >= threshold.saturating_mul(hosts.len()) {
            hosts.retain(is_healthy);
        }
    }
}

/// A counted request. Dropping it ends it.
pub struct Open {
    load: Arc<Load>,
    cluster: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(of_cluster) = self.load.0.get(&self.cluster) {
            of_cluster.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
