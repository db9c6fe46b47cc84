//! An API between Tyk's two forms of definitions and the configuration of tollbell and Envoy.

use http::{HeaderName, Uri};
use tollbell_core::config::raw::{self, GlobalRateLimit, ObserveUpstream};

use super::handlers::Handlers;
use super::source::At;
use super::versions::Versions;

/// The settings of an API that both forms have.
#[derive(Default)]
pub(super) struct Api {
    /// The place for errors: the file and the setting of the listen path.
    pub(super) place: String,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) org_id: String,
    pub(super) listen_path: String,
    /// True if it serves only whole segments after the listen path.
    pub(super) is_strict: bool,
    /// Empty for any host.
    pub(super) domain: String,
    pub(super) strip_listen_path: bool,
    pub(super) use_keyless: bool,
    pub(super) auth: Auth,
    /// True if a browser's preflight request passes without a key.
    pub(super) allows_preflight: bool,
    pub(super) strip_authorization_data: bool,
    pub(super) rate_limit: Option<GlobalRateLimit>,
    pub(super) handlers: Handlers,
    pub(super) upstream: Upstream,
    /// The served version, if no request can name another one.
    pub(super) version: Option<String>,
    /// The versions, if requests name them.
    pub(super) versions: Option<Versions>,
    /// True if it is reachable only as a version of other APIs.
    pub(super) internal: bool,
    /// Its protections in Tyk that are not carried over. Such an API refuses everything.
    pub(super) closed: Vec<String>,
}

/// The places of the key.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Auth {
    /// Empty for none.
    pub(super) header: String,
    pub(super) param: Option<String>,
    pub(super) cookie: Option<String>,
}

/// The target of requests.
#[derive(Clone, Default)]
pub(super) struct Upstream {
    pub(super) targets: Vec<Target>,
    pub(super) preserve_host: bool,
    /// True if a slash at the end of the target's path stays when nothing follows it.
    pub(super) keeps_slash: bool,
    /// True if certificates are not verified.
    pub(super) insecure: bool,
}

/// One of an upstream's hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) https: bool,
    pub(super) http2: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// The path without a slash at its end.
    pub(super) base_path: String,
    /// The path of a request for the listen path alone, if the listen path is stripped.
    pub(super) root: String,
    pub(super) weight: i64,
}

