//! API definitions in OpenAPI form, with `x-tyk-api-gateway`.

use tollbell_core::config::raw::GlobalRateLimit;

use super::Context;
use super::api::{self, Api, Auth, closes};
use super::classic::{ADDRESSES, CERTIFICATES, certificate, expiry, limited};
use super::handlers::{Handlers, duration};
use super::places::{Absent, Host};
use super::source::At;
use super::{unchecked, versions};

const ELSEWHERE: &str = "put the Envoy filter that checks it (jwt_authn, basic_auth or ext_authz) before tollbell, and \
                         let the API's identity be what that filter found out";

/// The API of a definition. An error means that the API is left out, which was reported; it contains the API's place in
/// Tyk.
pub(super) fn read(root: &At<'_>, context: &Context<'_>) -> Result<Api, Option<Absent>> {
    let tyk = root.get("x-tyk-api-gateway");
    let (info, server) = (tyk.get("info"), tyk.get("server"));
    for (setting, why) in [("state.active", "it is not active"), ("state.internal", "it is internal to Tyk")] {
        let at = info.at(setting);
        if setting == "state.internal" && at.flag() && context.is_version(info.get("id").words()) {
            at.carried();
            continue;
        }
        if at.value().is_some() && at.flag() == (setting == "state.internal") {
            root.left_out(format!("the API is left out: {why}"));
            return Err(None);
        }
        at.carried();
    }
    if root.get("x-tyk-streaming").is_set() && tyk.at("upstream.url").words().is_empty() {
        let (path, custom) = (server.at("listenPath.value"), server.get("customDomain"));
        let off = custom.is_set() && !custom.get("enabled").flag();
        let place = context.place(root, (&custom.get("name"), off), &path, info.get("name").words());
        root.left_out("the API is left out: it is served by Tyk Streams, and has no upstream");
        return Err(place.map_or_else(
            |absent| absent,
            |(host, path)| Some(Absent::at(Host::Name(host), &path, info.get("name").words())),
        ));
    }
    for described in ["openapi", "info", "paths", "components", "tags", "security", "servers", "externalDocs"] {
        root.get(described).missing("nothing to do: it describes the API for its users and for Tyk's middleware");
    }
    let path = server.at("listenPath.value");
    let custom = server.get("customDomain");
    let is_off = custom.is_set() && !custom.get("enabled").flag();
    custom.get("enabled").carried();
    let (domain, listen_path) = context.place(root, (&custom.get("name"), is_off), &path, info.get("name").words())?;
    let mut api = Api { place: path.place(), listen_path, domain, ..Api::default() };
    let id = info.get("id");
    if id.words().is_empty() {
        id.error("missing: keys and policies name an API by it");
    }
    for (name, text) in [("id", &mut api.id), ("name", &mut api.name), ("orgId", &mut api.org_id)] {
        *text = info.get(name).words().to_owned();
        info.get(name).carried();
    }
    info.get("dbId").missing("nothing to do: it is the id in Tyk's own database");
    api.strip_listen_path = server.at("listenPath.strip").flag();
    server.at("listenPath.strip").carried();
    authentication(root, &server.get("authentication"), &mut api, context);
    api.allows_preflight = api::preflight(&tyk.at("middleware.global.cors.optionsPassthrough"));
    restrictions(&tyk, &mut api);
    unchecked::of_oas(&tyk, &mut api, context.gateway.port);
    expiry(&info.get("expiration"), "the API's end", &mut api, context.now);
    let versioning = info.get("versioning");
    if versioning.get("enabled").flag() {
        versions::of_apis_oas(&versioning, &mut api, context);
    }
    api.internal = info.at("state.internal").flag();
    api.rate_limit = rate_limit(&tyk.at("upstream.rateLimit"));
    api.handlers = Handlers::oas(&server.get("eventHandlers"), &context.templates);
    if api.versions.is_none() {
        let handlers = server.get("eventHandlers").items();
        let of_versions = handlers.into_iter().filter(|handler| handler.get("trigger").words() == "VersionFailure");
        api.handlers.without_versions(&of_versions.collect::<Vec<_>>());
    }
    upstream(&tyk.get("upstream"), &mut api, context);
    Ok(api)
}

