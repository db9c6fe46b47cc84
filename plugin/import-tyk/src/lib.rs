//! Reads Tyk's files and writes an Envoy configuration with tollbell, and a report on every setting.
//!
//! ```text
//! tyk.conf ────────▶ gateway ──┐
//! apps/*.json ─▶ classic │ oas ├▶ tollbell's configuration ─▶ envoy ─▶ YAML
//! policies, keys ─▶ sessions ──┘
//! ```
//!
//! If a setting protects an API in Tyk and has no equivalent, the API is closed. If it restricts a key, the key is
//! removed. Other refusals of Tyk are in [`unchecked`], and under their own heading in the report.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use tollbell_core::config::raw::{AccessRight, Config, TykTokens};

mod advice;
mod allowed_urls;
mod api;
mod carry;
mod classic;
mod envoy;
mod fields;
mod gateway;
mod handlers;
mod names;
mod oas;
mod places;
mod read;
mod report;
mod rights;
mod routes;
mod sessions;
mod source;
mod templates;
#[cfg(test)]
mod tests;
mod unchecked;
mod versions;
mod yaml;

use self::advice::Kind;
use self::api::Api;
use self::gateway::Gateway;
use self::places::{Absent, Host};
use self::rights::{Callable, Callables};
use self::routes::Site;
use self::sessions::{Policies, Sessions};
use self::source::{At, Errors, File};
use self::templates::Templates;
use self::yaml::Yaml;

/// A JSON value as YAML that every reader reads back unchanged, including those of YAML 1.1.
pub fn yaml_text(value: &serde_json::Value) -> String {
    // Plain data cannot fail.
    yaml::block(&serde_json::from_value(value.clone()).unwrap_or(Yaml::Map(Vec::new())), 0)
}

/// The files to read.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// tyk.conf.
    pub conf: PathBuf,
    /// The folder with the API definitions.
    pub apps: PathBuf,
    /// The policies: an object by id, or a list.
    pub policies: Option<PathBuf>,
    /// The key export: an object of sessions by key.
    pub keys: Option<PathBuf>,
    /// The folder with the files that `template_path` names. By default they are searched in the folder of tyk.conf,
    /// and in its `template_path`.
    pub templates: Option<PathBuf>,
    /// Leaves out parts with an error instead of failing: API definitions as whole files, policies and keys one by one.
    /// An error in tyk.conf still fails.
    pub keep_going: bool,
}

/// The result of an import.
#[derive(Clone, Debug)]
pub struct Imported {
    /// An Envoy configuration.
    pub yaml: String,
    /// The result for every setting. It shows no secret, and only the SHA-256 of keys.
    pub report: String,
    /// The parts that were left out because of an error, each with its file and place. Empty without `keep_going`.
    pub left_out: Vec<String>,
}

/// The errors of a failed import.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", errors.join("\n"))]
pub struct Failed {
    /// The errors, each with its file and place.
    pub errors: Vec<String>,
    /// True if the import would succeed with `keep_going`.
    pub can_keep_going: bool,
}

/// The data that definitions are read with.
struct Context<'c> {
    templates: Templates,
    gateway: &'c Gateway,
    insecure: bool,
    now: DateTime,
    /// The ids of APIs that are versions of other APIs.
    versions: BTreeSet<String>,
    /// Those of these versions that are not left out.
    kept: RefCell<BTreeSet<String>>,
}

