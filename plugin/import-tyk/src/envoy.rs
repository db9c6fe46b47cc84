//! Writes the Envoy configuration around tollbell's own.

use std::collections::BTreeSet;

use super::api::{Api, Target};
use super::gateway::Gateway;
use super::places::{Absent, Host};
use super::routes::{self, Site};
use super::versions::{self, Goes};
use super::yaml::{Yaml, block, map};

impl Site {
    /// The sites of APIs. `taken` are the names of clusters that are used already.
    pub(super) fn of(apis: &[Api], taken: &mut BTreeSet<String>) -> Vec<Self> {
        let homes: Vec<Site> = apis.iter().map(|api| Site::new(api, taken)).collect();
        let home = |id: &str| homes.iter().find(|site| site.id == id);
        let with_versions = |(api, own): (&Api, &Site)| {
            let list = api.versions.iter().flat_map(|versions| &versions.list);
            let versions = list.map(|version| {
                let mut site = Site { version: Some(version.name.clone()), is_borrowed: true, ..own.clone() };
                site.closed.extend(version.closed.iter().cloned());
                match &version.goes {
                    Goes::Home => {}
                    Goes::To(targets) => {
                        site.cluster = cluster_name(&format!("{}_{}", api.id, version.name), taken);
                        site.upstream = versions::upstream(&api.upstream, targets);
                        site.is_borrowed = false;
                    }
                    // It is checked as that API, and closed together with it.
                    Goes::Api(id) => {
                        let other = home(id).unwrap_or(own);
                        site.cluster.clone_from(&other.cluster);
                        site.upstream = other.upstream.clone();
                        site.closed.clone_from(&other.closed);
                    }
                }
                site
            });
            Site { versions: versions.collect(), ..own.clone() }
        };
        apis.iter().zip(&homes).map(with_versions).collect()
    }

    fn new(api: &Api, taken: &mut BTreeSet<String>) -> Self {
        Site {
            id: api.id.clone(),
            domain: api.domain.clone(),
            listen_path: api.listen_path.clone(),
            strip: api.strip_listen_path,
            is_strict: api.is_strict && !api.listen_path.ends_with('/'),
            cluster: cluster_name(&api.id, taken),
            upstream: api.upstream.clone(),
            closed: api.closed.clone(),
            is_internal: api.internal,
            is_borrowed: false,
            version: None,
            versions: Vec::new(),
        }
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

fn cluster_name(id: &str, taken: &mut BTreeSet<String>) -> String {
    let word: String = id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let mut cluster = format!("upstream_{word}");
    while !taken.insert(cluster.clone()) {
        cluster.push('_');
    }
    cluster
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

/// Writes the whole configuration.
pub(super) fn write(gateway: &Gateway, sites: &[Site], absent: &[Absent], tollbell: &Yaml) -> String {
    let admin = if gateway.port == 9901 { 9902 } else { 9901 };
    let mut text = HEAD.replace("ADMIN", &admin.to_string());
    text = text.replace("ADDRESS", &format!("{:?}", gateway.address));
    text = text.replace("PORT", &gateway.port.to_string());
    text = text.replace("MERGE", &(!gateway.keeps_double_slashes).to_string());
    text = text.replace("HOPS", &gateway.trusted_hops.to_string());
    let names = absent.iter().filter_map(|absent| match &absent.host {
        Host::Name(name) => Some(name.as_str()),
        Host::Pattern(_) => None,
    });
    let domains: BTreeSet<&str> = sites
        .iter()
        .filter(|site| !site.is_internal)
        .map(|site| site.domain.as_str())
        .chain(names)
        .chain([""])
        .collect();
    for domain in domains.into_iter().rev() {
        let names = match domain {
            "" => vec!["*".into()],
            // A dot at the end does not change the host.
            domain => ["", ":*", ".", ".:*"].iter().map(|end| format!("{domain}{end}").into()).collect(),
        };
        let name = if domain.is_empty() { "all" } else { domain };
        text.push_str(&format!("            - {}", block(&map([("name", name.into())]), 0)));
        text.push_str(&block(&map([("domains", names.into())]), 14));
        text.push_str("              routes:\n");
        text.push_str(&routes::write(domain, sites, absent, gateway.timeout));
    }
    text.push_str(FILTERS);
    text.push_str(&block(tollbell, 20));
    text.push_str(ROUTER);
    let own =
        sites.iter().flat_map(|site| std::iter::once(site).chain(&site.versions)).filter(|site| !site.is_borrowed);
    let named = own.flat_map(|site| site.clusters().into_iter().map(move |(name, targets)| (site, name, targets)));
    let clusters: Vec<Yaml> = named.filter_map(|(site, name, targets)| site.cluster(&name, targets)).collect();
    if !clusters.is_empty() {
        text.push_str(&block(&clusters.into(), 2));
    }
    text.push('\n');
    text.push_str(CALLOUTS);
    text
}

const HEAD: &str = r#"# Written by tollbell import-tyk from Tyk's files. Its report says what was changed, and what has no equivalent.
#
# Start Envoy from the folder that has dist/tollbell.wasm, or write the module's own path below.

admin:
  address: { socket_address: { address: 127.0.0.1, port_value: ADMIN } }

# Labels for the counters: tollbell_requests{outcome="admitted"}.
stats_config:
  stats_tags:
  - { tag_name: outcome, regex: '^wasmcustom\.tollbell_(?:requests|would_refuse|attempts|keys_fetched|store_calls)(\.outcome=([a-z_]+))' }
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
          # The filter and the upstream must understand a path in the same way. Otherwise a request could bypass the
          # filter. As in Tyk, escaped slashes stay. The first routes refuse those that could mean the path of another
          # API.
          normalize_path: true
          merge_slashes: MERGE
          path_with_escaped_slashes_action: KEEP_UNCHANGED
          use_remote_address: true
          xff_num_trusted_hops: HOPS
          route_config:
            virtual_hosts:
"#;

const FILTERS: &str = r#"          http_filters:
          - name: tollbell
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: tollbell
                # Needed by the admin endpoint for events: without it, a filter that holds a request gets no body.
                allow_on_headers_stop_iteration: true
                # Envoy starts a new VM after a failure. While there is none, it refuses requests.
                failure_policy: FAIL_RELOAD
                vm_config:
                  # Counters and held messages belong to the vm_id. If it does not change, they survive every update.
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

const CALLOUTS: &str = r#"  # For messages to any http:// target.
  - name: tollbell_http
    lb_policy: CLUSTER_PROVIDED
    connect_timeout: 5s
    cluster_type:
      name: envoy.clusters.dynamic_forward_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
        dns_cache_config: { name: tollbell, dns_lookup_family: V4_PREFERRED }

  # For messages to any https:// target. The certificate must be valid for the name of the target.
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
