//! The module on hosts that differ from Envoy. Nothing panics, requests that cannot be counted are refused, and the log
//! gives the reason.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_shim::gateway::{Gateway, Request, Response};
use host_shim::{LogLevel, Quirk, Status};
use serde_json::json;
use tollbell_tests::project_root;

use crate::support::config;

fn module() -> Result<Vec<u8>> {
    let module = project_root().join("dist/tollbell.wasm");
    fs::read(&module).with_context(|| format!("{} is not built; run `make test`", module.display()))
}

/// A gateway with a key of 3 requests, whose webhooks go to `hooks.test`.
fn gateway(quirks: &[Quirk], session: serde_json::Value) -> Result<Gateway> {
    let mut config = config(session);
    config["monitor"] = serde_json::json!({});
    let config = config.to_string().replace("RECEIVER", "hooks.test");
    let builder = Gateway::builder(module()?)
        .config(config)
        .workers(2)
        .plugin(|plugin| plugin.vm.vm_id = "own".to_owned())
        .upstream("upstream", |_| Response::ok("ok").into())
        .upstream("tollbell_http", |_| Response::ok("taken").into());
    quirks.iter().fold(builder, |builder, quirk| builder.quirk(quirk.clone())).start()
}

fn three_requests() -> serde_json::Value {
    json!({ "org_id": "acme", "quota_max": 3, "quota_renewal_rate": 3600 })
}

fn statuses(gateway: &Gateway, count: usize) -> Result<Vec<u16>> {
    let request = || Request::get("/orders/1").header("authorization", "good-key");
    (0..count).map(|_| Ok(gateway.request(request())?.status())).collect()
}

/// The lines of each VM at level warn and above, without those that all VMs have.
fn warnings(gateway: &Gateway) -> Vec<String> {
    let lines = gateway.logs().into_iter().filter(|line| line.level >= LogLevel::Warn && line.from_module);
    lines.map(|line| line.text).collect()
}

/// The main thread, two workers, and the canary on which Envoy tests a configuration.
const VMS: usize = 4;

#[test]
fn quotas_and_webhooks_work_on_hosts_with_other_compare_and_swap() -> Result<()> {
    let cases: [(&[Quirk], &str); 7] = [
        (&[], ""),
        (&[Quirk::AbsentKeysMismatch], "creates no key of shared data by compare-and-swap"),
        (&[Quirk::AbsentKeysMismatch, Quirk::AbsentKeysAreEmpty], "creates no key"),
        (&[Quirk::AbsentKeysAreEmpty], ""),
        (&[Quirk::NumbersAreIgnored], "ignores compare-and-swap"),
        (&[Quirk::WritesNeedNumbers], ""),
        (&[Quirk::EmptyVmIdIsNotOwn], ""),
    ];
    for (quirks, told) in cases {
        let gateway = gateway(quirks, three_requests())?;
        gateway.advance(Duration::from_secs(1))?;
        assert_eq!(statuses(&gateway, 5)?, [200, 200, 200, 403, 403], "{quirks:?}");
        // The clock does not move, so only a wake-up can have sent it.
        let paths: Vec<String> = gateway.callouts().iter().map(|message| message.path().to_owned()).collect();
        assert_eq!(paths, ["/quota"], "{quirks:?}");
        let warnings = warnings(&gateway);
        let expected = if told.is_empty() { 0 } else { VMS };
        assert_eq!(warnings.iter().filter(|line| !told.is_empty() && line.contains(told)).count(), expected);
        assert_eq!(warnings.len(), expected, "{quirks:?}: {warnings:#?}");
        assert_eq!(gateway.host().failures(), [""; 0], "{quirks:?}");
    }
    Ok(())
}

#[test]
fn uncountable_requests_are_refused_and_the_log_says_why() -> Result<()> {
    let unimplemented = |call| Quirk::Refuses(call, Status::Unimplemented);
    let cases = [
        vec![Quirk::DataIsForgotten],
        vec![Quirk::DataIsForgotten, Quirk::AbsentKeysMismatch],
        vec![unimplemented("proxy_get_shared_data")],
        vec![unimplemented("proxy_set_shared_data")],
        vec![unimplemented("proxy_get_shared_data"), unimplemented("proxy_set_shared_data")],
    ];
    for quirks in cases {
        let gateway = gateway(&quirks, three_requests())?;
        assert_eq!(statuses(&gateway, 5)?, [503; 5], "{quirks:?}");
        assert_eq!(gateway.upstream_requests().len(), 0, "{quirks:?}");
        let told = warnings(&gateway).iter().filter(|line| line.contains("shared data cannot be used")).count();
        assert_eq!(told, VMS, "{quirks:?}");
        // An hour logs no more than a minute.
        gateway.advance(Duration::from_secs(60))?;
        let lines = gateway.logs().len();
        gateway.advance(Duration::from_secs(3600))?;
        assert_eq!(gateway.logs().len(), lines, "{quirks:?}: {:#?}", &gateway.logs()[lines..]);
        assert_eq!(gateway.host().failures(), [""; 0], "{quirks:?}");
    }
    Ok(())
}

