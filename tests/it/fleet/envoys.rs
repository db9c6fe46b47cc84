//! Three Envoys that count in one Redis.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::RwLockReadGuard;
use tollbell_tests::client::{self, Reply, count_status, get_with_key, load};
use tollbell_tests::envoy::Envoy;
use tollbell_tests::redis::Redis;
use tollbell_tests::server::Server;

use super::member::setup;
use crate::support::{SOON, eventually, hook, shared};

pub(super) const QUOTA: usize = 5000;

/// `patience_ms` in these tests.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// Envoys and their store.
pub(super) struct Fleet<R = Redis> {
    pub redis: R,
    pub envoys: Vec<Envoy>,
    pub receiver: Server,
    _upstream: Server,
    _shared: RwLockReadGuard<'static, ()>,
}

pub(super) fn config(store: Value) -> Value {
    let mut config = json!({
        "apis": [{ "api_id": "orders", "org_id": "acme", "event_handlers": { "events": {
            "QuotaExceeded": [hook("/quota", 3600)], "AuthFailure": [hook("/auth", 3600)]
        } } }],
        "keys": { "good-key": {
            "org_id": "acme", "quota_max": QUOTA, "quota_renewal_rate": 3600, "monitor": { "trigger_limits": [50, 80] }
        } },
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true,
            "configuration": { "target_path": "http://RECEIVER/monitor", "event_timeout": 10 }
        },
        "admin": { "token_sha256": hex::encode(Sha256::digest("admin-token")) },
        "store": { "redis": { "timeout_ms": 250 }, "patience_ms": 200 }
    });
    for (name, value) in store.as_object().into_iter().flatten() {
        config["store"][name] = value.clone();
    }
    config
}

impl Fleet {
    pub async fn start(members: usize, config: &Value) -> Result<Fleet> {
        Fleet::start_with(members, config, |_| Ok(())).await
    }

    /// Starts a fleet on a Redis that was prepared before.
    pub async fn start_with(
        members: usize,
        config: &Value,
        prepare: impl FnOnce(&Redis) -> Result<()>,
    ) -> Result<Fleet> {
        let redis = Redis::start()?;
        prepare(&redis)?;
        let port = redis.port();
        Fleet::with(redis, members, config, &[port], |yaml| yaml).await
    }
}

impl<R> Fleet<R> {
    /// Starts Envoys with this store on these ports. `edit` changes `envoy/fleet.yaml`.
    pub async fn with(
        redis: R,
        members: usize,
        config: &Value,
        ports: &[u16],
        edit: impl Fn(String) -> String,
    ) -> Result<Fleet<R>> {
        let shared = shared().await;
        let (upstream, receiver) = (Server::start().await?, Server::start().await?);
        let mut envoys = Vec::new();
        for _ in 0..members {
            let setup = setup(config, upstream.port, receiver.port, ports)?;
            envoys.push(setup.edit(&edit).start().await?);
        }
        Ok(Fleet { redis, envoys, receiver, _upstream: upstream, _shared: shared })
    }

    /// Sends `count` requests to each member at the same time.
    pub async fn load(&self, connections: usize, count: usize) -> Result<Vec<Reply>> {
        let key = |_| ("/orders/1".to_owned(), "good-key".to_owned());
        let members = self.envoys.iter().map(|envoy| tokio::spawn(load(envoy.port, connections, count, key)));
        let mut replies = Vec::new();
        for member in members.collect::<Vec<_>>() {
            replies.extend(member.await??);
        }
        Ok(replies)
    }

    /// The events of the messages that came, with their thresholds, sorted.
    async fn messages(&self, count: usize) -> Result<Vec<String>> {
        self.receiver.expect(count, SOON).await?;
        // Time in which a second message of a cause would come.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.events()
    }

    /// The events of the messages that have come so far, like [`Fleet::messages`].
    pub fn events(&self) -> Result<Vec<String>> {
        let mut events = Vec::new();
        for message in self.receiver.received() {
            let body = message.json()?;
            let event = body["event"].as_str().context("no event")?.to_owned();
            events.push(event + body["trigger_limit"].as_str().unwrap_or_default());
        }
        events.sort();
        Ok(events)
    }
}

