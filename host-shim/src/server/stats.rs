//! Envoy's statistics of listeners and clusters, with Envoy's names.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::state::Host;
use crate::state::metrics::Stat;

/// The counters of a listener on a thread.
pub(super) struct ListenerStats {
    host: Arc<Host>,
    prefix: String,
    requests: Arc<Stat>,
    active_requests: Arc<Stat>,
    pub(super) connections: Arc<Stat>,
    pub(super) active_connections: Arc<Stat>,
    by_name: RefCell<HashMap<String, Arc<Stat>>>,
}

impl ListenerStats {
    pub(super) fn new(host: &Arc<Host>, stat_prefix: &str) -> Self {
        let prefix = format!("http.{stat_prefix}.");
        let metrics = &host.metrics;
        ListenerStats {
            requests: metrics.counter(&format!("{prefix}downstream_rq_total")),
            active_requests: metrics.gauge(&format!("{prefix}downstream_rq_active")),
            connections: metrics.counter(&format!("{prefix}downstream_cx_total")),
            active_connections: metrics.gauge(&format!("{prefix}downstream_cx_active")),
            by_name: RefCell::default(),
            host: Arc::clone(host),
            prefix,
        }
    }

    fn count(&self, name: String) {
        let mut stats = self.by_name.borrow_mut();
        stats.entry(name).or_insert_with_key(|name| self.host.metrics.counter(name)).add(1);
    }

    pub(super) fn request(&self) {
        self.requests.add(1);
        self.active_requests.add(1);
    }

    pub(super) fn response(&self, status: u16) {
        self.count(format!("{}downstream_rq_{}xx", self.prefix, status / 100));
        self.count(format!("{}downstream_rq_completed", self.prefix));
    }

    /// Counts the end of a request, with or without an answer.
    pub(super) fn over(&self) {
        self.active_requests.sub(1);
    }

    pub(super) fn upstream_request(&self, cluster: &str) {
        self.count(format!("cluster.{cluster}.upstream_rq_total"));
    }

    pub(super) fn upstream_response(&self, cluster: &str, status: u16) {
        self.count(format!("cluster.{cluster}.upstream_rq_{status}"));
        self.count(format!("cluster.{cluster}.upstream_rq_{}xx", status / 100));
        self.count(format!("cluster.{cluster}.upstream_rq_completed"));
    }
}
