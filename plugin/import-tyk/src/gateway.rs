//! tyk.conf.

use std::net::IpAddr;

use tollbell_core::config::raw::Monitor;

use super::handlers::{unfired, webhook};
use super::names::Naming;
use super::places;
use super::source::At;
use super::templates::Templates;
use super::unchecked;

/// The settings of tyk.conf for the listener, domains and keys.
pub(super) struct Gateway {
    pub(super) address: String,
    pub(super) port: u16,
    /// The domain of APIs without one of their own; empty for any.
    pub(super) host_name: String,
    pub(super) has_custom_domains: bool,
    /// True if clients use TLS.
    pub(super) has_tls: bool,
    /// True if certificates of upstreams are not verified.
    pub(super) insecure: bool,
    /// In seconds; 0 for none.
    pub(super) timeout: i64,
    /// True if a listen path without a slash at its end means whole segments.
    pub(super) has_strict_routes: bool,
    /// True if `//` in a path stays.
    pub(super) keeps_double_slashes: bool,
    /// True if rules for paths match anywhere in a path.
    pub(super) matches_anywhere: bool,
    /// The number of entries at the end of X-Forwarded-For that come from the operator's own proxies.
    pub(super) trusted_hops: i64,
    pub(super) naming: Naming,
    /// `rate_limit_headers`.
    pub(super) limit_headers: &'static str,
    pub(super) allows_explicit_policy_ids: bool,
    pub(super) enforce_org_quotas: bool,
}

impl Gateway {
    pub(super) fn read(conf: &At<'_>) -> Self {
        for name in ["enforce_org_quotas", "enable_custom_domains", "proxy_ssl_insecure_skip_verify"] {
            conf.get(name).carried();
        }
        conf.at("policies.allow_explicit_policy_id").carried();
        unchecked::of_gateway(conf);
        lifetime(conf);
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
            has_tls: tls.flag(),
            insecure: conf.get("proxy_ssl_insecure_skip_verify").flag(),
            timeout: timeout(conf),
            has_strict_routes: carried_flag(conf, "enable_strict_routes"),
            keeps_double_slashes: carried_flag(conf, "skip_url_cleaning"),
            matches_anywhere: !["enable_path_prefix_matching", "enable_path_suffix_matching"]
                .into_iter()
                .any(|name| conf.get("http_server_options").get(name).flag()),
            trusted_hops: trusted_hops(conf),
            naming: naming(conf),
            limit_headers: limit_headers(conf),
            allows_explicit_policy_ids: conf.at("policies.allow_explicit_policy_id").flag(),
            enforce_org_quotas: conf.get("enforce_org_quotas").flag(),
        }
    }
}

/// Tyk deletes keys after a time, even those that never expire.
fn lifetime(conf: &At<'_>) {
    let (forced, lifetime) = (conf.get("force_global_session_lifetime"), conf.get("global_session_lifetime"));
    if forced.flag() && lifetime.number().is_some_and(|seconds| seconds > 0.0) {
        lifetime.missing(LIFETIME);
        forced.missing(LIFETIME);
    }
}

/// The advice for keys that Tyk deletes.
pub(super) const LIFETIME: &str = "Tyk deletes a key this long after it was last written. In tollbell it stays until it expires: \
                                   give such keys expires";

fn carried_flag(conf: &At<'_>, name: &str) -> bool {
    let at = conf.get("http_server_options").get(name);
    at.carried();
    at.flag()
}

/// Tyk counts entries of X-Forwarded-For from the end, starting at 1; 0 means the first entry.
fn trusted_hops(conf: &At<'_>) -> i64 {
    let at = conf.at("http_server_options.xff_depth");
    let depth = at.whole().unwrap_or_default();
    if !(0..=i64::from(u16::MAX)).contains(&depth) {
        at.error("must be 0, or the number of an entry of X-Forwarded-For, counted from its end");
        return 0;
    }
    at.changed(format!("xff_num_trusted_hops: {depth}, which counts the same entries"));
    depth
}

