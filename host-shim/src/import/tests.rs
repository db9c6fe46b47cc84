#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::config;

/// The files of a customer, and what is made of them as Envoy's reader takes it.
fn customer() -> (Files, Imported, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tyk");
    let files = Files {
        conf: folder.join("tyk.conf"),
        apps: folder.join("apps"),
        policies: Some(folder.join("policies/policies.json")),
        keys: Some(folder.join("keys.json")),
        templates: None,
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

/// Small files in a folder of their own, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, Value)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("host-shim-import-{}-{number}", std::process::id()));
        fs::create_dir_all(folder.join("apps")).unwrap();
        for (name, content) in files {
            let text = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
            fs::write(folder.join(name), text).unwrap();
        }
        Folder(folder)
    }

    fn import(&self) -> Result<Imported, String> {
        let given = |name: &str| Some(self.0.join(name)).filter(|path| path.exists());
        let files = Files {
            conf: self.0.join("tyk.conf"),
            apps: self.0.join("apps"),
            policies: given("policies.json"),
            keys: given("keys.json"),
            templates: None,
        };
        import(&files, true).map_err(|errors| errors.join("\n").replace(&format!("{}/", self.0.display()), ""))
    }

    /// The report and the configuration.
    fn good(&self) -> (String, Value) {
        let imported = self.import().unwrap();
        let dump = config::parse(&imported.yaml, "imported.yaml", false).expect(&imported.yaml).dump;
        (imported.report.replace(&format!("{}/", self.0.display()), ""), dump)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A classic definition with some parts of its own.
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

fn routes(dump: &Value) -> &Value {
    &manager(dump)["route_config"]["virtual_hosts"][0]["routes"]
}

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
        assert_eq!(found.is_some(), plain && session["alias"] != "partner-portal", "{}", session["alias"]);
        assert!(!imported.yaml.contains(name.as_str()) || name.starts_with("orgkey-"), "a key is shown");
        assert!(!imported.report.contains(name.as_str()), "a key is shown");
        let Some(found) = found else { continue };
        for field in ["org_id", "quota_max", "quota_renewal_rate"] {
            let given = if session[field] == 0 { &Value::Null } else { &session[field] };
            assert_eq!(&found[field], given, "{field} of {}", session["alias"]);
        }
    }
    let of = |alias: &str| keys.values().find(|session| session["alias"] == alias).unwrap();
    assert!(keys.contains_key(&names::fingerprint(b"acme-partner-portal")));
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
    assert_eq!(own["event_handlers"]["events"]["OrgQuotaExceeded"][0]["handler_meta"]["event_timeout"], 300);
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
    let routes = routes(&dump).as_array().unwrap();
    let of = |prefix: &str| &routes.iter().find(|route| route["match"]["prefix"] == prefix).unwrap()["route"];
    assert_eq!(of("/orders/")["prefix_rewrite"], "/");
    assert_eq!(of("/catalogue/")["prefix_rewrite"], "/v2/");
    assert_eq!(of("/catalogue/")["host_rewrite_literal"], "127.0.0.1:10001");
    assert_eq!(of("/payments/").get("prefix_rewrite"), None);
    assert_eq!(of("/payments/").get("host_rewrite_literal"), None);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/envoy.yaml");
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

#[test]
fn what_cannot_be_checked_closes_an_api() {
    let past = json!({ "versions": { "v1": { "expires": "2001-01-02 15:04" } } });
    let listed = json!({ "versions": { "v1": { "use_extended_paths": true, "extended_paths": { "white_list": [{ "path": "/x" }] } } } });
    let paths = json!({ "internal": [{ "path": "/x" }] });
    let internal = json!({ "versions": { "v1": { "use_extended_paths": true, "extended_paths": paths } } });
    let old = json!({ "versions": { "v1": { "paths": { "white_list": ["/x"] } } } });
    let odd = json!({ "versions": { "v1": { "expires": "2999-12-31" } } });
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
        (classic(json!({ "expiration": "2001-01-02 15:04" })), "expiration", "take the API out"),
        (classic(json!({ "version_data": past })), "version_data.versions.v1.expires", "take the API out"),
        (classic(json!({ "version_data": listed })), "extended_paths.white_list", "direct_response"),
        (classic(json!({ "version_data": internal })), "extended_paths.internal", "direct_response"),
        (classic(json!({ "version_data": old })), "paths.white_list", "direct_response"),
        (classic(json!({ "version_data": odd })), "version_data.versions.v1.expires", "2030-12-31 23:59"),
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
        assert_eq!(routes(&dump)[0]["direct_response"]["status"], 403, "{setting}");
        assert!(routes(&dump)[0].get("route").is_none(), "{setting}");
        assert_eq!(tollbell_of(&dump)["apis"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn what_is_not_served_is_left_out() {
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
        assert_eq!(routes(&dump).as_array().unwrap().len(), 2, "/b/ and /b: {why}");
    }
}

fn versions() -> Value {
    json!({ "not_versioned": false, "default_version": "v2", "versions": { "v1": {}, "v2": {} } })
}

#[test]
fn keys_do_not_become_wider() {
    let right = |more: Value| {
        let mut right = json!({ "api_id": "a", "limit": null });
        merge(&mut right, more);
        json!({ "a": right })
    };
    let cases = [
        (json!({ "access_rights": { "gone": {} } }), "none of the rights that it had is left"),
        (
            json!({ "access_rights": right(json!({ "allowed_urls": [{ "url": "/x", "methods": ["GET"] }] })) }),
            "allowed_urls",
        ),
        (
            json!({ "access_rights": right(json!({ "field_access_rights": [{ "type_name": "Q" }] })) }),
            "field_access_rights",
        ),
        (json!({ "apply_policies": ["unknown"] }), "none of its policies is in the policies file"),
        (json!({ "apply_policies": ["other"], "org_id": "acme" }), "of its organisation, and Tyk refuses"),
        (json!({ "apply_policies": ["other", "acme"] }), "of its organisation, and Tyk refuses"),
        (json!({ "apply_policies": ["good", "mixed"] }), "one of its policies has per_api and another partition"),
        (json!({ "apply_policies": ["good", "off"] }), "a policy that is left out switches it off"),
        (json!({ "apply_policies": ["parts"], "access_rights": { "gone": {} } }), "none of the rights that it had"),
        (json!({ "apply_policies": ["rate"], "access_rights": { "gone": {} } }), "none of the rights that it had"),
        (json!({ "apply_policies": ["unknown", "rate"] }), "neither it nor its policies name an API"),
        (json!({ "apply_policies": ["parts"] }), "neither it nor its policies name an API"),
        (json!({ "apply_policies": ["lost", "rate"] }), "none of the APIs of its policies is left"),
        (
            json!({ "apply_policies": ["lost", "rate"], "access_rights": { "a": {} } }),
            "none of the APIs of its policies",
        ),
        (json!({ "apply_policies": ["globex"] }), "none of the APIs of its policies is left"),
        (json!({ "apply_policies": ["other"], "access_rights": { "a": {} } }), "belongs to another organisation"),
        (json!({ "apply_policies": ["old"] }), "none of the APIs of its policies is left"),
        (json!({ "access_rights": { "v": { "versions": ["v1"] } } }), "not one to version \"v2\""),
        (json!({ "meta_data": { "policies": [{ "id": "own" }] } }), "the policies in its metadata"),
        (json!({ "apply_policies": ["mixed"] }), "per_api and another partition"),
        (json!({ "apply_policies": ["parts", "each"] }), "per_api and partitioned policies"),
        (json!({ "apply_policies": ["lost"] }), "none of the APIs of its policies is left"),
        (json!({ "basic_auth_data": { "password": "p" } }), "by a password"),
        (json!({ "hmac_enabled": true, "hmac_string": "s" }), "by a signature"),
        (json!({ "oauth_client_id": "c" }), "by an OAuth token"),
        (json!({ "jwt_data": { "secret": "s" } }), "by a JWT"),
        (json!({ "certificate": "c" }), "by a certificate"),
        (json!({ "allowed_ips": ["10.0.0.1"] }), "only some addresses"),
    ];
    for (session, why) in cases {
        let folder = Folder::new(&[
            ("tyk.conf", json!({})),
            ("apps/a.json", classic(json!({}))),
            (
                "apps/v.json",
                classic(json!({ "api_id": "v", "proxy": { "listen_path": "/v/" }, "version_data": versions() })),
            ),
            (
                "policies.json",
                json!([
                    { "id": "lost", "access_rights": { "gone": {} } },
                    { "id": "other", "org_id": "globex" },
                    { "id": "mixed", "partitions": { "per_api": true, "quota": true } },
                    { "id": "parts", "partitions": { "quota": true } },
                    { "id": "each", "partitions": { "per_api": true } },
                    { "id": "rate", "rate": 5, "per": 1 },
                    { "id": "good", "access_rights": { "a": {} } },
                    { "id": "acme", "org_id": "acme", "access_rights": { "a": {} } },
                    { "id": "globex", "org_id": "globex", "access_rights": { "a": {} } },
                    { "id": "off", "is_inactive": true, "access_rights": { "gone": {} } },
                    { "id": "old", "access_rights": { "v": { "versions": ["v1"] } } },
                ]),
            ),
            ("keys.json", json!({ "good": { "access_rights": { "a": {}, "gone": {} } }, "bad": session })),
        ]);
        let (report, dump) = folder.good();
        assert!(report.contains(why), "{report}");
        let keys = tollbell_of(&dump)["keys"].as_object().unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), [&names::fingerprint(b"good")], "{why}");
        assert_eq!(keys[&names::fingerprint(b"good")]["access_rights"], json!({ "a": {} }));
    }
}

#[test]
fn keys_stay_with_what_remains() {
    let right = json!({ "v": { "versions": ["v1", "v2"] } });
    let folder = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", classic(json!({}))),
        (
            "apps/v.json",
            classic(json!({ "api_id": "v", "proxy": { "listen_path": "/v/" }, "version_data": versions() })),
        ),
        (
            "policies.json",
            json!([
                { "id": "lost", "access_rights": { "gone": {} } },
                { "id": "rate", "rate": -1, "per": -1.0, "partitions": { "rate_limit": true } },
                { "id": "good", "access_rights": { "a": { "limit": { "rate": -1, "per": 0 } } } },
            ]),
        ),
        (
            "keys.json",
            json!({
                "granted": { "apply_policies": ["lost", "good", "rate"], "access_rights": { "gone": {} } },
                "own": { "apply_policies": ["unknown", "rate"], "access_rights": right },
                "master": { "rate": -1, "per": -1 },
            }),
        ),
    ]);
    let (report, dump) = folder.good();
    let (keys, policies) = (&tollbell_of(&dump)["keys"], &tollbell_of(&dump)["policies"]);
    assert_eq!(keys[names::fingerprint(b"granted")], json!({ "apply_policies": ["good", "rate"] }));
    let own = json!({ "apply_policies": ["rate"], "access_rights": right });
    assert_eq!(keys[names::fingerprint(b"own")], own);
    assert_eq!(keys[names::fingerprint(b"master")], json!({ "rate": -1, "per": -1 }));
    assert!(report.contains("apply_policies: without lost, which"), "{report}");
    let rate = json!({ "rate": -1, "per": -1, "partitions": { "rate_limit": true } });
    assert_eq!(policies["rate"], rate, "unlimited, which wins where policies are merged");
    assert_eq!(policies["good"]["access_rights"]["a"]["limit"], json!({ "rate": -1 }));
}