impl Context<'_> {
    /// True if an API is a version of another one.
    fn is_version(&self, id: &str) -> bool {
        self.versions.contains(id)
    }

    /// The domain of an API; empty for any host. `None` if the domain is a pattern, so that the API is left out.
    fn domain(&self, at: &At<'_>, is_off: bool) -> Option<String> {
        let own = if is_off { "" } else { at.words() };
        if own.is_empty() {
            return Some(self.gateway.host_name.clone());
        }
        if !self.gateway.has_custom_domains {
            let hosts = match self.gateway.host_name.as_str() {
                "" => "every host".to_owned(),
                name => format!("the host {name}"),
            };
            at.changed(format!(
                "the API is served for {hosts}: Tyk ignores its domain without enable_custom_domains in tyk.conf"
            ));
            return Some(self.gateway.host_name.clone());
        }
        let domain = places::domain(own)?;
        at.carried();
        Some(domain)
    }

    /// The host and listen path of an API. An error has the place of an API that is left out although Tyk serves it.
    fn place(
        &self,
        whole: &At<'_>,
        domain: (&At<'_>, bool),
        path: &At<'_>,
        name: &str,
    ) -> Result<(String, String), Option<Absent>> {
        let host = self.domain(domain.0, domain.1);
        let pattern = || places::host_pattern(domain.0.words());
        let listen_path =
            places::listen_path(whole, path, &|| Some(host.clone().map_or_else(pattern, Host::Name)), name)?;
        match host {
            Some(host) => Ok((host, listen_path)),
            None => {
                whole.left_out(format!(
                    "the API is left out, and its paths are answered with 404 on such hosts: its domain is a pattern ({}); \
                     give it one host, or write one API for each",
                    domain.0.words()
                ));
                Err(Some(Absent::at(pattern(), &listen_path, name)))
            }
        }
    }
}

/// Reads Tyk's files and makes a configuration from them. With `verbose`, the report lists every setting separately.
///
/// # Errors
/// All errors in the files, each with its file and place. Files with an error make the import fail, unless they may be
/// left out.
pub fn import(files: &Files, verbose: bool) -> Result<Imported, Failed> {
    // An error in tyk.conf is fatal. Other errors may be left out.
    let (fatal, errors) = (Errors::default(), Errors::default());
    let conf = read::object(&files.conf, &fatal).unwrap_or_default();
    let conf = File::new(files.conf.display().to_string(), conf, &fatal);
    let gateway = Gateway::read(&conf.root());
    let folder = files.conf.parent().unwrap_or(Path::new(""));
    let template_path = conf.root().get("template_path").words();
    let definitions = read::definitions(&files.apps, &fatal, &errors);
    let context = Context {
        versions: definitions.iter().flat_map(|file| versions::children(&file.root())).collect(),
        kept: RefCell::default(),
        templates: Templates::new(files.templates.as_deref(), folder, template_path),
        gateway: &gateway,
        insecure: gateway.insecure,
        now: jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime(),
    };
    let (apis, absent) = apis(&definitions, &context, &errors);
    if apis.is_empty() && errors.len() > 0 {
        fatal.add(format!("{}: no API is left", files.apps.display()));
    }
    let callable = |api: &Api| {
        let carried = api.versions.as_ref().map(versions::Versions::names);
        let versions = carried.unwrap_or_else(|| api.version.clone().into_iter().collect());
        Callable { org_id: api.org_id.clone(), matches_anywhere: gateway.matches_anywhere, versions }
    };
    let callables: Callables = apis.iter().map(|api| (api.id.clone(), callable(api))).collect();

    let policy_file = files.policies.as_deref().map(|path| {
        let (policies, twice) = read::policies(path, gateway.allows_explicit_policy_ids, &errors);
        (File::new(path.display().to_string(), policies, &errors), twice)
    });
    let policies = policy_file.as_ref().map(|(file, twice)| Policies::read(file, twice, &callables));
    let policies = policies.unwrap_or_default();
    let mut orgs: BTreeSet<String> = apis.iter().map(|api| api.org_id.clone()).collect();
    orgs.extend(policies.orgs.iter().cloned());
    orgs.remove("");
    let key_file = files.keys.as_deref().and_then(|path| {
        let name = path.display().to_string();
        let (sorted, unusable) = names::sort(&name, read::json(path, &errors)?, &gateway.naming, &orgs, &errors);
        Some((File::new(name, sorted, &errors), unusable))
    });
    let sessions = key_file.as_ref().map(|(file, unusable)| Sessions::read(file, unusable, &policies, &callables));
    let sessions = sessions.unwrap_or_default();
    orgs.extend(sessions.named.iter().filter(|org| !org.is_empty()).cloned());

    if gateway.enforce_org_quotas && sessions.orgs.is_empty() {
        conf.root().get("enforce_org_quotas").changed(
            "it is set, and there is nothing to enforce: the key export has no session of an organisation (orgkey-<id>)",
        );
    }
    let mut taken = BTreeSet::new();
    let sites = Site::of(&apis, &mut taken);
    let tollbell = tollbell(&conf, &gateway, context.templates, apis, (policies, sessions, orgs));
    let left_out = left_out(files.keep_going, &fatal, &errors)?;
    let mut sections = vec![section(&conf, Kind::Gateway, verbose)];
    sections.extend(definitions.iter().map(|file| section(file, Kind::Api, verbose)));
    sections.extend(policy_file.iter().map(|(file, _)| section(file, Kind::Sessions, verbose)));
    if let Some((file, _)) = &key_file {
        let about = "  The configuration shows no key: it names each by its SHA-256.\n";
        sections.push(section(file, Kind::Sessions, verbose) + about);
    }
    let report = report::left_out(&left_out) + &sections.join("\n");
    Ok(Imported { yaml: envoy::write(&gateway, &sites, &absent, &tollbell), report, left_out })
}