fn authentication(root: &At<'_>, at: &At<'_>, api: &mut Api, context: &Context<'_>) {
    at.get("enabled").carried();
    at.get("stripAuthorizationData").carried();
    api.use_keyless = !at.get("enabled").flag();
    api.strip_authorization_data = at.get("stripAuthorizationData").flag();
    if api.use_keyless {
        return;
    }
    for (setting, what) in [("hmac", "HTTP signatures"), ("oidc", "OpenID tokens"), ("custom", "the rules of a plugin")]
    {
        let enabled = at.get(setting).get("enabled");
        if enabled.flag() {
            closes(api, &enabled, what, ELSEWHERE);
        }
    }
    let mut token = None;
    for (name, scheme) in at.get("securitySchemes").entries() {
        let native = root.at("components.securitySchemes").get(name);
        if !scheme.get("enabled").flag() {
            scheme.missing("nothing to do: it is not enabled");
            continue;
        }
        if native.get("type").words() == "apiKey" && token.is_none() {
            let signature = scheme.at("signature.enabled");
            if signature.flag() {
                closes(api, &signature, "the signature beside a key", ELSEWHERE);
            }
            certificate(&scheme.get("enableClientCertificate"), api, context);
            scheme.get("enabled").carried();
            token = Some(key_location(&native, &scheme));
        } else {
            let what = match (native.get("type").words(), native.get("scheme").words()) {
                ("apiKey", _) => "a second key",
                ("oauth2", _) => "OAuth tokens",
                (_, "basic") => "user names and passwords",
                (_, "bearer") => "JWTs",
                _ => "this way to authenticate",
            };
            closes(api, &scheme.get("enabled"), what, ELSEWHERE);
        }
    }
    api.auth = token.unwrap_or(Auth { header: "Authorization".to_owned(), ..Auth::default() });
}

/// The OpenAPI part says where a key is, and Tyk's own part names further places.
fn key_location(native: &At<'_>, scheme: &At<'_>) -> Auth {
    native.get("in").carried();
    native.get("name").carried();
    native.get("type").carried();
    let place = |kind: &str, source: &str, default: &str| {
        let at = scheme.get(source);
        at.get("enabled").carried();
        at.get("name").carried();
        let is_native = native.get("in").words() == kind;
        let name = if is_native { native.get("name").words() } else { at.get("name").words() };
        (is_native || at.get("enabled").flag()).then(|| if name.is_empty() { default } else { name }.to_owned())
    };
    let header = place("header", "header", "Authorization");
    // Tyk gives a parameter or a cookie without a name the name of the header, if the header is used.
    let default = header.as_deref().unwrap_or("Authorization");
    let (param, cookie) = (place("query", "query", default), place("cookie", "cookie", default));
    Auth { param, cookie, header: header.unwrap_or_default() }
}

fn restrictions(tyk: &At<'_>, api: &mut Api) {
    let certificates = tyk.at("server.clientCertificates.enabled");
    if certificates.flag() {
        closes(api, &certificates, "client certificates", CERTIFICATES);
    }
    let addresses = tyk.at("server.ipAccessControl.enabled");
    if addresses.flag() {
        closes(api, &addresses, "the client's address", ADDRESSES);
    }
}

/// `per` is a duration here, such as `1m`.
fn rate_limit(at: &At<'_>) -> Option<GlobalRateLimit> {
    let (enabled, rate, per) = (at.get("enabled"), at.get("rate"), at.get("per"));
    if per.value().is_some_and(serde_json::Value::is_number) {
        return limited(&rate, &per, &at.get("disabled"));
    }
    // Tyk counts fractions of a second, too.
    let seconds = duration(per.words()).unwrap_or_default();
    if rate.whole().unwrap_or_default() <= 0 || seconds <= 0.0 {
        return None;
    }
    rate.carried();
    enabled.carried();
    per.changed(format!("{seconds}, the same in seconds"));
    Some(GlobalRateLimit { disabled: !enabled.flag(), rate: rate.number()?, per: seconds })
}

fn upstream(at: &At<'_>, api: &mut Api, context: &Context<'_>) {
    let preserve = at.at("preserveHostHeader.enabled");
    let insecure = at.at("tlsTransport.insecureSkipVerify");
    insecure.carried();
    api.upstream.insecure = insecure.flag() || context.insecure;
    at.at("preserveTrailingSlash.enabled").carried();
    api.upstream.keeps_slash = at.at("preserveTrailingSlash.enabled").flag();
    let balancing = at.get("loadBalancing");
    let mut targets = Vec::new();
    if balancing.get("enabled").flag() && balancing.get("targets").is_set() {
        balancing.get("enabled").carried();
        for item in balancing.get("targets").items() {
            let weight = item.get("weight");
            weight.carried();
            let weight = if weight.value().is_some() { weight.whole().unwrap_or(1) } else { 1 };
            if let Some(target) = api::target(&item.get("url"), api).filter(|_| weight > 0) {
                targets.push((item.get("url"), api::Target { weight, ..target }));
            }
        }
        at.get("url").missing("nothing to do: the targets of the list are used instead, as in Tyk");
        if targets.is_empty() {
            balancing.get("targets").error("none of the targets can be used");
        }
    } else if at.get("url").words().is_empty() {
        at.get("url").error("missing: there is nowhere to send requests");
    } else {
        targets.extend(api::target(&at.get("url"), api).map(|target| (at.get("url"), target)));
    }
    api.upstream.targets = api::balance(targets);
    api::preserve_host(&preserve, &mut api.upstream);
}
