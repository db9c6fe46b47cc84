//! Classic API definitions.

use jiff::civil::DateTime;

use tollbell_core::config::raw::GlobalRateLimit;

use super::Context;
use super::api::{self, Api, closes};
use super::handlers::Handlers;
use super::places::Absent;
use super::source::At;
use super::{unchecked, versions};

const JWT: &str = "put envoy.filters.http.jwt_authn before tollbell, with the issuer and its keys, and let the API's \
                   identity be { metadata: [envoy.filters.http.jwt_authn, jwt_payload, sub] }";
const SERVICE: &str = "put envoy.filters.http.ext_authz before tollbell, with a service that checks it";

/// Ways to authenticate that tollbell does not have: the setting, its name in the report, and the advice.
const OTHER_AUTH: [(&str, &str, &str); 10] = [
    ("enable_jwt", "JWTs", JWT),
    ("use_openid", "OpenID tokens", JWT),
    ("external_oauth.enabled", "tokens of another OAuth server", JWT),
    ("use_oauth2", "OAuth tokens that Tyk issued", SERVICE),
    (
        "use_basic_auth",
        "user names and passwords",
        "put envoy.filters.http.basic_auth before tollbell, and let the API's identity be the header that it sets",
    ),
    ("enable_signature_checking", "HTTP signatures", SERVICE),
    ("enable_coprocess_auth", "the rules of a plugin", SERVICE),
    ("use_go_plugin_auth", "the rules of a plugin", SERVICE),
    ("custom_plugin_auth_enabled", "the rules of a plugin", SERVICE),
    ("auth_configs.authToken.validate_signature", "the signature beside a key", SERVICE),
];

pub(super) const CERTIFICATES: &str = "give the listener a DownstreamTlsContext with require_client_certificate and a \
                                       validation_context, and let the API's identity be { peer_certificate: sha256 }";
pub(super) const ADDRESSES: &str = "put envoy.filters.http.rbac before tollbell, with remote_ip principals";
pub(super) const PATHS: &str = "write routes for those paths, with a direct_response where they are forbidden";
pub(super) const UNUSED: &str = "nothing to do: Tyk ignores it here, too";

/// The API of a definition. An error means that the API is left out, which was reported; it contains the API's place in
/// Tyk.
pub(super) fn read(root: &At<'_>, context: &Context<'_>) -> Result<Api, Option<Absent>> {
    for (setting, why) in [("active", "it is not active"), ("internal", "it is internal to Tyk")] {
        let at = root.get(setting);
        if setting == "internal" && at.flag() && context.is_version(root.get("api_id").words()) {
            at.carried();
        } else if at.value().is_some() && at.flag() == (setting == "internal") {
            root.left_out(format!("the API is left out: {why}"));
            return Err(None);
        }
    }
    root.get("active").carried();
    let protocol = root.get("protocol");
    if !matches!(protocol.words(), "" | "http" | "https" | "h2c") {
        root.left_out("the API is left out: it is not HTTP, and needs a listener with envoy.filters.network.tcp_proxy");
        return Err(None);
    }
    if protocol.is_set() {
        protocol.changed("it is served on the one listener, for HTTP/1.1 and HTTP/2");
    }
    let proxy = root.get("proxy");
    let path = proxy.get("listen_path");
    let domain = (&root.get("domain"), root.get("domain_disabled").flag());
    let (domain, listen_path) = context.place(root, domain, &path, root.get("name").words())?;
    let mut api = Api { place: path.place(), listen_path, domain, ..Api::default() };
    let id = root.get("api_id");
    if id.words().is_empty() {
        id.error("missing: keys and policies name an API by it");
    }
    for (name, text) in [("api_id", &mut api.id), ("name", &mut api.name), ("org_id", &mut api.org_id)] {
        *text = root.get(name).words().to_owned();
        root.get(name).carried();
    }
    api.strip_listen_path = proxy.get("strip_listen_path").flag();
    proxy.get("strip_listen_path").carried();
    authentication(root, &mut api, context);
    api.allows_preflight = api::preflight(&root.at("CORS.options_passthrough"));
    restrictions(root, &mut api, context.now);
    unchecked::of_classic(root, &mut api, context.gateway.port);
    if let Some(limit) = rate_limit(root) {
        api.rate_limit = Some(limit);
    }
    api.handlers = Handlers::classic(&root.get("event_handlers"), &context.templates);
    api.internal = root.get("internal").flag();
    let version = version(root, &mut api, context);
    if api.versions.is_none() {
        api.handlers.without_versions(&[root.at("event_handlers.events.VersionFailure")]);
    }
    upstream(&proxy, version.as_ref(), &mut api, context);
    Ok(api)
}

