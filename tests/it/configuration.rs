use anyhow::{Context, Result, ensure};
use host_shim::{FindingKind, Modules, check};
use serde_json::json;
use tollbell_tests::client::get_with_key;
use tollbell_tests::envoy::Setup;

use crate::support::{World, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_five_mistakes_is_refused_and_each_is_logged() -> Result<()> {
    let mut config = config(json!({ "quota_mx": 10 }));
    config["monitor"]["configuration"]["target_path"] = json!("hooks");
    config["monitor"]["global_trigger_limit"] = json!(120.0);
    config["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"]["template_path"] = json!("no.json");
    config["apis"][0]["event_handlers"]["events"]["QuotaExceeded"][0]["handler_meta"]["method"] = json!("FETCH");
    let log = Setup::config(&config, 1, 1)?.refused().await?;
    for expected in [
        r#"monitor.configuration.target_path: "hooks" is not an absolute http or https URL"#,
        "monitor.global_trigger_limit: 120 is more than 100",
        r#"apis[0].event_handlers.events.AuthFailure[0].handler_meta.template_path: there is no template "no.json""#,
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

#[test]
fn a_check_finds_the_clusters_that_are_missing() -> Result<()> {
    let found = |callouts: serde_json::Value, edit: &dyn Fn(String) -> String| -> Result<Vec<(FindingKind, String)>> {
        let session = json!({ "org_id": "acme", "quota_max": 10, "monitor": { "trigger_limits": [80] } });
        let mut config = config(session);
        config["monitor"]["monitor_org_keys"] = json!(false);
        config["callouts"] = callouts;
        let setup = Setup::config(&config, 1, 2)?.edit(edit);
        let file = std::env::temp_dir().join(format!("tollbell-clusters-{}.yaml", std::process::id()));
        std::fs::write(&file, setup.text())?;
        let findings = check(&file, &Modules::default(), 64 << 20);
        std::fs::remove_file(&file)?;
        let graver = findings.into_iter().filter(|finding| finding.kind != FindingKind::Note);
        Ok(graver.map(|finding| (finding.kind, finding.text)).collect())
    };
    let plain = |yaml: String| yaml;
    let says = "there is no cluster \"tollbell_htpp\": nothing would reach 127.0.0.1:2";
    assert_eq!(found(json!({}), &plain)?, []);
    let misspelt = found(json!({ "http_cluster": "tollbell_htpp" }), &plain)?;
    let [(FindingKind::Error, text)] = &misspelt[..] else { panic!("{misspelt:?}") };
    ensure!(text.contains("yaml:") && text.contains(&format!("callouts.http_cluster: {says}")), "{text}");
    let missing = found(json!({}), &|yaml| yaml.replace("  - name: tollbell_http\n", "  - name: other\n"))?;
    let [(FindingKind::Error, text)] = &missing[..] else { panic!("{missing:?}") };
    ensure!(text.contains("callouts.http_cluster: there is no cluster \"tollbell_http\""), "{text}");
    let named = found(json!({ "clusters": { "127.0.0.1": "hooks" } }), &plain)?;
    let [(FindingKind::Error, text)] = &named[..] else { panic!("{named:?}") };
    ensure!(text.contains("callouts.clusters[\"127.0.0.1\"]: there is no cluster \"hooks\""), "{text}");
    // A missing cluster that nothing needs is no error.
    let unused = found(json!({ "https_cluster": "none", "clusters": { "other.test": "nowhere" } }), &plain)?;
    let [(FindingKind::Warning, text)] = &unused[..] else { panic!("{unused:?}") };
    ensure!(text.contains("nothing is sent to this host"), "{text}");
    // Clusters may come from a control plane.
    let dynamic = "dynamic_resources: { cds_config: { path_config_source: { path: /dev/null } } }\n";
    let elsewhere = found(json!({ "http_cluster": "from_cds" }), &|yaml| format!("{dynamic}{yaml}"))?;
    ensure!(elsewhere.iter().all(|(kind, _)| *kind == FindingKind::Warning), "{elsewhere:?}");
    Ok(())
}

/// A hundred keys, each on its own line of the file. An operator must find the one with the mistake, and the error must
/// not show it.
#[test]
fn a_check_gives_the_line_of_a_wrong_key_without_showing_the_key() -> Result<()> {
    let mut config = config(json!({ "quota_max": 10 }));
    for number in 0..100 {
        config["keys"][format!("secret-key-{number}")] = json!({ "quota_max": 10 });
    }
    config["keys"]["secret-key-42"] = json!({ "quota_mx": 10 });
    config["keys"]["secret-key-77"] = json!({ "quota_max": "many" });
    let on_lines = |yaml: String| yaml.replace("\"secret-key-", &format!("\n{}\"secret-key-", " ".repeat(40)));
    let setup = Setup::config(&config, 1, 2)?.edit(on_lines);
    let file = std::env::temp_dir().join(format!("tollbell-lines-{}.yaml", std::process::id()));
    std::fs::write(&file, setup.text())?;
    let findings = check(&file, &Modules::default(), 64 << 20);
    std::fs::remove_file(&file)?;
    let line_of = |text: &str| {
        let line = setup.text().lines().position(|line| line.contains(text)).map(|index| index + 1);
        line.map(|line| format!("{}:{line}: ", file.display())).with_context(|| text.to_owned())
    };
    let said: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
    for (kind, place, message) in [
        (FindingKind::Error, "secret-key-42", ".quota_mx: unknown field (did you mean \"quota_max\"?)"),
        (FindingKind::Error, "secret-key-77", ".quota_max: \"many\" is not a whole number"),
    ] {
        let line = line_of(place)?;
        let found = findings.iter().find(|finding| finding.text.contains(message));
        let found = found.with_context(|| format!("{message} is not among {said:#?}"))?;
        ensure!(found.kind == kind && found.text.starts_with(&line), "{}\nshould begin with {line}", found.text);
    }
    ensure!(!said.iter().any(|text| text.contains("secret-key")), "a raw key is shown: {said:#?}");
    Ok(())
}

#[test]
fn a_check_warns_if_another_host_gets_past_a_domain() -> Result<()> {
    let found = |unmatched: &str, domain: &str| -> Result<Vec<(FindingKind, String)>> {
        let mut config = config(json!({ "quota_max": 10 }));
        config["apis"][0]["domain"] = json!(domain);
        config["unmatched"] = json!(unmatched);
        let setup = Setup::config(&config, 1, 2)?;
        let file = std::env::temp_dir().join(format!("tollbell-domain-{}.yaml", std::process::id()));
        std::fs::write(&file, setup.text())?;
        let findings = check(&file, &Modules::default(), 64 << 20);
        std::fs::remove_file(&file)?;
        let of_domain = findings.into_iter().filter(|finding| finding.text.contains(".domain: "));
        Ok(of_domain.map(|finding| (finding.kind, finding.text)).collect())
    };
    let open = found("pass", "api.acme.test")?;
    let [(FindingKind::Warning, text)] = &open[..] else { panic!("{open:?}") };
    ensure!(text.contains("apis[0].domain: ") && text.contains("set unmatched to refuse"), "{text}");
    assert_eq!(found("refuse", "api.acme.test")?, []);
    assert_eq!(found("pass", "")?, []);
    Ok(())
}