fn address(conf: &At<'_>) -> String {
    let at = conf.get("listen_address");
    match at.words() {
        "" => return "0.0.0.0".to_owned(),
        words if words.parse::<IpAddr>().is_ok() => {
            at.carried();
            return words.to_owned();
        }
        _ => at.changed("0.0.0.0, because Envoy listens on IP addresses, not on names"),
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
    match places::domain(at.words()) {
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

/// Tyk waits 30 s for an upstream by default, Envoy 15 s.
fn timeout(conf: &At<'_>) -> i64 {
    let at = conf.get("proxy_default_timeout");
    at.carried();
    match at.number() {
        Some(seconds) if (1.0..1e9).contains(&seconds) => format!("{seconds:.0}").parse().unwrap_or(30),
        _ => 30,
    }
}

fn limit_headers(conf: &At<'_>) -> &'static str {
    let at = conf.get("rate_limit_response_headers");
    if at.words() == "rate_limits" {
        at.changed("rate_limit_headers: legacy_rates, the same headers");
        return "legacy_rates";
    }
    at.carried();
    "legacy"
}

/// The names of keys: Tyk makes the name of a custom key from the client's id and the API's organisation.
fn naming(conf: &At<'_>) -> Naming {
    let hashes = conf.get("hash_keys");
    if hashes.flag() {
        hashes.changed(
            "The import reads the export's names as hashes. Events still show keys, as in Tyk; set hash_keys in tollbell's \
             configuration to show SHA-256 instead.",
        );
    }
    let (function, fallback) = (conf.get("hash_key_function"), conf.get("hash_key_function_fallback"));
    let form = |word: &str| {
        match word {
            "" => "legacy",
            "murmur32" | "murmur128" | "sha256" => word,
            // Tyk uses this for unknown names, too.
            _ => "murmur64",
        }
        .to_owned()
    };
    let mut forms = vec![form(function.words())];
    for word in fallback.items().iter().map(At::words).map(form) {
        if !forms.contains(&word) {
            forms.push(word);
        }
    }
    let by_username = conf.get("disable_key_actions_by_username");
    by_username.carried();
    if by_username.flag() {
        function.missing(
            "nothing to do: with disable_key_actions_by_username, Tyk takes whole keys only, and so does tollbell",
        );
        fallback.missing(
            "nothing to do: with disable_key_actions_by_username, Tyk takes whole keys only, and so does tollbell",
        );
        forms.clear();
    } else {
        function.changed(format!(
            "tyk_tokens.forms: {}, so that a client may send the id of a custom key alone",
            forms.join(", ")
        ));
        fallback.changed("in tyk_tokens.forms, too");
    }
    let length = conf.get("min_token_length");
    length.carried();
    let min_length = match length.whole().unwrap_or_default() {
        0 => 3,
        length => usize::try_from(length.clamp(1, 1024)).unwrap_or(1),
    };
    Naming { is_hashed: hashes.flag(), forms, min_length }
}

/// `monitor`.
pub(super) fn monitor(conf: &At<'_>, templates: &Templates) -> Option<Monitor> {
    let at = conf.get("monitor");
    if !at.is_set() {
        return None;
    }
    let switch = at.get("enable_trigger_monitors");
    switch.carried();
    let configuration = at.get("configuration");
    let hook = configuration.is_set().then(|| webhook(&configuration, &configuration, templates)).flatten();
    let enabled = switch.flag() && hook.is_some();
    if switch.flag() && !enabled {
        switch.changed(
            "false, because no one would be notified of a crossed threshold: configuration has no usable target",
        );
    }
    let limit = at.get("global_trigger_limit");
    let global_trigger_limit = match limit.number() {
        Some(number) if number > 0.0 && number <= 100.0 => {
            limit.carried();
            number
        }
        Some(number) if number != 0.0 => {
            limit.missing("such a percentage is never crossed: use one over 0, up to 100");
            0.0
        }
        _ => 0.0,
    };
    let (of_keys, of_orgs) = (at.get("monitor_user_keys"), at.get("monitor_org_keys"));
    of_keys.carried();
    of_orgs.carried();
    Some(Monitor {
        enable_trigger_monitors: enabled,
        configuration: hook.unwrap_or_default(),
        global_trigger_limit,
        monitor_user_keys: of_keys.flag(),
        monitor_org_keys: of_orgs.flag(),
        ..Monitor::default()
    })
}

/// `event_handlers`. Tyk notifies them of changes of keys through its own API, never of requests. As tollbell's
/// handlers they would be notified of the events of all APIs.
pub(super) fn handlers(conf: &At<'_>) {
    for (event, list) in conf.at("event_handlers.events").entries() {
        list.missing(unfired(event).unwrap_or_else(|| {
            format!(
                "Tyk notifies only handlers of an API of {event}, never those in tyk.conf. To be notified here, add the \
                 handler to event_handlers of that API, or to tollbell's own, which are for all APIs"
            )
        }));
    }
}
