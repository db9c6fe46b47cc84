use super::*;

/// A valid API, whatever else is in the folder.
fn good() -> Value {
    classic(json!({ "api_id": "good", "proxy": { "listen_path": "/good/" } }))
}

fn at(id: &str, path: &str) -> Value {
    classic(json!({ "api_id": id, "proxy": { "listen_path": path } }))
}

/// A folder of definitions with an error: its files, the message, the remaining APIs, and a path that belongs to no
/// API.
type Case = (&'static str, Vec<(&'static str, Value)>, &'static str, &'static [&'static str], Option<&'static str>);

fn cases() -> Vec<Case> {
    let oas_of =
        |id: &str, path: &str| oas(json!({ "info": { "id": id }, "server": { "listenPath": { "value": path } } }));
    vec![
        (
            "one id twice: the first stays",
            vec![("apps/a.json", at("a", "/a/")), ("apps/b.json", at("a", "/b/"))],
            "apps/b.json: proxy.listen_path: its api_id \"a\" is already that of apps/a.json: proxy.listen_path",
            &["a", "good"],
            Some("/b/"),
        ),
        (
            "a copy of a file: the first stays",
            vec![("apps/a.json", at("a", "/a/")), ("apps/a copy.json", at("a", "/a/"))],
            "apps/a.json: proxy.listen_path: its api_id \"a\" is already that of apps/a copy.json",
            &["a", "good"],
            None,
        ),
        (
            "one id in both forms",
            vec![("apps/a.json", at("a", "/a/")), ("apps/b.json", oas_of("a", "/b/"))],
            "apps/b.json: x-tyk-api-gateway.server.listenPath.value: its api_id \"a\" is already that of",
            &["a", "good"],
            Some("/b/"),
        ),
        (
            "two at one place: Tyk serves neither there",
            vec![("apps/a.json", at("a", "/a/")), ("apps/b.json", at("b", "/a/"))],
            "apps/b.json: proxy.listen_path: apps/a.json: proxy.listen_path has the same domain and listen path",
            &["good"],
            Some("/a/"),
        ),
        (
            "broken JSON",
            vec![("apps/a.json", json!("{\n  \"api_id\": \"a\",\n}"))],
            "apps/a.json:3: is not JSON",
            &["good"],
            None,
        ),
        ("an empty file", vec![("apps/a.json", json!(""))], "apps/a.json:1: is not JSON", &["good"], None),
        (
            "what macOS leaves",
            vec![("apps/._a.json", json!("\u{0}\u{5}\u{16}\u{7}"))],
            "._a.json:1: is not JSON",
            &["good"],
            None,
        ),
        ("a list", vec![("apps/a.json", json!([]))], "apps/a.json: must be a JSON object", &["good"], None),
        ("no API", vec![("apps/a.json", json!({ "policies": {} }))], "apps/a.json: neither a classic", &["good"], None),
        ("no id", vec![("apps/a.json", at("", "/a/"))], "apps/a.json: api_id: missing", &["good"], Some("/a/")),
        (
            "no target",
            vec![("apps/a.json", classic(json!({ "proxy": { "target_url": "" } })))],
            "apps/a.json: proxy.target_url: missing",
            &["good"],
            Some("/a/"),
        ),
        (
            "a number for a flag",
            vec![("apps/a.json", classic(json!({ "use_keyless": 1 })))],
            "apps/a.json: use_keyless: must be true or false",
            &["good"],
            Some("/a/"),
        ),
        (
            "half a pair",
            vec![("apps/a.json", at("a", "/a/")), ("apps/a-oas.json", json!("{"))],
            "apps/a-oas.json:1: is not JSON",
            &["good"],
            None,
        ),
    ]
}

#[test]
fn a_file_with_an_error_is_left_out_if_wanted() {
    for (case, mut files, said, kept, nobodys) in cases() {
        files.extend([("tyk.conf", json!({})), ("apps/good.json", good())]);
        // All these paths would fall to this API if they were not refused.
        let keyless = json!({ "api_id": "all", "use_keyless": true, "proxy": { "listen_path": "/" } });
        files.push(("apps/zz-all.json", classic(keyless)));
        let folder = Folder::new(&files);
        let refused = folder.import().unwrap_err();
        assert!(refused.contains(said), "{case}: {refused}");
        let imported = folder.import_keeping(true).unwrap();
        let left_out = folder.without_place(&imported.left_out.join("\n"));
        assert_eq!(left_out, refused, "{case}");
        assert!(imported.report.starts_with("left out because of errors:\n  "), "{case}: {}", imported.report);
        assert!(folder.without_place(&imported.report).contains(said), "{case}: {}", imported.report);
        let dump = config::parse(&imported.yaml, "imported.yaml", false).unwrap().dump;
        let ids: Vec<&Value> =
            tollbell_of(&dump)["apis"].as_array().unwrap().iter().map(|api| &api["api_id"]).collect();
        let expected: Vec<&str> = kept.iter().copied().chain(["all"]).collect();
        assert_eq!(ids, expected, "{case}");
        if let Some(path) = nobodys {
            let answer = answer(routes(&dump, "*"), &format!("{path}1"));
            assert_eq!(answer, "404", "{case}: {path} must not fall to the API without keys");
        }
    }
}

