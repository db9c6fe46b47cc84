use super::*;

#[test]
fn a_check_without_an_equivalent_closes_the_api() {
    let past = json!({ "versions": { "v1": { "expires": "2001-01-02 15:04" } } });
    let listed = json!({ "versions": { "v1": { "use_extended_paths": true, "extended_paths": { "white_list": [{ "path": "/x" }] } } } });
    let paths = json!({ "internal": [{ "path": "/x" }] });
    let internal = json!({ "versions": { "v1": { "use_extended_paths": true, "extended_paths": paths } } });
    let old = json!({ "versions": { "v1": { "paths": { "white_list": ["/x"] } } } });
    let odd = json!({ "versions": { "v1": { "expires": "2999-12-31" } } });
    let plugin = |stage: &str| json!({ "custom_middleware": { stage: [{ "name": "check", "path": "check.js" }] } });
    let of_paths = |name: &str| {
        let paths = json!({ name: [{ "path": "/x", "method": "GET" }] });
        json!({ "versions": { "v1": { "use_extended_paths": true, "extended_paths": paths } } })
    };
    let cases = [
        (classic(json!({ "enable_jwt": true, "jwt_source": "https://keys.test" })), "enable_jwt", "jwt_authn"),
        (classic(json!({ "use_openid": true })), "use_openid", "jwt_authn"),
        (classic(json!({ "use_oauth2": true })), "use_oauth2", "ext_authz"),
        (classic(json!({ "use_basic_auth": true })), "use_basic_auth", "basic_auth"),
        (classic(json!({ "enable_signature_checking": true })), "enable_signature_checking", "ext_authz"),
        (classic(json!({ "enable_coprocess_auth": true })), "enable_coprocess_auth", "ext_authz"),
        (classic(json!({ "auth": { "validate_signature": true } })), "auth.validate_signature", "ext_authz"),
        (classic(json!({ "use_keyless": true, "use_mutual_tls_auth": true })), "use_mutual_tls_auth", "DownstreamTls"),
        (classic(json!({ "enable_ip_whitelisting": true })), "enable_ip_whitelisting", "rbac"),
        (classic(json!({ "use_keyless": true, "enable_ip_blacklisting": true })), "enable_ip_blacklisting", "rbac"),
        (classic(json!({ "expiration": "2001-01-02 15:04" })), "expiration", "as in Tyk: the API's end has passed"),
        (
            classic(json!({ "version_data": past })),
            "version_data.versions.v1.expires",
            "as in Tyk: the version's end has passed",
        ),
        (classic(json!({ "version_data": listed })), "extended_paths.white_list", "direct_response"),
        (classic(json!({ "version_data": internal })), "extended_paths.internal", "direct_response"),
        (classic(json!({ "version_data": old })), "paths.white_list", "direct_response"),
        (classic(json!({ "version_data": odd })), "version_data.versions.v1.expires", "2030-12-31 23:59"),
        (classic(plugin("pre")), "custom_middleware.pre", "ext_proc"),
        (classic(plugin("post_key_auth")), "custom_middleware.post_key_auth", "ext_proc"),
        (classic(plugin("post")), "custom_middleware.post", "ext_proc"),
        (classic(json!({ "custom_middleware_bundle": "b.zip" })), "custom_middleware_bundle", "ext_proc"),
        (classic(json!({ "version_data": of_paths("go_plugin") })), "extended_paths.go_plugin", "ext_proc"),
        (classic(json!({ "version_data": of_paths("virtual") })), "extended_paths.virtual", "ext_proc"),
        (classic(json!({ "use_keyless": true, "listen_port": 9000 })), "listen_port", "a listener of its own"),
        (
            oas(json!({ "middleware": { "global": { "pluginConfig": { "bundle": { "enabled": true } } } } })),
            "bundle.enabled",
            "ext_proc",
        ),
        (oas(json!({ "middleware": { "global": { "prePlugins": [{ "enabled": true }] } } })), "prePlugins", "ext_proc"),
        (
            oas(json!({ "middleware": { "global": { "prePlugin": { "plugins": [{ "enabled": true }] } } } })),
            "prePlugin.plugins",
            "ext_proc",
        ),
        (
            oas(json!({ "middleware": { "global": { "postAuthenticationPlugins": [{ "enabled": true }] } } })),
            "postAuthenticationPlugins",
            "ext_proc",
        ),
        (
            oas(json!({ "middleware": { "global": { "postPlugins": [{ "enabled": true }] } } })),
            "postPlugins",
            "ext_proc",
        ),
        (
            oas(json!({ "middleware": { "operations": { "x": { "postPlugins": [{ "enabled": true }] } } } })),
            "operations.x.postPlugins",
            "ext_proc",
        ),
        (
            oas(json!({ "middleware": { "operations": { "x": { "virtualEndpoint": { "enabled": true } } } } })),
            "operations.x.virtualEndpoint.enabled",
            "ext_proc",
        ),
        (
            oas(json!({ "middleware": { "operations": { "x": { "scopeCheck": { "enabled": true } } } } })),
            "operations.x.scopeCheck.enabled",
            "rbac",
        ),
        (
            oas(json!({ "middleware": { "mcpTools": { "x": { "block": { "enabled": true } } } } })),
            "mcpTools.x.block.enabled",
            "direct_response",
        ),
        (classic(json!({ "expiration": "tomorrow" })), "expiration", "2030-12-31 23:59"),
        (classic(json!({ "proxy": { "target_url": "tyk://other" } })), "proxy.target_url", "upstream"),
        (
            oas(json!({ "server": { "authentication": { "oidc": { "enabled": true } } } })),
            "server.authentication.oidc.enabled",
            "jwt_authn",
        ),
        (
            oas(json!({ "server": { "authentication": { "securitySchemes": { "jwt": { "enabled": true } } } } })),
            "securitySchemes.jwt.enabled",
            "jwt_authn",
        ),
        (
            oas(json!({ "server": { "clientCertificates": { "enabled": true } } })),
            "clientCertificates",
            "DownstreamTls",
        ),
        (oas(json!({ "server": { "ipAccessControl": { "enabled": true } } })), "ipAccessControl.enabled", "rbac"),
        (
            oas(json!({ "middleware": { "operations": { "x": { "block": { "enabled": true } } } } })),
            "operations.x.block.enabled",
            "direct_response",
        ),
        (
            oas(json!({ "middleware": { "operations": { "x": { "internal": { "enabled": true } } } } })),
            "operations.x.internal.enabled",
            "direct_response",
        ),
    ];
    for (api, setting, instead) in cases {
        let folder = Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", api)]);
        let (report, dump) = folder.good();
        let line =
            report.lines().find(|line| line.contains(&format!("{setting}: ")) || line.contains(setting)).unwrap();
        assert!(line.contains("refuses every request"), "{report}");
        assert!(report.contains(instead), "{report}");
        let routes = routes(&dump, "*");
        assert!(routes.iter().any(|route| route["direct_response"]["status"] == 403), "{setting}");
        assert!(routes.iter().all(|route| route.get("route").is_none()), "{setting}");
        assert_eq!(tollbell_of(&dump)["apis"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn apis_that_tyk_does_not_serve_are_left_out() {
    let cases = [
        (classic(json!({ "active": false })), "it is not active"),
        (classic(json!({ "internal": true })), "it is internal"),
        (classic(json!({ "protocol": "tcp" })), "tcp_proxy"),
        (classic(json!({ "domain": "{sub:.*}.acme.test" })), "its domain is a pattern"),
        (classic(json!({ "proxy": { "listen_path": "/a/{id}/" } })), "is a pattern"),
        (oas(json!({ "info": { "state": { "active": false } } })), "it is not active"),
    ];
    for (api, why) in cases {
        let other = classic(json!({ "api_id": "b", "proxy": { "listen_path": "/b/" } }));
        let conf = json!({ "enable_custom_domains": true });
        let folder = Folder::new(&[("tyk.conf", conf), ("apps/a.json", api), ("apps/b.json", other)]);
        let (report, dump) = folder.good();
        assert!(report.contains(why), "{report}");
        assert_eq!(tollbell_of(&dump)["apis"].as_array().unwrap().len(), 1, "{why}");
        let served = routes(&dump, "*").iter().filter(|route| route.get("route").is_some()).count();
        assert_eq!(served, 2, "/b/ and what is below it: {why}");
    }
}

#[test]
fn events_that_never_fire_have_advice() {
    let names =
        ["RateLimitSmoothingUp", "RateLimitSmoothingDown", "OAuth2ExchangeSucceeded", "OAuth2ExchangeFailed", "Nope"];
    let hook = json!([{ "handler_name": "eh_log_handler", "handler_meta": { "prefix": "p" } }]);
    let events: Map<String, Value> = names.map(|name| (name.to_owned(), hook.clone())).into_iter().collect();
    let api = classic(json!({ "event_handlers": { "events": events } }));
    let (report, dump) = Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", api)]).good();
    for name in &names[..4] {
        assert!(report.contains(&format!("{name} never fires here: ")), "{report}");
    }
    assert!(report.contains("Tyk has no event \"Nope\""), "{report}");
    assert_eq!(tollbell_of(&dump)["apis"][0].get("event_handlers"), None);
}

#[test]
fn paths_domains_and_targets() {
    let conf = json!({ "enable_custom_domains": true, "listen_port": 9901, "listen_address": "::1" });
    let folder = Folder::new(&[
        ("tyk.conf", conf),
        ("apps/a.json", classic(json!({ "proxy": { "listen_path": "/a" } }))),
        (
            "apps/b.json",
            classic(json!({ "api_id": "b", "domain": "B.test", "proxy": {
            "listen_path": "/", "target_url": "https://b.up.test", "strip_listen_path": false } })),
        ),
        (
            "apps/c.json",
            classic(json!({ "api_id": "c", "proxy": {
            "listen_path": "c/", "strip_listen_path": false, "preserve_host_header": true, "enable_load_balancing": true,
            "target_list": ["https://c1.test/x", "https://c1.test/x", "https://c2.test:8443/x", "http://c3.test"] } })),
        ),
        (
            "apps/d.json",
            classic(json!({ "api_id": "d", "proxy": {
            "listen_path": "/d/", "target_url": "h2c://[::1]:50051", "transport": { "ssl_insecure_skip_verify": true } } })),
        ),
    ]);
    let (report, dump) = folder.good();
    assert_eq!(dump["admin"]["address"]["socket_address"]["port_value"], 9902);
    let all = routes(&dump, "*");
    let of = |kind: &str, path: &str| &route(all, kind, path)["route"];
    assert_eq!(of("path", "/a")["prefix_rewrite"], "/base", "as in Tyk, without a slash");
    assert_eq!(of("path", "/a/")["prefix_rewrite"], "/base");
    assert_eq!(of("prefix", "/a/")["prefix_rewrite"], "/base/");
    assert_eq!(of("prefix", "/a")["prefix_rewrite"], "/base/", "as Tyk makes /base/b of /ab");
    let place = |path: &str| all.iter().position(|route| route["match"]["prefix"] == path).unwrap();
    assert!(place("/a/") < place("/a"));
    assert_eq!(of("prefix", "/c/")["prefix_rewrite"], "/x/c/");
    assert_eq!(of("prefix", "/d/")["prefix_rewrite"], "/");
    for nobodys in ["/c", "/d"] {
        assert_eq!(of("path", nobodys), &Value::Null, "Tyk does not serve it either");
    }
    let named = routes(&dump, "b.test");
    let host = hosts(&dump).iter().find(|host| host["domains"][0] == "b.test").unwrap();
    assert_eq!(host["domains"], json!(["b.test", "b.test:*", "b.test.", "b.test.:*"]));
    assert_eq!(route(named, "prefix", "/")["route"]["cluster"], "upstream_b");
    assert_eq!(
        route(named, "prefix", "/a/")["route"]["cluster"],
        "upstream_a",
        "an API of any host is served there, too"
    );
    let clusters = dump["static_resources"]["clusters"].as_array().unwrap();
    let cluster = |name: &str| clusters.iter().find(|cluster| cluster["name"] == name).unwrap();
    assert!(cluster("upstream_a").get("transport_socket").is_none());
    let options = &cluster("upstream_b")["typed_extension_protocol_options"];
    let options = &options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]["upstream_http_protocol_options"];
    assert_eq!(options, &json!({ "auto_sni": true, "auto_san_validation": true }));
    let weighted = of("prefix", "/c/")["weighted_clusters"]["clusters"].as_array().unwrap();
    let wanted = json!({ "name": "upstream_c.1", "weight": 2, "host_rewrite_literal": "c1.test" });
    assert_eq!((weighted.len(), &weighted[0]), (2, &wanted));
    assert_eq!(weighted[1]["host_rewrite_literal"], "c2.test:8443");
    let endpoint = &cluster("upstream_c.2")["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(endpoint["address"]["socket_address"], json!({ "address": "c2.test", "port_value": 8443 }));
    assert!(cluster("upstream_c.2").get("typed_extension_protocol_options").is_some());
    assert!(report.contains("proxy.preserve_host_header: the Host header is the target's"), "{report}");
    assert!(
        report.contains("apps/c.json: proxy.target_list[3]") || report.contains("share scheme and path"),
        "{report}"
    );
    assert!(report.contains("apps/c.json: proxy.listen_path: /c/, as Tyk reads it"), "{report}");
}

#[test]
fn older_forms_of_tyk_are_supported() {
    let handlers = json!({ "events": {
        "AuthFailure": [
            { "handler_name": "eh_web_hook_handler", "handler_meta": {
                "method": "put", "target_path": "http://h.test", "template_path": "/etc/tyk/templates/default_webhook.json",
                "header_map": { "Host": "x", "X-A": "1", "x-a": "2", "bad name": "3" }, "event_timeout": 1.5 } },
            { "handler_name": "eh_web_hook_handler", "handler_meta": { "id": "5baa", "target_path": "" } },
            { "handler_name": "eh_web_hook_handler", "handler_meta": { "target_path": "hooks/relative" } },
            { "handler_name": "nonsense", "handler_meta": {} },
        ],
        "AuthFailed": [],
    } });
    let data = json!({ "not_versioned": false, "default_version": "v2", "versions": {
        "v1": { "name": "v1" }, "v2": { "name": "v2", "override_target": "http://v2.test" } } });
    let api = classic(json!({ "event_handlers": handlers, "version_data": data, "domain": "x.test",
        "auth": { "auth_header_name": "", "param_name": "k" }, "disable_rate_limit": true, "disable_quota": true,
        "global_rate_limit": { "rate": 5, "per": 1 } }));
    let gold = json!({ "a": { "apiid": "a", "versions": ["v2"] } });
    let export =
        json!({ "key": { "apply_policies": ["gold", "gone"], "org_id": "globex" }, "orgkey-acme": { "quota_max": 9 } });
    let folder = Folder::new(&[
        (
            "tyk.conf",
            json!({ "monitor": { "enable_trigger_monitors": true, "global_trigger_limit": 120 }, "listen_address": "gateway.test" }),
        ),
        ("apps/a.json", api),
        ("policies.json", json!({ "Data": [{ "_id": "gold", "id": "", "access_rights": gold }] })),
        ("keys.json", export),
    ]);
    let (report, dump) = folder.good();
    let own = tollbell_of(&dump);
    let hooks = &own["apis"][0]["event_handlers"]["events"]["AuthFailure"];
    let meta = json!({ "method": "PUT", "target_path": "http://h.test", "template_path": "templates/default_webhook.json",
        "header_map": { "X-A": "1" }, "event_timeout": 1 });
    assert_eq!(hooks, &json!([{ "handler_name": "eh_web_hook_handler", "handler_meta": meta }]));
    assert_eq!(own["apis"][0]["auth"], json!({ "auth_header_name": "Authorization" }), "k is not switched on");
    assert_eq!(own["apis"][0].get("global_rate_limit"), None);
    assert_eq!(own["apis"][0].get("domain"), None, "enable_custom_domains is not set");
    assert_eq!(own["keys"][names::fingerprint(b"key")]["apply_policies"], json!(["gold"]));
    assert_eq!(own["orgs"], json!({ "acme": { "quota_max": 9 }, "globex": {} }));
    assert_eq!(own["policies"]["gold"]["access_rights"], json!({ "a": { "api_id": "a", "versions": ["v2"] } }));
    let cluster = &dump["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    assert_eq!(cluster["endpoint"]["address"]["socket_address"]["address"], "v2.test");
    for told in [
        "monitor.enable_trigger_monitors: false, because no one would be notified",
        "global_trigger_limit: such a percentage is never crossed",
        "listen_address: 0.0.0.0, because",
        "gone removed: not in the policies file",
        "handler_meta.method: PUT, in capitals",
        "Tyk has no event \"AuthFailed\"",
        "no request can name version \"v1\"",
        "disable_quota: tollbell counts quotas on every API",
    ] {
        let is_empty_event = told.contains("AuthFailed");
        assert!(report.contains(told) || is_empty_event, "{told}\n{report}");
    }
}

/// Restrictions that do not close an API have their own heading.
#[test]
fn requests_that_are_no_longer_refused_are_reported() {
    let paths = json!({
        "validate_json": [{ "path": "/x" }], "validate_request": [{ "path": "/x", "enabled": true }],
        "size_limits": [{ "path": "/x", "size_limit": 5 }], "rate_limit": [{ "path": "/x", "rate": 1, "per": 1 }],
        "circuit_breakers": [{ "path": "/x" }], "mock_response": [{ "path": "/x" }],
    });
    let off = json!({
        "validate_json": [{ "path": "/x", "disabled": true }], "validate_request": [{ "path": "/x", "enabled": false }],
    });
    let versions = |paths: &Value| {
        json!({ "not_versioned": true, "versions": { "Default": {
            "use_extended_paths": true, "extended_paths": paths, "global_size_limit": 7 } } })
    };
    let next_year = format!("{}-01-01 00:00", jiff::Zoned::now().year() + 1);
    let old = classic(json!({
        "version_data": versions(&paths), "graphql": { "enabled": true, "schema": "s" }, "expiration": next_year,
        "pinned_public_keys": { "*": "k" }, "listen_port": 9000,
    }));
    let operation = json!({
        "validateRequest": { "enabled": true }, "requestSizeLimit": { "enabled": true, "value": 5 },
        "rateLimit": { "enabled": true, "rate": 1, "per": "1s" }, "circuitBreaker": { "enabled": true },
        "mockResponse": { "enabled": true },
    });
    let new = oas(json!({
        "middleware": { "global": { "requestSizeLimit": { "enabled": true, "value": 5 } }, "operations": { "x": operation } },
        "upstream": { "certificatePinning": { "enabled": true } }, "server": { "port": 9000 },
    }));
    let conf = json!({ "http_server_options": { "max_request_body_size": 5 }, "security": { "pinned_public_keys": { "*": "k" } } });
    let (report, dump) = Folder::new(&[("tyk.conf", conf), ("apps/a.json", old), ("apps/o.json", new)]).good();
    let lines: Vec<&str> = report.lines().filter(|line| line.starts_with("    ")).collect();
    for setting in [
        "tyk.conf: http_server_options.max_request_body_size",
        "tyk.conf: security.pinned_public_keys",
        "extended_paths.validate_json",
        "extended_paths.validate_request",
        "extended_paths.size_limits",
        "extended_paths.rate_limit",
        "extended_paths.circuit_breakers",
        "extended_paths.mock_response",
        "global_size_limit",
        "apps/a.json: graphql",
        "apps/a.json: expiration",
        "apps/a.json: pinned_public_keys",
        "apps/a.json: listen_port",
        "operations.x.validateRequest",
        "operations.x.requestSizeLimit",
        "operations.x.rateLimit",
        "operations.x.circuitBreaker",
        "operations.x.mockResponse",
        "global.requestSizeLimit",
        "upstream.certificatePinning",
        "server.port",
    ] {
        assert!(lines.iter().any(|line| line.contains(setting)), "{setting}: {report}");
    }
    assert_eq!(report.matches("no longer refused: ").count(), 3, "{report}");
    let served = routes(&dump, "*").iter().filter(|route| route.get("route").is_some()).count();
    assert!(served > 0, "it closes nothing");
    let version = json!({ "not_versioned": true, "versions": { "Default": { "use_extended_paths": true, "extended_paths": off } } });
    let api = classic(
        json!({ "version_data": version, "custom_middleware": { "pre": [{ "name": "n", "disabled": true }] } }),
    );
    let (report, dump) = Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", api)]).good();
    assert!(!report.contains("no longer refused"), "{report}");
    assert!(routes(&dump, "*").iter().any(|route| route.get("route").is_some()), "{report}");
}

#[test]
fn rates_of_fractions_of_a_second_are_carried_over() {
    for (per, expected) in
        [("500ms", json!("0.5")), ("1500ms", json!("1.5")), ("1m", json!(60)), ("1ms", json!("0.001"))]
    {
        let api = oas(json!({ "upstream": { "rateLimit": { "enabled": true, "rate": 5, "per": per } } }));
        let (report, dump) = Folder::new(&[("tyk.conf", json!({})), ("apps/a.json", api)]).good();
        assert_eq!(
            tollbell_of(&dump)["apis"][0]["global_rate_limit"],
            json!({ "rate": 5, "per": expected }),
            "{report}"
        );
    }
}
