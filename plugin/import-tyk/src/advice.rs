//! Advice for settings that have no equivalent.

use super::gateway::LIFETIME;

/// Advice by the beginning of a path in tyk.conf.
const GATEWAY: &[(&str, &str)] = &[
    (
        "secret",
        "nothing to do: it protects Tyk's own API. Envoy's admin interface has no secret, and listens on this machine only",
    ),
    ("node_secret", "nothing to do: it is for the connection to Tyk's dashboard"),
    (
        "storage",
        "nothing to do: it is Tyk's Redis. tollbell keeps its counters in Envoy's memory; they start at zero when Envoy starts",
    ),
    ("enable_separate_", "nothing to do: tollbell needs no Redis"),
    ("separate_", "nothing to do: tollbell needs no Redis"),
    ("analytics_config", "for a record of requests, use Envoy's access log and its statistics"),
    ("enable_analytics", "for a record of requests, use Envoy's access log and its statistics"),
    ("statsd", "to send statistics to StatsD, give Envoy a stats_sinks entry with envoy.stat_sinks.statsd"),
    ("health_check", "to ask whether Envoy is ready, use /ready of its admin interface; its statistics show the rest"),
    ("liveness_check", "to ask whether Envoy is ready, use /ready of its admin interface"),
    (
        "uptime_tests",
        "to test upstreams, give the clusters health_checks: HostDown fires for an upstream without a healthy host",
    ),
    ("app_path", "nothing to do: the import reads the folder that --apps names"),
    ("template_path", "nothing to do: the templates that handlers name are in the configuration that was written"),
    ("policies", "nothing to do: the policies are in the configuration that was written"),
    ("use_db_app_configs", "nothing to do: all APIs are in the configuration that was written"),
    ("db_app_conf_options", "nothing to do: all APIs are in the configuration that was written"),
    ("slave_options", "Envoy gets changes by its own means: xDS, or a new file"),
    ("http_server_options.override_defaults", "nothing to do: Tyk no longer uses it"),
    (
        "http_server_options.read_timeout",
        "to limit how long a request may take to arrive, set request_timeout of the HTTP connection manager",
    ),
    (
        "http_server_options.write_timeout",
        "to limit how long an answer may take, set stream_idle_timeout of the HTTP connection manager",
    ),
    (
        "http_server_options.enable_websockets",
        "to pass WebSockets on, add upgrade_configs: [{ upgrade_type: websocket }] to the HTTP connection manager",
    ),
    (
        "http_server_options.certificates",
        "to serve TLS with them, give the listener's filter chain a transport_socket with a DownstreamTlsContext",
    ),
    (
        "http_server_options.ssl_certificates",
        "to serve TLS with them, give the listener's filter chain a transport_socket with a DownstreamTlsContext",
    ),
    (
        "http_server_options.cert",
        "to serve TLS with them, give the listener's filter chain a transport_socket with a DownstreamTlsContext",
    ),
    ("http_server_options.server_name", "to serve one name only, set server_names of a filter_chain_match"),
    ("http_server_options.min_version", "to choose TLS versions, set tls_params of the DownstreamTlsContext"),
    ("http_server_options.max_version", "to choose TLS versions, set tls_params of the DownstreamTlsContext"),
    ("http_server_options.ssl_ciphers", "to choose ciphers, set tls_params of the DownstreamTlsContext"),
    ("http_server_options.enable_http2", "nothing to do: Envoy serves HTTP/1.1 and HTTP/2"),
    ("http_server_options.flush_interval", "nothing to do: Envoy passes answers on as they come"),
    ("http_server_options.ssl_insecure_skip_verify", "nothing to do: it is about connections to Tyk's own services"),
    (
        "http_server_options.max_request_body_size",
        "to limit the size of requests, add envoy.filters.http.buffer with max_request_bytes",
    ),
    (
        "http_server_options.enable_path_",
        "nothing to do: it is about rules for paths. APIs and rights with such rules are closed, left out or named below",
    ),
    ("http_server_options.skip_target_path_escaping", "nothing to do: Envoy sends a path on as the client spelled it"),
    ("http_server_options", "the HTTP connection manager of the listener may have a setting for it"),
    (
        "security.certificates",
        "to serve TLS with them, give the listener's filter chain a transport_socket with a DownstreamTlsContext",
    ),
    ("security", "for certificates, see the transport_socket of the listener and of the clusters"),
    (
        "coprocess_options",
        "tollbell runs no plugins. To call a service instead, add Envoy's ext_proc or ext_authz filter",
    ),
    ("middleware_path", "tollbell runs no scripts. To call a service instead, add Envoy's ext_proc filter"),
    ("tyk_js_path", "tollbell runs no scripts. To call a service instead, add Envoy's ext_proc filter"),
    ("enable_jsvm", "tollbell runs no scripts. To call a service instead, add Envoy's ext_proc filter"),
    ("jsvm_", "tollbell runs no scripts. To call a service instead, add Envoy's ext_proc filter"),
    (
        "enable_bundle_downloader",
        "tollbell runs no plugins. To call a service instead, add Envoy's ext_proc or ext_authz filter",
    ),
    ("bundle_", "tollbell runs no plugins. To call a service instead, add Envoy's ext_proc or ext_authz filter"),
    (
        "public_key_path",
        "tollbell runs no plugins. To call a service instead, add Envoy's ext_proc or ext_authz filter",
    ),
    (
        "close_connections",
        "to close each connection after its answer, set max_requests_per_connection: 1 in common_http_protocol_options of the HTTP connection manager",
    ),
    ("max_idle_connections", "nothing to do: Envoy keeps a pool of connections for each upstream and thread"),
    (
        "proxy_close_connections",
        "to use a new connection for each request, set max_requests_per_connection: 1 in the clusters' protocol options",
    ),
    ("proxy_ssl", "to choose TLS versions and ciphers, set tls_params of the clusters' UpstreamTlsContext"),
    ("dns_cache", "nothing to do: Envoy keeps the addresses of an upstream for as long as their DNS records say"),
    ("auth_override", "nothing to do: keys are in the configuration that was written"),
    ("oauth_", "tollbell issues no OAuth tokens: use an identity provider, and Envoy's jwt_authn filter"),
    ("basic_auth_hash_key_function", "nothing to do: tollbell knows no passwords"),
    ("use_redis_log", "Envoy writes its log to standard error: collect it there"),
    ("log_level", "to choose what is logged, start Envoy with --log-level"),
    ("log_format", "to choose how it is logged, start Envoy with --log-format"),
    ("track_404_logs", "for a record of requests to no API, use Envoy's access log"),
    ("sentry", "Envoy writes its log to standard error: collect it there"),
    ("logstash", "Envoy writes its log to standard error: collect it there"),
    ("graylog", "Envoy writes its log to standard error: collect it there"),
    ("syslog", "Envoy writes its log to standard error: collect it there"),
    ("opentelemetry", "for traces, give the HTTP connection manager a tracing provider"),
    ("tracing", "for traces, give the HTTP connection manager a tracing provider"),
    ("newrelic", "for traces, give the HTTP connection manager a tracing provider"),
    ("control_api", "nothing to do: Envoy's admin interface listens on this machine only"),
    ("pid_file_location", "nothing to do: Envoy writes no such file"),
    ("suppress_redis_signal_reload", "nothing to do: Envoy has no Redis to get signals from"),
    ("suppress_default_org_store", "nothing to do: organisations are in the configuration that was written"),
    ("enable_non_transactional_rate_limiter", "nothing to do: tollbell counts rates exactly across all threads"),
    ("enable_rate_limit_smoothing", "nothing to do: tollbell counts rates exactly across all threads"),
    ("enable_fixed_window_rate_limiter", "nothing to do: tollbell counts rates exactly across all threads"),
    ("enable_redis_rolling_limiter", "nothing to do: tollbell counts rates exactly across all threads"),
    ("enable_sentinel_rate_limiter", "nothing to do: tollbell counts rates exactly across all threads"),
    ("drl_", "nothing to do: tollbell counts rates exactly across all threads"),
    ("global_session_lifetime", "nothing to do: Tyk ignores it without force_global_session_lifetime"),
    ("force_global_session_lifetime", "nothing to do: Tyk deletes no key without global_session_lifetime"),
    ("session_", "nothing to do: keys are in the configuration that was written"),
    ("local_session_cache", "nothing to do: keys are in the configuration that was written"),
    ("enforce_org_data", "nothing to do: tollbell keeps no records of requests"),
    ("optimisations_", "nothing to do: it is about Tyk's Redis"),
    ("allow_master_keys", "nothing to do: it is about making keys with Tyk's API"),
    ("allow_", "nothing to do: Envoy's configuration comes from a file"),
];

