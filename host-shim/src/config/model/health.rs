//! Health checks of clusters.

use std::time::Duration;

/// `envoy.config.core.v3.HealthCheck`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `timeout`.
    pub timeout: Duration,
    /// `interval`.
    pub interval: Duration,
    /// `no_traffic_interval`, until the first connection for a request. The default is 60 s.
    pub no_traffic_interval: Duration,
    /// `no_traffic_healthy_interval`. The default is `no_traffic_interval`.
    pub no_traffic_healthy_interval: Duration,
    /// `unhealthy_interval`. The default is `interval`.
    pub unhealthy_interval: Duration,
    /// `unhealthy_edge_interval`. The default is `unhealthy_interval`.
    pub unhealthy_edge_interval: Duration,
    /// `healthy_edge_interval`. The default is `interval`.
    pub healthy_edge_interval: Duration,
    /// `unhealthy_threshold`: the failures in a row that make a host unhealthy.
    pub unhealthy_threshold: u32,
    /// `healthy_threshold`: the successes in a row that make a host healthy.
    pub healthy_threshold: u32,
    /// `reuse_connection`. The default is true.
    pub reuse_connection: bool,
    /// The check itself.
    pub probe: HealthProbe,
}

/// What a health check sends and expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthProbe {
    /// `tcp_health_check`.
    Tcp {
        /// `send`. Without bytes, the check only connects.
        send: Vec<u8>,
        /// `receive`: texts that the answer must contain in this order.
        receive: Vec<Vec<u8>>,
    },
}