fn authentication(root: &At<'_>, api: &mut Api, context: &Context<'_>) {
    root.get("use_keyless").carried();
    root.get("use_standard_auth").carried();
    root.get("strip_auth_data").carried();
    api.use_keyless = root.get("use_keyless").flag();
    api.strip_authorization_data = root.get("strip_auth_data").flag();
    for (setting, what, instead) in OTHER_AUTH {
        let at = root.at(setting);
        if at.flag() && api.use_keyless {
            at.missing(UNUSED);
        } else if at.flag() {
            closes(api, &at, what, instead);
        }
    }
    let old = root.get("auth");
    let new = root.at("auth_configs.authToken");
    let config = if new.is_set() { new } else { old.clone() };
    api.auth = token(&config);
    certificate(&config.get("use_certificate"), api, context);
    if old.is_set() && root.at("auth_configs.authToken").is_set() {
        if token(&old) != api.auth {
            for name in ["auth_header_name", "param_name", "cookie_name", "use_param", "use_cookie"] {
                old.get(name).missing("nothing to do: auth_configs.authToken wins, as in Tyk");
            }
        }
    } else if old.get("validate_signature").flag() && !api.use_keyless {
        closes(api, &old.get("validate_signature"), "the signature beside a key", SERVICE);
    }
    for (kind, config) in root.get("auth_configs").entries() {
        if kind != "authToken" {
            config.missing(UNUSED);
        }
    }
}

/// With this setting, Tyk requires a certificate in addition to the key, on connections with TLS.
pub(super) fn certificate(at: &At<'_>, api: &mut Api, context: &Context<'_>) {
    if at.flag() && !api.use_keyless && context.gateway.has_tls {
        closes(api, at, "client certificates", CERTIFICATES);
    } else if at.flag() {
        at.missing("nothing to do: without TLS, Tyk asks for no certificate");
    }
}

fn token(config: &At<'_>) -> api::Auth {
    config.get("disable_header").carried();
    api::auth(
        &config.get("auth_header_name"),
        config.get("disable_header").flag(),
        (&config.get("use_param"), &config.get("param_name")),
        (&config.get("use_cookie"), &config.get("cookie_name")),
    )
}

/// Restrictions in addition to the key.
fn restrictions(root: &At<'_>, api: &mut Api, now: DateTime) {
    let tls = root.get("use_mutual_tls_auth");
    if tls.flag() {
        closes(api, &tls, "client certificates", CERTIFICATES);
    }
    let lists_are_on = !root.get("ip_access_control_disabled").flag();
    for setting in ["enable_ip_whitelisting", "enable_ip_blacklisting"] {
        let at = root.get(setting);
        if at.flag() && lists_are_on {
            closes(api, &at, "the client's address", ADDRESSES);
        }
    }
    expiry(&root.get("expiration"), "the API's end", api, now);
}

/// Parses Tyk's `2006-01-02 15:04`. Tyk treats an invalid time as one that has passed.
pub(super) fn expiry(at: &At<'_>, what: &str, api: &mut Api, now: DateTime) {
    if matches!(at.words(), "" | "-1") {
        return;
    }
    let Ok(end) = DateTime::strptime("%Y-%m-%d %H:%M", at.words()) else {
        api.closed.push(what.to_owned());
        at.missing(format!(
            "The API refuses every request, as in Tyk: {what} is not a time such as 2030-12-31 23:59. Write one, and replace \
             its route's direct_response with its cluster."
        ));
        return;
    };
    if end <= now {
        api.closed.push(what.to_owned());
        at.missing(format!("The API refuses every request, as in Tyk: {what} has passed. Remove the API."));
    } else if end.year() > now.year() + 50 {
        at.missing("nothing to do: that is in more than fifty years");
    } else {
        at.opened("tollbell does not expire APIs. Remove its routes on that date.");
    }
}

fn rate_limit(root: &At<'_>) -> Option<GlobalRateLimit> {
    let limit = root.get("global_rate_limit");
    let off = root.get("disable_rate_limit");
    root.get("disable_quota").missing(
        "tollbell counts quotas on every API. To exempt a key, give its right to this API a limit with quota_max: -1.",
    );
    if off.flag() {
        off.missing(
            "tollbell counts the rates of keys on every API. To exempt a key, give its right to this API a limit with \
             rate: -1.",
        );
        limit.missing(UNUSED);
        return None;
    }
    limited(&limit.get("rate"), &limit.get("per"), &limit.get("disabled"))
}

