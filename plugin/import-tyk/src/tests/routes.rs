use super::*;

/// A gateway with the APIs whose places conflict most often.
fn gateway(conf: Value) -> Value {
    let api = |id: &str, path: &str, more: Value| {
        let mut api = classic(json!({ "api_id": id, "name": id, "proxy": { "listen_path": path } }));
        merge(&mut api, json!({ "proxy": { "target_url": format!("http://{id}.test") } }));
        merge(&mut api, more);
        (format!("apps/{id}.json"), api)
    };
    let mut files = vec![
        api("site", "/", json!({ "use_keyless": true })),
        api("orders", "/orders/", json!({})),
        api("new", "/orders/new/", json!({})),
        api("whole", "/whole", json!({ "proxy": { "target_url": "http://whole.test/v2/" } })),
        api("kept", "/kept/", json!({ "proxy": { "strip_listen_path": false } })),
        api(
            "slash",
            "/slash/",
            json!({ "proxy": { "target_url": "http://slash.test/v2/", "disable_strip_slash": true } }),
        ),
        api("cafe", "/caf\u{e9}/", json!({})),
        api("at", "/@acme", json!({ "proxy": { "strip_listen_path": false, "target_url": "http://at.test/v2" } })),
        api("pattern", "/users/{id}/", json!({})),
        api("wild", "/", json!({ "domain": "{sub}.wild.test" })),
        api("hosted", "/", json!({ "domain": "hosted.test" })),
    ];
    files.push(("tyk.conf".to_owned(), conf));
    let named: Vec<(&str, Value)> = files.iter().map(|(name, content)| (name.as_str(), content.clone())).collect();
    Folder::new(&named).good().1
}

