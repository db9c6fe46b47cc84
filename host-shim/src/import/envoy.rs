//! The Envoy configuration around tollbell's own.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{Api, Target, Upstream};
use super::gateway::Gateway;
use super::yaml::{Yaml, block, map};

/// An API's routes and its cluster.
pub(super) struct Site {
    domain: String,
    listen_path: String,
    strip: bool,
    cluster: String,
    upstream: Upstream,
    closed: Vec<String>,
}

impl Site {
    /// `taken` are the names of clusters so far.
    pub(super) fn new(api: &Api, taken: &mut BTreeSet<String>) -> Self {
        let word: String =
            api.id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let mut cluster = format!("upstream_{word}");
        while !taken.insert(cluster.clone()) {
            cluster.push('_');
        }
        Site {
            domain: api.domain.clone(),
            listen_path: api.listen_path.clone(),
            strip: api.strip_listen_path,
            cluster,
            upstream: api.upstream.clone(),
            closed: api.closed.clone(),
        }
    }

    /// The same paths as tollbell's, or a request could be checked as one API's and sent to another's upstream: all that
    /// begin with the listen path, and `/orders` for `/orders/`. A slash is kept: `/orders/1` without `/orders` is `/1`.
    fn routes(&self, timeout: i64) -> Vec<Yaml> {
        let path = self.listen_path.as_str();
        let base = self.upstream.targets.first().map(|target| target.base_path.clone()).unwrap_or_default();
        let route = |kind: &str, matched: &str| {
            let rewritten = match self.strip {
                true => format!("{base}/"),
                false => format!("{base}{matched}"),
            };
            self.route(kind, matched, rewritten, timeout)
        };
        match path.strip_suffix('/') {
            Some("") => vec![route("prefix", path)],
            Some(file) => vec![route("prefix", path), route("path", file)],
            None => vec![route("prefix", &format!("{path}/")), route("prefix", path)],
        }
    }

    fn route(&self, kind: &str, path: &str, rewritten: String, timeout: i64) -> Yaml {
        let condition = ("match", map([(kind, path.into())]));
        if !self.closed.is_empty() {
            let body = r#"{"error": "Access to this API has been disallowed"}"#;
            let answer = map([("status", 403.into()), ("body", map([("inline_string", body.into())]))]);
            let json = map([("key", "content-type".into()), ("value", "application/json".into())]);
            let header = map([("header", json), ("append_action", "OVERWRITE_IF_EXISTS_OR_ADD".into())]);
            return map([condition, ("direct_response", answer), ("response_headers_to_add", vec![header].into())]);
        }
        let targets = &self.upstream.targets;
        let host = |target: &Target| ("host_rewrite_literal", Yaml::from(target.authority()));
        let keeps_host = self.upstream.preserve_host;
        let mut action = match self.is_split() {
            false => vec![("cluster", Yaml::from(self.cluster.as_str()))],
            true => {
                let weighted = self.clusters().into_iter().zip(targets).map(|((name, _), target)| {
                    let mut cluster = vec![("name", name.into()), ("weight", target.weight.into())];
                    cluster.extend((!keeps_host).then(|| host(target)));
                    map(cluster)
                });
                vec![("weighted_clusters", map([("clusters", weighted.collect::<Vec<_>>().into())]))]
            }
        };
        action.push(("timeout", format!("{timeout}s").into()));
        if rewritten != path {
            action.push(("prefix_rewrite", rewritten.into()));
        }
        match targets.as_slice() {
            _ if keeps_host || self.is_split() => {}
            [target] => action.push(host(target)),
            _ => action.push(("auto_host_rewrite", true.into())),
        }
        map([condition, ("route", map(action))])
    }

    /// Whether each target has a cluster of its own: the name to ask a TLS server for, and to find in its certificate,
    /// follows from the Host header, which Envoy rewrites by cluster.
    fn is_split(&self) -> bool {
        self.upstream.targets.len() > 1 && self.upstream.targets.iter().any(|target| target.https)
    }

