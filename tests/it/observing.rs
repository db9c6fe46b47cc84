//! Refusals that are only observed, and what Envoy's access log shows of a request.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_core::KeyHash;
use tollbell_tests::client::send;
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;

use crate::support::{World, eventually};

const LOG: &str = r#"          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: ACCESS_LOG
              log_format:
                json_format:
                  path: "%REQ(:PATH)%"
                  status: "%RESPONSE_CODE%"
                  key: "%FILTER_STATE(wasm.tollbell.key:PLAIN)%"
                  org: "%FILTER_STATE(wasm.tollbell.org:PLAIN)%"
                  api: "%FILTER_STATE(wasm.tollbell.api:PLAIN)%"
                  outcome: "%FILTER_STATE(wasm.tollbell.outcome:PLAIN)%"
"#;

fn config() -> Value {
    json!({
        "enforcement": "observe", "access_log": true, "unmatched": "refuse",
        "apis": [
            { "api_id": "orders", "org_id": "acme", "listen_path": "/orders/" },
            { "api_id": "strict", "org_id": "acme", "listen_path": "/strict/", "enforcement": "enforce" },
        ],
        "keys": { "one": { "org_id": "acme", "quota_max": 1 } },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_shows_who_it_was_and_what_was_decided() -> Result<()> {
    let file = project_root().join(format!("target/tmp/access-{}.log", std::process::id()));
    std::fs::create_dir_all(file.parent().context("a folder")?)?;
    let log = LOG.replace("ACCESS_LOG", &file.display().to_string());
    let world = World::with_setup(|upstream, receiver| {
        let setup = Setup::config(&config(), upstream, receiver)?;
        Ok(setup.edit(|text| text.replacen("          route_config:", &format!("{log}          route_config:"), 1)))
    })
    .await?;
    for (path, key, status, would_refuse) in [
        ("/orders/1", "one", 200, None),
        ("/orders/2", "one", 200, Some("quota_exceeded")),
        ("/orders/3", "nobody", 200, Some("unknown_key")),
        ("/strict/4", "one", 403, None),
        ("/elsewhere", "one", 200, None),
    ] {
        let reply = send(world.envoy.port, "GET", path, &[("authorization", key)], Vec::new()).await?;
        assert_eq!((reply.status, reply.header("x-tollbell-would-refuse")), (status, would_refuse), "{path}");
    }
    assert_eq!(world.upstream.received().len(), 4, "all but the enforced one");
    let lines = async || -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
    };
    eventually("five lines", async || Ok(lines().await.is_ok_and(|lines| lines.len() == 5))).await?;
    let line = |path: &str, status: u16, key: &str, api: &str, outcome: &str| {
        let org = if api.is_empty() { Value::Null } else { json!("acme") };
        let or_none = |text: String| if text.is_empty() { Value::Null } else { json!(text) };
        json!({
            "path": path, "status": status, "org": org, "api": or_none(api.to_owned()), "outcome": outcome,
            "key": or_none(if key.is_empty() { String::new() } else { KeyHash::of(key.as_bytes()).fingerprint() }),
        })
    };
    let expected = [
        line("/orders/1", 200, "one", "orders", "admitted"),
        line("/orders/2", 200, "one", "orders", "would_refuse_quota_exceeded"),
        line("/orders/3", 200, "nobody", "orders", "would_refuse_unknown_key"),
        line("/strict/4", 403, "one", "strict", "quota_exceeded"),
        line("/elsewhere", 200, "", "", "would_refuse_unmatched"),
    ];
    let mut lines = lines().await?;
    lines.sort_by_key(|line| expected.iter().position(|other| other["path"] == line["path"]));
    assert_eq!(lines, expected);
    std::fs::remove_file(&file)?;
    for (sample, count) in [
        (r#"tollbell_would_refuse{outcome="quota_exceeded"}"#, 1),
        (r#"tollbell_would_refuse{outcome="unknown_key"}"#, 1),
        (r#"tollbell_requests{outcome="admitted"}"#, 3),
        (r#"tollbell_requests{outcome="quota_exceeded"}"#, 1),
    ] {
        eventually(sample, async || Ok(world.envoy.metric(sample).await.unwrap_or_default() == count)).await?;
    }
    ensure!(!world.envoy.has_trapped());
    Ok(())
}
