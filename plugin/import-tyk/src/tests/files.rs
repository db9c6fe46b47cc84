use super::*;

#[test]
fn a_missing_template_is_reported_with_its_folders() {
    let errors = Errors::default();
    let file = File::new("tyk.conf".to_owned(), json!({ "template_path": "nope.json" }), &errors);
    Templates::new(None, Path::new(""), "").resolve(&file.root().get("template_path"));
    Templates::new(None, Path::new(""), "mine").resolve(&file.root().get("template_path"));
    let told = errors.take().join("\n");
    assert!(told.contains("is not in .;") && told.contains("is not in . or ./mine;"), "{told}");
}

#[test]
fn all_broken_files_are_reported_at_once() {
    let hook = |template: &str| {
        json!({ "events": { "KeyExpired": [{ "handler_name": "eh_web_hook_handler",
        "handler_meta": { "target_path": "http://h.test", "template_path": template } }] } })
    };
    let folder = Folder::new(&[
        ("tyk.conf", json!({ "listen_port": 99999, "hash_keys": "yes", "monitor": 5 })),
        ("apps/a.json", json!("{\n  \"api_id\": \"a\",\n}")),
        ("apps/b.json", classic(json!({ "event_handlers": hook("templates/none.json") }))),
        ("apps/c.json", classic(json!({ "proxy": { "target_url": "env://TARGET" } }))),
        ("apps/d.json", json!({ "policies": {} })),
        (
            "apps/f.json",
            classic(
                json!({ "api_id": "f", "auth": { "auth_header_name": "X Key" }, "proxy": { "listen_path": "/f" } }),
            ),
        ),
        ("apps/g.json", classic(json!({ "api_id": "g", "proxy": { "listen_path": "/f" } }))),
        ("apps/e.json", classic(json!({ "api_id": "", "proxy": { "listen_path": "/e/", "target_url": "" } }))),
        (
            "policies.json",
            json!([{ "name": "nameless" }, { "id": "p", "quota_max": "many" }, { "id": "q", "tags": [1] }]),
        ),
        ("keys.json", json!({ "secret-key": { "expires": "never" }, "other-key": 7 })),
    ]);
    let errors = folder.import().unwrap_err();
    let key = names::fingerprint(b"secret-key");
    for wanted in [
        "tyk.conf: listen_port: must be a port",
        "tyk.conf: hash_keys: must be true or false, is a string",
        "tyk.conf: monitor: must be an object, is a number",
        "apps/a.json:3: is not JSON: ",
        "apps/b.json: event_handlers.events.KeyExpired[0].handler_meta.template_path: the template \"templates/none.json\"",
        "apps/c.json: proxy.target_url: the target is not an http or https URL",
        "its api_id \"a\" is already that of",
        "apps/d.json: neither a classic API definition nor",
        "apps/e.json: api_id: missing",
        "apps/f.json: auth.auth_header_name: is not the name of a header",
        "apps/g.json: proxy.listen_path: apps/f.json: proxy.listen_path has the same domain and listen path",
        "apps/f.json: proxy.listen_path: apps/g.json: proxy.listen_path has the same domain and listen path",
        "apps/e.json: proxy.target_url: missing",
        "policies.json: [0]: has neither id nor _id",
        "policies.json: p.quota_max: must be a whole number, is a string",
        "policies.json: q.tags[0]: must be a string, is a number",
        &format!("keys.json: keys[{key:?}].expires: must be a whole number, is a string"),
        "must be a session",
    ] {
        assert!(errors.contains(wanted), "{wanted} is not in\n{errors}");
    }
    assert!(!errors.contains("secret-key") && !errors.contains("other-key"), "{errors}");
    let missing = Folder::new(&[]).import().unwrap_err();
    assert!(
        missing.contains("tyk.conf: cannot be read") && missing.contains("apps: there is no *.json in it"),
        "{missing}"
    );
}

/// All places of a tree, as JSON pointers.
fn places(value: &Value, place: String, all: &mut Vec<String>) {
    all.push(place.clone());
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| places(value, format!("{place}/{}", escaped(name)), all))
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| places(value, format!("{place}/{index}"), all));
        }
        _ => {}
    }
}

#[test]
fn any_content_of_a_file_is_read_or_reported() {
    let hook = json!({ "handler_name": "eh_web_hook_handler", "handler_meta": { "target_path": "http://h.test",
        "method": "POST", "header_map": { "x-a": "b" }, "event_timeout": 10, "template_path": "templates/default_webhook.json" } });
    let events = json!({ "events": { "AuthFailure": [hook] } });
    let files = [
        (
            "tyk.conf",
            json!({ "listen_port": 8080, "listen_address": "0.0.0.0", "hostname": "g.test", "event_handlers": events,
            "monitor": { "configuration": { "target_path": "http://h.test" }, "global_trigger_limit": 80.0 } }),
        ),
        (
            "apps/a.json",
            classic(json!({ "event_handlers": events, "global_rate_limit": { "rate": 1, "per": 1 },
            "version_data": { "not_versioned": false, "versions": { "v1": { "expires": "3000-01-02 15:04" } } },
            "proxy": { "enable_load_balancing": true, "target_list": ["http://a.test", "https://b.test"] } })),
        ),
        (
            "apps/o.json",
            oas(json!({ "server": { "eventHandlers": [{ "enabled": true, "type": "webhook", "trigger": "KeyExpired",
            "url": "http://h.test", "cooldownPeriod": "10s", "headers": [{ "name": "x-a", "value": "b" }] }] },
            "upstream": { "rateLimit": { "rate": 1, "per": "1s" } } })),
        ),
        ("policies.json", json!({ "p": { "quota_max": 1, "access_rights": { "a": { "limit": { "rate": 1.5 } } } } })),
        (
            "keys.json",
            json!({ "key": { "rate": 1, "apply_policies": ["p"], "tags": ["t"], "meta_data": { "a": "b" },
            "monitor": { "trigger_limits": [50] }, "access_rights": { "o": { "versions": ["v"] } } }, "orgkey-acme": {} }),
        ),
    ];
    let folder = Folder::new(&files);
    folder.good();
    let odd = [
        json!(1.5),
        json!(-7),
        json!("x\n: # 'y' \"{\t\u{0}"),
        json!([]),
        json!([[1]]),
        json!({ "a": { "b": 1 } }),
        json!(true),
        Value::Null,
    ];
    for (name, content) in &files {
        let mut all = Vec::new();
        places(content, String::new(), &mut all);
        for place in all {
            for value in &odd {
                let mut changed = content.clone();
                *changed.pointer_mut(&place).unwrap() = value.clone();
                fs::write(folder.0.join(name), changed.to_string()).unwrap();
                match folder.import() {
                    Ok(imported) => {
                        let read = config::parse(&imported.yaml, "imported.yaml", false);
                        assert!(read.is_ok(), "{name}{place} = {value}: {read:?}\n{}", imported.yaml);
                    }
                    Err(errors) => assert!(
                        errors.lines().all(|line| line.contains(".json") || line.contains("tyk.conf")),
                        "{errors}"
                    ),
                }
            }
        }
        fs::write(folder.0.join(name), content.to_string()).unwrap();
    }
}
