use anyhow::Result;
use serde_json::json;
use tollbell_tests::client::{self, count_status, get_with_key, load};
use tollbell_tests::envoy::Setup;

use crate::support::{World, config, hook};

#[tokio::test(flavor = "multi_thread")]
async fn quota_10_with_three_thresholds_rings_as_the_seeds_show() -> Result<()> {
    let world = World::with_config(config(json!({
        "org_id": "acme", "quota_max": 10, "quota_renewal_rate": 3600, "monitor": { "trigger_limits": [80.0, 60.0, 50.0] }
    })))
    .await?;
    let mut statuses = Vec::new();
    for n in 1..=12 {
        let reply = get_with_key(world.envoy.port, "/orders/7", "good-key").await?;
        statuses.push(reply.status);
        assert_eq!(reply.header("x-ratelimit-limit"), Some("10"), "{reply:?}");
        assert_eq!(reply.header("x-ratelimit-remaining"), Some(10_i32.saturating_sub(n).max(0).to_string().as_str()));
        assert!(reply.header("x-ratelimit-reset").is_some());
        assert_eq!(reply.header("retry-after").is_some(), n > 10);
        if n > 10 {
            assert_eq!(reply.body, r#"{"error": "Quota exceeded"}"#);
        }
    }
    assert_eq!(statuses, [[200; 10].as_slice(), &[403, 403]].concat());
    let trigger = |limit: &str| {
        json!({
            "event": "TriggerExceeded", "message": "Quota trigger reached", "org": "acme", "key": "good-key",
            "trigger_limit": limit
        })
    };
    let exceeded = json!({
        "event": "QuotaExceeded", "message": "Key Quota Limit Exceeded", "path": "/orders/7", "origin": "127.0.0.1",
        "key": "good-key"
    });
    assert_eq!(world.messages(4).await?, [exceeded, trigger("50"), trigger("60"), trigger("80")]);
    assert_eq!(world.upstream.count(), 10);
    assert_eq!(world.envoy.metric(r#"tollbell_requests{outcome="admitted"}"#).await?, 10);
    assert_eq!(world.envoy.metric(r#"tollbell_requests{outcome="quota_exceeded"}"#).await?, 2);
    assert_eq!(world.envoy.metric(r#"tollbell_events{type="TriggerExceeded"}"#).await?, 3);
    assert_eq!(world.envoy.metric("tollbell_suppressed{}").await?, 1);
    assert_eq!(world.envoy.metric("tollbell_delivered{}").await?, 4);
    assert_eq!(world.envoy.metric("tollbell_failed{}").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_concurrent_requests_on_a_quota_of_5000_admit_5000() -> Result<()> {
    let session = json!({ "org_id": "acme", "quota_max": 5000, "quota_renewal_rate": 3600, "monitor": { "trigger_limits": [90, 50, 10, 1] } });
    let mut config = config(session);
    config["enforce_org_quotas"] = json!(true);
    config["orgs"] = json!({ "acme": { "quota_max": 1_000_000, "quota_renewal_rate": 3600, "monitor": { "trigger_limits": [0.2] } } });
    let world =
        World::with_setup(|upstream, receiver| Ok(Setup::config(&config, upstream, receiver)?.workers(4))).await?;
    let replies = load(world.envoy.port, 64, 20_000, |_| ("/".into(), "good-key".into())).await?;
    assert_eq!((count_status(&replies, 200), count_status(&replies, 403)), (5000, 15_000));
    let limits: Vec<(String, String)> = world
        .messages(6)
        .await?
        .iter()
        .filter(|body| body["event"] == "TriggerExceeded")
        .map(|body| (body["key"].as_str().unwrap().to_owned(), body["trigger_limit"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [("", "0.2"), ("good-key", "1"), ("good-key", "10"), ("good-key", "50"), ("good-key", "90")];
    let mut limits: Vec<(&str, &str)> = limits.iter().map(|(key, limit)| (key.as_str(), limit.as_str())).collect();
    limits.sort_unstable();
    assert_eq!(limits, expected);
    println!("lost races that were tried again: {}", world.envoy.metric("tollbell_cas_retries{}").await?);
    assert_eq!(world.envoy.metric("tollbell_cas_exhausted{}").await?, 0);
    Ok(())
}

/// The first requests of each key arrive together. Half of the keys are on their organisation's page, half on their
/// own.
#[tokio::test(flavor = "multi_thread")]
async fn the_very_first_requests_of_a_key_are_counted_exactly() -> Result<()> {
    const KEYS: usize = 64;
    let mut config = config(json!({}));
    for n in 0..KEYS {
        config["keys"][format!("key-{n}")] = json!({ "org_id": "acme", "quota_max": 8, "quota_renewal_rate": 3600 });
    }
    config["enforce_org_quotas"] = json!(true);
    config["orgs"] = json!({ "acme": { "quota_max": 1_000_000, "quota_renewal_rate": 3600 } });
    let world =
        World::with_setup(|upstream, receiver| Ok(Setup::config(&config, upstream, receiver)?.workers(4))).await?;
    let replies = load(world.envoy.port, 32, KEYS * 16, |n| ("/".into(), format!("key-{}", n / 16))).await?;
    assert_eq!(count_status(&replies, 200), KEYS * 8);
    let reply = get_with_key(world.envoy.port, "/", "good-key").await?;
    let used = 1_000_000 - reply.header("x-ratelimit-remaining").unwrap().parse::<usize>()?;
    assert_eq!(used, KEYS * 8 + 1, "requests that a key refused were refunded to the organisation");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_as_documented() -> Result<()> {
    let mut config = config(json!({}));
    config["keys"] = json!({
        "good-key": { "access_rights": { "orders": {} } },
        "expired": { "expires": 1_000_000_000 },
        "inactive": { "is_inactive": true },
        "elsewhere": { "access_rights": { "other": {} } },
        "poor-org": { "org_id": "poor" }
    });
    config["apis"][0]["auth"] = json!({ "use_param": true, "use_cookie": true, "cookie_name": "session" });
    config["apis"][0]["strip_authorization_data"] = json!(true);
    config["apis"].as_array_mut().unwrap().push(json!({ "api_id": "other", "listen_path": "/other/" }));
    config["enforce_org_quotas"] = json!(true);
    config["orgs"] = json!({ "acme": {}, "poor": { "quota_max": 1, "quota_renewal_rate": 60 } });
    config["event_handlers"] =
        json!({ "events": { "KeyExpired": [hook("/expired", 60)], "OrgQuotaExceeded": [hook("/org", 60)] } });
    let world = World::with_config(config).await?;
    let refusal = |text: &str| format!(r#"{{"error": "{text}"}}"#);
    for (key, status, body) in [
        ("good-key", 200, "ok\n".to_owned()),
        ("Bearer good-key", 200, "ok\n".to_owned()),
        ("", 401, refusal("Authorization field missing")),
        ("nobody", 403, refusal("Access to this API has been disallowed")),
        ("elsewhere", 403, refusal("Access to this API has been disallowed")),
        ("expired", 401, refusal("Key has expired, please renew")),
        ("inactive", 403, refusal("Key is inactive, please renew")),
        ("poor-org", 200, "ok\n".to_owned()),
        ("poor-org", 403, refusal("This organisation quota has been exceeded, please contact your API administrator")),
    ] {
        let reply = get_with_key(world.envoy.port, "/x", key).await?;
        assert_eq!((reply.status, reply.body.as_str()), (status, body.as_str()), "{key}");
        if status != 200 {
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
    }
    for (target, headers) in
        [("/x?a=1&api_key=good-key", vec![]), ("/x?a=1", vec![("cookie", "a=b; session=good-key")])]
    {
        assert_eq!(client::get(world.envoy.port, target, &headers).await?.status, 200, "{target}");
    }
    for seen in world.upstream.received() {
        assert_eq!(seen.header("authorization"), None, "the key does not go upstream");
        assert!(!format!("{seen:?}").contains("good-key"), "{seen:?}");
    }
    assert_eq!(world.messages(5).await?.len(), 5, "two AuthFailure, two KeyExpired, one OrgQuotaExceeded");
    Ok(())
}
