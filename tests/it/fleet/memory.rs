//! The memory of Redis after many keys were used once.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use host_shim::gateway::{Gateway, Request};
use serde_json::{Map, Value, json};
use tollbell_tests::project_root;

use super::store::Store;

const KEYS: usize = 30_000;

/// Requests at a time.
const BATCH: usize = 500;

/// A counter is kept for a minute after its window. The store's clock is that late, so that it ends with its window.
const KEPT_MS: u64 = 60_000;

fn key(number: usize) -> String {
    format!("key-{number}")
}

fn use_keys(gateway: &Gateway, mut keys: impl Iterator<Item = usize>) -> Result<()> {
    loop {
        let batch: Vec<usize> = keys.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let send = |number| gateway.send_to(1, Request::get("/").header("authorization", key(number)));
        let sent = batch.into_iter().map(send).collect::<Result<Vec<_>>>()?;
        gateway.settle()?;
        for pending in sent {
            let status = pending.response().map(|response| response.status());
            ensure!(status == Some(200), "{status:?}");
        }
    }
}

fn figure(store: &Store, section: &str, name: &str) -> Result<u64> {
    let info = store.redis()?.run(&["INFO", section])?;
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.context("no figure")?.trim().parse().context("not a number")
}

fn memory(store: &Store) -> Result<u64> {
    figure(store, "memory", "used_memory")
}

/// What stays: the clock of the test, the number of lessees, and the members of the outbox.
const STAYS: u64 = 3;

/// Waits until no counter is left.
fn wait_for_end(store: &Store) -> Result<()> {
    for _ in 0..1200 {
        if store.redis()?.run(&["DBSIZE"])?.trim_start_matches(':').trim().parse::<u64>()? <= STAYS {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("counters are left: {}", store.redis()?.run(&["DBSIZE"])?)
}

#[test]
fn keys_that_were_used_once_leave_no_memory_behind_in_redis() -> Result<()> {
    let _shared = crate::support::MACHINE.blocking_read();
    let module = fs::read(project_root().join("dist/tollbell.wasm")).context("run `make build`")?;
    let session = json!({ "org_id": "acme", "quota_max": 10, "quota_renewal_rate": 20 });
    let keys: Map<String, Value> = (0..KEYS).map(|number| (key(number), session.clone())).collect();
    let config = json!({ "apis": [{ "api_id": "a" }], "keys": keys, "store": { "redis": {} } });
    let store = Arc::new(Store::start(1)?);
    store.mend()?;
    let answering = Arc::clone(&store);
    let gateway = Gateway::builder(module)
        .config(config.to_string())
        // It reads the keys.
        .callback_limit(Duration::from_secs(120))
        .upstream("tollbell_redis", move |request| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            answering.set_clock(u64::try_from(now.as_millis()).unwrap_or_default() - KEPT_MS);
            answering.answer(&(None, request.body.concat())).expect("Redis answers")
        })
        .start()?;
    // Redis gets the script, and makes its first tables.
    use_keys(&gateway, 0..BATCH)?;
    wait_for_end(&store)?;
    let before = memory(&store)?;
    use_keys(&gateway, 0..KEYS)?;
    let most = figure(&store, "memory", "used_memory_peak")?;
    wait_for_end(&store)?;
    let mut after = memory(&store)?;
    // Redis shrinks its tables in steps.
    for _ in 0..100 {
        if after.saturating_sub(before) < (most - before) / 50 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        after = memory(&store)?;
    }
    println!("Redis used {before} bytes before, {most} at most, and {after} after");
    ensure!(most > before + 10 * KEYS as u64, "{most} bytes at most, {before} before");
    ensure!(
        after.saturating_sub(before) < (most - before) / 50,
        "{after} bytes after, {before} before, {most} at most"
    );
    Ok(())
}
