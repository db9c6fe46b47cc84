//! tyk.conf.

use std::net::IpAddr;

use super::api;
use super::handlers::{Handlers, webhook};
use super::rights::percent;
use super::source::At;
use super::templates::Templates;
use super::yaml::{Yaml, map};

/// What tyk.conf says of the listener, of domains and of keys.
pub(super) struct Gateway {
    pub(super) address: String,
    pub(super) port: u16,
    /// For APIs without a domain of their own; empty for any.
    pub(super) host_name: String,
    pub(super) has_custom_domains: bool,
    /// Certificates of upstreams are not verified.
    pub(super) insecure: bool,
    /// In seconds; 0 for none.
    pub(super) timeout: i64,
    /// Keys stand in the export under their hashes.
    pub(super) hash_keys: bool,
    pub(super) allows_explicit_policy_ids: bool,
    pub(super) enforce_org_quotas: bool,
}

impl Gateway {
    pub(super) fn read(conf: &At<'_>) -> Self {
        let hash_keys = conf.get("hash_keys");
        if hash_keys.flag() {
            hash_keys.changed(
                "it says how Tyk stores keys, not what events show, which is the key itself in either case: set tollbell's \
                 own hash_keys, and events show fingerprints instead",
            );
        }
        for name in ["enforce_org_quotas", "enable_custom_domains", "proxy_ssl_insecure_skip_verify"] {
            conf.get(name).carried();
        }
        conf.at("policies.allow_explicit_policy_id").carried();
        headers(conf);
        let tls = conf.at("http_server_options.use_ssl");
        if tls.flag() {
            tls.missing(
                "the listener speaks plain HTTP: give its filter chain a DownstreamTlsContext with the certificate",
            );
        }
        Gateway {
            address: address(conf),
            port: port(conf),
            host_name: host_name(conf),
            has_custom_domains: conf.get("enable_custom_domains").flag(),
            insecure: conf.get("proxy_ssl_insecure_skip_verify").flag(),
            timeout: timeout(conf),
            hash_keys: hash_keys.flag(),
            allows_explicit_policy_ids: conf.at("policies.allow_explicit_policy_id").flag(),
            enforce_org_quotas: conf.get("enforce_org_quotas").flag(),
        }
    }
}

fn address(conf: &At<'_>) -> String {
    let at = conf.get("listen_address");
    match at.words() {
        "" => return "0.0.0.0".to_owned(),
        words if words.parse::<IpAddr>().is_ok() => {
            at.carried();
            return words.to_owned();
        }
        _ => at.changed("0.0.0.0, since Envoy listens on IP addresses, not on names"),
    }
    "0.0.0.0".to_owned()
}

fn port(conf: &At<'_>) -> u16 {
    let at = conf.get("listen_port");
    at.carried();
    match at.whole().unwrap_or_default() {
        0 => 8080,
        port => u16::try_from(port).unwrap_or_else(|_| {
            at.error("must be a port, from 1 to 65535");
            8080
        }),
    }
}

fn host_name(conf: &At<'_>) -> String {
    let at = conf.get("hostname");
    match api::domain(at.words()) {
        Some(name) => {
            at.changed("the domain of each API that has none of its own");
            name
        }
        None if at.is_set() => {
            at.error("must be one host name here: tollbell knows no patterns of hosts");
            String::new()
        }
        None => String::new(),
    }
}

/// Tyk waits for an upstream for 30 s unless told otherwise, Envoy for 15 s.
fn timeout(conf: &At<'_>) -> i64 {
    let at = conf.get("proxy_default_timeout");
    at.carried();
    match at.number() {
        Some(seconds) if (1.0..1e9).contains(&seconds) => format!("{seconds:.0}").parse().unwrap_or(30),
        _ => 30,
    }
}

fn headers(conf: &At<'_>) {
    let at = conf.get("rate_limit_response_headers");
    match at.words() {
        "rate_limits" => at.changed("rate_limit_headers: legacy, which tell the tighter of quota and rate"),
        _ => at.carried(),
    }
}

/// `monitor`. `is_heard`: a handler hears of what it finds out.
pub(super) fn monitor(conf: &At<'_>, templates: &Templates, is_heard: bool) -> Option<Yaml> {
    let at = conf.get("monitor");
    if !at.is_set() {
        return None;
    }
    let switch = at.get("enable_trigger_monitors");
    switch.carried();
    let configuration = at.get("configuration");
    let hook = configuration.is_set().then(|| webhook(&configuration, &configuration, templates)).flatten();
    let enabled = switch.flag() && (hook.is_some() || is_heard);
    if switch.flag() && !enabled {
        switch.changed("false, since nobody would hear of a crossed threshold: configuration has no usable target");
    }
    let mut monitor = vec![("enable_trigger_monitors", Yaml::from(enabled))];
    monitor.extend(hook.map(|hook| ("configuration", hook)));
    let limit = at.get("global_trigger_limit");
    match limit.number() {
        Some(number) if number > 0.0 && number <= 100.0 => {
            limit.carried();
            monitor.push(("global_trigger_limit", percent(&number)));
        }
        Some(number) if number != 0.0 => limit.missing("such a percentage is never crossed: use one over 0, up to 100"),
        _ => {}
    }
    for name in ["monitor_user_keys", "monitor_org_keys"] {
        at.get(name).carried();
        monitor.push((name, at.get(name).flag().into()));
    }
    Some(map(monitor))
}

/// `event_handlers`, for every API.
pub(super) fn handlers(conf: &At<'_>, templates: &Templates) -> Handlers {
    Handlers::classic(&conf.get("event_handlers"), templates)
}
