//! Random schedules of a fleet: the module in the shim, several members on one real Redis, calls that are lost, doubled
//! or late, members that die, and a Redis that is slow, hangs, or loses what it knows. A failing seed is printed.
//! `SEED=n` runs it alone, and `SCHEDULES=n` sets the number of seeds.
//!
//! The clock moves on demand. So the scripts in Redis read their time from a key instead of Redis's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_shim::config::model;
use host_shim::gateway::{Gateway, Pending, Reply, Request, Response};
use serde_json::{Value, json};

use super::store::{OneRedis, Servers, Store};
use crate::schedules::Random;

/// The schedules of a run of all tests.
const SCHEDULES: u64 = 12;
const STEPS: u64 = 150;

/// How far the clocks move at once.
const STEP_MS: u64 = 25;

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
    receiver: Arc<Mutex<Receiver>>,
    /// The wrong keys of requests, and the members that refused them.
    caused: Vec<(String, usize)>,
    /// Ids of messages that the store held for a member when it died.
    left: BTreeSet<String>,
    has_died: bool,
}

/// What the receiver accepted.
#[derive(Default)]
struct Receiver {
    /// Thresholds by the number of messages.
    told: BTreeMap<String, u64>,
    /// Wrong keys.
    causes: BTreeSet<String>,
    /// Ids by the number of messages.
    ids: BTreeMap<String, u64>,
    /// Decides which messages it refuses; `None` when it refuses none.
    random: Option<Random>,
}

impl Receiver {
    fn take(&mut self, request: &Request) -> Reply {
        if self.random.as_mut().is_some_and(|random| random.below(5) == 0) {
            return Response::new(503).into();
        }
        let body: Value = serde_json::from_str(&request.text()).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        if text("limit").is_empty() {
            self.causes.insert(text("key"));
        } else {
            *self.told.entry(text("limit")).or_default() += 1;
        }
        let id = request.headers.iter().find(|(name, _)| *name == *b"webhook-id");
        let id = id.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
        *self.ids.entry(id).or_default() += 1;
        Response::new(200).into()
    }
}

