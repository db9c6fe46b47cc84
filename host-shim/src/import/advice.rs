//! What to do about a setting that has no equivalent.

/// By how a path begins: in tyk.conf.
const GATEWAY: &[(&str, &str)] = &[
    ("secret", "nothing to do: Envoy's admin interface has no secret, and listens on this machine only"),
    ("node_secret", "nothing to do: there is no dashboard to which a node belongs"),
    ("storage", "nothing to do: counters live in Envoy's shared data, and begin anew with a new process"),
    ("enable_separate_", "nothing to do: tollbell needs no Redis"),
    ("separate_", "nothing to do: tollbell needs no Redis"),
    ("analytics_config", "use Envoy's access log and its statistics"),
    ("enable_analytics", "use Envoy's access log and its statistics"),
    ("statsd", "give Envoy a stats_sinks entry: envoy.stat_sinks.statsd"),
    ("health_check", "Envoy's admin interface answers /ready, and its statistics tell the rest"),
    ("liveness_check", "use /ready of Envoy's admin interface"),
    ("uptime_tests", "give the clusters health_checks: an upstream without a healthy host fires HostDown"),
    ("app_path", "nothing to do: the importer reads the folder that --apps names"),
    ("template_path", "nothing to do: the templates are in the configuration"),
    ("policies", "nothing to do: the policies are in the configuration"),
    ("use_db_app_configs", "nothing to do: the APIs are in the configuration"),
    ("db_app_conf_options", "nothing to do: the APIs are in the configuration"),
    ("slave_options", "change Envoy's configuration by its own means: xDS, or a file and a new start"),
    ("http_server_options.override_defaults", "nothing to do"),
    ("http_server_options.read_timeout", "set request_timeout of the HTTP connection manager"),
    ("http_server_options.write_timeout", "set stream_idle_timeout of the HTTP connection manager"),
    ("http_server_options.enable_websockets", "add upgrade_configs: [{ upgrade_type: websocket }] to the listener"),
    ("http_server_options.certificates", "give the listener's filter chain a DownstreamTlsContext with them"),
    ("http_server_options.cert", "give the listener's filter chain a DownstreamTlsContext with them"),
    ("http_server_options.server_name", "set server_names of a filter_chain_match"),
    ("http_server_options.min_version", "set tls_params of the DownstreamTlsContext"),
    (
        "http_server_options.enable_path_",
        "nothing to do: it is about the paths of an API's own rules, and those are closed or named where they matter",
    ),
    ("http_server_options.skip_target_path_escaping", "nothing to do: Envoy sends a path on as the client spelled it"),
    ("http_server_options", "the listener's HTTP connection manager has settings of the kind"),
    ("security.certificates", "give the listener's filter chain a DownstreamTlsContext with them"),
    ("security", "nothing to do, or a transport_socket of the listener or the cluster"),
    ("coprocess_options", "a filter runs no plugins: ext_proc or ext_authz call a service"),
    ("middleware_path", "a filter runs no scripts: ext_proc calls a service"),
    ("tyk_js_path", "a filter runs no scripts: ext_proc calls a service"),
    ("enable_jsvm", "a filter runs no scripts: ext_proc calls a service"),
    ("enable_bundle_downloader", "a filter runs no plugins: ext_proc or ext_authz call a service"),
    ("bundle_", "a filter runs no plugins: ext_proc or ext_authz call a service"),
    ("close_connections", "set max_requests_per_connection: 1 in the HTTP connection manager's options"),
    ("max_idle_connections", "Envoy has one pool of connections for each upstream and thread"),
    ("proxy_close_connections", "set max_requests_per_connection: 1 in the clusters' protocol options"),
    ("proxy_ssl", "set tls_params of the clusters' UpstreamTlsContext"),
    ("log_level", "start Envoy with --log-level"),
    ("log_format", "start Envoy with --log-format"),
    ("sentry", "Envoy writes its log to standard error: collect it there"),
    ("opentelemetry", "give the HTTP connection manager a tracing provider"),
    ("tracing", "give the HTTP connection manager a tracing provider"),
    ("control_api", "nothing to do: Envoy's admin interface is on 127.0.0.1"),
    ("pid_file_location", "nothing to do: Envoy writes no such file"),
    ("enable_non_transactional_rate_limiter", "nothing to do: rates are exact across all threads"),
    ("enable_rate_limit_smoothing", "nothing to do: rates are exact across all threads"),
    ("enable_fixed_window_rate_limiter", "nothing to do: rates are exact across all threads"),
    ("enable_redis_rolling_limiter", "nothing to do: rates are exact across all threads"),
    ("enable_sentinel_rate_limiter", "nothing to do: rates are exact across all threads"),
    ("drl_", "nothing to do: rates are exact across all threads"),
    ("global_session_lifetime", "nothing to do: a key lasts until it expires or leaves the configuration"),
    ("force_global_session_lifetime", "nothing to do: a key lasts until it expires or leaves the configuration"),
    ("session_", "nothing to do: sessions are in the configuration"),
    ("local_session_cache", "nothing to do: sessions are in the configuration"),
    ("enforce_org_data", "nothing to do: tollbell keeps no records of requests"),
    ("optimisations_", "nothing to do"),
    ("allow_", "nothing to do: Envoy's configuration comes from a file"),
];

