use super::*;

fn versioned(definition: Value, more: Value) -> Value {
    let versions = json!({
        "v1": { "name": "v1" },
        "v2": { "name": "v2", "override_target": "http://two.test/base/", "expires": "2999-12-31 23:59" },
        "listed": { "use_extended_paths": true, "extended_paths": { "white_list": [{ "path": "/x" }] } },
        "odd": { "expires": "soon" },
        "loop": { "override_target": "tyk://other" },
    });
    let mut api = classic(json!({
        "version_data": { "not_versioned": false, "default_version": "", "versions": versions }, "definition": definition,
    }));
    merge(&mut api, more);
    api
}

/// The result of each version's route: a cluster, or a refusal. The last route of a path has no version.
fn ways(dump: &Value, path: &str) -> Vec<(String, String)> {
    let all = routes(dump, "*").iter().filter(|route| route["match"]["prefix"] == path);
    let way = |route: &Value| {
        let version = route["match"]["headers"][0]["string_match"]["exact"].as_str().unwrap_or_default().to_owned();
        assert!(version.is_empty() || route["match"]["headers"][0]["name"] == "x-tollbell-version");
        (version, route["route"]["cluster"].as_str().unwrap_or("refused").to_owned())
    };
    all.map(way).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(version, way)| ((*version).to_owned(), (*way).to_owned())).collect()
}

#[test]
fn classic_versions_have_routes_and_rights() {
    let definition = json!({ "location": "header", "key": "x-version", "strip_versioning_data": true });
    let right = |versions: Value| json!({ "org_id": "acme", "access_rights": { "a": { "versions": versions } } });
    let (report, dump) = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", versioned(definition, json!({}))),
        (
            "keys.json",
            json!({ "one": right(json!(["v1"])), "both": right(json!(["v1", "v2"])), "gone": right(json!(["v9"])) }),
        ),
    ])
    .good();
    let api = &tollbell_of(&dump)["apis"][0];
    let expected = json!({
        "location": "header", "key": "x-version", "strip_versioning_data": true,
        "versions": { "v1": {}, "v2": { "expires": "2999-12-31 23:59" }, "listed": {}, "odd": {}, "loop": {} },
    });
    assert_eq!(api["versioning"], expected);
    assert_eq!(
        tollbell_of(&dump)["keys"].as_object().unwrap().len(),
        2,
        "a key without a right to any version is left out"
    );
    let mut found = ways(&dump, "/a/");
    let last = found.pop().unwrap();
    found.sort();
    let refused = "refused";
    assert_eq!(
        found,
        pairs(&[
            ("listed", refused),
            ("loop", refused),
            ("odd", refused),
            ("v1", "upstream_a"),
            ("v2", "upstream_a_v2")
        ])
    );
    assert_eq!(last, (String::new(), refused.to_owned()), "requests without a version come last");
    for said in ["\"listed\" refuses every request", "\"odd\" refuses every request", "override_target"] {
        assert!(report.contains(said), "{said}: {report}");
    }
}

#[test]
fn versions_are_named_in_the_same_places_as_in_tyk() {
    for (definition, expected) in [
        (json!({ "location": "url-param", "key": "v" }), json!({ "location": "url-param", "key": "v" })),
        (json!({ "location": "url", "strip_path": true }), json!({ "location": "url", "strip_versioning_data": true })),
        (json!({ "location": "header", "key": "v", "strip_path": true }), json!({ "location": "header", "key": "v" })),
    ] {
        let folder = Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", versioned(definition, json!({})))]);
        let mut versioning = tollbell_of(&folder.good().1)["apis"][0]["versioning"].clone();
        versioning.as_object_mut().unwrap().remove("versions");
        assert_eq!(versioning, expected);
    }
    let default = json!({ "version_data": { "default_version": "v1" }, "definition": { "fallback_to_default": true } });
    let api = versioned(json!({ "location": "header", "key": "v" }), default);
    let versioning =
        tollbell_of(&Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", api)]).good().1)["apis"][0]["versioning"]
            .clone();
    assert!(versioning["default_version"] == "v1" && versioning["fallback_to_default"] == true);
    // No request can name a version, and there is no default version: Tyk refuses all requests.
    for definition in [json!({}), json!({ "location": "header" }), json!({ "location": "cookie", "key": "v" })] {
        let folder = Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", versioned(definition, json!({})))]);
        let (_, dump) = folder.good();
        assert!(routes(&dump, "*").iter().all(|route| route["route"].is_null()), "{dump}");
    }
}

#[test]
fn versions_that_are_apis_use_those_apis() {
    let base = json!({ "info": { "versioning": {
        "enabled": true, "name": "v1", "default": "self", "location": "url-param", "key": "v",
        "versions": [{ "name": "v2", "id": "two" }, { "name": "v3", "id": "gone" }, { "name": "v4", "id": "four" }],
    } } });
    let child = |id: &str, internal: bool, more: Value| {
        let mut child = json!({
            "info": { "id": id, "name": id, "state": { "active": true, "internal": internal } },
            "server": { "listenPath": { "value": format!("/{id}/"), "strip": true } },
            "upstream": { "url": format!("http://{id}.test") },
        });
        merge(&mut child, more);
        oas(child)
    };
    let (report, dump) = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", oas(base)),
        ("apps/b.json", child("two", true, json!({}))),
        ("apps/c.json", child("four", false, json!({ "server": { "ipAccessControl": { "enabled": true } } }))),
        ("apps/d.json", child("hidden", true, json!({}))),
        (
            "keys.json",
            json!({ "long-key": { "org_id": "acme", "access_rights": { "two": { "versions": ["Default"] } } } }),
        ),
    ])
    .good();
    let apis = tollbell_of(&dump)["apis"].as_array().unwrap();
    let ids: Vec<&str> = apis.iter().map(|api| api["api_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["o", "two", "four"], "an internal API that is no version stays out");
    assert!(apis[1]["internal"] == true && apis[2]["internal"].is_null());
    let versions = json!({ "v1": { "api_id": "o" }, "v2": { "api_id": "two" }, "v4": { "api_id": "four" } });
    let expected = json!({ "location": "url-param", "key": "v", "default_version": "v1", "versions": versions });
    assert_eq!(apis[0]["versioning"], expected);
    let expected = [("v1", "upstream_o"), ("v2", "upstream_two"), ("v4", "refused"), ("", "refused")];
    assert_eq!(ways(&dump, "/o/"), pairs(&expected));
    assert!(ways(&dump, "/two/").is_empty() && report.contains("version \"v3\" is left out"), "{report}");
    assert_eq!(tollbell_of(&dump)["keys"].as_object().map(Map::len), Some(1), "{report}");
}
