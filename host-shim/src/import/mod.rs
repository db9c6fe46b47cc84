//! Tyk's files in, an Envoy configuration with tollbell out, and a report of what became of every setting.
//!
//! ```text
//! tyk.conf ────────▶ gateway ──┐
//! apps/*.json ─▶ classic │ oas ├▶ tollbell's configuration ─▶ envoy ─▶ YAML
//! policies, keys ─▶ sessions ──┘
//! ```
//!
//! What protects an API or narrows a key in Tyk, and has no equivalent, closes the API and leaves the key out: nothing
//! becomes more open than it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use serde_json::{Map, Value};

mod advice;
mod api;
mod classic;
mod envoy;
mod gateway;
mod handlers;
mod names;
mod oas;
mod report;
mod rights;
mod sessions;
mod source;
mod templates;
#[cfg(test)]
mod tests;
mod yaml;

use self::advice::Kind;
use self::api::Api;
use self::envoy::Site;
use self::gateway::Gateway;
use self::rights::{Callable, Callables};
use self::sessions::{Policies, Sessions};
use self::source::{At, Errors, File};
use self::templates::Templates;
use self::yaml::{Yaml, map};

/// Which files to read.
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
    /// Where `template_path`s are looked for; by default in the folder of tyk.conf, and in its `template_path`.
    pub templates: Option<PathBuf>,
}

/// What was made of them.
#[derive(Clone, Debug)]
pub struct Imported {
    /// An Envoy configuration.
    pub yaml: String,
    /// What became of every setting. It shows no secret, and of keys their SHA-256.
    pub report: String,
}

/// What definitions are read with.
struct Context<'c> {
    templates: Templates,
    gateway: &'c Gateway,
    insecure: bool,
    now: DateTime,
}

impl Context<'_> {
    /// The domain of an API, empty for any host. `None`: the API is left out, which was reported.
    fn domain(&self, whole: &At<'_>, at: &At<'_>, is_off: bool) -> Option<String> {
        let own = if is_off { "" } else { at.words() };
        if !own.is_empty() && !self.gateway.has_custom_domains {
            at.missing("nothing to do: Tyk does not look at it without enable_custom_domains in tyk.conf");
        } else if !own.is_empty() {
            let Some(domain) = api::domain(own) else {
                whole.missing("the API is left out: its domain is a pattern; give it one host, or one API for each");
                return None;
            };
            at.carried();
            return Some(domain);
        }
        Some(self.gateway.host_name.clone())
    }
}