/// In API definitions of both forms; the last for OAS ones.
const APIS: &[(&str, &str)] = &[
    ("id", "nothing to do: it is the id in Tyk's own database"),
    ("slug", "nothing to do: it is the dashboard's"),
    ("auth_provider", "nothing to do: keys are in the configuration"),
    ("session_provider", "nothing to do: keys are in the configuration"),
    ("session_lifetime", "nothing to do: a key lasts until it expires or leaves the configuration"),
    ("base_identity_provided_by", "nothing to do: identity says who is calling, if it is not the key"),
    ("jwt_", "jwt_authn has providers with issuer, audiences and keys"),
    ("scopes", "give sessions their policies by key: tollbell reads no scopes"),
    ("openid_options", "jwt_authn has providers with issuer, audiences and keys"),
    ("oauth_meta", "Envoy's oauth2 filter, or a service behind ext_authz"),
    ("notifications", "observe the service that creates keys, and name key_event in event_options"),
    ("basic_auth", "envoy.filters.http.basic_auth has users of its own"),
    ("hmac_", "a service behind ext_authz checks signatures"),
    ("request_signing", "envoy.filters.http.credential_injector or ext_proc sign requests to an upstream"),
    ("CORS", "put envoy.filters.http.cors before tollbell, with the same origins in the routes"),
    ("allowed_ips", "envoy.filters.http.rbac, with remote_ip principals"),
    ("blacklisted_ips", "envoy.filters.http.rbac, with remote_ip principals"),
    ("cache_options", "envoy.filters.http.cache"),
    ("custom_middleware", "a filter runs no scripts and plugins: ext_proc calls a service"),
    ("response_processors", "response_headers_to_add of the route, or ext_proc"),
    ("tag_headers", "Envoy's access log can show headers"),
    ("config_data", "metadata of the route"),
    ("enable_context_vars", "nothing to do: Envoy's substitutions are always there"),
    ("enable_batch_request_support", "send the requests one by one"),
    ("enable_detailed_recording", "Envoy's access log, or its tap filter"),
    ("do_not_track", "an access log filter by route"),
    ("expire_analytics_after", "nothing to do: tollbell keeps no records of requests"),
    ("dont_set_quota_on_create", "nothing to do: keys are not created here"),
    ("uptime_tests", "give the cluster health_checks: an upstream without a healthy host fires HostDown"),
    ("graphql", "Envoy passes GraphQL on as it is: an upstream of its own can check it"),
    ("upstream_certificates", "give the cluster's UpstreamTlsContext the certificate"),
    ("pinned_public_keys", "set verify_certificate_spki in the cluster's validation_context"),
    ("client_certificates", "set verify_certificate_hash in the listener's validation_context"),
    ("certificates", "give the listener's filter chain a DownstreamTlsContext with them"),
    ("proxy.service_discovery", "a cluster of type EDS, or a name that resolves to all hosts"),
    ("proxy.check_host_against_uptime_tests", "give the cluster health_checks"),
    ("proxy.transport", "set tls_params of the cluster's UpstreamTlsContext"),
    ("version_data", "routes and ext_proc: what Tyk's middleware does to single paths is not carried over"),
    ("definition", "routes that match the header or parameter of a version"),
    ("upstream_auth", "envoy.filters.http.credential_injector"),
    ("tags", "nothing to do: they say which of Tyk's nodes load the API"),
    ("x-tyk-api-gateway.middleware.global.cors", "put envoy.filters.http.cors before tollbell"),
    ("x-tyk-api-gateway.middleware.global.contextVariables", "nothing to do: Envoy's substitutions are always there"),
    ("x-tyk-api-gateway.middleware.global.trafficLogs", "Envoy's access log"),
    ("x-tyk-api-gateway.middleware", "routes, header changes of routes, or ext_proc"),
    ("x-tyk-api-gateway.upstream.uptimeTests", "give the cluster health_checks"),
    ("x-tyk-api-gateway.upstream", "the cluster, its transport_socket and its circuit_breakers"),
    ("x-tyk-api-gateway.server.contextVariables", "nothing to do: Envoy's substitutions are always there"),
    ("x-tyk-api-gateway.server.detailedActivityLogs", "Envoy's access log, or its tap filter"),
    ("x-tyk-api-gateway.server.detailedTracing", "give the HTTP connection manager a tracing provider"),
    ("x-tyk-api-gateway.server.gatewayTags", "nothing to do: they say which of Tyk's nodes load the API"),
    ("x-tyk-api-gateway.server.clientCertificates", "set verify_certificate_hash in the listener's validation_context"),
    ("x-tyk-api-gateway.server.authentication", "the Envoy filter that checks it: jwt_authn, basic_auth or ext_authz"),
];