/// The APIs of the definitions, and the places of those that are left out. A file with an error has no API.
fn apis(definitions: &[File], context: &Context<'_>, errors: &Errors) -> (Vec<Api>, Vec<Absent>) {
    let (mut found, mut absent) = (Vec::new(), Vec::new());
    let read = |file: &File| {
        let root = file.root();
        let is_oas = root.get("x-tyk-api-gateway").value().is_some();
        if is_oas { oas::read(&root, context) } else { classic::read(&root, context) }
    };
    // An API finds its versions among those that were read before it.
    let (bases, others): (Vec<_>, Vec<_>) =
        definitions.iter().enumerate().partition(|(_, file)| !versions::children(&file.root()).is_empty());
    for (place, file) in others.into_iter().chain(bases) {
        match read(file) {
            Ok(api) => {
                context.kept.borrow_mut().insert(api.id.clone());
                found.push((place, file, api));
            }
            Err(place) => absent.extend(place),
        }
    }
    found.sort_by_key(|(place, ..)| *place);
    let found: Vec<(&File, Api)> = found.into_iter().map(|(_, file, api)| (file, api)).collect();
    places::check(&found);
    let mut apis = Vec::new();
    for (file, mut api) in found {
        // In Tyk's router, a slash at the end belongs to the listen path.
        let is_folder = api.listen_path.ends_with('/');
        api.is_strict = if is_folder { api.listen_path != "/" } else { context.gateway.has_strict_routes };
        match file.errors() {
            0 => apis.push(api),
            _ => {
                file.root().left_out("the file is left out: see the beginning of the report");
                // An internal API has no place that would be free now.
                if !api.internal {
                    absent.push(Absent::of(&api));
                }
            }
        }
    }
    definitions.iter().for_each(|file| errors.add_all(file.take_errors()));
    let ids: BTreeSet<String> = apis.iter().map(|api| api.id.clone()).collect();
    apis.iter_mut().filter_map(|api| api.versions.as_mut()).for_each(|versions| versions.keep(&ids));
    (apis, absent)
}

/// The errors that may be left out.
fn left_out(keeps_going: bool, fatal: &Errors, errors: &Errors) -> Result<Vec<String>, Failed> {
    let (fatal, errors) = (fatal.take(), errors.take());
    let can_keep_going = fatal.is_empty();
    if can_keep_going && (keeps_going || errors.is_empty()) {
        return Ok(errors);
    }
    Err(Failed { errors: [fatal, errors].concat(), can_keep_going })
}

fn section(file: &File, kind: Kind, verbose: bool) -> String {
    report::section(&file.name, &file.settings(|path| advice::advice(kind, path)), verbose)
}

