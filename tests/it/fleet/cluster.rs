use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::count_status;
use tollbell_tests::redis::cluster::RedisCluster;

use super::envoys::{Fleet, PATIENCE, QUOTA, config, counts_as_one};
use super::schedules::run;
use super::store::{Servers, with_clock, with_commands};
use crate::schedules::Random;
use crate::support::eventually;

const CONNECTIONS: usize = 64;

/// The members that count.
const MEMBERS: usize = 3;

/// The counter of the only key.
const COUNTER: &str = "tollbell{k/*";

/// Uses the lines for a Redis Cluster that `envoy/fleet.yaml` has as comments.
fn with_cluster_lines(yaml: String) -> String {
    let lines =
        ["type: ORIGINAL_DST", "lb_policy: CLUSTER_PROVIDED", "original_dst_lb_config: { use_http_header: true }"];
    let mut yaml = yaml;
    for line in lines {
        let comment = format!("    # {line}\n");
        assert!(yaml.contains(&comment), "{line}");
        yaml = yaml.replace(&comment, &format!("    {line}\n"));
    }
    let (before, rest) = yaml.split_once("    type: STRICT_DNS\n").expect("the type of the cluster");
    let (between, rest) = rest.split_once("    load_assignment:\n      cluster_name: tollbell_redis\n").expect("hosts");
    let (_, after) = rest.split_once("    # With Sentinel, only").expect("the comment after the hosts");
    format!("{before}{between}    # With Sentinel, only{after}")
}

/// Starts the members. A call's time-out is `patience_ms`, or 250 ms.
async fn start(store: Value) -> Result<Fleet<Arc<RedisCluster>>> {
    let cluster = tokio::task::spawn_blocking(|| RedisCluster::start(3, 1)).await??;
    let timeout = store["patience_ms"].as_u64().unwrap_or(250);
    let mut config = config(store);
    // A seed that does not answer is passed over.
    let seeds = [vec!["127.0.0.1:1".to_owned()], cluster.addresses()].concat();
    config["store"]["redis"] = json!({ "timeout_ms": timeout, "mode": "cluster", "seeds": seeds });
    Fleet::with(Arc::new(cluster), MEMBERS, &config, &[6379], with_cluster_lines).await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_envoys_on_a_redis_cluster_count_as_one() -> Result<()> {
    for counting in ["leased", "exact"] {
        counts_as_one(&start(json!({ "counting": counting })).await?, counting, 0).await?;
    }
    Ok(())
}

/// The counter's master is killed under load. What is admitted in excess is what its replica had not got yet: at most a
/// call of each worker, whose requests are those that were open.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_under_load_admits_at_most_what_it_lost() -> Result<()> {
    for counting in ["leased", "exact"] {
        let fleet = start(json!({ "counting": counting, "on_loss": "refuse" })).await?;
        let mut admitted = count_status(&fleet.load(8, 100).await?, 200);
        ensure!(admitted == 100 * MEMBERS, "{admitted} were admitted at the start");
        let (key, master) = fleet.redis.keys(COUNTER)?.first().cloned().context("no counter")?;
        let kill = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let used = fleet.redis.node(master).run(&["HGET", &key, "u"])?;
            fleet.redis.kill(master)?;
            anyhow::Ok(used.lines().nth(1).context("no use")?.parse::<usize>()?)
        };
        let (replies, used) = tokio::join!(fleet.load(CONNECTIONS, QUOTA), kill);
        let used = used?;
        admitted += count_status(&replies?, 200);
        let slot = fleet.redis.slot(&key)?;
        eventually("another node has the slot", async || {
            Ok(fleet.redis.owner(slot).is_ok_and(|owner| owner != master))
        })
        .await?;
        let mut idle = 0;
        while idle < 3 {
            // Members give back what they hold and do not need.
            tokio::time::sleep(Duration::from_millis(600)).await;
            let replies = fleet.load(CONNECTIONS, 500).await?;
            let longest = replies.iter().map(|reply| reply.took).max().unwrap_or_default();
            ensure!(longest < PATIENCE * 20, "a request took {longest:?}");
            let more = count_status(&replies, 200);
            (admitted, idle) = (admitted + more, if more == 0 { idle + 1 } else { 0 });
        }
        println!("{counting}: killed when {used} were reported; {admitted} of {QUOTA} were admitted in all");
        ensure!((1..QUOTA).contains(&used), "it was not killed under load: {used} were reported");
        let most = QUOTA + MEMBERS * CONNECTIONS;
        ensure!((QUOTA..=most).contains(&admitted), "{counting}: {admitted} of {QUOTA} were admitted");
        let expected = ["QuotaExceeded", "TriggerExceeded50", "TriggerExceeded80"];
        eventually("all events are told", async || {
            let told = fleet.events()?;
            Ok(expected.iter().all(|event| told.iter().any(|other| other == event)))
        })
        .await?;
        // Time in which a second message would come. While a store is lost, every member may tell a cause.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut told = fleet.events()?;
        told.dedup_by(|event, before| event == before && event == "QuotaExceeded");
        ensure!(told == expected, "{told:?}");
    }
    Ok(())
}

