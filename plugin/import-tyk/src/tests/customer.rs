use super::*;

#[test]
fn a_customers_apis_are_carried_over() {
    let (_, _, dump) = customer();
    let own = tollbell_of(&dump);
    let (catalogue, orders, payments) = (&own["apis"][0], &own["apis"][1], &own["apis"][2]);
    assert_eq!(
        catalogue["auth"],
        json!({ "auth_header_name": "X-Api-Key", "use_param": true, "param_name": "api_key" })
    );
    assert_eq!(catalogue["global_rate_limit"], json!({ "rate": 500, "per": 1 }));
    let failures = &catalogue["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"];
    assert_eq!(failures["template_path"], "templates/failures.csv");
    assert!(catalogue["event_handlers"]["events"].get("VersionFailure").is_none());
    assert_eq!((&orders["name"], &orders["listen_path"]), (&json!("Orders"), &json!("/orders/")));
    assert_eq!((&orders["strip_authorization_data"], &orders["observe_upstream"]), (&json!(true), &json!(true)));
    let quota = orders["event_handlers"]["events"]["QuotaExceeded"].as_array().unwrap();
    assert_eq!(quota.len(), 2, "the script is left out");
    assert_eq!(
        quota[0]["handler_meta"],
        json!({
            "method": "POST", "target_path": "http://127.0.0.1:10002/crm/quota.xml", "template_path": "templates/quota.xml",
            "header_map": { "Content-Type": "application/xml" }, "event_timeout": 60,
        })
    );
    assert_eq!(quota[1], json!({ "handler_name": "eh_log_handler", "handler_meta": { "prefix": "[QUOTA]" } }));
    assert_eq!(
        payments["auth"],
        json!({ "auth_header_name": "Authorization", "use_param": true, "param_name": "token" })
    );
    assert_eq!(payments["global_rate_limit"], json!({ "rate": 100, "per": 60 }));
    let events = &payments["event_handlers"]["events"];
    assert_eq!(events["QuotaExceeded"][0]["handler_meta"]["event_timeout"], 90);
    assert_eq!(events["AuthFailure"][0]["handler_meta"]["disabled"], true);
    assert_eq!(events["AuthFailure"].as_array().unwrap().len(), 1);
    assert_eq!(events["KeyExpired"][0]["handler_meta"]["prefix"], "[PAYMENTS]");
}

#[test]
fn a_customers_keys_and_policies_are_carried_over() {
    let (files, imported, dump) = customer();
    let own = tollbell_of(&dump);
    let export: Value = serde_json::from_str(&fs::read_to_string(files.keys.unwrap()).unwrap()).unwrap();
    let keys = own["keys"].as_object().unwrap();
    assert_eq!((export.as_object().unwrap().len(), keys.len()), (21, 19));
    for (name, session) in export.as_object().unwrap() {
        let plain = !name.starts_with("orgkey-") && session["basic_auth_data"]["password"] == "";
        let found = keys.get(&names::fingerprint(name.as_bytes()));
        assert_eq!(found.is_some(), plain, "{}", session["alias"]);
        assert!(!imported.yaml.contains(name.as_str()) || name.starts_with("orgkey-"), "a key is shown");
        assert!(!imported.report.contains(name.as_str()), "a key is shown");
        let Some(found) = found else { continue };
        // Settings that its policies set are not repeated.
        let has_policies = session["apply_policies"].as_array().is_some_and(|list| !list.is_empty());
        let is_replaced = has_policies || session["apply_policy_id"].as_str().is_some_and(|id| !id.is_empty());
        let fields: &[&str] = if is_replaced { &["org_id"] } else { &["org_id", "quota_max", "quota_renewal_rate"] };
        for field in fields {
            let given = if session[*field] == 0 { &Value::Null } else { &session[*field] };
            assert_eq!(&found[*field], given, "{field} of {}", session["alias"]);
        }
    }
    let of = |alias: &str| keys.values().find(|session| session["alias"] == alias).unwrap();
    assert_eq!(own["tyk_tokens"], json!({ "forms": ["murmur64"], "min_token_length": 3 }));
    assert_eq!(own["origin_header"], json!(["X-Real-IP", "X-Forwarded-For"]));
    assert_eq!(own["unmatched"], "refuse");
    assert_eq!(of("old-partner")["apply_policies"], json!(["gold"]));
    assert_eq!(of("expired-partner")["expires"], 1_577_836_800);
    assert_eq!(of("blocked-partner")["is_inactive"], true);
    assert_eq!(
        (&of("y")["tags"], &of("y")["meta_data"]["note"]),
        (&json!(["no", "on", "80.0"]), &json!("says: \"yes\", then no"))
    );
    assert_eq!(of("reporting")["access_rights"].as_object().unwrap().len(), 1);
    let limit = &of("per-api-limits")["access_rights"]["1f2e3d4c5b6a79880011223344556677"];
    assert_eq!(limit["limit"], json!({ "quota_max": 100, "quota_renewal_rate": 60, "rate": 5, "per": 1 }));
    assert_eq!(limit["allowance_scope"], "1f2e3d4c5b6a79880011223344556677");
    let policies = own["policies"].as_object().unwrap();
    assert_eq!(policies["gold"]["quota_max"], 5000);
    assert_eq!(policies["trial-quota"]["partitions"], json!({ "quota": true, "rate_limit": true }));
    assert_eq!(policies["trial-quota"]["key_expires_in"], 2_592_000);
    let org = &own["orgs"]["5e9d9544a1dcd60001d0ed20"];
    assert_eq!((&org["quota_max"], &org["quota_renewal_rate"]), (&json!(100_000), &json!(86400)));
    assert_eq!(own["enforce_org_quotas"], true);
}

