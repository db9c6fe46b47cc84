#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::base::LogLevel;
use crate::config::defaults;
use crate::testing::{CALL, CONST, DROP, Guest, LOOP, UNREACHABLE};

fn info_lines(gateway: &Gateway) -> usize {
    gateway.logs().iter().filter(|line| line.from_module && line.level == LogLevel::Info).count()
}

#[test]
fn root_contexts_of_a_vm_close_one_by_one() {
    let guest = Guest::importing(&[("proxy_set_tick_period_milliseconds", 1), ("proxy_done", 0), ("proxy_log", 3)])
        .function("proxy_on_configure", 2, 1, &[CONST, 10, CALL, 0, DROP, CONST, 1])
        .function("proxy_on_done", 1, 1, &[CONST, 0])
        .function("proxy_on_tick", 1, 0, &[CALL, 1, DROP])
        .function("proxy_on_delete", 1, 0, &[CONST, 2, CONST, 0, CONST, 0, CALL, 2, DROP]);
    let mut bootstrap = defaults::bootstrap();
    let filters = &mut bootstrap.listeners[0].manager.filters;
    filters.push(filters[0].clone());
    filters[1].plugin.name = "second".to_owned();
    let gateway = Gateway::builder(guest.module()).bootstrap(bootstrap.clone()).start().unwrap();
    bootstrap.listeners[0].manager.filters.clear();
    gateway.update(&bootstrap).unwrap();
    assert_eq!(info_lines(&gateway), 0);
    gateway.advance(Duration::from_millis(10)).unwrap();
    assert_eq!(info_lines(&gateway), 4, "two contexts on each of two threads: {:?}", gateway.logs());
}

#[test]
fn an_update_that_one_thread_refuses_changes_no_thread() {
    const PLUGIN_CONFIGURATION: u8 = 7;
    // Logs the first byte of its configuration.
    let read = [CONST, PLUGIN_CONFIGURATION, CONST, 0, CONST, 63, CONST, 0, CONST, 4, CALL, 0, DROP];
    let log = [CONST, 2, CONST, 32, CONST, 1, CALL, 1, DROP, CONST, 1];
    let guest = Guest::importing(&[("proxy_get_buffer_bytes", 5), ("proxy_log", 3)]).function(
        "proxy_on_configure",
        2,
        1,
        &[read.as_slice(), &log].concat(),
    );
    let gateway = Gateway::builder(guest.module()).config("old").workers(2).start().unwrap();
    gateway.faults().death_at("proxy_get_buffer_bytes", 1, Some(2));
    let mut bootstrap = defaults::bootstrap();
    bootstrap.listeners[0].manager.filters[0].plugin.configuration = b"new".to_vec();
    let error = format!("{:#}", gateway.update(&bootstrap).unwrap_err());
    assert!(error.contains("the VM dies in proxy_get_buffer_bytes"), "{error}");
    let logs = gateway.logs();
    for thread in 0..=2 {
        let of_thread = || logs.iter().filter(|line| line.from_module && line.thread == thread);
        assert!(of_thread().next_back().unwrap().text.ends_with(": o"), "thread {thread}: {logs:?}");
        assert_eq!(of_thread().any(|line| line.text.ends_with(": n")), thread < 2, "thread {thread}: {logs:?}");
    }
}

#[test]
fn the_first_worker_is_number_1() {
    let gateway = Gateway::builder(Guest::importing(&[]).module()).workers(2).start().unwrap();
    for worker in [0, 3] {
        let error = gateway.send_to(worker, Request::get("/")).err().unwrap().to_string();
        assert_eq!(error, format!("there is no worker {worker}: the workers are 1 to 2"));
    }
    assert!(gateway.send_to(2, Request::get("/")).is_ok());
}

#[test]
fn an_endless_start_function_is_reported() {
    let limited = |guest: Guest| Gateway::builder(guest.module()).callback_limit(Duration::from_millis(50)).start();
    let error = format!("{:#}", limited(Guest::importing(&[]).start(&LOOP)).err().unwrap());
    assert!(error.contains("its start function failed") && error.contains("an endless loop?"), "{error}");
    let error = format!("{:#}", limited(Guest::importing(&[]).start(&[UNREACHABLE])).err().unwrap());
    assert!(error.contains("its start function failed: Uncaught RuntimeError: unreachable"), "{error}");
}

