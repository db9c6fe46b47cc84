//! Random schedules of a fleet: the module in the shim, several members on one real Redis, calls that are lost, doubled
//! or late, and members that die. A failing seed is printed. `SEED=n` runs it alone, and `SCHEDULES=n` sets the number
//! of seeds.
//!
//! The clock moves on demand. So the scripts in Redis read their time from a key instead of Redis's clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_shim::gateway::{Gateway, Pending, Reply, Request, Response};
use serde_json::{Value, json};
use tollbell_tests::project_root;
use tollbell_tests::redis::Redis;

use crate::schedules::Random;

/// The schedules of a run of all tests.
const SCHEDULES: u64 = 12;
const STEPS: u64 = 150;

/// How far the clocks move at once.
const STEP_MS: u64 = 25;

/// What the script asks for the time, and what it asks here.
const TIME: &str = "local t = redis.call('TIME')\nlocal now = t[1] * 1000 + math.floor(t[2] / 1000)";
const CLOCK: &str = "local now = tonumber(redis.call('GET', 'clock'))";

/// The servers of a store.
pub(super) trait Servers: Send + Sync {
    /// What `store.redis` is in the members' configuration.
    fn config(&self) -> Value;

    /// Runs a call at this time, with the script that has the test's clock. `None`: the server does not answer.
    fn run(&self, destination: Option<&str>, body: &[u8], now: u64) -> Result<Option<Vec<u8>>>;

    /// The use that the only counter has.
    fn used(&self) -> Result<u64>;

    /// Something happens to the servers.
    fn disturb(&self, _random: &mut Random) -> Result<()> {
        Ok(())
    }
}

/// One Redis.
struct OneRedis {
    redis: Redis,
    /// The SHA-1 of the script with the test's clock.
    sha1: String,
}

impl OneRedis {
    fn start() -> Result<Self> {
        let redis = Redis::start()?;
        let reply = redis.run(&["SCRIPT", "LOAD", &script_with_clock(CLOCK)?])?;
        let sha1 = reply.lines().nth(1).context("no SHA-1")?.to_owned();
        Ok(OneRedis { redis, sha1 })
    }
}

impl Servers for OneRedis {
    fn config(&self) -> Value {
        json!({})
    }

    fn run(&self, _destination: Option<&str>, body: &[u8], now: u64) -> Result<Option<Vec<u8>>> {
        self.redis.run(&["SET", "clock", &now.to_string()])?;
        let call = with_script(body, &format!("$7\r\nEVALSHA\r\n$40\r\n{}\r\n", self.sha1))?;
        self.redis.exchange(call.as_bytes()).map(Some)
    }

    fn used(&self) -> Result<u64> {
        let keys = self.redis.run(&["KEYS", "*{k/*"])?;
        let key = keys.lines().nth(2).context("no counter")?.to_owned();
        Ok(self.redis.run(&["HGET", &key, "u"])?.lines().nth(1).context("no use")?.parse()?)
    }
}

/// `lease.lua` with another clock.
pub(super) fn script_with_clock(clock: &str) -> Result<String> {
    let script = std::fs::read_to_string(project_root().join("plugin/core/src/store/lease.lua"))?;
    ensure!(script.contains(TIME), "lease.lua reads the time in another way");
    Ok(script.replace(TIME, clock))
}

/// A call with `command` instead of the script's.
pub(super) fn with_script(body: &[u8], command: &str) -> Result<String> {
    let text = String::from_utf8(body.to_vec())?;
    let marked: Vec<&str> = text.split("$7\r\nEVALSHA\r\n$40\r\n").collect();
    let calls = marked[1..].iter().map(|call| format!("{command}{}", &call[42..]));
    Ok(calls.fold(marked[0].to_owned(), |text, call| text + &call))
}

/// The store as the members reach it.
struct Store {
    servers: Arc<dyn Servers>,
    /// The store's time in milliseconds.
    clock: AtomicU64,
    random: Mutex<Random>,
    /// True while calls are lost, doubled and late.
    is_lossy: AtomicBool,
    /// Calls that arrive once more, after this time.
    doubled: Mutex<Vec<(u64, StoreCall)>>,
}

/// The address that a call names, and its bytes.
type StoreCall = (Option<String>, Vec<u8>);