/// Reads Tyk's files and makes a configuration of them. With `verbose`, the report lists every setting by itself.
///
/// # Errors
/// Everything that is wrong with the files, each with its file and place. Nothing is made of files with an error.
pub fn import(files: &Files, verbose: bool) -> Result<Imported, Vec<String>> {
    let errors = Errors::default();
    let conf = read(&files.conf, &errors).filter(|conf| is_object(&files.conf, conf, &errors)).unwrap_or_default();
    let conf = File::new(files.conf.display().to_string(), conf, &errors);
    let gateway = Gateway::read(&conf.root());
    let folder = files.conf.parent().unwrap_or(Path::new(""));
    let template_path = conf.root().get("template_path").words();
    let context = Context {
        templates: Templates::new(files.templates.as_deref(), folder, template_path),
        gateway: &gateway,
        insecure: gateway.insecure,
        now: jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime(),
    };
    let definitions = definitions(&files.apps, &errors);
    let mut apis: Vec<Api> = Vec::new();
    for file in &definitions {
        let root = file.root();
        let is_oas = root.get("x-tyk-api-gateway").value().is_some();
        apis.extend(if is_oas { oas::read(&root, &context) } else { classic::read(&root, &context) });
    }
    check_places(&apis, &errors);
    let callable = |api: &Api| Callable { org_id: api.org_id.clone(), version: api.version.clone() };
    let callables: Callables = apis.iter().map(|api| (api.id.clone(), callable(api))).collect();

    let policy_file = files.policies.as_deref().map(|path| {
        let policies = policies(path, gateway.allows_explicit_policy_ids, &errors);
        File::new(path.display().to_string(), policies, &errors)
    });
    let policies = policy_file.as_ref().map(|file| Policies::read(file, &callables)).unwrap_or_default();
    let mut orgs: BTreeSet<String> = apis.iter().map(|api| api.org_id.clone()).collect();
    orgs.extend(policies.orgs.iter().cloned());
    orgs.remove("");
    let key_file = files.keys.as_deref().and_then(|path| {
        let name = path.display().to_string();
        let (sorted, known) = names::sort(&name, read(path, &errors)?, gateway.hash_keys, &orgs, &errors);
        Some((File::new(name, sorted, &errors), known))
    });
    let sessions = key_file.as_ref().map(|(file, known)| Sessions::read(file, known, &policies, &callables));
    let sessions = sessions.unwrap_or_default();
    orgs.extend(sessions.named.iter().filter(|org| !org.is_empty()).cloned());

    if gateway.enforce_org_quotas && sessions.orgs.is_empty() {
        conf.root().get("enforce_org_quotas").changed(
            "it is set, and there is nothing to enforce: the key export has no session of an organisation (orgkey-<id>)",
        );
    }
    let kept: BTreeSet<String> = sessions.keys.keys().cloned().collect();
    let mut taken = BTreeSet::new();
    let sites: Vec<Site> = apis.iter().map(|api| Site::new(api, &mut taken)).collect();
    let tollbell = tollbell(&conf, &gateway, context.templates, apis, (policies, sessions, orgs));
    let found = errors.take();
    if !found.is_empty() {
        return Err(found);
    }
    let mut sections = vec![section(&conf, Kind::Gateway, verbose)];
    sections.extend(definitions.iter().map(|file| section(file, Kind::Api, verbose)));
    sections.extend(policy_file.iter().map(|file| section(file, Kind::Sessions, verbose)));
    if let Some((file, known)) = &key_file {
        sections.push(section(file, Kind::Sessions, verbose) + &about_keys(&file.name, known, &kept));
    }
    Ok(Imported { yaml: envoy::write(&gateway, &sites, &tollbell), report: sections.join("\n") })
}

fn section(file: &File, kind: Kind, verbose: bool) -> String {
    report::section(&file.name, &file.settings(|path| advice::advice(kind, path)), verbose)
}

/// Of keys that were made by hand, Tyk takes the name that was chosen, and its own name for them.
fn about_keys(file: &str, known: &names::Known, kept: &BTreeSet<String>) -> String {
    let custom = known.custom().filter(|name| kept.contains(*name)).map(|name| {
        format!(
            "  changed        {file}: keys[{name:?}]: made by hand: it is the part that was chosen, which clients send, and \
             no longer Tyk's own name for it, too
"
        )
    });
    format!(
        "{}  Keys are written as their SHA-256: the configuration shows none.
",
        custom.collect::<String>()
    )
}

fn tollbell(
    conf: &File,
    gateway: &Gateway,
    templates: Templates,
    apis: Vec<Api>,
    (policies, sessions, named): (Policies, Sessions, BTreeSet<String>),
) -> Yaml {
    let shared = gateway::handlers(&conf.root(), &templates);
    let is_heard = shared.hear_of_triggers() || apis.iter().any(|api| api.handlers.hear_of_triggers());
    let monitor = gateway::monitor(&conf.root(), &templates, is_heard);
    let wants_upstream = shared.want_upstream();
    let apis: Vec<Yaml> = apis.into_iter().map(|api| api.into_yaml(wants_upstream)).collect();
    let mut orgs = sessions.orgs;
    if !orgs.is_empty() {
        // Where organisations are configured, every one that is named must be.
        for org in named {
            orgs.entry(org).or_insert_with(|| map([]));
        }
    }
    let by_name = |map: BTreeMap<String, Yaml>| Yaml::Map(map.into_iter().collect());
    let is_filled = |value: &Yaml| !matches!(value, Yaml::Map(entries) if entries.is_empty());
    let parts = [
        ("apis", Some(apis.into())),
        ("event_handlers", (!shared.is_empty()).then(|| shared.into_yaml())),
        ("policies", Some(by_name(policies.kept))),
        ("keys", Some(by_name(sessions.keys))),
        ("orgs", Some(by_name(orgs))),
        ("enforce_org_quotas", gateway.enforce_org_quotas.then(|| true.into())),
        ("monitor", monitor),
        ("rate_limit_headers", Some("legacy".into())),
        ("templates", Some(templates.into_yaml())),
    ];
    map(parts.into_iter().filter_map(|(name, value)| Some((name, value?))).filter(|(_, value)| is_filled(value)))
}