/// Advice for API definitions of both forms; the last entries are for OAS definitions.
const APIS: &[(&str, &str)] = &[
    ("id", "nothing to do: it is the id in the database of Tyk's dashboard"),
    ("slug", "nothing to do: it is for Tyk's dashboard"),
    ("category", "nothing to do: it is for Tyk's dashboard"),
    ("auth_provider", "nothing to do: keys are in the configuration that was written"),
    ("session_provider", "nothing to do: keys are in the configuration that was written"),
    ("session_lifetime", LIFETIME),
    ("session_lifetime_respects_key_expiration", "nothing to do: a key lasts until it expires"),
    (
        "base_identity_provided_by",
        "for an API with several ways to authenticate, name in its identity the filter that identifies callers",
    ),
    ("jwt_", "put envoy.filters.http.jwt_authn before tollbell, with the issuer, the audiences and the keys"),
    ("scopes", "tollbell reads no scopes: give a session its policies by apply_policies"),
    ("openid_options", "put envoy.filters.http.jwt_authn before tollbell, with the issuer, the audiences and the keys"),
    ("oauth_meta", "tollbell issues no OAuth tokens: use an identity provider, and Envoy's jwt_authn filter"),
    (
        "notifications",
        "to be notified of new keys, observe the service that creates them, and name key_event in event_options",
    ),
    ("basic_auth", "Envoy's filter basic_auth has users of its own"),
    ("hmac_", "to check signatures, add Envoy's ext_authz filter with a service that does"),
    ("request_signing", "to sign requests to the upstream, add Envoy's credential_injector or ext_proc filter"),
    (
        "CORS",
        "tollbell does not answer for an upstream. Put envoy.filters.http.cors before tollbell, and give the API's routes a CorsPolicy with the same origins; or let the upstream do it, with auth.allow_preflight: true",
    ),
    (
        "allowed_ips",
        "to admit only some addresses, put envoy.filters.http.rbac before tollbell, with remote_ip principals",
    ),
    (
        "blacklisted_ips",
        "to keep some addresses out, put envoy.filters.http.rbac before tollbell, with remote_ip principals",
    ),
    ("cache_options", "to cache answers, add envoy.filters.http.cache"),
    (
        "custom_middleware",
        "tollbell runs no plugins. To call a service instead, add Envoy's ext_proc or ext_authz filter",
    ),
    ("response_processors", "to change answers, use response_headers_to_add of the routes, or Envoy's ext_proc filter"),
    ("tag_headers", "to record headers, name them in Envoy's access log"),
    ("config_data", "nothing to do: it is for Tyk's plugins"),
    ("enable_context_vars", "nothing to do: Envoy's own substitutions are always there"),
    (
        "enable_batch_request_support",
        "tollbell has no endpoint for several requests at once: clients must send them one by one",
    ),
    ("enable_detailed_recording", "to record whole requests, use Envoy's tap filter"),
    (
        "do_not_track",
        "nothing to do: tollbell keeps no records of requests. To leave the API out of Envoy's access log, give that a filter",
    ),
    ("expire_analytics_after", "nothing to do: tollbell keeps no records of requests"),
    ("dont_set_quota_on_create", "nothing to do: it is about making keys with Tyk's API"),
    (
        "uptime_tests",
        "to test the upstream, give its cluster health_checks: HostDown fires where it has no healthy host",
    ),
    ("graphql", "Envoy passes GraphQL on as it is: its upstream must check it"),
    ("upstream_certificates", "to show the upstream a certificate, put it into the UpstreamTlsContext of the cluster"),
    (
        "pinned_public_keys",
        "to pin the upstream's key, set verify_certificate_spki in the validation_context of the cluster",
    ),
    (
        "client_certificates",
        "to admit only some certificates, set verify_certificate_hash in the validation_context of the listener",
    ),
    (
        "certificates",
        "to serve TLS with them, give the listener's filter chain a transport_socket with a DownstreamTlsContext",
    ),
    ("proxy.service_discovery", "use a cluster of type EDS, or a name that resolves to all hosts"),
    ("proxy.check_host_against_uptime_tests", "to leave out hosts that are down, give the cluster health_checks"),
    ("proxy.transport", "to choose TLS versions and ciphers, set tls_params of the UpstreamTlsContext of the cluster"),
    (
        "version_data",
        "tollbell has no settings for single paths. Envoy's routes can change headers and paths; use ext_proc for the rest",
    ),
    ("definition", "routes in Envoy can match the header or the parameter that names a version"),
    ("upstream_auth", "to authenticate at the upstream, add envoy.filters.http.credential_injector"),
    ("tags", "nothing to do: they say which of Tyk's nodes load the API"),
    ("x-tyk-streaming", "tollbell has no equivalent of Tyk Streams"),
    (
        "x-tyk-api-gateway.middleware.global.cors",
        "tollbell does not answer for an upstream. Put envoy.filters.http.cors before tollbell, and give the API's routes a CorsPolicy with the same origins; or let the upstream do it, with auth.allow_preflight: true",
    ),
    (
        "x-tyk-api-gateway.middleware.global.contextVariables",
        "nothing to do: Envoy's own substitutions are always there",
    ),
    (
        "x-tyk-api-gateway.middleware.global.trafficLogs",
        "nothing to do: for a record of requests, use Envoy's access log",
    ),
    ("x-tyk-api-gateway.middleware.global.cache", "to cache answers, add envoy.filters.http.cache"),
    (
        "x-tyk-api-gateway.middleware",
        "tollbell has no settings for single paths. Envoy's routes can change headers and paths; use ext_proc for the rest",
    ),
    (
        "x-tyk-api-gateway.upstream.uptimeTests",
        "to test the upstream, give its cluster health_checks: HostDown fires where it has no healthy host",
    ),
    (
        "x-tyk-api-gateway.upstream",
        "for what Envoy does with the upstream, see its cluster: transport_socket, circuit_breakers, health_checks",
    ),
    ("x-tyk-api-gateway.server.contextVariables", "nothing to do: Envoy's own substitutions are always there"),
    ("x-tyk-api-gateway.server.detailedActivityLogs", "to record whole requests, use Envoy's tap filter"),
    ("x-tyk-api-gateway.server.detailedTracing", "for traces, give the HTTP connection manager a tracing provider"),
    ("x-tyk-api-gateway.server.gatewayTags", "nothing to do: they say which of Tyk's nodes load the API"),
    (
        "x-tyk-api-gateway.server.clientCertificates",
        "to admit only some certificates, set verify_certificate_hash in the validation_context of the listener",
    ),
    ("x-tyk-api-gateway.server.authentication.customKeyLifetime", LIFETIME),
    (
        "x-tyk-api-gateway.server.authentication",
        "put the Envoy filter that checks it before tollbell: jwt_authn, basic_auth or ext_authz",
    ),
];

