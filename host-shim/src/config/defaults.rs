//! The default configuration of a gateway: one listener, one filter, one cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::model::{
    Bootstrap, Cluster, Code, ConnectionManager, Discovery, DnsFamily, EscapedSlashes, FailurePolicy, Forward,
    HeaderChanges, Http1, Listener, PathMatch, Plugin, RetryPolicy, Route, RouteAction, RouteMatch, VirtualHost,
    VmConfig, WasmFilter,
};

/// A configuration with a listener on a free port, one filter, and the cluster `upstream`.
pub(crate) fn bootstrap() -> Bootstrap {
    let mut listener = listener();
    listener.manager.filters = vec![WasmFilter { filter_name: "plugin".to_owned(), disabled: false, plugin: plugin() }];
    Bootstrap { listeners: vec![listener], clusters: vec![cluster("upstream")], ..Bootstrap::default() }
}

/// A listener without filters.
pub(crate) fn listener() -> Listener {
    let forward = Forward {
        clusters: vec![("upstream".to_owned(), 1)],
        prefix_rewrite: None,
        regex_rewrite: None,
        host_rewrite: None,
        auto_host_rewrite: false,
        idle_timeout: None,
        retry_policy: RetryPolicy::default(),
        stream_duration: None,
        upgrades: Vec::new(),
        ends_connect: false,
        timeout: Duration::from_secs(15),
    };
    let matches = RouteMatch {
        path: PathMatch::Prefix("/".to_owned()),
        case_sensitive: true,
        headers: Vec::new(),
        query_parameters: Vec::new(),
    };
    let route = Route {
        name: String::new(),
        matches,
        action: RouteAction::Forward(Box::new(forward)),
        headers: HeaderChanges::default(),
        buffer_limit: None,
        metadata: serde_json::Map::new(),
        disabled_filters: Vec::new(),
        enabled_filters: Vec::new(),
    };
    let host = VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        headers: HeaderChanges::default(),
    };
    let manager = ConnectionManager {
        stat_prefix: "gateway".to_owned(),
        normalize_path: false,
        merge_slashes: false,
        escaped_slashes: EscapedSlashes::KeepUnchanged,
        use_remote_address: false,
        skip_xff_append: false,
        internal_networks: Vec::new(),
        generate_request_id: true,
        preserve_request_id: false,
        responds_request_id: false,
        request_timeout: Duration::ZERO,
        suppress_envoy_headers: false,
        http1: Http1::default(),
        upgrades: Vec::new(),
        max_stream_duration: Duration::ZERO,
        xff_num_trusted_hops: 0,
        server_name: "envoy".to_owned(),
        route_config_name: String::new(),
        virtual_hosts: vec![host],
        filters: Vec::new(),
        stream_idle_timeout: Duration::from_secs(300),
    };
    Listener {
        name: "gateway".to_owned(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        direction: 0,
        metadata: serde_json::Map::new(),
        tls: None,
        buffer_limit: 1 << 20,
        manager,
    }
}

fn plugin() -> Plugin {
    Plugin {
        name: "plugin".to_owned(),
        root_id: String::new(),
        vm: VmConfig {
            vm_id: String::new(),
            code: Code::Inline(Vec::new()),
            code_at: None,
            configuration: Vec::new(),
            environment: Vec::new(),
        },
        configuration: Vec::new(),
        source: None,
        configuration_at: None,
        failure_policy: FailurePolicy::FailClosed,
        reload_backoff: Duration::from_secs(1),
        allow_on_headers_stop_iteration: false,
        allowed_capabilities: None,
    }
}

/// A cluster without hosts.
pub(crate) fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        discovery: Discovery::Static(Vec::new()),
        dns_family: DnsFamily::V4Preferred,
        connect_timeout: Duration::from_secs(5),
        tls: None,
        http2: false,
        trailers: false,
        max_requests: 1024,
        max_pending_requests: 1024,
        tcp_pool: false,
        one_request_per_connection: false,
        idle_timeout: Duration::from_secs(3600),
        max_stream_duration: Duration::ZERO,
        health_check: None,
        panic_threshold: 50,
        metadata: serde_json::Map::new(),
    }
}
