use anyhow::{Result, ensure};
use serde_json::json;
use tollbell_tests::client::get_with_key;
use tollbell_tests::envoy::Setup;

use crate::support::{World, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_five_mistakes_is_refused_and_each_is_named() -> Result<()> {
    let mut config = config(json!({ "quota_mx": 10 }));
    config["monitor"]["configuration"]["target_path"] = json!("hooks");
    config["monitor"]["global_trigger_limit"] = json!(120.0);
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["template_path"] = json!("no.json");
    config["apis"][0]["event_handlers"]["events"]["QuotaExceeded"][0]["handler_meta"]["method"] = json!("FETCH");
    let log = Setup::config(&config, 1, 1)?.refused().await?;
    for expected in [
        r#"monitor.configuration.target_path: "hooks" is not an absolute http or https URL"#,
        "monitor.global_trigger_limit: 120 is more than 100",
        r#"apis[0].event_handlers.events.AuthFailure[0].handler_meta.template_path: no template is named "no.json""#,
        r#"apis[0].event_handlers.events.QuotaExceeded[0].handler_meta.method: "FETCH" is not one of GET, PUT, POST, PATCH, DELETE"#,
        r#".quota_mx: unknown field (did you mean "quota_max"?)"#,
    ] {
        ensure!(log.contains(expected), "{expected}\nis not in\n{log}");
    }
    ensure!(!log.contains("good-key"), "a raw key is in the log:\n{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_listener_update_keeps_the_counts_and_a_bad_one_is_refused() -> Result<()> {
    let with_quota = |max: u64| config(json!({ "org_id": "acme", "quota_max": max, "quota_renewal_rate": 3600 }));
    let setup = |max, upstream, receiver| Setup::config(&with_quota(max), upstream, receiver);
    let world = World::with_setup(|upstream, receiver| Ok(setup(8, upstream, receiver)?.watch_listener())).await?;
    let (upstream, receiver) = (world.upstream.port, world.receiver.port);
    let status = async || Ok::<_, anyhow::Error>(get_with_key(world.envoy.port, "/", "good-key").await?.status);

    eventually("the listener is there", async || Ok(status().await.is_ok())).await?;
    for _ in 0..5 {
        assert_eq!(status().await?, 200);
    }
    world.envoy.update_listener(setup(20, upstream, receiver)?)?;
    eventually("the update is taken", async || Ok(world.envoy.stat("listener_manager.listener_modified").await? == 1))
        .await?;
    let counted = std::cell::Cell::new(6);
    eventually("the new quota is in force", async || {
        let reply = get_with_key(world.envoy.port, "/", "good-key").await?;
        counted.set(counted.get() + u32::from(reply.status == 200));
        Ok(reply.header("x-ratelimit-limit") == Some("20"))
    })
    .await?;
    while status().await? == 200 {
        counted.set(counted.get() + 1);
    }
    assert_eq!(counted.get(), 20, "those before the update are counted too");

    let mut bad = with_quota(100);
    bad["monitor"]["configuration"]["target_path"] = json!("hooks");
    world.envoy.update_listener(Setup::config(&bad, upstream, receiver)?)?;
    eventually("the bad update is refused", async || {
        Ok(world.envoy.stat("listener_manager.lds.update_rejected").await? == 1)
    })
    .await?;
    assert_eq!(status().await?, 403, "the old configuration stays");
    ensure!(world.envoy.log().contains("is not an absolute http or https URL"), "{}", world.envoy.log());
    Ok(())
}