#[test]
fn keys_made_by_hand_stay_in_their_organisation() {
    let folder = Folder::new(&[
        ("tyk.conf", json!({})),
        ("apps/a.json", classic(json!({}))),
        ("apps/g.json", classic(json!({ "api_id": "g", "org_id": "globex", "proxy": { "listen_path": "/g/" } }))),
        (
            "keys.json",
            json!({
                "acmeevery": { "org_id": "acme" },
                "acmeboth": { "org_id": "acme", "access_rights": { "a": {}, "g": {} } },
                "acmeother": { "org_id": "acme", "access_rights": { "g": {} } },
                "initechnone": { "org_id": "initech" },
                "generated": { "org_id": "acme" },
            }),
        ),
    ]);
    let (report, dump) = folder.good();
    let keys = tollbell_of(&dump)["keys"].as_object().unwrap();
    let of = |key: &str| keys.get(&names::fingerprint(key.as_bytes()));
    let near = json!({ "org_id": "acme", "access_rights": { "a": {} } });
    assert_eq!((of("every"), of("both")), (Some(&near), Some(&near)));
    assert_eq!((of("other"), of("none")), (None, None));
    assert_eq!(of("generated"), Some(&json!({ "org_id": "acme" })), "Tyk finds it from every API");
    assert!(report.contains("no API of its organisation is left"), "{report}");
}