impl Store {
    fn new(servers: Arc<dyn Servers>, seed: u64) -> Self {
        Store {
            servers,
            clock: AtomicU64::new(1_800_000_000_000),
            random: Mutex::new(Random(seed)),
            is_lossy: AtomicBool::new(true),
            doubled: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn run(&self, call: &StoreCall) -> Result<Reply> {
        let (destination, body) = call;
        let reply = self.servers.run(destination.as_deref(), body, self.now())?;
        Ok(reply.map_or_else(Reply::refused, |reply| Response::ok(reply).into()))
    }

    /// Answers a call of a member.
    fn answer(&self, call: &StoreCall) -> Result<Reply> {
        let now = self.now();
        let due: Vec<StoreCall> = {
            let mut doubled = self.doubled.lock().expect("no panic");
            let (due, later): (Vec<_>, Vec<_>) = doubled.drain(..).partition(|(at, _)| *at <= now);
            *doubled = later;
            due.into_iter().map(|(_, call)| call).collect()
        };
        for call in due {
            self.run(&call)?;
        }
        let mut random = self.random.lock().expect("no panic");
        if !self.is_lossy.load(Ordering::SeqCst) {
            return self.run(call);
        }
        // Longer than the call's time-out.
        let never = Duration::from_secs(5);
        Ok(match random.below(20) {
            0 => Reply::refused(),
            1 => Reply::from(Response::new(200)).after(never),
            2 => {
                self.run(call)?;
                Reply::from(Response::new(200)).after(never)
            }
            3 => {
                self.doubled.lock().expect("no panic").push((now + random.below(900), call.clone()));
                Reply::from(Response::new(200)).after(never)
            }
            4 => {
                self.doubled.lock().expect("no panic").push((now + random.below(900), call.clone()));
                self.run(call)?
            }
            5..=8 => self.run(call)?.after(Duration::from_millis(random.below(200))),
            9 => Response::ok(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()).into(),
            10 => {
                let (destination, body) = call;
                match self.servers.run(destination.as_deref(), body, now)? {
                    None => Reply::refused(),
                    Some(mut reply) => {
                        reply.truncate(reply.len() / 2);
                        Response::ok(reply).into()
                    }
                }
            }
            _ => self.run(call)?,
        })
    }
}

/// A member of the fleet.
struct Member {
    gateway: Gateway,
    is_alive: Arc<AtomicBool>,
    /// Requests without an answer yet.
    open: Vec<Pending>,
}

struct Fleet {
    store: Arc<Store>,
    members: Vec<Member>,
    module: Vec<u8>,
    config: Value,
    workers: usize,
    admitted: u64,
    refused: u64,
    /// Thresholds by the number of messages.
    told: Arc<Mutex<BTreeMap<String, u64>>>,
    has_died: bool,
}

impl Fleet {
    fn new(random: &mut Random, seed: u64, module: &[u8], servers: Arc<dyn Servers>) -> Result<Self> {
        let max = random.pick(&[20_u64, 100, 400]);
        let config = json!({
            "apis": [{ "api_id": "a" }],
            "keys": { "k": {
                "org_id": "acme", "quota_max": max, "quota_renewal_rate": 3600,
                "monitor": { "trigger_limits": [50, 80, 100] }
            } },
            "monitor": {
                "enable_trigger_monitors": true, "monitor_user_keys": true,
                "configuration": { "target_path": "http://hooks.test/", "template_path": "t.json", "event_timeout": 0 }
            },
            "templates": { "t.json": r#"{"limit": "{{Meta.TriggerLimit}}"}"# },
            "store": {
                "redis": servers.config(), "counting": random.pick(&["leased", "exact"]), "on_loss": "refuse",
                "patience_ms": random.pick(&[100, 200, 1000]),
            },
        });
        let store = Arc::new(Store::new(servers, seed));
        let mut fleet = Fleet {
            store,
            members: Vec::new(),
            module: module.to_vec(),
            config,
            workers: random.pick(&[1_usize, 2]),
            admitted: 0,
            refused: 0,
            told: Arc::default(),
            has_died: false,
        };
        for _ in 0..random.pick(&[1, 2, 3]) {
            fleet.join()?;
        }
        Ok(fleet)
    }

    fn max(&self) -> u64 {
        self.config["keys"]["k"]["quota_max"].as_u64().unwrap_or_default()
    }

    fn join(&mut self) -> Result<()> {
        let is_alive = Arc::new(AtomicBool::new(true));
        let (store, lives, told) = (Arc::clone(&self.store), Arc::clone(&is_alive), Arc::clone(&self.told));
        let gateway = Gateway::builder(self.module.clone())
            .workers(self.workers)
            .config(self.config.to_string())
            .upstream("tollbell_redis", move |request| {
                if !lives.load(Ordering::SeqCst) {
                    return Reply::refused();
                }
                let destination = request.headers.get_str("x-envoy-original-dst-host").map(str::to_owned);
                store.answer(&(destination, request.body.concat())).expect("Redis answers")
            })
            .upstream("tollbell_http", move |request| {
                let body: Value = serde_json::from_str(&request.text()).unwrap_or_default();
                let limit = body["limit"].as_str().unwrap_or_default().to_owned();
                *told.lock().expect("no panic").entry(limit).or_default() += 1;
                Response::new(200).into()
            })
            .start()?;
        self.members.push(Member { gateway, is_alive, open: Vec::new() });
        Ok(())
    }

    /// Moves all clocks.
    fn advance(&mut self, millis: u64) -> Result<()> {
        for _ in 0..millis.div_ceil(STEP_MS) {
            for member in &self.members {
                member.gateway.advance(Duration::from_millis(STEP_MS))?;
            }
            self.store.clock.fetch_add(STEP_MS, Ordering::SeqCst);
        }
        self.collect();
        Ok(())
    }

    /// Counts the answers that have come.
    fn collect(&mut self) {
        for member in &mut self.members {
            let is_alive = member.is_alive.load(Ordering::SeqCst);
            member.open.retain(|pending| match pending.response().map(|response| response.status()) {
                None => true,
                Some(200) => {
                    self.admitted += u64::from(is_alive);
                    false
                }
                Some(_) => {
                    self.refused += 1;
                    false
                }
            });
        }
    }

    fn send(&mut self, member: usize, worker: usize) -> Result<()> {
        let member = &mut self.members[member];
        let pending = member.gateway.send_to(worker, Request::get("/").header("authorization", "k"))?;
        member.open.push(pending);
        member.gateway.settle()
    }

    fn step(&mut self, random: &mut Random) -> Result<()> {
        let member = usize::try_from(random.below(self.members.len() as u64))?;
        match random.below(40) {
            0..=24 => {
                for _ in 0..=random.below(6) {
                    let worker = 1 + usize::try_from(random.below(self.workers as u64))?;
                    self.send(member, worker)?;
                }
            }
            25..=36 => self.advance(random.below(300))?,
            37 => self.store.servers.disturb(random)?,
            38 if self.members.len() < 5 => self.join()?,
            39 if random.below(3) == 0 => self.die(member),
            _ => {}
        }
        self.collect();
        ensure!(self.admitted <= self.max(), "{} requests of {} were admitted", self.admitted, self.max());
        Ok(())
    }

    /// A member is killed: it reaches nobody any more.
    fn die(&mut self, member: usize) {
        self.collect();
        let member = &mut self.members[member];
        if member.is_alive.swap(false, Ordering::SeqCst) {
            member.open.clear();
            self.has_died = true;
        }
    }

    /// Without faults, the members use up the quota, and every threshold is told once.
    fn finish(&mut self) -> Result<()> {
        self.store.is_lossy.store(false, Ordering::SeqCst);
        self.store.doubled.lock().expect("no panic").clear();
        if self.members.iter().all(|member| !member.is_alive.load(Ordering::SeqCst)) {
            self.join()?;
        }
        // Stocks go back, and alerts of dead members are taken over.
        self.advance(6000)?;
        let mut idle = 0;
        while idle < 10 {
            let before = self.admitted;
            for member in 0..self.members.len() {
                for worker in 1..=self.workers {
                    self.send(member, worker)?;
                }
            }
            self.advance(700)?;
            idle = if self.admitted == before { idle + 1 } else { 0 };
            ensure!(self.admitted <= self.max(), "{} requests of {} were admitted", self.admitted, self.max());
        }
        // The stock of a dead member is lost until the window ends.
        ensure!(
            self.has_died || self.admitted == self.max(),
            "only {} requests of {} were admitted",
            self.admitted,
            self.max()
        );
        for member in &self.members {
            ensure!(member.open.is_empty(), "a request still waits");
        }
        self.check_alerts()
    }

    fn check_alerts(&self) -> Result<()> {
        let used = self.store.servers.used()?;
        let told = self.told.lock().expect("no panic");
        // One report can cross several thresholds. The highest is reported.
        let highest = [50, 80, 100].into_iter().filter(|limit| used * 100 >= limit * self.max()).max();
        if let Some(highest) = highest {
            // A grant that is given back lowers the use again.
            let is_told = told.keys().filter_map(|limit| limit.parse().ok()).any(|limit: u64| limit >= highest);
            ensure!(is_told, "{highest} % were crossed, and no one was notified: {told:?}, {used} used");
        }
        for (limit, times) in told.iter() {
            // A member can die between a message and its confirmation.
            ensure!(*times == 1 || self.has_died, "{limit} % was reported {times} times");
        }
        Ok(())
    }
}

/// One schedule.
pub(super) fn run(seed: u64, module: &[u8], servers: Arc<dyn Servers>) -> Result<()> {
    let mut random = Random(seed);
    let mut fleet = Fleet::new(&mut random, seed, module, servers)?;
    for step in 0..STEPS {
        fleet.step(&mut random).with_context(|| format!("step {step}"))?;
    }
    fleet.finish().with_context(|| format!("{}", fleet.config["store"]))
}

#[test]
fn random_schedules_of_a_fleet_admit_no_request_too_many_and_lose_no_alert() -> Result<()> {
    let _shared = crate::support::MACHINE.blocking_read();
    crate::schedules::run_all(SCHEDULES, |seed, module| run(seed, module, Arc::new(OneRedis::start()?)))
}