/// Advice by the name of a setting in sessions and policies.
const SESSIONS: &[(&str, &str)] = &[
    ("quota_remaining", "nothing to do: counting starts again"),
    ("quota_renews", "nothing to do: counting starts again"),
    ("allowance", "nothing to do: counting starts again"),
    ("last_check", "nothing to do: counting starts again"),
    ("last_updated", "nothing to do: it is the time at which Tyk wrote the file"),
    ("date_created", "nothing to do: it is the time at which Tyk wrote the file"),
    ("key_id", "nothing to do: it is the key's name again"),
    ("data_expires", "nothing to do: tollbell keeps no records of requests"),
    ("id_extractor_deadline", "nothing to do: it is for Tyk's plugins"),
    ("session_lifetime", LIFETIME),
    ("post_expiry_action", "nothing to do: an expired key is refused for as long as it is in the configuration"),
    ("post_expiry_grace_period", "nothing to do: an expired key is refused for as long as it is in the configuration"),
    ("throttle_interval", "nothing to do: a refused client gets Retry-After"),
    ("throttle_retry_limit", "nothing to do: a refused client gets Retry-After"),
    ("max_query_depth", "Envoy passes GraphQL on as it is: its upstream must check it"),
    ("enable_detail_recording", "to record whole requests, use Envoy's tap filter"),
    ("enable_detailed_recording", "to record whole requests, use Envoy's tap filter"),
    ("enable_http_signature_validation", "to check signatures, add Envoy's ext_authz filter with a service that does"),
    ("hmac_string", "to check signatures, add Envoy's ext_authz filter with a service that does"),
    ("rsa_certificate_id", "to check signatures, add Envoy's ext_authz filter with a service that does"),
    ("oauth_keys", "tollbell issues no OAuth tokens: use an identity provider, and Envoy's jwt_authn filter"),
    ("hash_type", "nothing to do: it is the form of a stored password, and tollbell stores none"),
    ("smoothing", "nothing to do: tollbell does not change rates"),
    ("complexity", "Envoy passes GraphQL on as it is: its upstream must check it"),
    ("access_rights_array", "nothing to do: access_rights has the same content"),
    ("auth_type", "nothing to do: it is for Tyk's dashboard"),
    ("auth_types", "nothing to do: it is for Tyk's dashboard"),
    ("state", "nothing to do: Tyk's gateway uses is_inactive"),
    ("graphql_enabled", "nothing to do: it is for Tyk's dashboard"),
];

/// All settings with advice, each with its advice.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    GATEWAY.iter().chain(APIS).chain(SESSIONS)
}

/// The kind of file that contains a setting.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Gateway,
    Api,
    Sessions,
}

/// The advice for a setting that the importer does not use, and the place that the advice is for: the setting or a
/// whole.
pub(super) fn advice(kind: Kind, path: &str) -> (String, String) {
    let by_start = |table: &[(&'static str, &'static str)]| {
        // The longest beginning is the most specific.
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
        return ("tollbell has no equivalent; see whether Envoy has one".to_owned(), path.to_owned());
    };
    // `custom_middleware_.pre` is a part of `custom_middleware_`.
    let rest = path.get(start.len()..).unwrap_or_default();
    let end = rest.find(['.', '[']).filter(|end| *end == 0 || start.ends_with('_') || rest.starts_with('_'));
    let whole = end.and_then(|end| path.get(..start.len() + end));
    (advice.to_owned(), whole.unwrap_or(path).to_owned())
}