/// A limit, if there is one.
pub(super) fn limited(rate: &At<'_>, per: &At<'_>, disabled: &At<'_>) -> Option<GlobalRateLimit> {
    for at in [rate, per, disabled] {
        at.carried();
    }
    let disabled = disabled.flag();
    let (rate, per) = (rate.number().unwrap_or_default(), per.number().unwrap_or_default());
    (rate > 0.0 && per > 0.0).then_some(GlobalRateLimit { disabled, rate, per })
}

/// The served version, if the definition has versions.
fn version<'f>(root: &At<'f>, api: &mut Api, context: &Context<'_>) -> Option<At<'f>> {
    let data = root.get("version_data");
    let definition = root.get("definition");
    data.get("not_versioned").carried();
    data.get("default_version").carried();
    if definition.get("enabled").flag() {
        versions::of_apis_classic(&definition, api, context);
    } else if data.get("not_versioned").flag() {
        definition.missing(UNUSED);
    }
    let says_so = data.get("not_versioned").value().is_some() || data.get("versions").entries().len() > 1;
    let is_versioned = says_so && !data.get("not_versioned").flag() && !definition.get("enabled").flag();
    if is_versioned && versions::classic(root, api, context.now) {
        return None;
    }
    let default = data.get("default_version").words();
    let of_data = data.get("versions").entries();
    let served = of_data.iter().find(|(name, _)| *name == default).or(of_data.first());
    api.version = served.filter(|_| is_versioned).map(|(name, _)| (*name).to_owned());
    if is_versioned && !of_data.iter().any(|(name, _)| *name == default) {
        let instead = "say in definition where requests name it, or set default_version to an existing version";
        closes(api, &data, "which version a request is for", instead);
    }
    let served = served.map(|(_, at)| at.clone());
    for (name, version) in &of_data {
        let is_served = served.as_ref().is_some_and(|served| served.place() == version.place());
        if is_versioned && !is_served {
            version.missing(format!(
                "only the default version is served: no request can name version {name:?}, as in Tyk, because \
                 definition does not say where"
            ));
            continue;
        }
        for unused in ["name", "use_extended_paths"] {
            version.get(unused).missing(UNUSED);
        }
        expiry(&version.get("expires"), "the version's end", api, context.now);
        for (list, what, instead) in unchecked::of_version(version) {
            closes(api, &list, what, instead);
        }
    }
    if of_data.is_empty() { None } else { served.filter(|_| is_versioned) }
}

fn upstream(proxy: &At<'_>, version: Option<&At<'_>>, api: &mut Api, context: &Context<'_>) {
    let preserve = proxy.get("preserve_host_header");
    let insecure = proxy.at("transport.ssl_insecure_skip_verify");
    insecure.carried();
    api.upstream.insecure = insecure.flag() || context.insecure;
    proxy.get("disable_strip_slash").carried();
    api.upstream.keeps_slash = proxy.get("disable_strip_slash").flag();
    let discovery = proxy.at("service_discovery.use_discovery_service");
    if discovery.flag() {
        discovery.missing(
            "the discovery service is not asked: use a cluster of type EDS, or a name that resolves to all hosts",
        );
    }
    let overriding = version.map(|version| version.get("override_target")).filter(At::is_set);
    let balancing = proxy.get("enable_load_balancing");
    let listed = if proxy.get("target_list").is_set() { proxy.get("target_list") } else { proxy.get("targets") };
    let mut targets = Vec::new();
    if balancing.flag() && listed.is_set() && overriding.is_none() {
        balancing.carried();
        for at in listed.items() {
            targets.extend(api::target(&at, api).map(|target| (at, target)));
        }
        proxy.get("target_url").missing("nothing to do: the targets of the list are used instead, as in Tyk");
        if targets.is_empty() {
            listed.error("none of the targets can be used");
        }
    } else {
        if overriding.is_some() {
            proxy.get("target_url").missing("nothing to do: override_target of the version wins, as in Tyk");
        }
        let at = overriding.unwrap_or_else(|| proxy.get("target_url"));
        if at.words().is_empty() {
            at.error("missing: there is nowhere to send requests");
        } else {
            targets.extend(api::target(&at, api).map(|target| (at, target)));
        }
        if listed.is_set() {
            listed.missing(UNUSED);
        }
    }
    api.upstream.targets = api::balance(targets);
    api::preserve_host(&preserve, &mut api.upstream);
}