impl Target {
    /// The authority in the form of a `Host` header.
    pub(super) fn authority(&self) -> String {
        match (self.https, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// The reason why an API is closed, and how to open it again.
pub(super) fn closes(api: &mut Api, at: &At<'_>, what: &str, instead: &str) {
    api.closed.push(what.to_owned());
    at.missing(format!(
        "The API refuses every request because nothing checks {what}. To open it: {instead}. Then replace its route's \
         direct_response with its cluster."
    ));
}

impl Api {
    /// The API in tollbell's own configuration.
    pub(super) fn into_settings(self) -> raw::Api {
        let mut api = raw::Api { api_id: self.id, name: self.name, org_id: self.org_id, ..raw::Api::default() };
        api.internal = self.internal;
        if !self.internal {
            api.listen_path = self.listen_path;
            api.strict_listen_path = self.is_strict;
            api.domain = self.domain;
        }
        api.versioning = self.versions.map(Versions::into_settings).unwrap_or_default();
        api.use_keyless = self.use_keyless;
        if !self.use_keyless {
            api.auth.auth_header_name = self.auth.header;
            if let Some(name) = self.auth.param {
                (api.auth.use_param, api.auth.param_name) = (true, name);
            }
            if let Some(name) = self.auth.cookie {
                (api.auth.use_cookie, api.auth.cookie_name) = (true, name);
            }
            api.auth.allow_preflight = self.allows_preflight;
        }
        api.strip_authorization_data = self.strip_authorization_data;
        api.global_rate_limit = self.rate_limit.unwrap_or_default();
        api.observe_upstream = ObserveUpstream::Switch(self.handlers.want_upstream());
        api.event_handlers = self.handlers.into_settings();
        api
    }
}

/// Tyk passes every OPTIONS request. tollbell passes those of a browser.
pub(super) fn preflight(at: &At<'_>) -> bool {
    if at.flag() {
        at.changed(
            "auth.allow_preflight: a browser's preflight request passes without a key; another OPTIONS needs one",
        );
    }
    at.flag()
}

/// The places in which Tyk looks for a key. A parameter or a cookie counts only if it is switched on, whatever its name
/// is.
pub(super) fn auth(
    header: &At<'_>,
    is_header_off: bool,
    param: (&At<'_>, &At<'_>),
    cookie: (&At<'_>, &At<'_>),
) -> Auth {
    let header_name = if header.words().is_empty() { "Authorization" } else { header.words() };
    let default = if is_header_off { "Authorization" } else { header_name };
    let source = |flag: &At<'_>, name: &At<'_>| {
        flag.carried();
        if !flag.flag() {
            name.missing(format!("nothing to do: Tyk ignores it without {}", flag.name()));
            return None;
        }
        name.carried();
        if name.words().is_empty() {
            flag.changed(format!("its name is {default:?}, as in Tyk, because it has no name of its own"));
        }
        Some(if name.words().is_empty() { default } else { name.words() }.to_owned())
    };
    let auth = Auth {
        header: if is_header_off { String::new() } else { header_name.to_owned() },
        param: source(param.0, param.1),
        cookie: source(cookie.0, cookie.1),
    };
    header.carried();
    if is_header_off {
        header.missing("nothing to do: Tyk ignores it with disable_header");
    } else if HeaderName::from_bytes(header_name.as_bytes()).is_err() {
        header.error("is not the name of a header");
    }
    auth
}

/// A target's URL. `None` means that an error was reported.
pub(super) fn target(at: &At<'_>, api: &mut Api) -> Option<Target> {
    let url = at.words();
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let scheme = url.split("://").next().unwrap_or_default().to_ascii_lowercase();
    let (https, http2) = match scheme.as_str() {
        "http" => (false, false),
        "https" => (true, false),
        "h2c" => (false, true),
        "tyk" => {
            closes(api, at, "a way to another API inside Tyk (tyk://)", "name that API's upstream as its target");
            return None;
        }
        _ => {
            at.error("the target is not an http or https URL: write out what Tyk gets from elsewhere");
            return None;
        }
    };
    let rest = url.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let uri: Option<Uri> = format!("http://{rest}").parse().ok();
    let Some((uri, host)) = uri.and_then(|uri| Some((uri.clone(), uri.host()?.to_owned()))) else {
        at.error("the target is not an http or https URL");
        return None;
    };
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let port = host_and_port.rsplit(']').next().unwrap_or_default().rsplit_once(':').map(|(_, port)| port);
    let port = match port.map(str::parse::<u16>) {
        None => {
            if https {
                443
            } else {
                80
            }
        }
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            at.error("the target's port is not valid");
            return None;
        }
    };
    if authority.contains('@') {
        at.missing("the user and password in it: Envoy's credential_injector adds them to requests");
    } else if uri.query().is_some() {
        at.missing("the query in it: an upstream in Envoy has none");
    } else {
        at.carried();
    }
    let base_path = uri.path().trim_end_matches('/').to_owned();
    let root = match base_path.as_str() {
        "" => "/",
        _ if api.upstream.keeps_slash => uri.path(),
        base => base,
    };
    let root = root.to_owned();
    Some(Target { https, http2, host, port, base_path, root, weight: 1 })
}

/// The targets of one cluster, which share scheme and base path. A target that is named twice gets twice the requests.
pub(super) fn balance(targets: Vec<(At<'_>, Target)>) -> Vec<Target> {
    let mut balanced: Vec<Target> = Vec::new();
    for (at, target) in targets {
        let Some(first) = balanced.first() else {
            balanced.push(target);
            continue;
        };
        if (first.https, first.http2, &first.base_path) != (target.https, target.http2, &target.base_path) {
            at.missing(
                "the targets of a cluster share scheme and path, which this one does not: give it its own route",
            );
            continue;
        }
        let same = |other: &&mut Target| other.host == target.host && other.port == target.port;
        match balanced.iter_mut().find(same) {
            Some(other) => other.weight += target.weight,
            None => balanced.push(target),
        }
    }
    if let [only] = balanced.as_mut_slice() {
        only.weight = 1;
    }
    balanced
}

/// Whether the client's Host header goes upstream.
pub(super) fn preserve_host(at: &At<'_>, upstream: &mut Upstream) {
    at.carried();
    upstream.preserve_host = at.flag();
    if at.flag() && !upstream.insecure && upstream.targets.iter().any(|target| target.https) {
        at.changed("the Host header is the target's, because Envoy checks the certificate by that name");
        upstream.preserve_host = false;
    }
}
