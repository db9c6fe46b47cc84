//! What a fleet shows and foretells of a key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::{count_status, get_with_key};

use super::envoys::{Fleet, config};
use crate::support::{SOON, eventually, hook};

/// Every member knows what the others have counted, also a member that has not counted on the key, and asking counts on
/// nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_holder_of_a_key_sees_its_use_at_every_member() -> Result<()> {
    for counting in ["leased", "exact"] {
        let mut config = config(json!({ "counting": counting }));
        config["usage"] = json!({ "path": "/.tollbell/usage", "rate": 0 });
        let fleet = Fleet::start(3, &config).await?;
        let first = fleet.envoys.first().context("a member")?;
        for _ in 0..100 {
            let reply = get_with_key(first.port, "/orders/1", "good-key").await?;
            ensure!(reply.status == 200, "{counting}: {}", reply.status);
        }
        // A member reports what it has used within half a second.
        for envoy in &fleet.envoys {
            let used = async || -> Result<Value> {
                let reply = get_with_key(envoy.port, "/.tollbell/usage", "good-key").await?;
                ensure!(reply.status == 200, "{}: {}", reply.status, reply.body);
                Ok(serde_json::from_str::<Value>(&reply.body)?["limits"][0]["used"].clone())
            };
            eventually("all requests are shown", async || Ok(used().await? == 100)).await?;
            for _ in 0..10 {
                assert_eq!(used().await?, 100, "{counting}");
            }
        }
        let replies = fleet.load(4, 10).await?;
        ensure!(count_status(&replies, 200) == 30, "the others can still be used");
    }
    Ok(())
}

/// The store decides on a forecast, so it is told once, although three members count.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_foretells_the_end_of_a_quota_once() -> Result<()> {
    for counting in ["leased", "exact"] {
        let mut config = config(json!({ "counting": counting }));
        let events = &mut config["apis"][0]["event_handlers"]["events"];
        events["QuotaForecast"] = json!([hook("/forecast", 0)]);
        // A hundredth of this window passes, and then the quota lasts for less than the window.
        let session = &mut config["keys"]["good-key"];
        session["quota_renewal_rate"] = json!(200);
        session["quota_max"] = json!(1000);
        session["monitor"] = json!({});
        config["monitor"] = json!({
            "enable_trigger_monitors": true, "monitor_user_keys": true,
            "forecast": { "within": 3600, "min_used": 20 }
        });
        let fleet = Fleet::start(3, &config).await?;
        for _ in 0..16 {
            let admitted = count_status(&fleet.load(1, 5).await?, 200);
            ensure!(admitted == 15, "{counting}: {admitted}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        fleet.receiver.expect(1, SOON).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let told = fleet.receiver.received();
        let bodies = told.iter().map(|message| message.json()).collect::<Result<Vec<Value>>>()?;
        ensure!(bodies.len() == 1, "{counting}: {bodies:?}");
        let body = &bodies[0];
        assert_eq!((&body["event"], &body["key"]), (&json!("QuotaForecast"), &json!("good-key")), "{counting}");
        let expected = body["expected_at"].as_str().context("a time")?;
        ensure!(expected.len() == "2026-01-01T00:00:00.000Z".len(), "{expected}");
    }
    Ok(())
}
