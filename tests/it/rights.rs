//! What fetched sessions may do: fields that narrow a key are honoured, or close it.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, ensure};
use import_tyk::{Files, import};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tollbell_core::AllowedUrls;
use tollbell_core::KeyHash;
use tollbell_core::UrlRule;
use tollbell_core::config::{SessionField, Use, fields};
use tollbell_tests::client::send;
use tollbell_tests::server::{Manner, Server};

use crate::support::{World, eventually};

/// Fields of a session that say that its owner is authenticated in another way, or may do less than is honoured, as Tyk
/// writes them.
const CLOSING: &[(&str, &str)] = &[
    ("basic_auth_data", r#"{"basic_auth_data": {"password": "$2a$10$abc", "hash_type": "bcrypt"}}"#),
    ("jwt_data", r#"{"jwt_data": {"secret": "s"}}"#),
    ("hmac_enabled", r#"{"hmac_enabled": true}"#),
    ("hmac_string", r#"{"hmac_string": "c2VjcmV0"}"#),
    ("enable_http_signature_validation", r#"{"enable_http_signature_validation": true}"#),
    ("rsa_certificate_id", r#"{"rsa_certificate_id": "abc"}"#),
    ("certificate", r#"{"certificate": "5e9d9544a1dcd60001d0ed20abc"}"#),
    ("mtls_static_certificate_bindings", r#"{"mtls_static_certificate_bindings": ["abc"]}"#),
    ("oauth_client_id", r#"{"oauth_client_id": "client"}"#),
    ("oauth_keys", r#"{"oauth_keys": {"client": "token"}}"#),
    ("allowed_ips", r#"{"allowed_ips": ["10.0.0.1"]}"#),
    ("max_query_depth", r#"{"max_query_depth": 3}"#),
    ("smoothing", r#"{"smoothing": {"enabled": true, "threshold": 5, "step": 5, "trigger": 0.5, "delay": 30}}"#),
    ("meta_data.policies", r#"{"meta_data": {"policies": [{"id": "p", "access_rights": {}}]}}"#),
    ("meta_data.rate_limit_pattern", r#"{"meta_data": {"rate_limit_pattern": "$tyk_meta.team"}}"#),
    ("quota_max: -10", r#"{"quota_max": -10}"#),
    ("quota_max: -2", r#"{"quota_max": -2, "quota_renewal_rate": 60}"#),
    ("quota_renewal_rate: -60", r#"{"quota_max": 5, "quota_renewal_rate": -60}"#),
    ("rate: -5", r#"{"rate": -5, "per": 1}"#),
    ("per: -0.5", r#"{"rate": 5, "per": -0.5}"#),
    ("expires: 4102444800000", r#"{"expires": 4102444800000}"#),
    ("expires: -5", r#"{"expires": -5}"#),
    ("of_the_future", r#"{"of_the_future": ["narrow"]}"#),
    ("Allowed_IPs", r#"{"Allowed_IPs": ["10.0.0.1"]}"#),
    ("access_rights.orders.restricted_types", r#"{"restricted_types": [{"name": "Query", "fields": ["a"]}]}"#),
    ("access_rights.orders.allowed_types", r#"{"allowed_types": [{"name": "Query", "fields": ["a"]}]}"#),
    (
        "access_rights.orders.field_access_rights",
        r#"{"field_access_rights": [{"type_name": "Query", "field_name": "a", "limits": {"max_query_depth": 2}}]}"#,
    ),
    ("access_rights.orders.disable_introspection", r#"{"disable_introspection": true}"#),
    (
        "access_rights.orders.endpoints",
        r#"{"endpoints": [{"path": "/public", "methods": [{"name": "GET", "limit": {"rate": 1, "per": 60}}]}]}"#,
    ),
    (
        "access_rights.orders.json_rpc_methods",
        r#"{"json_rpc_methods": [{"name": "a", "limit": {"rate": 1, "per": 1}}]}"#,
    ),
    (
        "access_rights.orders.json_rpc_methods_access_rights",
        r#"{"json_rpc_methods_access_rights": {"allowed": ["a"]}}"#,
    ),
    ("access_rights.orders.mcp_primitives", r#"{"mcp_primitives": [{"type": "tool", "name": "a"}]}"#),
    ("access_rights.orders.mcp_access_rights", r#"{"mcp_access_rights": {"tools": {"blocked": ["a"]}}}"#),
    ("access_rights.orders.limit.max_query_depth", r#"{"limit": {"rate": 5, "per": 1, "max_query_depth": 2}}"#),
    ("access_rights.orders.limit.smoothing", r#"{"limit": {"rate": 5, "per": 1, "smoothing": {"enabled": true}}}"#),
    ("access_rights.orders.limit.quota_max: -10", r#"{"limit": {"quota_max": -10}}"#),
    ("access_rights.orders.limit.rate: -3", r#"{"limit": {"rate": -3, "per": 1}}"#),
    ("access_rights.orders.of_the_future", r#"{"of_the_future": {"deny": ["/secret"]}}"#),
    ("access_rights.orders.limit.of_the_future", r#"{"limit": {"of_the_future": 7}}"#),
    ("access_rights.orders.allowed_urls[0].url", r#"{"allowed_urls": [{"url": "/(public", "methods": ["GET"]}]}"#),
    ("access_rights.orders.allowed_urls[0].URL", r#"{"allowed_urls": [{"URL": "/x", "methods": ["GET"]}]}"#),
    (
        "access_rights.orders.allowed_urls[0].deny",
        r#"{"allowed_urls": [{"url": "/", "methods": ["GET"], "deny": ["/secret"]}]}"#,
    ),
    (
        "access_rights.orders.allowed_urls[1].url",
        r#"{"allowed_urls": [{"url": "/a", "methods": []}, {"url": "\\pL", "methods": ["GET"]}]}"#,
    ),
];

/// Sessions as Tyk 5 and its dashboard write them, with everything in them that is empty or harmless.
const OPEN: &[&str] = &[
    r#"{}"#,
    r#"{"last_check": 1700000000, "allowance": 1000, "rate": 1000, "per": 60, "throttle_interval": -1, "throttle_retry_limit": -1,
        "max_query_depth": -1, "date_created": "2024-05-01T10:00:00Z", "expires": 0, "quota_max": -1, "quota_renews": 1700003600,
        "quota_remaining": -1, "quota_renewal_rate": -1, "org_id": "acme", "oauth_client_id": "", "oauth_keys": null,
        "certificate": "", "basic_auth_data": {"password": "", "hash_type": ""}, "jwt_data": {"secret": ""},
        "hmac_enabled": false, "enable_http_signature_validation": false, "hmac_string": "", "rsa_certificate_id": "",
        "is_inactive": false, "apply_policy_id": "", "apply_policies": null, "data_expires": 0, "monitor": {"trigger_limits": null},
        "enable_detail_recording": true, "enable_detailed_recording": true, "meta_data": {}, "tags": [], "alias": "a",
        "last_updated": "1700000000", "id_extractor_deadline": 0, "session_lifetime": 3600, "smoothing": null,
        "post_expiry_action": "retain", "post_expiry_grace_period": 60, "mtls_static_certificate_bindings": null,
        "access_rights": {"orders": {"api_name": "Orders", "api_id": "orders", "versions": ["Default"], "allowed_urls": [],
            "restricted_types": [], "allowed_types": null, "limit": null, "field_access_rights": [],
            "disable_introspection": false, "allowance_scope": "", "endpoints": null, "mcp_access_rights": {"tools": {}}}}}"#,
    r#"{"quota_max": 0, "rate": 0, "per": 0, "expires": -1, "key_id": "x", "key_hash": "y"}"#,
    r#"{"smoothing": {"enabled": false, "threshold": 5}, "date_created": "0001-01-01T00:00:00Z"}"#,
    r#"{"access_rights": {"orders": {"limit": {"rate": 5, "per": 1, "throttle_interval": -1, "max_query_depth": -1, "quota_remaining": 3}}}}"#,
];

/// A key with rules: method, path, and whether it may.
const PATHS: &[(&str, &str, u16)] = &[
    ("GET", "/orders/public", 200),
    ("GET", "/orders/public/7?x=/orders/secret", 200),
    ("HEAD", "/orders/public", 200),
    ("GET", "/orders/%70ublic", 200),
    ("DELETE", "/orders/public", 403),
    ("POST", "/orders/public", 403),
    ("OPTIONS", "/orders/public", 403),
    ("GET", "/orders/secret", 403),
    ("GET", "/orders/secret?x=/orders/public", 403),
    ("GET", "/orders/Public", 403),
    ("GET", "/orders/pub", 403),
    ("GET", "/orders/", 403),
    ("GET", "/orders/items/7", 200),
    ("POST", "/orders/items/7", 200),
    ("POST", "/orders/items/7/lines", 403),
    ("POST", "/orders/items/", 403),
    ("PUT", "/orders/items/7", 403),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_not_honoured_closes_its_key_and_is_named() -> Result<()> {
    let documents = Server::start().await?;
    let world = World::with_config(config(documents.port)).await?;
    ensure!(CLOSING.len() >= 30);
    for (round, rows) in CLOSING.chunks(15).enumerate() {
        let name = |row: usize| format!("closed-{round}-{row}");
        let mut document: Map<String, Value> = rows
            .iter()
            .enumerate()
            .map(|(row, (field, text))| Ok((name(row), session(field, text)?)))
            .collect::<Result<_>>()?;
        document.insert(format!("open-{round}"), json!({}));
        serve(&documents, &world, document, &format!("open-{round}")).await?;
        let log = world.envoy.log();
        for (row, (field, _)) in rows.iter().enumerate() {
            let key = name(row);
            assert_eq!(status(&world, "GET", "/orders/public", &key).await?, 403, "{field}");
            let fingerprint = KeyHash::of(key.as_bytes()).fingerprint();
            let line = log
                .lines()
                .find(|line| line.contains(&fingerprint))
                .with_context(|| format!("{field} is not named"))?;
            ensure!(line.contains(field), "{field}: {line}");
        }
        assert_eq!(world.envoy.metric("tollbell_closed_keys{}").await?, rows.len() as u64);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_exports_are_served_and_rules_hold() -> Result<()> {
    let documents = Server::start().await?;
    let world = World::with_config(config(documents.port)).await?;
    let mut document = Map::new();
    for (row, text) in OPEN.iter().enumerate() {
        document.insert(format!("open-{row}"), serde_json::from_str(text)?);
    }
    let rules = json!([
        { "url": "/orders/public", "methods": ["GET", "HEAD"] },
        { "url": "^/orders/items/{id}$", "methods": ["GET", "POST"] },
    ]);
    document.insert("rules".into(), json!({ "access_rights": { "orders": { "allowed_urls": rules } } }));
    document.insert("policy".into(), json!({ "apply_policies": ["public"] }));
    document.insert("old-policy".into(), json!({ "apply_policy_id": "public" }));
    document.insert("last".into(), json!({}));
    serve(&documents, &world, document, "last").await?;
    for (row, text) in OPEN.iter().enumerate() {
        assert_eq!(status(&world, "GET", "/orders/public", &format!("open-{row}")).await?, 200, "{text}");
    }
    assert_eq!(world.envoy.metric("tollbell_closed_keys{}").await?, 0);
    for key in ["rules", "configured", "policy", "old-policy"] {
        for (method, path, expected) in PATHS {
            assert_eq!(status(&world, method, path, key).await?, *expected, "{key}: {method} {path}");
        }
    }
    let refused = send(world.envoy.port, "GET", "/orders/secret", &[("authorization", "rules")], Vec::new()).await?;
    assert_eq!(refused.body, r#"{"error": "Access to this resource has been disallowed"}"#);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_closed_keys_are_counted_and_few_are_named() -> Result<()> {
    let documents = Server::start().await?;
    let world = World::with_config(config(documents.port)).await?;
    let mut document: Map<String, Value> =
        (0..2000).map(|n| (format!("k{n}"), json!({ "hmac_enabled": true }))).collect();
    document.insert("zz".into(), json!({}));
    serve(&documents, &world, document, "zz").await?;
    let log = world.envoy.log();
    assert_eq!(log.matches("is closed: ").count(), 20);
    ensure!(log.contains("2000 keys are closed in all"), "{log}");
    Ok(())
}

/// `tollbell import-tyk` reads the same exports: it must be as strict.
#[test]
fn what_closes_a_fetched_session_is_not_imported_either() -> Result<()> {
    let mut keys = Map::new();
    for (row, (field, text)) in CLOSING.iter().enumerate() {
        keys.insert(format!("closed-{row}"), session(field, text)?);
    }
    for (row, text) in OPEN.iter().enumerate() {
        keys.insert(format!("open-{row}"), session("", text)?);
    }
    // Every field of the lists.
    let of =
        |usage: Use| if matches!(usage, Use::Closes(_)) { ("closed", json!({ "x": "y" })) } else { ("open", json!(5)) };
    let ignored_or_closed = |field: &&SessionField| !matches!(field.usage, Use::Honoured(_));
    for field in fields::SESSION.iter().filter(ignored_or_closed) {
        let (kind, value) = of(field.usage);
        keys.insert(format!("{kind}-session-{}", field.name), json!({ field.name: value }));
    }
    for field in fields::RIGHT.iter().filter(ignored_or_closed).filter(|field| !field.name.starts_with("api")) {
        let (kind, value) = of(field.usage);
        let right = json!({ "orders": { field.name: value } });
        keys.insert(format!("{kind}-right-{}", field.name), json!({ "access_rights": right }));
    }
    for field in fields::LIMIT.iter().filter(ignored_or_closed) {
        let (kind, value) = of(field.usage);
        let right = json!({ "orders": { "limit": { field.name: value } } });
        keys.insert(format!("{kind}-limit-{}", field.name), json!({ "access_rights": right }));
    }
    let mut policies = vec![json!({ "id": "good", "access_rights": { "orders": {} } })];
    for field in fields::POLICY.iter().filter(ignored_or_closed).filter(|field| !field.name.ends_with("id")) {
        let (kind, value) = of(field.usage);
        policies.push(json!({ "id": field.name, field.name: value, "quota_max": 1, "partitions": { "quota": true } }));
        keys.insert(format!("{kind}-policy-{}", field.name), json!({ "apply_policies": ["good", field.name] }));
    }
    ensure!(keys.len() > 100, "{}", keys.len());
    let (kept, report) = imported(&keys, &policies)?;
    for (name, session) in &keys {
        ensure!(kept.contains(name) == name.starts_with("open-"), "{name} {session}\n{report}");
    }
    Ok(())
}

/// The importer's check of rules accepts nothing that the filter refuses.
#[test]
fn rules_that_are_imported_are_read_by_the_filter() -> Result<()> {
    let alphabet: Vec<char> = r"a/\.*+?()[]{}|^$-&d".chars().collect();
    let mut rules: Vec<String> = Vec::new();
    for length in 1..=3_u32 {
        for mut number in 0..alphabet.len().pow(length) {
            let mut rule = String::new();
            for _ in 0..length {
                rule.push(alphabet[number % alphabet.len()]);
                number /= alphabet.len();
            }
            rules.push(rule);
        }
    }
    rules.extend(CLOSING_RULES.iter().map(|rule| (*rule).to_owned()));
    let all = rules.len();
    rules.extend(PLAIN_RULES.iter().map(|rule| (*rule).to_owned()));
    let key = |(row, rule): (usize, &String)| {
        let right = json!({ "orders": { "allowed_urls": [{ "url": rule, "methods": ["GET"] }] } });
        (format!("rule-{row}"), json!({ "access_rights": right }))
    };
    let (kept, _) = imported(&rules.iter().enumerate().map(key).collect(), &[])?;
    ensure!(kept.len() > 500, "{}", kept.len());
    for (row, rule) in rules.iter().enumerate() {
        let is_kept = kept.contains(&format!("rule-{row}"));
        ensure!(is_kept || row < all, "{rule} is not imported");
        let read = AllowedUrls::new(&[UrlRule { url: rule.clone(), methods: Vec::new() }]);
        ensure!(!is_kept || read.is_ok(), "{rule} is imported, and the filter refuses it: {read:?}");
    }
    Ok(())
}

/// Rules that engines read differently, or do not know.
const CLOSING_RULES: &[&str] = &[
    r"\pL",
    r"\p{Greek}",
    r"\Qa\E",
    r"\x41",
    r"\101",
    r"\z",
    r"\Aa",
    "(?i)a",
    "(?P<n>a)",
    "(?x) a",
    "[[:alpha:]]",
    "[a&&b]",
    "[a--b]",
    "[a~~b]",
    "a{2,3}",
    "a{2}{3}",
    "(?=a)",
    r"(a)\1",
    "[z-a]",
];

/// Rules as they are written.
const PLAIN_RULES: &[&str] =
    &["/orders/public", "^/orders/{id}$", "/orders/*", "/orders/*/lines", "^/orders/(?:a|b)/[0-9]+$", r"^/v1\.0/\d+$"];

/// The keys that an import keeps, and its report.
fn imported(keys: &Map<String, Value>, policies: &[Value]) -> Result<(BTreeSet<String>, String)> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tollbell-rights-{}-{number}", std::process::id()));
    fs::create_dir_all(folder.join("apps"))?;
    let definition = json!({
        "api_id": "orders", "name": "Orders", "active": true, "use_keyless": false,
        "auth": { "auth_header_name": "authorization" },
        "version_data": { "not_versioned": true, "versions": { "Default": { "name": "Default" } } },
        "proxy": { "listen_path": "/orders/", "target_url": "http://127.0.0.1:1/" },
    });
    let files = Files {
        conf: folder.join("tyk.conf"),
        apps: folder.join("apps"),
        keys: Some(folder.join("keys.json")),
        policies: Some(folder.join("policies.json")),
        keep_going: true,
        ..Files::default()
    };
    fs::write(&files.conf, json!({ "hash_keys": false }).to_string())?;
    fs::write(folder.join("apps/orders.json"), definition.to_string())?;
    fs::write(folder.join("keys.json"), Value::Object(keys.clone()).to_string())?;
    fs::write(folder.join("policies.json"), json!(policies).to_string())?;
    let imported = import(&files, true).map_err(|failed| anyhow!(failed.errors.join("\n")))?;
    fs::remove_dir_all(folder)?;
    let is_kept = |name: &&String| imported.yaml.contains(&hex::encode(Sha256::digest(name)));
    Ok((keys.keys().filter(is_kept).cloned().collect(), imported.report))
}

fn config(documents: u16) -> Value {
    let rules = json!([
        { "url": "/orders/public", "methods": ["GET", "HEAD"] },
        { "url": "^/orders/items/{id}$", "methods": ["GET", "POST"] },
    ]);
    json!({
        "apis": [{ "api_id": "orders", "listen_path": "/orders/" }],
        "keys": { "configured": { "access_rights": { "orders": { "allowed_urls": rules } } } },
        "policies": { "public": { "access_rights": { "orders": { "allowed_urls": rules } } } },
        "keys_from": { "url": format!("http://127.0.0.1:{documents}/keys"), "interval_s": 1 },
    })
}

/// A session with a field of its own, or of its right to the API.
fn session(field: &str, text: &str) -> Result<Value> {
    let value: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
    Ok(if field.starts_with("access_rights") { json!({ "access_rights": { "orders": value } }) } else { value })
}

/// Waits until every VM has a document.
async fn serve(documents: &Server, world: &World, document: Map<String, Value>, key: &str) -> Result<()> {
    documents.set_manner(Manner { body: Value::Object(document).to_string(), ..Manner::default() });
    eventually("the keys are loaded", async || {
        for _ in 0..8 {
            if status(world, "GET", "/orders/public", key).await? != 200 {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

async fn status(world: &World, method: &str, path: &str, key: &str) -> Result<u16> {
    Ok(send(world.envoy.port, method, path, &[("authorization", key)], Vec::new()).await?.status)
}