    /// Names and targets of the clusters.
    fn clusters(&self) -> Vec<(String, &[Target])> {
        let targets = self.upstream.targets.as_slice();
        if !self.is_split() {
            return vec![(self.cluster.clone(), targets)];
        }
        let numbered = targets.chunks(1).enumerate();
        numbered.map(|(index, target)| (format!("{}.{}", self.cluster, index + 1), target)).collect()
    }

    fn cluster(&self, name: &str, targets: &[Target]) -> Option<Yaml> {
        let first = targets.first()?;
        let endpoints = targets.iter().map(|target| endpoint(target, targets.len() > 1)).collect::<Vec<_>>();
        let assignment =
            map([("cluster_name", name.into()), ("endpoints", vec![map([("lb_endpoints", endpoints.into())])].into())]);
        let mut cluster = vec![
            ("name", Yaml::from(name)),
            ("type", "STRICT_DNS".into()),
            ("dns_lookup_family", "V4_PREFERRED".into()),
            ("connect_timeout", "5s".into()),
            ("load_assignment", assignment),
        ];
        if first.http2 {
            let http2 = map([("http2_protocol_options", map([]))]);
            cluster.push(("typed_extension_protocol_options", protocol(vec![("explicit_http_config", http2)])));
        }
        if first.https {
            if !self.upstream.insecure {
                let tls = map([("auto_sni", true.into()), ("auto_san_validation", true.into())]);
                let http1 = map([("http_protocol_options", map([]))]);
                let options = vec![("upstream_http_protocol_options", tls), ("explicit_http_config", http1)];
                cluster.push(("typed_extension_protocol_options", protocol(options)));
            }
            cluster.push(("transport_socket", self.tls(first)));
        }
        Some(map(cluster))
    }

    fn tls(&self, target: &Target) -> Yaml {
        let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
        let mut tls = vec![("@type", Yaml::from(kind))];
        if self.upstream.insecure {
            tls.push(("sni", target.host.as_str().into()));
            tls.push(("common_tls_context", map([])));
        } else {
            let roots = map([("validation_context", map([("system_root_certs", map([]))]))]);
            tls.push(("common_tls_context", roots));
        }
        map([("name", "envoy.transport_sockets.tls".into()), ("typed_config", map(tls))])
    }
}

