//! Health checks of clusters.

use std::ops::Range;
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
    /// `http_health_check`.
    Http(Box<HttpProbe>),
}

/// `HttpHealthCheck`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// `method`. The default is GET.
    pub method: http::Method,
    /// `host`. The default is the name of the cluster.
    pub host: String,
    /// `path`.
    pub path: String,
    /// `request_headers_to_add`, with those that Envoy adds itself.
    pub headers: Vec<(String, String)>,
    /// `send`: the body of the request.
    pub body: Vec<u8>,
    /// `receive`: texts that the body of the answer must contain in this order.
    pub receive: Vec<Vec<u8>>,
    /// `response_buffer_size`: the part of the body that is searched. The default is 1024.
    pub searched: usize,
    /// `expected_statuses`, as ranges without their ends. The default is 200.
    pub expected: Vec<Range<u16>>,
    /// `retriable_statuses`: after one of these, `unhealthy_threshold` counts. After another one, the host is unhealthy
    /// at once.
    pub retriable: Vec<Range<u16>>,
    /// Whether `codec_client_type` is HTTP2.
    pub http2: bool,
}