/// Makes tollbell's own configuration.
fn tollbell(
    conf: &File,
    gateway: &Gateway,
    templates: Templates,
    apis: Vec<Api>,
    (policies, sessions, named): (Policies, Sessions, BTreeSet<String>),
) -> Yaml {
    gateway::handlers(&conf.root());
    let monitor = gateway::monitor(&conf.root(), &templates);
    let has_monitor = monitor.is_some();
    // Envoy trusts the last entry of X-Forwarded-For that does not come from the operator's own proxies.
    let origin = match gateway.trusted_hops {
        0 => vec!["X-Real-IP".to_owned(), "X-Forwarded-For".to_owned()],
        _ => vec!["X-Real-IP".to_owned()],
    };
    let mut orgs = sessions.orgs;
    if !orgs.is_empty() {
        // If organisations are configured, a named organisation must be one of them.
        for org in named {
            orgs.entry(org).or_default();
        }
    }
    let has_tokens = !sessions.keys.is_empty() && !gateway.naming.forms.is_empty();
    let config = Config {
        apis: apis.into_iter().map(Api::into_settings).collect(),
        unmatched: "refuse".to_owned(),
        policies: policies.kept.into_iter().collect(),
        tyk_tokens: if has_tokens { gateway.naming.tokens() } else { TykTokens::default() },
        keys: sessions.keys.into_iter().collect(),
        orgs: orgs.into_iter().collect(),
        enforce_org_quotas: gateway.enforce_org_quotas,
        monitor: monitor.unwrap_or_default(),
        rate_limit_headers: gateway.limit_headers.to_owned(),
        origin_header: origin,
        templates: templates.into_named(),
        ..Config::default()
    };
    let mut yaml = Yaml::of(&config);
    show_defaults(&config, has_monitor, has_tokens, &mut yaml);
    yaml
}

/// Writes a setting even if it has its default.
macro_rules! show {
    ($yaml:expr, $owner:expr, $field:ident) => {
        *$yaml.member(&$owner, stringify!($field)) = Yaml::of(&$owner.$field)
    };
    ($yaml:expr, $owner:expr, $field:ident . $($inner:ident).+) => {
        show!($yaml.member(&$owner, stringify!($field)), $owner.$field, $($inner).+)
    };
}

/// The values of a list or a map of settings.
macro_rules! values {
    ($yaml:expr, $owner:expr, $field:ident) => {{
        let is_there = !$owner.$field.is_empty();
        is_there.then(|| $yaml.member(&$owner, stringify!($field)).values_mut()).into_iter().flatten()
    }};
}

/// Settings that Tyk's files contain are written even if they have their default, and so are required ones.
fn show_defaults(config: &Config, has_monitor: bool, has_tokens: bool, yaml: &mut Yaml) {
    show!(yaml, *config, rate_limit_headers);
    if has_monitor {
        show!(yaml, *config, monitor.enable_trigger_monitors);
        show!(yaml, *config, monitor.monitor_user_keys);
        show!(yaml, *config, monitor.monitor_org_keys);
    }
    if has_tokens {
        show!(yaml, *config, tyk_tokens.min_token_length);
    }
    for (api, yaml) in config.apis.iter().zip(values!(yaml, *config, apis)) {
        if !api.internal {
            show!(yaml, *api, listen_path);
        }
        if !api.use_keyless {
            show!(yaml, *api, auth.auth_header_name);
            if api.auth.use_param {
                show!(yaml, *api, auth.param_name);
            }
        }
    }
    for (session, yaml) in config.keys.values().zip(values!(yaml, *config, keys)) {
        session.access_rights.values().zip(values!(yaml, *session, access_rights)).for_each(show_methods);
    }
    for (policy, yaml) in config.policies.values().zip(values!(yaml, *config, policies)) {
        policy.access_rights.values().zip(values!(yaml, *policy, access_rights)).for_each(show_methods);
    }
}

/// A rule of `allowed_urls` without methods allows none, so the methods must be written.
fn show_methods((right, yaml): (&AccessRight, &mut Yaml)) {
    for (rule, yaml) in right.allowed_urls.iter().zip(values!(yaml, *right, allowed_urls)) {
        show!(yaml, *rule, methods);
    }
}