fn protocol(options: Vec<(&'static str, Yaml)>) -> Yaml {
    let kind = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = std::iter::once(("@type", Yaml::from(kind))).chain(options);
    map([("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", map(options))])
}

fn endpoint(target: &Target, is_weighted: bool) -> Yaml {
    let address = target.host.trim_start_matches('[').trim_end_matches(']');
    let socket = map([("address", address.into()), ("port_value", i64::from(target.port).into())]);
    let endpoint = map([("address", map([("socket_address", socket)]))]);
    let mut endpoint = vec![("endpoint", endpoint)];
    if is_weighted && target.weight != 1 {
        endpoint.push(("load_balancing_weight", target.weight.into()));
    }
    map(endpoint)
}

/// The whole configuration.
pub(super) fn write(gateway: &Gateway, sites: &[Site], tollbell: &Yaml) -> String {
    let admin = if gateway.port == 9901 { 9902 } else { 9901 };
    let mut text = HEAD.replace("ADMIN", &admin.to_string());
    text = text.replace("ADDRESS", &format!("{:?}", gateway.address));
    text = text.replace("PORT", &gateway.port.to_string());
    let mut domains: BTreeMap<&str, Vec<&Site>> = BTreeMap::from([("", Vec::new())]);
    for site in sites {
        domains.entry(&site.domain).or_default().push(site);
    }
    for list in domains.values_mut() {
        // Envoy takes the first route that matches, Tyk the longest path.
        list.sort_by_key(|site| std::cmp::Reverse(site.listen_path.len()));
    }
    let anywhere = domains.get("").cloned().unwrap_or_default();
    for (domain, own) in domains.iter().rev() {
        let names = match *domain {
            "" => vec!["*".into()],
            domain => vec![domain.into(), format!("{domain}:*").into()],
        };
        let name = if domain.is_empty() { "all" } else { domain };
        text.push_str(&format!("            - {}", block(&map([("name", name.into())]), 0)));
        text.push_str(&block(&map([("domains", names.into())]), 14));
        let shared = if domain.is_empty() { &[][..] } else { &anywhere };
        let routes: String = own.iter().chain(shared).map(|site| routes(site, gateway.timeout)).collect();
        text.push_str(if routes.is_empty() { "              routes: []\n" } else { "              routes:\n" });
        text.push_str(&routes);
    }
    text.push_str(FILTERS);
    text.push_str(&block(tollbell, 20));
    text.push_str(ROUTER);
    let named =
        sites.iter().flat_map(|site| site.clusters().into_iter().map(move |(name, targets)| (site, name, targets)));
    let clusters: Vec<Yaml> = named.filter_map(|(site, name, targets)| site.cluster(&name, targets)).collect();
    if !clusters.is_empty() {
        text.push_str(&block(&clusters.into(), 2));
    }
    text.push('\n');
    text.push_str(CALLOUTS);
    text
}

fn routes(site: &Site, timeout: i64) -> String {
    let mut text = String::new();
    if !site.closed.is_empty() {
        text.push_str(&format!(
            "              # Closed, for want of a check of {}.\n              # With one: route: {{ cluster: {} }}\n",
            site.closed.join(" and of "),
            site.cluster
        ));
    }
    text + &block(&site.routes(timeout).into(), 14)
}

const HEAD: &str = r#"# Written by host-shim import-tyk from Tyk's files. Its report says what was changed, and what has no equivalent.
#
# Start Envoy from the folder that has dist/tollbell.wasm, or write the module's own path below.

admin:
  address: { socket_address: { address: 127.0.0.1, port_value: ADMIN } }

# Labels for the counters: tollbell_requests{outcome="admitted"}.
stats_config:
  stats_tags:
  - { tag_name: outcome, regex: '^wasmcustom\.tollbell_(?:requests|attempts|keys_fetched)(\.outcome=([a-z_]+))' }
  - { tag_name: target, regex: '^wasmcustom\.tollbell_attempts\.outcome=[a-z_]+(\.target=(.+))$' }
  - { tag_name: type, regex: '^wasmcustom\.tollbell_events(\.type=([A-Za-z_]+))$' }

static_resources:
  listeners:
  - name: gateway
    address: { socket_address: { address: ADDRESS, port_value: PORT } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          # The filter and the upstream must agree on what a path is, or a request could pass the filter by.
          normalize_path: true
          merge_slashes: true
          path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT
          use_remote_address: true
          route_config:
            virtual_hosts:
"#;

const FILTERS: &str = r#"          http_filters:
          - name: tollbell
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: tollbell
                # For the admin endpoint events: without it, Envoy shows no filter the body of a request that it holds.
                allow_on_headers_stop_iteration: true
                # Brings a VM back that died. Should a request ever find none, it is refused.
                failure_policy: FAIL_RELOAD
                vm_config:
                  # Counters and held messages belong to the vm_id: keep it, and they outlive every update.
                  vm_id: tollbell
                  runtime: envoy.wasm.runtime.v8
                  code: { local: { filename: dist/tollbell.wasm } }
                configuration:
                  "@type": type.googleapis.com/google.protobuf.Struct
                  value:
                    # ---- tollbell's own configuration ------------------------------------------------------------
"#;

const ROUTER: &str = r#"                    # ---- end of tollbell's own configuration -----------------------------------------------------
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router

  clusters:
"#;

const CALLOUTS: &str = r#"  # Messages to any http:// target, whatever its host.
  - name: tollbell_http
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
    cluster_type:
      name: envoy.clusters.dynamic_forward_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
        dns_cache_config: { name: tollbell, dns_lookup_family: V4_PREFERRED }

  # Messages to any https:// target; its certificate must be valid for its name.
  - name: tollbell_https
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
    cluster_type:
      name: envoy.clusters.dynamic_forward_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
        dns_cache_config: { name: tollbell, dns_lookup_family: V4_PREFERRED }
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true }
        explicit_http_config: { http_protocol_options: {} }
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context: { validation_context: { system_root_certs: {} } }
"#;