impl Fleet {
    fn new(random: &mut Random, seed: u64, module: &[u8], servers: Arc<dyn Servers>) -> Result<Self> {
        let max = random.pick(&[20_u64, 100, 400]);
        let config = json!({
            "apis": [{ "api_id": "a", "event_handlers": { "events": { "AuthFailure": [{
                "handler_name": "eh_web_hook_handler",
                "handler_meta": { "target_path": "http://hooks.test/", "template_path": "t.json", "event_timeout": 36_000 }
            }] } } }],
            "keys": { "k": {
                "org_id": "acme", "quota_max": max, "quota_renewal_rate": 3600,
                "monitor": { "trigger_limits": [50, 80, 100] }
            } },
            "monitor": {
                "enable_trigger_monitors": true, "monitor_user_keys": true,
                "configuration": { "target_path": "http://hooks.test/", "template_path": "t.json", "event_timeout": 0 }
            },
            "templates": { "t.json": r#"{"limit": "{{Meta.TriggerLimit}}", "key": "{{Meta.Key}}"}"# },
            "delivery": { "max_attempts": 50, "base_delay_ms": 100, "max_delay_ms": 1000 },
            "store": {
                "redis": servers.config(), "counting": random.pick(&["leased", "exact"]), "on_loss": "refuse",
                "patience_ms": random.pick(&[100, 200, 1000]),
            },
        });
        let store = Arc::new(Store::of(servers, seed));
        let mut fleet = Fleet {
            store,
            members: Vec::new(),
            module: module.to_vec(),
            config,
            workers: random.pick(&[1_usize, 2]),
            admitted: 0,
            refused: 0,
            receiver: Arc::new(Mutex::new(Receiver { random: Some(Random(seed)), ..Receiver::default() })),
            caused: Vec::new(),
            left: BTreeSet::new(),
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
        let (store, lives) = (Arc::clone(&self.store), Arc::clone(&is_alive));
        let (receiver, reaches) = (Arc::clone(&self.receiver), Arc::clone(&is_alive));
        let builder = Gateway::builder(self.module.clone());
        // Members that start at the same time differ by their nodes.
        let node_id = format!("member-{}", self.members.len());
        let bootstrap = model::Bootstrap { node_id, ..builder.get_bootstrap().clone() };
        let gateway = builder
            .bootstrap(bootstrap)
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
                if !reaches.load(Ordering::SeqCst) {
                    return Reply::refused();
                }
                receiver.lock().expect("no panic").take(request)
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
            self.store.advance(STEP_MS)?;
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

    /// Sends a request with one of a few wrong keys.
    fn fail(&mut self, member: usize, random: &mut Random) -> Result<()> {
        let key = format!("wrong-{}", random.below(12));
        let worker = 1 + usize::try_from(random.below(self.workers as u64))?;
        let gateway = &self.members[member].gateway;
        gateway.send_to(worker, Request::get("/").header("authorization", &key))?;
        self.caused.push((key, member));
        gateway.settle()
    }

    fn step(&mut self, random: &mut Random) -> Result<()> {
        let member = usize::try_from(random.below(self.members.len() as u64))?;
        match random.below(46) {
            0..=24 => {
                for _ in 0..=random.below(6) {
                    let worker = 1 + usize::try_from(random.below(self.workers as u64))?;
                    self.send(member, worker)?;
                }
            }
            25..=37 => self.advance(random.below(300))?,
            38 if self.members.len() < 5 => self.join()?,
            39 if random.below(3) == 0 => self.die(member)?,
            42.. => self.fail(member, random)?,
            40 => self.store.replicate()?,
            41 if random.below(3) == 0 => self.store.fail(random)?,
            _ => {}
        }
        self.collect();
        self.check_admitted()
    }

    /// Never more than the limit, and what the store had granted when it lost it.
    fn check_admitted(&self) -> Result<()> {
        let (admitted, max, lost) = (self.admitted, self.max(), self.store.lost());
        ensure!(admitted <= max + lost, "{admitted} requests of {max} were admitted, and the store lost {lost}");
        Ok(())
    }

    /// A member is killed: it reaches nobody any more.
    fn die(&mut self, member: usize) -> Result<()> {
        self.collect();
        let member = &mut self.members[member];
        if member.is_alive.swap(false, Ordering::SeqCst) {
            member.open.clear();
            self.has_died = true;
            self.left.extend(self.store.held()?);
        }
        Ok(())
    }

    /// Without faults, the members use up the quota, and every threshold is told once.
    fn finish(&mut self) -> Result<()> {
        self.store.mend()?;
        self.receiver.lock().expect("no panic").random = None;
        if self.members.iter().all(|member| !member.is_alive.load(Ordering::SeqCst)) {
            self.join()?;
        }
        // Stocks go back, and alerts of dead members are taken over.
        self.advance(15_000)?;
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
            self.check_admitted()?;
        }
        // The stock of a dead member is lost until the window ends.
        ensure!(
            self.has_died || self.admitted >= self.max(),
            "only {} requests of {} were admitted",
            self.admitted,
            self.max()
        );
        for member in &self.members {
            ensure!(member.open.is_empty(), "a request still waits");
        }
        self.check_messages()?;
        self.check_alerts()
    }

    /// What the store held arrived, and what a living member has made. No message arrived twice, unless a member died, or
    /// its calls failed for so long that the store took it for dead and gave its message to another one.
    fn check_messages(&self) -> Result<()> {
        let receiver = self.receiver.lock().expect("no panic");
        for (key, member) in &self.caused {
            // The store can lose the message of a dead member after it held those of others back.
            let is_lost = self.has_died && self.store.losses() > 0;
            let is_owed = self.members[*member].is_alive.load(Ordering::SeqCst) && !is_lost;
            ensure!(
                !is_owed || receiver.causes.contains(key),
                "{key} was not reported; the store lost data {} times, a member has died: {}, and it holds {:?}",
                self.store.losses(),
                self.has_died,
                self.store.held()?
            );
        }
        if self.store.losses() == 0 {
            let lacks: Vec<_> = self.left.iter().filter(|id| !receiver.ids.contains_key(*id)).collect();
            ensure!(lacks.is_empty(), "messages of members that died did not arrive: {lacks:?}");
            let held = self.store.held()?;
            ensure!(held.is_empty(), "the store still holds {held:?}");
        }
        let logs: Vec<_> = self.members.iter().flat_map(|member| member.gateway.logs()).collect();
        let was_taken_over = |id: &str| logs.iter().any(|line| line.text.contains(&format!("{id}: taken over")));
        let twice = receiver.ids.iter().filter(|(id, times)| **times > 1 && !was_taken_over(id));
        let twice: Vec<_> = twice.collect();
        let may_repeat = self.has_died || self.store.losses() > 0;
        ensure!(may_repeat || twice.is_empty(), "messages came twice: {twice:?}");
        Ok(())
    }

    fn check_alerts(&self) -> Result<()> {
        let used = self.store.servers.used()?;
        let told = &self.receiver.lock().expect("no panic").told;
        // One report can cross several thresholds. The highest is reported.
        let highest = [50, 80, 100].into_iter().filter(|limit| used * 100 >= limit * self.max()).max();
        if let Some(highest) = highest {
            // A grant that is given back lowers the use again.
            let is_told = told.keys().filter_map(|limit| limit.parse().ok()).any(|limit: u64| limit >= highest);
            ensure!(is_told, "{highest} % were crossed, and no one was notified: {told:?}, {used} used");
        }
        for (limit, times) in told.iter() {
            // A member can die between a message and its confirmation, and the store can lose that it was reported.
            let may_repeat = self.has_died || self.store.losses() > 0;
            ensure!(*times == 1 || may_repeat, "{limit} % was reported {times} times");
        }
        Ok(())
    }
}

pub fn run(seed: u64, module: &[u8], servers: Arc<dyn Servers>) -> Result<()> {
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