/// A missing hostcall outside of shared data affects only its own function.
#[test]
fn a_missing_hostcall_affects_only_its_own_function() -> Result<()> {
    let cases: [(&[&str], &str, bool); 7] = [
        (&["proxy_register_shared_queue", "proxy_resolve_shared_queue"], "register_shared_queue", true),
        (&["proxy_resolve_shared_queue", "proxy_enqueue_shared_queue", "proxy_dequeue_shared_queue"], "queue", true),
        (&["proxy_define_metric"], "statistics", true),
        (&["proxy_increment_metric", "proxy_record_metric"], "", true),
        (&["proxy_set_tick_period_milliseconds"], "no ticks", false),
        (&["proxy_get_property"], "", true),
        (&["proxy_get_log_level"], "", true),
    ];
    for (calls, told, is_delivered) in cases {
        let quirks: Vec<Quirk> = calls.iter().map(|call| Quirk::Refuses(call, Status::Unimplemented)).collect();
        let gateway = gateway(&quirks, three_requests())?;
        assert_eq!(statuses(&gateway, 5)?, [200, 200, 200, 403, 403], "{calls:?}");
        gateway.advance(Duration::from_secs(2))?;
        assert_eq!(gateway.callouts().len(), usize::from(is_delivered), "{calls:?}");
        let lines = warnings(&gateway);
        ensure!(lines.iter().all(|line| line.contains(told)), "{calls:?}: {lines:#?}");
        ensure!(told.is_empty() == lines.is_empty() && lines.len() <= VMS, "{calls:?}: {lines:#?}");
        gateway.advance(Duration::from_secs(60))?;
        assert_eq!(warnings(&gateway).len(), lines.len(), "{calls:?}");
        assert_eq!(gateway.host().failures(), [""; 0], "{calls:?}");
    }
    Ok(())
}

/// Libraries log their data at levels that are normally off.
#[test]
fn the_log_shows_no_key_at_any_level() -> Result<()> {
    let mut config = config(three_requests());
    config["templates"] = json!({ "t.json": "{{#if Meta.Key}}{\"key\": \"{{Meta.Key}}\"}{{/if}}" });
    for handlers in config["apis"][0]["event_handlers"]["events"].as_object_mut().context("events")?.values_mut() {
        handlers[0]["handler_meta"]["template_path"] = json!("t.json");
    }
    let builder = Gateway::builder(module()?)
        .config(config.to_string().replace("RECEIVER", "hooks.test"))
        .log_level(LogLevel::Trace)
        .upstream("upstream", |_| Response::ok("ok").into())
        .upstream("tollbell_http", |_| Response::ok("taken").into());
    let gateway = builder.start()?;
    gateway.advance(Duration::from_secs(1))?;
    statuses(&gateway, 5)?;
    gateway.request(Request::get("/orders/1").header("authorization", "bad-key"))?;
    let texts: Vec<String> = gateway.callouts().iter().map(Request::text).collect();
    assert_eq!(texts, [r#"{"key": "good-key"}"#, r#"{"key": "bad-key"}"#]);
    let lines: Vec<String> = gateway.logs().into_iter().map(|line| line.text).collect();
    ensure!(!lines.iter().any(|line| line.contains("good-key") || line.contains("bad-key")), "{lines:#?}");
    ensure!(!lines.iter().any(|line| line.contains("Rendering")), "{lines:#?}");
    Ok(())
}

/// With a wrong time, every expired key would be accepted.
#[test]
fn without_the_time_of_day_no_key_that_expires_is_accepted() -> Result<()> {
    let session =
        |expires: u64| json!({ "org_id": "acme", "quota_max": 3, "quota_renewal_rate": 3600, "expires": expires });
    for (expires, quirks, expected) in [
        (4_000_000_000, &[][..], [200, 200, 200, 403]),
        (4_000_000_000, &[Quirk::TimeIsCutShort], [401; 4]),
        (0, &[Quirk::TimeIsCutShort], [200, 200, 200, 403]),
    ] {
        let gateway = gateway(quirks, session(expires))?;
        assert_eq!(statuses(&gateway, 4)?, expected, "{expires} {quirks:?}");
        let told = warnings(&gateway).iter().filter(|line| line.contains("clock says 1970-01-01")).count();
        assert_eq!(told, quirks.len() * VMS);
    }
    Ok(())
}