#[test]
fn a_missing_template_is_named_with_the_folder() {
    let errors = Errors::default();
    let file = File::new("tyk.conf".to_owned(), json!({ "template_path": "nope.json" }), &errors);
    Templates::new(None, Path::new(""), "").resolve(&file.root().get("template_path"));
    Templates::new(None, Path::new(""), "mine").resolve(&file.root().get("template_path"));
    let told = errors.take().join("\n");
    assert!(told.contains("is not in .;") && told.contains("is not in . or ./mine;"), "{told}");
}

#[test]
fn events_of_tyk_that_never_fire_are_known() {
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
fn hashed_exports_are_used_as_far_as_they_can_be() {
    let sha = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let folder = Folder::new(&[
        ("tyk.conf", json!({ "hash_keys": true, "hash_key_function": "sha256" })),
        ("apps/a.json", classic(json!({}))),
        (
            "keys.json",
            json!({ sha: { "alias": "s" }, "deadbeef": { "alias": "m32" }, "deadbeefdeadbeef": { "alias": "m64" } }),
        ),
    ]);
    let (report, dump) = folder.good();
    assert_eq!(tollbell_of(&dump)["keys"], json!({ format!("sha256:{sha}"): { "alias": "s" } }));
    assert_eq!(tollbell_of(&dump).get("hash_keys"), None);
    assert!(report.contains("tyk.conf: hash_keys: it says how Tyk stores keys"), "{report}");
    assert!(report.contains("its name is a murmur hash") && !report.contains("deadbeef"), "{report}");
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
    let hosts = manager(&dump)["route_config"]["virtual_hosts"].as_array().unwrap();
    let all = hosts.iter().find(|host| host["domains"] == json!(["*"])).unwrap()["routes"].as_array().unwrap();
    let of = |kind: &str, path: &str| &all.iter().find(|route| route["match"][kind] == path).unwrap()["route"];
    assert_eq!(of("prefix", "/a/")["prefix_rewrite"], "/base/");
    assert_eq!(of("prefix", "/a")["prefix_rewrite"], "/base/", "as Tyk makes /base/b of /ab");
    assert_eq!(of("path", "/c")["prefix_rewrite"], "/x/c");
    assert_eq!(of("path", "/d")["prefix_rewrite"], "/");
    let place = |path: &str| all.iter().position(|route| route["match"]["prefix"] == path).unwrap();
    assert!(place("/a/") < place("/a"));
    assert_eq!(of("prefix", "/c/")["prefix_rewrite"], "/x/c/");
    assert_eq!(of("prefix", "/d/")["prefix_rewrite"], "/");
    let named = hosts.iter().find(|host| host["domains"] == json!(["b.test", "b.test:*"])).unwrap();
    let named = named["routes"].as_array().unwrap();
    assert_eq!(named[0]["route"]["cluster"], "upstream_b");
    assert_eq!(named.len(), all.len() + 1, "an API of any host is served there, too");
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
    assert!(report.contains("apps/c.json: proxy.listen_path: /c/, since"), "{report}");
}

#[test]
fn tyks_old_ways_are_understood() {
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
        json!({ "k": { "apply_policies": ["gold", "gone"], "org_id": "globex" }, "orgkey-acme": { "quota_max": 9 } });
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
    assert_eq!(
        own["apis"][0]["auth"],
        json!({ "auth_header_name": "Authorization", "use_param": true, "param_name": "k" })
    );
    assert_eq!(own["apis"][0].get("global_rate_limit"), None);
    assert_eq!(own["apis"][0].get("domain"), None, "enable_custom_domains is not set");
    assert_eq!(own["keys"][names::fingerprint(b"k")]["apply_policies"], json!(["gold"]));
    assert_eq!(own["orgs"], json!({ "acme": { "quota_max": 9 }, "globex": {} }));
    assert_eq!(own["policies"]["gold"]["access_rights"], json!({ "a": { "api_id": "a", "versions": ["v2"] } }));
    let cluster = &dump["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    assert_eq!(cluster["endpoint"]["address"]["socket_address"]["address"], "v2.test");
    for told in [
        "monitor.enable_trigger_monitors: false, since nobody would hear",
        "global_trigger_limit: such a percentage is never crossed",
        "listen_address: 0.0.0.0, since",
        "without gone,",
        "handler_meta.method: PUT, in capitals",
        "Tyk has no event \"AuthFailed\"",
        "give version \"v1\" a route of its own",
        "disable_quota: the quotas of its keys count here",
    ] {
        let is_empty_event = told.contains("AuthFailed");
        assert!(report.contains(told) || is_empty_event, "{told}\n{report}");
    }
}

#[test]
fn broken_files_are_named_all_at_once() {
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
        ("apps/g.json", classic(json!({ "api_id": "g", "proxy": { "listen_path": "/f/" } }))),
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
        "apps/c.json: proxy.listen_path: apps/b.json: proxy.listen_path has the same domain and listen path",
        "its api_id \"a\" is that of",
        "apps/d.json: neither a classic API definition nor",
        "apps/e.json: api_id: missing",
        "apps/f.json: auth.auth_header_name: is not the name of a header",
        "apps/g.json: proxy.listen_path: apps/f.json: proxy.listen_path has the same domain and listen path",
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

/// Every place of a tree, as a JSON pointer.
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
fn whatever_stands_in_a_file_is_read_or_named() {
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
            json!({ "k": { "rate": 1, "apply_policies": ["p"], "tags": ["t"], "meta_data": { "a": "b" },
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
