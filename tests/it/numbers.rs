//! Numbers that are certainly mistakes: Envoy does not start with them, or its log has a warning.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::get_with_key;
use tollbell_tests::envoy::Setup;
use tollbell_tests::server::Server;

use crate::support::{World, config, shared};

/// The place in the configuration, the wrong number, and the text in Envoy's log. `*` is a separate policy for each
/// row.
const WRONG: &[(&str, &str, &str)] = &[
    ("/policies/*/quota_max", "-10", "quota_max: -10 is less than -1"),
    ("/policies/*/quota_max", "-2", "quota_max: -2 is less than -1"),
    ("/policies/*/quota_max", "1.5", "quota_max: \"1.5\" is not a whole number"),
    ("/policies/*/quota_max", "\"many\"", "quota_max: \"many\" is not a whole number"),
    ("/policies/*/quota_renewal_rate", "-60", "quota_renewal_rate: -60 is less than -1"),
    ("/policies/*/quota_renewal_rate", "31536000000000", "is more than 3153600000: the unit is seconds"),
    ("/policies/*/rate", "-5", "rate: -5 is less than -1"),
    ("/policies/*/rate", "-0.5", "rate: -0.5 is negative: only -1 says unlimited"),
    ("/policies/*/rate", "\"NaN\"", "is not a number"),
    ("/policies/*/rate", "\"inf\"", "is not a number"),
    ("/policies/*/per", "-60", "per: -60 is less than -1"),
    ("/policies/*/per", "-0.25", "per: -0.25 is negative: only -1 says unlimited"),
    ("/policies/*/per", "99999999999", "per: 99999999999 is more than 3153600000: the unit is seconds"),
    ("/policies/*/key_expires_in", "-3600", "key_expires_in: -3600 is less than -1"),
    ("/policies/*/key_expires_in", "1767225600000", "key_expires_in: 1767225600000 is more than 3153600000"),
    ("/policies/*/monitor/trigger_limits", "[101]", "trigger_limits[0]: 101 is more than 100"),
    ("/policies/*/monitor/trigger_limits", "[80, 0]", "trigger_limits[1]: 0 is not more than 0"),
    ("/policies/*/monitor/trigger_limits", "[-1]", "trigger_limits[0]: -1 is not more than 0"),
    ("/policies/*/access_rights/orders/limit/quota_max", "-10", "limit.quota_max: -10 is less than -1"),
    ("/policies/*/access_rights/orders/limit/rate", "-3", "limit.rate: -3 is less than -1"),
    ("/policies/*/access_rights/orders/limit/per", "-3.5", "limit.per: -3.5 is less than -1"),
    ("/keys/good-key/quota_max", "-10", "].quota_max: -10 is less than -1"),
    ("/keys/good-key/expires", "1767225600000", "1767225600000 is more than 253402300799: the unit is Unix seconds"),
    ("/keys/other-key/expires", "-5", "].expires: -5 is less than -1"),
    ("/orgs/acme/quota_max", "-7", "orgs.acme.quota_max: -7 is less than -1"),
    ("/orgs/acme/rate", "-7", "orgs.acme.rate: -7 is less than -1"),
    ("/apis/0/global_rate_limit", "{\"rate\": -4, \"per\": 1}", "global_rate_limit.rate: -4 is less than -1"),
    ("/monitor/global_trigger_limit", "800", "global_trigger_limit: 800 is more than 100"),
    ("/monitor/configuration/event_timeout", "-1", "event_timeout: -1 is less than 0"),
    ("/monitor/configuration/event_timeout", "1767225600000", "event_timeout: 1767225600000 is more than 315360000"),
    ("/monitor/configuration/max_per_minute", "-1", "max_per_minute: -1 is less than 0"),
    ("/monitor/configuration/timeout", "30000", "timeout: 30000 is more than 600"),
    ("/monitor/configuration/target_path", "\"http://hooks.test:0/x\"", "has no valid port"),
    ("/monitor/configuration/target_path", "\"http://hooks.test:70000/x\"", "has no valid port"),
    ("/apis/0/domain", "\"api.acme.test:70000\"", "is not a plain host name"),
    ("/callouts/clusters", "{\"hooks.test:0\": \"a\"}", "is not a host, or a host and a port from 1 to 65535"),
    ("/callouts/clusters", "{\"hooks.test:70000\": \"a\"}", "is not a host, or a host and a port from 1 to 65535"),
    (
        "/apis/0/observe",
        r#"{"rules": [{"event": "api_event", "action": "add", "method": "POST", "path": "/x", "status": [20]}]}"#,
        "status[0]: 20 is less than 100",
    ),
    (
        "/apis/0/observe",
        r#"{"rules": [{"event": "api_event", "action": "add", "method": "POST", "path": "/x", "status": [600]}]}"#,
        "status[0]: 600 is more than 599",
    ),
    ("/delivery/timeout_ms", "0", "timeout_ms: 0 is less than 1"),
    ("/delivery/max_attempts", "0", "max_attempts: 0 is less than 1"),
    ("/keys_from/interval_s", "30000000", "interval_s: 30000000 is more than 86400"),
];

