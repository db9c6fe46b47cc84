#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod apis;
mod customer;
mod files;
mod keep_going;
mod keys;
mod routes;
mod versions;

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use super::*;
use host_shim::config;

/// The files of a customer, and the import's result as Envoy reads it.
fn customer() -> (Files, Imported, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tyk");
    let files = Files {
        conf: folder.join("tyk.conf"),
        apps: folder.join("apps"),
        policies: Some(folder.join("policies/policies.json")),
        keys: Some(folder.join("keys.json")),
        ..Files::default()
    };
    let imported = import(&files, false).unwrap();
    let loaded = config::parse(&imported.yaml, "imported.yaml", false).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    (files, imported, loaded.dump)
}

fn manager(dump: &Value) -> &Value {
    &dump["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}

fn tollbell_of(dump: &Value) -> &Value {
    &manager(dump)["http_filters"][0]["typed_config"]["config"]["configuration"]["value"]
}

/// Small files in a temporary folder. Dropping this removes it.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, Value)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("import-tyk-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("apps")).unwrap();
        for (name, content) in files {
            let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
            fs::write(folder.join(name), text).unwrap();
        }
        Folder(folder)
    }

    fn import(&self) -> Result<Imported, String> {
        self.import_keeping(false)
    }

    fn import_keeping(&self, keep_going: bool) -> Result<Imported, String> {
        let given = |name: &str| Some(self.0.join(name)).filter(|path| path.exists());
        let files = Files {
            conf: self.0.join("tyk.conf"),
            apps: self.0.join("apps"),
            policies: given("policies.json"),
            keys: given("keys.json"),
            keep_going,
            ..Files::default()
        };
        import(&files, true).map_err(|failed| self.without_place(&failed.errors.join("\n")))
    }

    fn without_place(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.display()), "")
    }

    /// The report and the configuration.
    fn good(&self) -> (String, Value) {
        let imported = self.import().unwrap();
        let loaded = config::parse(&imported.yaml, "imported.yaml", false).expect(&imported.yaml);
        let odd = |warning: &&config::Problem| !warning.path.contains("weighted_clusters");
        assert_eq!(loaded.warnings.iter().filter(odd).count(), 0, "{:?}", loaded.warnings);
        (self.without_place(&imported.report), loaded.dump)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A classic definition with some additional settings.
fn classic(own: Value) -> Value {
    let mut api = json!({
        "api_id": "a", "name": "A", "org_id": "acme", "active": true, "use_standard_auth": true,
        "auth": { "auth_header_name": "Authorization" },
        "proxy": { "listen_path": "/a/", "target_url": "http://up.test/base/", "strip_listen_path": true },
    });
    merge(&mut api, own);
    api
}

fn oas(own: Value) -> Value {
    let mut api = json!({
        "openapi": "3.0.3",
        "components": { "securitySchemes": { "key": { "type": "apiKey", "in": "header", "name": "X-Key" } } },
        "x-tyk-api-gateway": {
            "info": { "id": "o", "name": "O", "orgId": "acme", "state": { "active": true } },
            "server": {
                "listenPath": { "value": "/o/", "strip": true },
                "authentication": { "enabled": true, "securitySchemes": { "key": { "enabled": true } } },
            },
            "upstream": { "url": "https://up.test:8443" },
        },
    });
    merge(&mut api["x-tyk-api-gateway"], own);
    api
}

fn merge(to: &mut Value, from: Value) {
    match (to, from) {
        (Value::Object(to), Value::Object(from)) => {
            from.into_iter().for_each(|(name, value)| merge(to.entry(name).or_insert(Value::Null), value));
        }
        (to, from) => *to = from,
    }
}

fn hosts(dump: &Value) -> &Vec<Value> {
    manager(dump)["route_config"]["virtual_hosts"].as_array().unwrap()
}

/// The routes of a domain's virtual host; `*` for all others.
fn routes<'d>(dump: &'d Value, domain: &str) -> &'d Vec<Value> {
    let host = hosts(dump).iter().find(|host| host["domains"][0] == domain).unwrap();
    host["routes"].as_array().unwrap()
}

/// The route with this kind of match on this path.
fn route<'d>(routes: &'d [Value], kind: &str, path: &str) -> &'d Value {
    routes.iter().find(|route| route["match"][kind] == path).unwrap_or(&Value::Null)
}

/// The result of the routes for a path, in Envoy's order: the cluster (without its prefix) and the path that it gets,
/// or a status.
fn answer(routes: &[Value], path: &str) -> String {
    let regex = |of: &Value| regex::Regex::new(&format!("^(?:{})$", of["regex"].as_str().unwrap())).unwrap();
    let matches = |route: &&Value| {
        let condition = &route["match"];
        let text = |kind: &str| condition[kind].as_str();
        condition.get("headers").is_none()
            && (text("prefix").is_some_and(|prefix| path.starts_with(prefix))
                || text("path") == Some(path)
                || condition.get("safe_regex").is_some_and(|of| regex(of).is_match(path)))
    };
    let Some(route) = routes.iter().find(matches) else { return "nobody".to_owned() };
    if let Some(status) = route["direct_response"]["status"].as_i64() {
        return status.to_string();
    }
    let action = &route["route"];
    let matched = route["match"]["prefix"].as_str().or(route["match"]["path"].as_str()).unwrap_or_default();
    let mut to = path.to_owned();
    if let Some(rewrite) = action["prefix_rewrite"].as_str() {
        to = format!("{rewrite}{}", path.strip_prefix(matched).unwrap());
    }
    if let Some(rewrite) = action.get("regex_rewrite") {
        let pattern = regex::Regex::new(rewrite["pattern"]["regex"].as_str().unwrap()).unwrap();
        to = pattern.replace_all(path, rewrite["substitution"].as_str().unwrap()).into_owned();
    }
    format!("{} {to}", action["cluster"].as_str().unwrap().trim_start_matches("upstream_"))
}