/// A new key with 64 connections to each of three members: never more than its quota, and each threshold once.
/// `before` of it were admitted before.
pub(super) async fn counts_as_one<R>(fleet: &Fleet<R>, counting: &str, before: usize) -> Result<()> {
    let mut admitted = before + count_status(&fleet.load(64, 2 * QUOTA).await?, 200);
    ensure!(admitted <= QUOTA, "{admitted} requests of {QUOTA} were admitted");
    if counting == "leased" {
        // Members give back what they hold and do not need.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(600)).await;
            admitted += count_status(&fleet.load(4, 100).await?, 200);
        }
    }
    ensure!(admitted == QUOTA, "{admitted} requests of {QUOTA} were admitted");
    ensure!(fleet.messages(3).await? == ["QuotaExceeded", "TriggerExceeded50", "TriggerExceeded80"]);
    let token = ("authorization", "Bearer admin-token");
    let status = client::get(fleet.envoys[0].port, "/.tollbell/status", &[token]).await?;
    let status: Value = serde_json::from_str(&status.body)?;
    ensure!(status["store"]["is_answering"] == true && status["store"]["members"] == 3, "{status}");
    ensure!(status["store"]["calls"]["answered"].as_u64().unwrap_or_default() > 0, "{status}");
    let refused = get_with_key(fleet.envoys[0].port, "/orders/1", "good-key").await?;
    ensure!(refused.status == 403 && refused.header("x-ratelimit-remaining") == Some("0"), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_envoys_with_leases_admit_one_quota_and_report_each_threshold_once() -> Result<()> {
    counts_as_one(&Fleet::start(3, &config(json!({ "counting": "leased" }))).await?, "leased", 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_envoys_that_count_exactly_admit_one_quota_and_report_each_threshold_once() -> Result<()> {
    counts_as_one(&Fleet::start(3, &config(json!({ "counting": "exact" }))).await?, "exact", 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_keys_on_three_envoys_is_one_message() -> Result<()> {
    let fleet = Fleet::start(3, &config(json!({}))).await?;
    let key = |_| ("/orders/1".to_owned(), "wrong-key".to_owned());
    let members = fleet.envoys.iter().map(|envoy| tokio::spawn(load(envoy.port, 16, 3000, key)));
    for member in members.collect::<Vec<_>>() {
        ensure!(count_status(&member.await??, 403) == 3000);
    }
    ensure!(fleet.messages(1).await? == ["AuthFailure"]);
    Ok(())
}

/// Without Redis: the answers that each policy gives, and how long clients wait for them.
async fn without_redis(on_loss: &str) -> Result<Vec<Reply>> {
    let mut config = config(json!({ "counting": "exact", "on_loss": on_loss }));
    config["keys"]["good-key"]["quota_max"] = json!(100);
    let mut fleet = Fleet::start(1, &config).await?;
    let before = fleet.load(4, 40).await?;
    ensure!(count_status(&before, 200) == 40, "with Redis");
    fleet.redis.kill()?;
    let replies = fleet.load(8, 400).await?;
    let longest = replies.iter().map(|reply| reply.took).max().unwrap_or_default();
    // Ticks end the waiting, and the machine may be busy.
    ensure!(longest < PATIENCE * 5, "a request took {longest:?}");
    fleet.redis.restart()?;
    eventually("Redis is used again", async || {
        let reply = get_with_key(fleet.envoys[0].port, "/orders/1", "good-key").await?;
        Ok(matches!(reply.status, 200 | 403))
    })
    .await?;
    Ok(replies)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_requests_are_shared_refused_or_admitted() -> Result<()> {
    let shared = without_redis("share").await?;
    let admitted = count_status(&shared, 200);
    // Two workers share what was left when each of them last heard of Redis: 60, or some more.
    ensure!((1..=80).contains(&admitted), "{admitted} were admitted");
    ensure!(count_status(&shared, 503) == shared.len() - admitted);
    let refused = without_redis("refuse").await?;
    // A grant of the last call may still be there.
    ensure!(count_status(&refused, 503) >= refused.len() - 8);
    let admitted = without_redis("admit").await?;
    ensure!(count_status(&admitted, 200) == admitted.len());
    Ok(())
}

/// A Redis that hangs holds no request for longer than the patience, and is used again when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_holds_no_request() -> Result<()> {
    let fleet = Fleet::start(2, &config(json!({ "counting": "exact", "on_loss": "refuse" }))).await?;
    ensure!(count_status(&fleet.load(4, 20).await?, 200) == 40);
    fleet.redis.pause(true)?;
    let started = Instant::now();
    let replies = fleet.load(8, 50).await;
    fleet.redis.pause(false)?;
    let replies = replies?;
    let longest = replies.iter().map(|reply| reply.took).max().unwrap_or_default();
    ensure!(longest < PATIENCE * 5, "a request took {longest:?} of {:?}", started.elapsed());
    // A grant of the last call before may still be there.
    ensure!(count_status(&replies, 503) >= replies.len() - 8, "{} were refused", count_status(&replies, 503));
    eventually("Redis is used again", async || {
        Ok(get_with_key(fleet.envoys[0].port, "/orders/1", "good-key").await?.status == 200)
    })
    .await?;
    // The calls that hung were executed later. Requests that were refused meanwhile are not counted.
    let reply = get_with_key(fleet.envoys[1].port, "/orders/1", "good-key").await?;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let remaining: usize = client::get_with_key(fleet.envoys[1].port, "/orders/1", "good-key")
        .await?
        .header("x-ratelimit-remaining")
        .context("no header")?
        .parse()?;
    ensure!((QUOTA - 60..QUOTA - 40).contains(&remaining), "{remaining} are left, {reply:?}");
    Ok(())
}