#[test]
fn a_file_that_is_not_a_definition_is_no_error() {
    let files = [
        ("tyk.conf", json!({})),
        ("apps/good.json", good()),
        ("apps/README.md", json!("# Our APIs")),
        ("apps/.DS_Store", json!("\u{0}")),
        ("apps/old.json.bak", json!("{")),
        ("apps/bom.json", json!(format!("\u{feff}{}", at("bom", "/bom/")))),
    ];
    let folder = Folder::new(&files);
    fs::create_dir(folder.0.join("apps/archive")).unwrap();
    let (_, dump) = folder.good();
    assert_eq!(tollbell_of(&dump)["apis"].as_array().unwrap().len(), 2);
    fs::create_dir(folder.0.join("apps/folder.json")).unwrap();
    assert!(folder.import().unwrap_err().contains("apps/folder.json: cannot be read"));
    assert_eq!(folder.import_keeping(true).unwrap().left_out.len(), 1);
}

#[test]
fn errors_that_cannot_be_left_out_stop_the_import() {
    let cases = [
        (vec![("tyk.conf", json!("{")), ("apps/a.json", good())], "tyk.conf:1: is not JSON"),
        (vec![("tyk.conf", json!({ "listen_port": 99999 })), ("apps/a.json", good())], "listen_port: must be a port"),
        (vec![("tyk.conf", json!({}))], "apps: there is no *.json in it"),
        (vec![("tyk.conf", json!({})), ("apps/a.json", json!("{"))], "apps: no API is left"),
    ];
    for (files, said) in cases {
        let folder = Folder::new(&files);
        let refused = folder.import_keeping(true).unwrap_err();
        assert!(refused.contains(said), "{said}: {refused}");
    }
}

#[test]
fn policies_and_keys_with_an_error_are_left_out_one_by_one() {
    let policies = json!([
        { "id": "good", "access_rights": { "good": {} } },
        { "id": "bad", "quota_max": "many", "partitions": { "quota": true } },
        { "id": "twice", "quota_max": 1, "partitions": { "quota": true } },
        { "id": "twice", "quota_max": 2, "partitions": { "quota": true } },
        7,
    ]);
    let keys = json!({
        "plain": { "org_id": "initech" },
        "by-policy": { "apply_policies": ["good"] },
        // Without the policy, the key would have its own quota, which is none.
        "by-bad": { "apply_policies": ["good", "bad"] },
        "by-twice": { "apply_policies": ["good", "twice"] },
        "wrong": { "expires": "never" },
        "number": 7,
        "again": {}, "apikey-again": { "quota_max": 1 },
        "orgkey-acme": { "quota_max": "many" },
    });
    let files = [("tyk.conf", json!({ "enforce_org_quotas": true })), ("apps/a.json", good())];
    let folder = Folder::new(&[&files[..], &[("policies.json", policies), ("keys.json", keys)]].concat());
    assert!(folder.import().is_err());
    let imported = folder.import_keeping(true).unwrap();
    let dump = config::parse(&imported.yaml, "imported.yaml", false).unwrap().dump;
    let own = tollbell_of(&dump);
    let kept: Vec<&String> = own["keys"].as_object().unwrap().keys().collect();
    let mut expected = [names::fingerprint(b"plain"), names::fingerprint(b"by-policy")];
    expected.sort();
    assert_eq!(kept, expected.iter().collect::<Vec<_>>());
    assert_eq!(own["policies"].as_object().unwrap().keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(own["orgs"]["acme"], json!({ "is_inactive": true }), "its quota is not known");
    assert_eq!(own["orgs"]["initech"], json!({}), "an organisation that no API has");
    assert_eq!(imported.left_out.len(), 7, "{:?}", imported.left_out);
    for (file, said) in [("policies.json", "policies.json:1: is not JSON"), ("keys.json", "keys.json:1: is not JSON")] {
        let folder = Folder::new(&[&files[..], &[(file, json!("{"))]].concat());
        assert!(folder.import().unwrap_err().contains(said));
        let imported = folder.import_keeping(true).unwrap();
        assert!(folder.without_place(&imported.report).contains(said), "{}", imported.report);
        let dump = config::parse(&imported.yaml, "imported.yaml", false).unwrap().dump;
        assert_eq!(tollbell_of(&dump).get("keys"), None);
    }
}