/// The counter's slot goes from master to master under load. It comes back to a node later than a call that was sent
/// there before: such a call would find the node ready to import the slot again, and make a counter of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_whose_slot_moves_counts_on() -> Result<()> {
    for counting in ["leased", "exact"] {
        // No call is lost, however busy the machine is: a message would not wait for a store that is lost.
        let fleet = start(json!({ "counting": counting, "patience_ms": 2000 })).await?;
        let before = count_status(&fleet.load(1, 1).await?, 200);
        let (key, _) = fleet.redis.keys(COUNTER)?.first().cloned().context("no counter")?;
        let (slot, masters) = (fleet.redis.slot(&key)?, fleet.redis.masters()?);
        let is_over = Arc::new(AtomicBool::new(false));
        let (cluster, ends) = (Arc::clone(&fleet.redis), Arc::clone(&is_over));
        let moving = tokio::task::spawn_blocking(move || {
            let mut moves = 0;
            for to in masters.iter().cycle() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                if cluster.owner(slot)? != *to {
                    cluster.move_slot(slot, *to, Duration::from_millis(400))?;
                    moves += 1;
                }
            }
            anyhow::Ok(moves)
        });
        let counted = counts_as_one(&fleet, counting, before).await;
        is_over.store(true, Ordering::SeqCst);
        let moves = moving.await??;
        let refusals = (fleet.redis.refusals("MOVED")?, fleet.redis.refusals("ASK")?);
        println!("{counting}: {moves} moves, {refusals:?} calls were sent on by MOVED and by ASK");
        counted?;
        ensure!(moves > 3 && refusals.0 > 0 && refusals.1 > 0, "{moves} moves, {refusals:?}");
    }
    Ok(())
}

/// The schedules of a run of all tests.
const SCHEDULES: u64 = 8;

/// A Redis Cluster under a schedule, which has keys of its own in it.
struct ScheduledCluster {
    cluster: Arc<RedisCluster>,
    prefix: String,
    moving: Mutex<Option<Move>>,
}

/// A slot on its way.
#[derive(Clone, Copy)]
struct Move {
    slot: u16,
    from: usize,
    to: usize,
    has_keys: bool,
}

impl Servers for ScheduledCluster {
    fn config(&self) -> Value {
        json!({ "mode": "cluster", "seeds": self.cluster.addresses(), "key_prefix": self.prefix })
    }

    fn run(&self, destination: Option<&str>, body: &[u8], now: u64) -> Result<Option<Vec<u8>>> {
        let address = destination.context("no address")?;
        let node = self.cluster.at(address).with_context(|| format!("{address} is no node"))?;
        let clock = format!("local now = {now}");
        let call = with_commands(body, |script, _| {
            let script = with_clock(script, &clock)?;
            Ok(format!("$4\r\nEVAL\r\n${}\r\n{script}\r\n", script.len()))
        })?;
        node.exchange(call.as_bytes()).map(Some)
    }

    fn used(&self) -> Result<u64> {
        while self.moving.lock().expect("no panic").is_some() {
            self.move_on()?;
        }
        let (key, master) = self.counter()?.context("no counter")?;
        let reply = self.cluster.node(master).run(&["HGET", &key, "u"])?;
        Ok(reply.lines().nth(1).context("no use")?.parse()?)
    }

    fn disturb(&self, random: &mut Random) -> Result<()> {
        if self.moving.lock().expect("no panic").is_some() {
            return self.move_on();
        }
        let Some((key, from)) = self.counter()? else { return Ok(()) };
        let (slot, to) = (self.cluster.slot(&key)?, random.pick(&[0, 1, 2]));
        if to != from {
            self.cluster.begin_move(slot, from, to)?;
            *self.moving.lock().expect("no panic") = Some(Move { slot, from, to, has_keys: false });
        }
        Ok(())
    }
}

impl Drop for ScheduledCluster {
    fn drop(&mut self) {
        // The next schedule has the same slot.
        let _ = self.used();
    }
}

impl ScheduledCluster {
    /// The keys of the slot on its way move, or it arrives.
    fn move_on(&self) -> Result<()> {
        let mut moving = self.moving.lock().expect("no panic");
        let Some(Move { slot, from, to, has_keys }) = *moving else { return Ok(()) };
        if has_keys {
            self.cluster.end_move(slot, from, to)?;
            *moving = None;
        } else {
            self.cluster.move_keys(slot, from, to)?;
            *moving = Some(Move { slot, from, to, has_keys: true });
        }
        Ok(())
    }

    fn counter(&self) -> Result<Option<(String, usize)>> {
        Ok(self.cluster.keys(&format!("{}{{k/*", self.prefix))?.into_iter().next())
    }
}

#[test]
fn random_schedules_on_a_redis_cluster_admit_no_request_too_many_and_lose_no_alert() -> Result<()> {
    let _shared = crate::support::MACHINE.blocking_read();
    let (cluster, turn) = (Arc::new(RedisCluster::start(3, 0)?), Mutex::new(()));
    crate::schedules::run_all(SCHEDULES, |seed, module| {
        let _turn = turn.lock().expect("no panic");
        let servers = ScheduledCluster {
            cluster: Arc::clone(&cluster),
            prefix: format!("schedule{seed}"),
            moving: Mutex::default(),
        };
        run(seed, module, Arc::new(servers))
    })
}
