//! Other refusals of Tyk that are not carried over.
//!
//! A plugin can check anything, so it closes the API. So do lists of paths, and a keyless API's own port. Checks of the
//! form or the size of a request, or a date on which an API ends, do not close the API: the report names them as no
//! longer refused, and `docs/leaving-tyk.md` lists exactly these.

use super::api::{Api, closes};
use super::classic::PATHS;
use super::source::At;

const PLUGIN: &str = "the rules of a plugin";
const PLUGINS: &str = "let a service check the same, and put Envoy's ext_authz or ext_proc filter before tollbell, which calls that service";

const FORM: &str = "Envoy does not validate requests. Let the upstream or a service behind ext_proc do it.";
const SIZE: &str = "To limit the size of requests, add envoy.filters.http.buffer with max_request_bytes.";
const RATE: &str = "tollbell has no rates of single paths. To limit them, add envoy.filters.http.local_ratelimit to their \
                    routes.";
const BREAKER: &str = "To spare an upstream that fails, give its cluster outlier_detection or circuit_breakers.";
const MOCK: &str = "Tyk answers these requests itself, and here the upstream gets them. To answer them, give their paths \
                    routes with direct_response.";
const PINS: &str = "To accept only these keys of upstreams, set verify_certificate_spki in the validation_context of the \
                    clusters.";

/// A setting that closes an API or a version: the missing check, and the advice.
pub(super) type Closing<'f> = (At<'f>, &'static str, &'static str);

/// The restrictions of a version in a classic definition that cannot be carried over. The others are named as no longer
/// refused.
pub(super) fn of_version<'f>(version: &At<'f>) -> Vec<Closing<'f>> {
    let mut closing = Vec::new();
    let is_extended = version.get("use_extended_paths").flag();
    let (old, extended) = (version.get("paths"), version.get("extended_paths"));
    let lists = if is_extended { &extended } else { &old };
    for name in ["white_list", "black_list", "internal"] {
        let list = lists.get(name);
        if has_entries(&list) {
            closing.push((list, "which paths are allowed", PATHS));
        }
    }
    let size = version.get("global_size_limit");
    if size.number().is_some_and(|size| size > 0.0) && !version.get("global_size_limit_disabled").flag() {
        size.opened(SIZE);
    }
    if !is_extended {
        return closing;
    }
    for name in ["go_plugin", "virtual"] {
        let list = extended.get(name);
        if has_entries(&list) {
            closing.push((list, PLUGIN, PLUGINS));
        }
    }
    for (name, instead) in [
        ("validate_json", FORM),
        ("validate_request", FORM),
        ("size_limits", SIZE),
        ("rate_limit", RATE),
        ("circuit_breakers", BREAKER),
        ("mock_response", MOCK),
    ] {
        let list = extended.get(name);
        if has_entries(&list) {
            list.opened(instead);
        }
    }
    closing
}

/// True if a list of paths has an active entry. The old form has only paths.
fn has_entries(list: &At<'_>) -> bool {
    let is_off = |entry: &At<'_>| {
        let enabled = entry.get("enabled");
        entry.get("disabled").flag() || enabled.value().is_some() && !enabled.flag()
    };
    let is_path = |entry: &At<'_>| entry.value().is_some_and(serde_json::Value::is_string);
    list.items().iter().any(|entry| is_path(entry) || !is_off(entry))
}

/// The restrictions of a classic definition outside its versions.
pub(super) fn of_classic(root: &At<'_>, api: &mut Api, port: u16) {
    let middleware = root.get("custom_middleware");
    for name in ["pre", "post_key_auth", "post"] {
        let list = middleware.get(name);
        if has_entries(&list) {
            closes(api, &list, PLUGIN, PLUGINS);
        }
    }
    let bundle = root.get("custom_middleware_bundle");
    if bundle.is_set() && !root.get("custom_middleware_bundle_disabled").flag() {
        closes(api, &bundle, PLUGIN, PLUGINS);
    }
    let graphql = root.get("graphql");
    if graphql.get("enabled").flag() {
        graphql.opened("Envoy passes GraphQL on as it is. Let the upstream check queries.");
    }
    let pins = root.get("pinned_public_keys");
    if pins.is_set() && !root.get("certificate_pinning_disabled").flag() {
        pins.opened(PINS);
    }
    own_port(&root.get("listen_port"), api, port);
}

/// The restrictions of a Tyk OAS definition.
pub(super) fn of_oas(tyk: &At<'_>, api: &mut Api, port: u16) {
    let global = tyk.at("middleware.global");
    let bundle = global.at("pluginConfig.bundle.enabled");
    if bundle.flag() {
        closes(api, &bundle, PLUGIN, PLUGINS);
    }
    for stage in ["prePlugin", "postAuthenticationPlugin", "postPlugin"] {
        // Tyk's older form, and the newer one.
        for list in [global.get(stage).get("plugins"), global.get(&format!("{stage}s"))] {
            if has_entries(&list) {
                closes(api, &list, PLUGIN, PLUGINS);
            }
        }
    }
    let size = global.get("requestSizeLimit");
    if size.get("enabled").flag() {
        size.opened(SIZE);
    }
    for kind in ["operations", "mcpTools", "mcpResources", "mcpPrompts"] {
        for (_, operation) in tyk.get("middleware").get(kind).entries() {
            of_operation(&operation, api);
        }
    }
    let pins = tyk.at("upstream.certificatePinning");
    if pins.get("enabled").flag() {
        pins.opened(PINS);
    }
    own_port(&tyk.at("server.port"), api, port);
}

fn of_operation(operation: &At<'_>, api: &mut Api) {
    for (name, what, instead) in [
        ("allow", "which paths are allowed", PATHS),
        ("block", "which paths are allowed", PATHS),
        ("internal", "which paths are allowed", PATHS),
        ("virtualEndpoint", PLUGIN, PLUGINS),
        ("scopeCheck", "the scopes of tokens", "check them with envoy.filters.http.jwt_authn and rbac before tollbell"),
    ] {
        let enabled = operation.get(name).get("enabled");
        if enabled.flag() {
            closes(api, &enabled, what, instead);
        }
    }
    let plugins = operation.get("postPlugins");
    if has_entries(&plugins) {
        closes(api, &plugins, PLUGIN, PLUGINS);
    }
    for (name, instead) in [
        ("validateRequest", FORM),
        ("requestSizeLimit", SIZE),
        ("rateLimit", RATE),
        ("circuitBreaker", BREAKER),
        ("mockResponse", MOCK),
    ] {
        let setting = operation.get(name);
        if setting.get("enabled").flag() {
            setting.opened(instead);
        }
    }
}

/// In Tyk, clients of the other port do not reach the API.
fn own_port(at: &At<'_>, api: &mut Api, port: u16) {
    let own = at.whole().unwrap_or_default();
    if own == 0 || own == i64::from(port) {
        at.carried();
    } else if api.use_keyless {
        let instead = "make sure that every client of the listener may call it, or give it a listener of its own";
        closes(api, at, "who reaches its own port, and it asks for no key", instead);
    } else {
        at.opened(
            "Clients of the listener's port reach it, with a key. To separate it, give it a listener of its own.",
        );
    }
}

/// The restrictions of tyk.conf.
pub(super) fn of_gateway(conf: &At<'_>) {
    for (path, instead) in [("http_server_options.max_request_body_size", SIZE), ("security.pinned_public_keys", PINS)]
    {
        let at = conf.at(path);
        if at.is_set() {
            at.opened(instead);
        }
    }
}