/// Two APIs at one place, or of one id, are a mistake in Tyk, too.
fn check_places(apis: &[Api], errors: &Errors) {
    let (mut ids, mut places) = (BTreeMap::new(), BTreeMap::new());
    for api in apis {
        if let Some(first) = ids.insert(&api.id, &api.place).filter(|_| !api.id.is_empty()) {
            errors.add(format!("{}: its api_id {:?} is that of {first} too", api.place, api.id));
        }
        // `/orders/` also serves `/orders`.
        let path = api.listen_path.trim_end_matches('/');
        if let Some(first) = places.insert((&api.domain, path), &api.place) {
            errors.add(format!("{}: {first} has the same domain and listen path", api.place));
        }
    }
}

/// The definitions of a folder, in the order of their names.
fn definitions(folder: &Path, errors: &Errors) -> Vec<File> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            errors.add(format!("{}: the folder of API definitions cannot be read: {error}", folder.display()));
            return Vec::new();
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_json = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let mut paths: Vec<PathBuf> = paths.filter(is_json).collect();
    paths.sort();
    if paths.is_empty() {
        errors.add(format!("{}: there is no *.json in it", folder.display()));
    }
    let all = paths.clone();
    // Of a pair, Tyk's own file repeats what the OAS file says.
    let is_repeated = |path: &PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        all.contains(&path.with_file_name(format!("{stem}-oas.json")))
    };
    paths.retain(|path| !is_repeated(path));
    let mut files = Vec::new();
    for path in paths {
        let Some(root) = read(&path, errors).filter(|root| is_object(&path, root, errors)) else { continue };
        let is_definition = ["x-tyk-api-gateway", "proxy", "api_id"].into_iter().any(|part| root.get(part).is_some());
        if is_definition {
            files.push(File::new(path.display().to_string(), root, errors));
        } else {
            errors.add(format!("{}: neither a classic API definition nor an OAS one of Tyk's", path.display()));
        }
    }
    files
}

/// Policies by id, as the gateway's file and the dashboard's answers have them.
fn policies(path: &Path, allows_explicit_ids: bool, errors: &Errors) -> Value {
    let root = read(path, errors).unwrap_or_default();
    let listed =
        ["Data", "Message"].into_iter().find_map(|name| root.get(name).filter(|list| list.is_array()).cloned());
    let list = match listed.unwrap_or(root) {
        Value::Array(list) => list,
        object @ (Value::Object(_) | Value::Null) => return object,
        _ => {
            errors.add(format!("{}: must be an object of policies by id, or a list", path.display()));
            return Value::Null;
        }
    };
    let mut policies = Map::new();
    for (index, policy) in list.into_iter().enumerate() {
        let id = |name: &str| policy.get(name).and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
        let (own, stored) = (id("id"), id("_id"));
        let id = if allows_explicit_ids { own.or(stored) } else { stored.or(own) };
        match id {
            Some(id) if policies.contains_key(&id) => {
                errors.add(format!("{}: [{index}]: the id {id:?} stands before, too", path.display()));
            }
            Some(id) => {
                policies.insert(id, policy);
            }
            None => errors.add(format!("{}: [{index}]: has neither id nor _id", path.display())),
        }
    }
    Value::Object(policies)
}

fn read(path: &Path, errors: &Errors) -> Option<Value> {
    let name = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            errors.add(format!("{name}: cannot be read: {error}"));
            return None;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            errors.add(format!("{name}:{}: is not JSON: {error}", error.line()));
            None
        }
    }
}

fn is_object(path: &Path, value: &Value, errors: &Errors) -> bool {
    if !value.is_object() {
        errors.add(format!("{}: must be a JSON object", path.display()));
    }
    value.is_object()
}