#[test]
fn planned_faults_are_not_failures() {
    let guest = Guest::importing(&[("proxy_log", 3)]).function(
        "proxy_on_request_headers",
        3,
        1,
        &[CONST, 2, CONST, 0, CONST, 0, CALL, 0, DROP, UNREACHABLE],
    );
    let gateway = Gateway::builder(guest.module()).workers(2).start().unwrap();
    gateway.faults().death_at("proxy_log", 1, Some(1));
    gateway.send_to(1, Request::get("/")).unwrap();
    assert_eq!(gateway.host().failures(), [""; 0]);
    gateway.send_to(2, Request::get("/")).unwrap();
    let failures = gateway.host().failures();
    assert!(
        failures.len() == 1 && failures[0].contains("thread 2") && failures[0].contains("unreachable"),
        "{failures:?}"
    );
}

#[test]
fn a_thread_keeps_no_state_of_removed_vms() {
    let guest = Guest::importing(&[("proxy_set_tick_period_milliseconds", 1)])
        .function("proxy_on_configure", 2, 1, &[CONST, 10, CALL, 0, DROP, CONST, 1])
        .function("proxy_on_request_headers", 3, 1, &[UNREACHABLE]);
    let reloads = |plugin: &mut model::Plugin| {
        plugin.failure_policy = model::FailurePolicy::FailReload;
        plugin.reload_backoff = Duration::from_millis(1);
    };
    let gateway = Gateway::builder(guest.module()).plugin(reloads).start().unwrap();
    for _ in 0..10 {
        gateway.send(Request::get("/")).unwrap();
        gateway.advance(Duration::from_millis(5)).unwrap();
    }
    let (vms, instances, ticks) = gateway.on(1, |thread| thread.worker.remembered()).unwrap();
    assert!(vms == 1 && instances <= 2 && ticks <= 2, "{vms} {instances} {ticks}");
}

#[test]
fn an_unknown_foreign_function_causes_one_warning() {
    let call = [CONST, 0, CONST, 1, CONST, 0, CONST, 0, CONST, 8, CONST, 12, CALL, 0, DROP, CONST, 0];
    let guest =
        Guest::importing(&[("proxy_call_foreign_function", 6)]).function("proxy_on_request_headers", 3, 1, &call);
    let gateway = Gateway::builder(guest.module()).start().unwrap();
    for _ in 0..3 {
        gateway.request(Request::get("/")).unwrap();
    }
    let warnings = gateway.logs().iter().filter(|line| line.text.contains("the host has no foreign function")).count();
    assert_eq!(warnings, 1, "{:?}", gateway.logs());
}

/// A gateway with one raw cluster, whose requests name their host in a header, and a handler for each of two hosts.
fn raw_gateway() -> Gateway {
    let mut bootstrap = defaults::bootstrap();
    let manager = &mut bootstrap.listeners[0].manager;
    manager.filters.clear();
    let cluster = &mut bootstrap.clusters[0];
    cluster.tcp_pool = true;
    cluster.discovery = crate::config::model::Discovery::OriginalDestination { header: "x-to".into(), port: None };
    Gateway::builder(Guest::importing(&[]).module())
        .bootstrap(bootstrap)
        .upstream("10.0.0.1:6379", |request| Response::ok(request.body.concat()).header("x-other", "a").into())
        .upstream("10.0.0.2:6379", |_| Reply::from(Response::ok("late")).after(Duration::from_secs(60)))
        .start()
        .unwrap()
}

#[test]
fn a_raw_cluster_answers_with_bytes_and_nothing_else() {
    let gateway = raw_gateway();
    let to = |host: &str| Request::post("/", "PING").header("x-to", host);
    let answer = gateway.request(to("10.0.0.1:6379")).unwrap();
    assert_eq!((answer.status(), answer.body.as_slice()), (200, b"PING".as_slice()));
    assert!(answer.headers.get("x-other").is_none() && answer.headers.get("content-length").is_none());
    assert_eq!(gateway.request(Request::post("/", "PING")).unwrap().status(), 503);
    assert_eq!(gateway.request(to("store:6379")).unwrap().status(), 503);
    // The connection makes the head, so that a timeout cuts the answer off.
    let pending = gateway.send(to("10.0.0.2:6379")).unwrap();
    gateway.advance(Duration::from_secs(20)).unwrap();
    let late = pending.response().unwrap();
    assert!(late.status() == 200 && late.is_reset, "{late:?}");
}