/// By the setting's own name: in sessions and policies.
const SESSIONS: &[(&str, &str)] = &[
    ("quota_remaining", "counting begins anew"),
    ("quota_renews", "counting begins anew"),
    ("allowance", "counting begins anew"),
    ("last_check", "counting begins anew"),
    ("last_updated", "nothing to do: it is when Tyk wrote the file"),
    ("date_created", "nothing to do: it is when Tyk wrote the file"),
    ("key_id", "nothing to do: it is the name again"),
    ("data_expires", "nothing to do: tollbell keeps no records of requests"),
    ("id_extractor_deadline", "nothing to do: there are no plugins"),
    ("session_lifetime", "nothing to do: a key lasts until it expires or leaves the configuration"),
    ("throttle_interval", "a client that is refused is told when to try again, by Retry-After"),
    ("throttle_retry_limit", "a client that is refused is told when to try again, by Retry-After"),
    ("max_query_depth", "Envoy passes GraphQL on as it is: its upstream can check it"),
    ("enable_detail_recording", "Envoy's access log"),
    ("enable_detailed_recording", "Envoy's access log"),
    ("enable_http_signature_validation", "a service behind ext_authz checks signatures"),
    ("hmac_string", "a service behind ext_authz checks signatures"),
    ("rsa_certificate_id", "a service behind ext_authz checks signatures"),
    ("oauth_keys", "an identity provider, and envoy.filters.http.jwt_authn"),
    ("hash_type", "envoy.filters.http.basic_auth has users of its own"),
    ("smoothing", "nothing to do: a rate is what it says"),
    ("complexity", "Envoy passes GraphQL on as it is: its upstream can check it"),
];

/// Which kind of file a setting stands in.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Gateway,
    Api,
    Sessions,
}

/// What to do about a setting that nothing here looks at, and the place that this speaks of: the setting or a whole.
pub(super) fn advice(kind: Kind, path: &str) -> (String, String) {
    let by_start = |table: &[(&'static str, &'static str)]| {
        // Longer beginnings say more.
        let matching = table.iter().filter(|(start, _)| {
            let rest = path.strip_prefix(start);
            rest.is_some_and(|rest| start.ends_with('_') || rest.is_empty() || rest.starts_with(['.', '[', '_']))
        });
        matching.max_by_key(|(start, _)| start.len()).copied()
    };
    let found = match kind {
        Kind::Gateway => by_start(GATEWAY),
        Kind::Api => by_start(APIS),
        Kind::Sessions => {
            let own = SESSIONS.iter().find(|(name, _)| path.split(['.', '[']).any(|part| part == *name));
            own.map(|(_, advice)| (path, *advice))
        }
    };
    let Some((start, advice)) = found else {
        return ("tollbell has nothing like it; see whether Envoy does".to_owned(), path.to_owned());
    };
    let is_whole = path.get(start.len()..).is_some_and(|rest| rest.starts_with(['.', '[']));
    (advice.to_owned(), if is_whole { start.to_owned() } else { path.to_owned() })
}
