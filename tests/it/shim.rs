//! The shim with guests that misbehave and threads that race.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_shim::config::model::FailurePolicy;
use host_shim::gateway::{Builder, Gateway, Request, Response};
use tollbell_tests::project_root;

use crate::fuzz::targets::hostcalls::Script;

fn module(name: &str) -> Result<Vec<u8>> {
    fs::read(project_root().join("dist").join(name))
        .with_context(|| format!("dist/{name} is not built; run `make test`"))
}

fn probe(script: &str) -> Result<Builder> {
    Ok(Gateway::builder(module("test/probe.wasm")?).config(script))
}

/// Pseudo-random numbers that are the same in each run: a linear congruential generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Each sequence is a callback of its own. Each fault is the guest's, and the next request is served.
#[test]
fn ten_thousand_random_sequences_of_hostcalls_do_no_harm() -> Result<()> {
    const SEQUENCES: u64 = 10_000;
    const AT_ONCE: u64 = 250;
    for batch in 0..SEQUENCES / AT_ONCE {
        let mut random = Random(batch);
        let mut script = Script(|end| usize::try_from(random.next()).unwrap_or_default() % end);
        let script: String = (0..AT_ONCE).map(|number| script.sequence(number)).collect();
        let gateway = probe(&script)?
            .plugin(|plugin| {
                plugin.failure_policy = FailurePolicy::FailReload;
                plugin.reload_backoff = Duration::from_millis(1);
            })
            .memory_limit(64 << 20)
            .callback_limit(Duration::from_secs(5))
            .upstream("upstream", |_| Response::ok("hello").into())
            .start()
            .with_context(|| format!("batch {batch}"))?;
        for number in 0..AT_ONCE {
            let request = Request::post(&format!("/{number}"), "body");
            gateway.send(request)?;
            gateway.settle().with_context(|| format!("batch {batch}, sequence {number}"))?;
            // A VM that died starts again after its back-off.
            gateway.advance(Duration::from_millis(2))?;
        }
        let served = gateway.request(Request::get("/"))?;
        ensure!(served.status() == 200, "batch {batch}: {served:?}");
        ensure!(gateway.memory()? <= 3 * (64 << 20), "batch {batch}: {} bytes", gateway.memory()?);
    }
    Ok(())
}

#[test]
fn a_store_outside_of_the_memory_is_a_trap() -> Result<()> {
    let gateway = probe("on_request_headers /store:\n  store 0xfffffff0\n")?.workers(2).start()?;
    let through = |worker: usize, path: &str| -> Result<u16> {
        let pending = gateway.send_to(worker, Request::get(path))?;
        gateway.settle()?;
        Ok(pending.response().context("no answer")?.status())
    };
    assert_eq!(through(1, "/store")?, 503, "the stream that traps gets 503");
    assert_eq!(through(1, "/")?, 503, "the VM is gone");
    assert_eq!(through(2, "/")?, 200, "the other worker's is not");
    ensure!(gateway.logs().iter().any(|line| line.text.contains("out of bounds")), "{:?}", gateway.logs());
    Ok(())
}

#[test]
fn a_vm_that_died_is_reloaded_at_the_next_stream() -> Result<()> {
    let reloads = |plugin: &mut host_shim::config::model::Plugin| plugin.failure_policy = FailurePolicy::FailReload;
    let gateway = probe("on_request_headers /trap:\n  trap\n")?.plugin(reloads).start()?;
    assert_eq!(gateway.request(Request::get("/trap"))?.status(), 503);
    assert_eq!(gateway.request(Request::get("/"))?.status(), 503, "the back-off begins when the plugin starts");
    gateway.advance(Duration::from_secs(2))?;
    assert_eq!(gateway.request(Request::get("/"))?.status(), 200);
    assert_eq!(gateway.request(Request::get("/trap"))?.status(), 503);
    assert_eq!(gateway.request(Request::get("/"))?.status(), 503, "the second waits for the back-off");
    gateway.advance(Duration::from_secs(2))?;
    assert_eq!(gateway.request(Request::get("/"))?.status(), 200);
    Ok(())
}

#[test]
fn a_guests_memory_is_limited() -> Result<()> {
    const LIMIT: usize = 32 << 20;
    let script = "on_request_headers:\n  grow 16\n";
    let gateway = probe(script)?.memory_limit(LIMIT).start()?;
    assert_eq!(gateway.request(Request::get("/"))?.status(), 200);
    // The worker's VM is full, and the main thread's has not grown.
    ensure!(gateway.memory()? > LIMIT - (2 << 20) && gateway.memory()? <= 2 * LIMIT, "{} bytes", gateway.memory()?);
    Ok(())
}

#[test]
fn an_endless_loop_is_stopped_and_reported() -> Result<()> {
    let limit = Duration::from_millis(300);
    let refused = probe("on_configure:\n  loop\n")?.callback_limit(limit).start();
    let text = refused.err().context("it started")?.to_string();
    ensure!(text.contains("proxy_on_configure") && text.contains("an endless loop?"), "{text}");
    let gateway = probe("on_request_headers:\n  loop\n")?.callback_limit(limit).start()?;
    assert_eq!(gateway.request(Request::get("/"))?.status(), 503);
    Ok(())
}

/// The VMs of both workers count on one value by compare-and-swap, from several threads.
#[test]
fn two_workers_on_one_counter_lose_no_update() -> Result<()> {
    const QUOTA: usize = 2000;
    let config = serde_json::json!({
        "apis": [{ "api_id": "a", "org_id": "acme" }],
        "keys": { "k": { "org_id": "acme", "quota_max": QUOTA, "quota_renewal_rate": 3600 } },
    });
    let gateway = Arc::new(Gateway::builder(module("tollbell.wasm")?).config(config.to_string()).workers(2).start()?);
    let threads: Vec<_> = (1..=2)
        .map(|worker| {
            let gateway = Arc::clone(&gateway);
            std::thread::spawn(move || -> Result<usize> {
                let mut admitted = 0;
                for _ in 0..QUOTA {
                    let pending = gateway.send_to(worker, Request::get("/").header("authorization", "k"))?;
                    gateway.settle()?;
                    while pending.response().is_none() {
                        std::thread::yield_now();
                    }
                    admitted += usize::from(pending.response().is_some_and(|response| response.status() == 200));
                }
                Ok(admitted)
            })
        })
        .collect();
    let mut admitted = 0;
    for thread in threads {
        admitted += thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    }
    assert_eq!(admitted, QUOTA);
    Ok(())
}

/// The manual clock, injected faults and observed state, as in the documentation.
#[test]
fn a_gateway_shows_its_traffic() -> Result<()> {
    let script = "on_request_headers:\n  define_metric counter \"seen\" > m\n  increment_metric $m 1\n  set_shared_data \"k\" \"v\" 0\n";
    let gateway =
        probe(script)?.upstream("upstream", |request| Response::ok(request.path().to_owned()).into()).start()?;
    let response = gateway.request(Request::get("/a").header("x-one", "1"))?;
    assert_eq!((response.status(), response.text().as_str()), (200, "/a"));
    let requests = gateway.upstream_requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].headers.get_str("x-one"), Some("1"));
    assert_eq!(gateway.metric("wasmcustom.seen"), Some(1));
    assert_eq!(gateway.host().shared_data.get("", b"k").map(|(value, _)| value), Some(b"v".to_vec()));
    let before = gateway.now();
    gateway.advance(Duration::from_secs(90))?;
    assert_eq!(gateway.now() - before, 90_000_000_000);
    Ok(())
}