/// The same for numbers with which Envoy starts.
const ODD: &[(&str, &str, &str)] = &[
    ("/policies/*/quota_renewal_rate", "3600", "quota_renewal_rate: has no effect: quota_max is missing or 0"),
    ("/policies/*/rate", "5", "rate: no limit: per is missing"),
    ("/policies/*/per", "60", "per: no limit: rate is missing"),
    ("/policies/*/access_rights/orders/limit/rate", "5", "limit.rate: no limit: per is missing"),
    ("/policies/*/monitor/trigger_limits", "[0.8]", "trigger_limits[0]: 0.8 means 0.8 %; write 80"),
    ("/keys/good-key/monitor/trigger_limits", "[50, 0.5]", "trigger_limits[1]: 0.5 means 0.5 %; write 50"),
    ("/keys/other-key/expires", "3600", "].expires: before the year 2001"),
    ("/monitor/global_trigger_limit", "0.8", "global_trigger_limit: 0.8 means 0.8 %; write 80"),
    ("/monitor/configuration/event_timeout", "60000", "event_timeout: 60000 seconds"),
    ("/delivery/timeout_ms", "30", "timeout_ms: 30 milliseconds"),
];

/// Tyk's special numbers have the same meaning as in Tyk.
const GOOD: &[(&str, &str)] = &[
    ("/policies/*/quota_max", "-1"),
    ("/policies/*/quota_max", "0"),
    ("/policies/*/quota_renewal_rate", "-1"),
    ("/policies/*/quota_renewal_rate", "0"),
    ("/policies/*/rate", "-1"),
    ("/policies/*/per", "-1"),
    ("/policies/*/rate", "0.0"),
    ("/policies/*/key_expires_in", "-1"),
    ("/policies/*/monitor/trigger_limits", "[1, 100.0]"),
    ("/policies/*/access_rights/orders/limit/quota_max", "-1"),
    ("/keys/good-key/quota_max", "-1"),
    ("/keys/good-key/expires", "4102444800"),
    ("/keys/other-key/expires", "-1"),
    ("/orgs/acme/quota_max", "-1"),
    ("/monitor/configuration/event_timeout", "86400"),
];

fn place(base: &mut Value, pointer: &str, row: usize, text: &str) -> Result<()> {
    let mut at = base;
    for name in pointer.split('/').skip(1) {
        let name = if name == "*" { format!("p{row}") } else { name.to_owned() };
        at = match at {
            Value::Array(list) => &mut list[name.parse::<usize>()?],
            other => &mut other[name.as_str()],
        };
    }
    *at = serde_json::from_str(text)?;
    Ok(())
}

/// As many configurations as are needed for each row to have its own place.
fn configurations(rows: &[(&str, &str)]) -> Result<Vec<Value>> {
    let mut configurations: Vec<(Value, Vec<&str>)> = Vec::new();
    for (row, (pointer, text)) in rows.iter().enumerate() {
        let is_free = |taken: &Vec<&str>| pointer.contains('*') || !taken.contains(pointer);
        let free = configurations.iter().position(|(_, taken)| is_free(taken));
        let index = free.unwrap_or_else(|| {
            let mut fresh = config(json!({ "quota_max": 3, "quota_renewal_rate": 3600 }));
            fresh["keys"]["other-key"] = json!({});
            configurations.push((fresh, Vec::new()));
            configurations.len() - 1
        });
        place(&mut configurations[index].0, pointer, row, text)?;
        configurations[index].1.push(pointer);
    }
    Ok(configurations.into_iter().map(|(configuration, _)| configuration).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_does_not_start_with_a_number_that_must_be_a_mistake() -> Result<()> {
    let _shared = shared().await;
    let receiver = Server::start().await?;
    let rows: Vec<_> = WRONG.iter().map(|(pointer, text, _)| (*pointer, *text)).collect();
    ensure!(rows.len() >= 30);
    let mut logs = String::new();
    for configuration in configurations(&rows)? {
        logs += &Setup::config(&configuration, receiver.port, receiver.port)?.refused().await?;
    }
    let missed: Vec<_> = WRONG.iter().filter(|(_, _, said)| !logs.contains(said)).collect();
    ensure!(missed.is_empty(), "not logged: {missed:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_warns_of_an_odd_number_and_serves() -> Result<()> {
    let rows: Vec<_> = ODD.iter().map(|(pointer, text, _)| (*pointer, *text)).collect();
    for configuration in configurations(&rows)? {
        let world = World::with_config(configuration).await?;
        ensure!(get_with_key(world.envoy.port, "/", "good-key").await?.status == 200);
        let log = world.envoy.log();
        let missed: Vec<_> = ODD.iter().filter(|(_, _, said)| !log.contains(said)).collect();
        ensure!(missed.is_empty(), "not logged: {missed:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tyks_special_numbers_are_accepted() -> Result<()> {
    for configuration in configurations(GOOD)? {
        let world = World::with_config(configuration).await?;
        ensure!(get_with_key(world.envoy.port, "/", "good-key").await?.status == 200);
        // Other warnings are expected: no key has these policies, and no quota is left to monitor.
        let others = [
            "no key has this policy",
            "no key has a quota",
            "organisations are not counted",
            "quota_max is missing or unlimited",
            "partitions.per_api is not true, as in Tyk",
        ];
        let log = world.envoy.log();
        let mut said = log.lines().filter(|line| line.contains("configuration:"));
        ensure!(said.all(|line| others.iter().any(|other| line.ends_with(other))), "{log}");
    }
    Ok(())
}
