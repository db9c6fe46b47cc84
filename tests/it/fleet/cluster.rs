use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::client::count_status;
use tollbell_tests::redis::cluster::RedisCluster;

use super::envoys::{Fleet, PATIENCE, QUOTA, config, counts_as_one};
use super::schedules::{Servers, run, script_with_clock, with_script};
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

async fn start(store: Value) -> Result<Fleet<Arc<RedisCluster>>> {
    let cluster = tokio::task::spawn_blocking(|| RedisCluster::start(3, 1)).await??;
    let mut config = config(store);
    // A seed that does not answer is passed over.
    let seeds = [vec!["127.0.0.1:1".to_owned()], cluster.addresses()].concat();
    config["store"]["redis"] = json!({ "timeout_ms": 250, "mode": "cluster", "seeds": seeds });
    Fleet::with(Arc::new(cluster), MEMBERS, &config, with_cluster_lines).await
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
            tokio::time::sleep(Duration::from_millis(100)).await;
            fleet.redis.kill(master)
        };
        let (replies, killed) = tokio::join!(fleet.load(CONNECTIONS, QUOTA), kill);
        (killed?, admitted += count_status(&replies?, 200));
        let at_failover = admitted;
        let slot = fleet.redis.slot(&key)?;
        eventually("another master has the slot", async || Ok(fleet.redis.owner(slot)? != master)).await?;
        let mut idle = 0;
        while idle < 3 {
            // Members give back what they hold and do not need.
            tokio::time::sleep(Duration::from_millis(600)).await;
            let replies = fleet.load(CONNECTIONS, 500).await?;
            let longest = replies.iter().map(|reply| reply.took).max().unwrap_or_default();
            ensure!(longest < PATIENCE * 5, "a request took {longest:?}");
            let more = count_status(&replies, 200);
            (admitted, idle) = (admitted + more, if more == 0 { idle + 1 } else { 0 });
        }
        println!("{counting}: {at_failover} were admitted before the failover ended, and {admitted} of {QUOTA} in all");
        ensure!(at_failover < QUOTA, "the master was killed too late");
        let most = QUOTA + MEMBERS * CONNECTIONS;
        ensure!((QUOTA..=most).contains(&admitted), "{counting}: {admitted} of {QUOTA} were admitted");
        ensure!(fleet.messages(3).await? == ["QuotaExceeded", "TriggerExceeded50", "TriggerExceeded80"]);
    }
    Ok(())
}

/// The counter's slot goes from master to master under load.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_whose_slot_moves_counts_on() -> Result<()> {
    for counting in ["leased", "exact"] {
        let fleet = start(json!({ "counting": counting })).await?;
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
                    cluster.move_slot(slot, *to, Duration::from_millis(20))?;
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
        let script = script_with_clock(&format!("local now = {now}"))?;
        let call = with_script(body, &format!("$4\r\nEVAL\r\n${}\r\n{script}\r\n", script.len()))?;
        node.exchange(call.as_bytes()).map(Some)
    }

    fn used(&self) -> Result<u64> {
        let (key, master) = self.counter()?.context("no counter")?;
        let reply = self.cluster.node(master).run(&["HGET", &key, "u"])?;
        Ok(reply.lines().nth(1).context("no use")?.parse()?)
    }

    /// The counter's slot begins to move, its keys move, or it arrives.
    fn disturb(&self, random: &mut Random) -> Result<()> {
        let mut moving = self.moving.lock().expect("no panic");
        *moving = match *moving {
            None => {
                let Some((key, from)) = self.counter()? else { return Ok(()) };
                let (slot, to) = (self.cluster.slot(&key)?, random.pick(&[0, 1, 2]));
                if to == from {
                    return Ok(());
                }
                self.cluster.begin_move(slot, from, to)?;
                Some(Move { slot, from, to, has_keys: false })
            }
            Some(Move { slot, from, to, has_keys: false }) => {
                self.cluster.move_keys(slot, from, to)?;
                Some(Move { slot, from, to, has_keys: true })
            }
            Some(Move { slot, from, to, .. }) => {
                self.cluster.end_move(slot, from, to)?;
                None
            }
        };
        Ok(())
    }
}

impl ScheduledCluster {
    fn counter(&self) -> Result<Option<(String, usize)>> {
        Ok(self.cluster.keys(&format!("{}{{k/*", self.prefix))?.into_iter().next())
    }
}

#[test]
fn random_schedules_on_a_redis_cluster_admit_no_request_too_many_and_lose_no_alert() -> Result<()> {
    let _shared = crate::support::MACHINE.blocking_read();
    let cluster = Arc::new(RedisCluster::start(3, 0)?);
    crate::schedules::run_all(SCHEDULES, |seed, module| {
        let servers = ScheduledCluster {
            cluster: Arc::clone(&cluster),
            prefix: format!("schedule{seed}"),
            moving: Mutex::default(),
        };
        run(seed, module, Arc::new(servers))
    })
}