#[test]
fn a_customers_monitor_and_templates_are_carried_over() {
    let (files, _, dump) = customer();
    let own = tollbell_of(&dump);
    assert_eq!(own["monitor"]["configuration"]["header_map"], json!({ "x-tyk-monitor-secret": "12345" }));
    assert_eq!(own["monitor"]["configuration"]["template_path"], "templates/monitor_template.json");
    assert_eq!(
        (&own["monitor"]["monitor_user_keys"], &own["monitor"]["monitor_org_keys"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(own.get("event_handlers"), None, "Tyk never notifies those of tyk.conf of requests");
    for name in ["alert.json", "quota.xml", "failures.csv"] {
        let text = fs::read_to_string(files.conf.with_file_name("templates").join(name)).unwrap();
        assert_eq!(own["templates"][format!("templates/{name}")], text);
    }
    assert!(own["templates"].get("/opt/tyk-gateway/templates/alert.json").is_some());
}

#[test]
fn a_customers_gateway_becomes_envoys() {
    let (_, _, dump) = customer();
    let address = &dump["static_resources"]["listeners"][0]["address"]["socket_address"];
    assert_eq!(address, &json!({ "address": "0.0.0.0", "port_value": 8080 }));
    let routes = routes(&dump, "*");
    let of = |prefix: &str| &route(routes, "prefix", prefix)["route"];
    assert_eq!(of("/orders/")["prefix_rewrite"], "/");
    assert_eq!(of("/catalogue/")["prefix_rewrite"], "/v2/");
    assert_eq!(of("/catalogue/")["host_rewrite_literal"], "127.0.0.1:10001");
    assert_eq!(of("/payments/").get("prefix_rewrite"), None);
    assert_eq!(of("/payments/").get("host_rewrite_literal"), None);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../envoy/envoy.yaml");
    let example = config::read(&example).unwrap().dump;
    assert_eq!(dump["stats_config"], example["stats_config"], "as in envoy/envoy.yaml");
    let callouts = |dump: &Value| {
        let clusters = dump["static_resources"]["clusters"].as_array().unwrap().iter();
        clusters
            .filter(|cluster| cluster["name"].as_str().unwrap().starts_with("tollbell"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(callouts(&dump), callouts(&example), "as in envoy/envoy.yaml");
    let (mut filter, mut other) = (manager(&dump)["http_filters"].clone(), manager(&example)["http_filters"].clone());
    for filters in [&mut filter, &mut other] {
        filters[0]["typed_config"]["config"]["configuration"]["value"] = Value::Null;
    }
    assert_eq!(filter, other, "as in envoy/envoy.yaml");
}

#[test]
fn the_report_has_every_setting_and_no_secret() {
    let (files, imported, _) = customer();
    let verbose = import(&files, true).unwrap();
    for secret in ["352d20ee", "7b1f0c39", "hunter2", "12345", "ops-token", "soc-token", "finance-token", "$2a$10"] {
        assert!(!verbose.report.contains(secret) && !imported.report.contains(secret), "{secret}");
    }
    let conf: Value = serde_json::from_str(&fs::read_to_string(&files.conf).unwrap()).unwrap();
    for (name, value) in conf.as_object().unwrap() {
        let is_told = verbose.report.contains(&format!("tyk.conf: {name}"));
        let wanted =
            value.as_object().map_or(!source::is_empty(value), |map| map.values().any(|v| !source::is_empty(v)));
        assert!(is_told || !wanted, "{name}");
    }
    let place = "catalogue.json: event_handlers.events.AuthFailure[0].handler_meta.event_timeout: 0 is no cool-down";
    assert!(imported.report.contains(place), "{}", imported.report);
    assert!(
        imported
            .report
            .contains("QuotaExceeded[2] (handler_meta.name, handler_meta.path, handler_name): a filter runs")
    );
    assert!(verbose.report.contains("  carried over   "), "{}", verbose.report);
}