/// Requests, each with its result: the cluster and the path that it gets, or a status.
#[test]
fn paths_have_the_same_meaning_as_in_tyk() {
    let usual = gateway(json!({ "enable_custom_domains": true }));
    let strict =
        gateway(json!({ "enable_custom_domains": true, "http_server_options": { "enable_strict_routes": true } }));
    for (path, expected) in [
        ("/orders/", "orders /"),
        ("/orders/1", "orders /1"),
        ("/orders/a%2Fb", "orders /a%2Fb"),
        ("/orders/a%2fb%2Fc", "orders /a%2fb%2Fc"),
        ("/orders/%40a", "orders /%40a"),
        ("/orders", "site /orders"),
        ("/ordersx", "site /ordersx"),
        ("/orders%2F1", "404"),
        ("/orders/new/1", "new /1"),
        ("/orders/new/a%2Fb", "new /a%2Fb"),
        ("/orders/new%2F1", "404"),
        ("/orders%2fnew/1", "404"),
        ("/orders%2Fnew%2F1", "404"),
        ("/orders/new", "orders /new"),
        ("/orders/x%2F..%2Fnew/1", "400"),
        ("/orders/..%2Fadmin", "400"),
        ("/orders/x%2f..", "400"),
        ("/orders/x%2f.%2fy", "400"),
        ("/orders/x%5C..%5Cy", "400"),
        ("/orders/x%2F..;a=b/y", "400"),
        ("/orders//%2Fy", "400"),
        ("/%2Forders/1", "400"),
        ("/orders/x%2F...", "orders /x%2F..."),
        ("/orders/..x%2Fy", "orders /..x%2Fy"),
        ("/whole", "whole /v2"),
        ("/whole/", "whole /v2"),
        ("/whole/1", "whole /v2/1"),
        ("/kept/1", "kept /kept/1"),
        ("/slash/", "slash /v2/"),
        ("/slash/1", "slash /v2/1"),
        ("/caf%C3%A9/1", "cafe /1"),
        ("/caf%c3%a9/1", "cafe /1"),
        ("/caf/1", "site /caf/1"),
        ("/@acme/1", "at /v2/@acme/1"),
        ("/%40acme/1", "at /v2/%40acme/1"),
        ("/users/5/x", "404"),
        ("/users/5%2Fx", "404"),
        ("/users/", "site /users/"),
        ("/", "site /"),
        ("/site/x", "404"),
        ("/whole-not", "whole /v2/-not"),
        ("/new/x", "404"),
        ("/site%2Fx", "404"),
    ] {
        assert_eq!(answer(routes(&usual, "*"), path), expected, "{path}");
        let expected = match path {
            "/whole-not" => "404",
            _ => expected,
        };
        assert_eq!(answer(routes(&strict, "*"), path), expected, "{path}, with strict routes");
    }
    for (path, expected) in
        [("/wholesome", "404"), ("/whole%2F1", "404"), ("/@acmex", "404"), ("/@acme%2Fx", "at /v2/@acme%2Fx")]
    {
        assert_eq!(answer(routes(&strict, "*"), path), expected, "{path}, with strict routes");
    }
    assert_eq!(answer(routes(&usual, "hosted.test"), "/orders/1"), "hosted /orders/1", "a domain wins over a path");
    for (dump, expected) in [
        (&usual, vec!["cafe", "kept", "new", "orders", "slash"]),
        (&strict, vec!["at", "cafe", "kept", "new", "orders", "slash", "whole"]),
    ] {
        let apis = tollbell_of(dump)["apis"].as_array().unwrap().iter().filter(|api| api["strict_listen_path"] == true);
        let mut ids: Vec<&str> = apis.map(|api| api["api_id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, expected, "the filter takes listen paths as the routes do");
    }
    let wild = routes(&usual, "*").iter().find(|route| route["match"].get("headers").is_some()).unwrap();
    assert_eq!(wild["direct_response"]["status"], 404, "its domain is a pattern");
}

#[test]
fn the_listener_handles_paths_and_addresses_as_tyk_does() {
    let settings = |options: Value| {
        let folder = Folder::new(&[
            ("tyk.conf", json!({ "http_server_options": options })),
            ("apps/a.json", classic(json!({}))),
        ]);
        let (report, dump) = folder.good();
        (report, manager(&dump).clone())
    };
    let (_, usual) = settings(json!({}));
    assert_eq!(usual["path_with_escaped_slashes_action"], "KEEP_UNCHANGED");
    assert_eq!((&usual["merge_slashes"], &usual["normalize_path"]), (&json!(true), &json!(true)));
    assert_eq!((&usual["use_remote_address"], &usual["xff_num_trusted_hops"]), (&json!(true), &json!(0)));
    let (report, other) = settings(json!({ "skip_url_cleaning": true, "xff_depth": 2 }));
    assert_eq!((&other["merge_slashes"], &other["xff_num_trusted_hops"]), (&json!(false), &json!(2)));
    assert!(report.contains("http_server_options.xff_depth: xff_num_trusted_hops: 2"), "{report}");
}

#[test]
fn a_domain_that_tyk_ignores_is_reported() {
    for (conf, hosts) in [(json!({}), "every host"), (json!({ "hostname": "gw.test" }), "the host gw.test")] {
        let api = classic(json!({ "domain": "api.test" }));
        let (report, _) = Folder::new(&[("tyk.conf", conf), ("apps/a.json", api)]).good();
        let said = format!("changed        apps/a.json: domain: the API is served for {hosts}: Tyk ignores");
        assert!(report.contains(&said), "{report}");
    }
}

#[test]
fn a_place_for_a_key_counts_only_if_it_is_switched_on() {
    let cases = [
        (json!({ "use_param": false, "param_name": "k" }), json!({ "auth_header_name": "Authorization" })),
        (json!({ "use_cookie": false, "cookie_name": "k" }), json!({ "auth_header_name": "Authorization" })),
        (json!({ "param_name": "k", "cookie_name": "c" }), json!({ "auth_header_name": "Authorization" })),
        (
            json!({ "auth_header_name": "X-Key", "use_param": true }),
            json!({ "auth_header_name": "X-Key", "use_param": true, "param_name": "X-Key" }),
        ),
        (
            json!({ "auth_header_name": "X-Key", "disable_header": true, "use_cookie": true }),
            json!({ "auth_header_name": "", "use_cookie": true, "cookie_name": "Authorization" }),
        ),
    ];
    for (auth, expected) in cases {
        let files = [
            ("tyk.conf", json!({})),
            ("apps/old.json", classic(json!({ "auth": null }))),
            ("apps/new.json", classic(json!({ "api_id": "n", "proxy": { "listen_path": "/n/" } }))),
        ];
        let mut files = files;
        merge(&mut files[1].1, json!({ "auth": auth }));
        merge(&mut files[2].1, json!({ "auth_configs": { "authToken": auth } }));
        let (_, dump) = Folder::new(&files).good();
        for api in tollbell_of(&dump)["apis"].as_array().unwrap() {
            assert_eq!(api["auth"], expected, "{auth}");
        }
    }
    let preflight = [
        classic(json!({ "CORS": { "enable": true, "options_passthrough": true } })),
        oas(json!({ "middleware": { "global": { "cors": { "enabled": true, "optionsPassthrough": true } } } })),
    ];
    for api in preflight {
        let (report, dump) = Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", api)]).good();
        assert_eq!(tollbell_of(&dump)["apis"][0]["auth"]["allow_preflight"], true);
        assert!(report.contains("auth.allow_preflight: a browser's preflight request"), "{report}");
    }
}

#[test]
fn handlers_that_tyk_never_calls_are_not_carried_over() {
    let hook = json!([{ "handler_name": "eh_log_handler", "handler_meta": { "prefix": "p" } }]);
    let events = |names: &[&str]| {
        let events = names.iter().map(|name| ((*name).to_owned(), hook.clone()));
        json!({ "events": events.collect::<serde_json::Map<String, Value>>() })
    };
    let conf = json!({ "event_handlers": events(&["AuthFailure", "QuotaExceeded", "TokenCreated", "HostDown"]) });
    let api = classic(json!({ "event_handlers": events(&["AuthFailure", "TriggerExceeded"]) }));
    let (report, dump) = Folder::new(&[("tyk.conf", conf), ("apps/a.json", api)]).good();
    let own = tollbell_of(&dump);
    assert_eq!(own.get("event_handlers"), None);
    assert_eq!(
        own["apis"][0]["event_handlers"]["events"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["AuthFailure"]
    );
    assert_eq!(own["apis"][0].get("observe_upstream"), None, "no one is notified of HostDown");
    for said in [
        "Tyk notifies only handlers of an API of AuthFailure, never those in tyk.conf",
        "Tyk notifies only handlers of an API of QuotaExceeded",
        "TokenCreated never fires here: observe the service that manages keys",
        "TriggerExceeded never fires here: In Tyk, only monitor.configuration receives it.",
    ] {
        assert!(report.contains(said), "{said}\n{report}");
    }
}

#[test]
fn a_certificate_beside_the_key_is_required_with_tls() {
    let old = classic(json!({ "auth": { "use_certificate": true } }));
    let scheme = json!({ "key": { "enabled": true, "enableClientCertificate": true } });
    let new = oas(json!({ "server": { "authentication": { "securitySchemes": scheme } } }));
    for (tls, closed) in [(true, 2), (false, 0)] {
        let conf = json!({ "http_server_options": { "use_ssl": tls } });
        let folder = Folder::new(&[("tyk.conf", conf), ("apps/a.json", old.clone()), ("apps/o.json", new.clone())]);
        let (report, dump) = folder.good();
        let closes = |route: &&Value| route["direct_response"]["status"] == 403;
        assert_eq!(routes(&dump, "*").iter().filter(closes).count() > 0, tls, "{report}");
        assert_eq!(report.matches("because nothing checks client certificates").count(), closed, "{report}");
    }
}

#[test]
fn left_out_parts_are_not_carried_over() {
    let streams = json!({
        "openapi": "3.0.3", "x-tyk-streaming": { "streams": {} , "info": { "id": "s" } },
        "x-tyk-api-gateway": {
            "info": { "id": "s", "name": "S", "orgId": "acme", "state": { "active": true } },
            "server": { "listenPath": { "value": "/s/", "strip": true } }, "upstream": { "url": "" },
        },
    });
    let files = [
        ("tyk.conf", json!({})),
        (
            "apps/a.json",
            json!({ "api_model": {}, "api_definition": classic(json!({ "use_keyless": true, "proxy": { "listen_path": "/" } })) }),
        ),
        ("apps/b.json", classic(json!({ "api_id": "b", "proxy": { "listen_path": "/b/{id}" } }))),
        ("apps/c.json", classic(json!({ "api_id": "c", "proxy": { "listen_path": "/c;x/" } }))),
        ("apps/s.json", streams),
        ("policies.json", json!([{ "id": "lost", "quota_max": 5, "access_rights": { "gone": {} } }])),
        ("keys.json", json!({ "lost": { "quota_max": 5, "apply_policies": ["lost"] } })),
    ];
    let (report, dump) = Folder::new(&files).good();
    assert_eq!(tollbell_of(&dump)["apis"].as_array().unwrap().len(), 1, "the dashboard's form is read");
    for path in ["/b/1", "/c;x/1", "/s/1"] {
        assert_eq!(answer(routes(&dump, "*"), path), "404", "{path}");
    }
    for file in ["apps/b.json", "apps/c.json", "apps/s.json", "policies.json", "keys.json"] {
        assert!(report.contains(&format!("{file}: 0 carried over, 0 changed, ")), "{file}: {report}");
    }
    for said in [
        "its listen path \"/b/{id}\" is a pattern",
        "its listen path \"/c;x/\" has a character that servers read in different ways",
        "it is served by Tyk Streams",
        "lost.quota_max: The policy is left out, and so are its keys: none of its APIs is left.",
        ".quota_max: The key is left out. Its policy \"lost\" is left out: none of its APIs is left.",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }
}

/// Every text of the report is a complete, understandable sentence.
#[test]
fn texts_of_the_report_are_complete() {
    use super::super::advice::{Kind, advice, all};
    for &(_, text) in all() {
        let words = text.strip_prefix(source::IDLE).map_or(text, |rest| rest.trim_start_matches(": "));
        assert!(words.split(' ').count() >= 3, "{text:?} says too little");
        assert!(!text.ends_with('.') && !text.contains("hears of") && !text.contains("of the kind"), "{text:?}");
    }
    let (text, whole) = advice(Kind::Api, "custom_middleware_.pre[0].name");
    assert_eq!((text.starts_with("tollbell runs no plugins"), whole.as_str()), (true, "custom_middleware_"));
}
