//! Delivery under random schedules of faults, in the shim with a manual clock: a thousand seeds, each with its own
//! gateway. A failing seed is printed. `SEED=n` runs it alone, and `SCHEDULES=n` sets the number of seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use host_shim::CalloutFault;
use host_shim::config::model::{Bootstrap, FailurePolicy};
use host_shim::gateway::{Gateway, Reply, Request, Response};
use serde_json::{Value, json};
use tollbell_tests::project_root;

const SCHEDULES: u64 = 1000;
const STEPS: u64 = 40;

/// The filter's hostcalls in which a VM can die.
const HOSTCALLS: [&str; 9] = [
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_http_call",
    "proxy_enqueue_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_register_shared_queue",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_get_header_map_value",
];

/// Each event goes to both receivers.
const RECEIVERS: [&str; 2] = ["hooks.test", "other.test"];

/// Pseudo-random numbers from a seed: SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    pub fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or_default()].clone()
    }
}

/// The messages that a receiver has answered with 2xx.
#[derive(Default)]
struct Taken {
    /// Messages of single events, by their ids.
    messages: BTreeSet<String>,
    /// The keys in these messages.
    keys: BTreeSet<String>,
    /// The number of events in each digest, by its id.
    digests: BTreeMap<String, u64>,
}

/// The way a receiver answers.
#[derive(Clone, Debug)]
enum Manner {
    Status(u16),
    Throttles,
    Refuses,
    Resets,
    Takes(Duration),
}

struct World {
    gateway: Gateway,
    bootstrap: Bootstrap,
    config: Value,
    capacity: usize,
    workers: usize,
    /// The way of each receiver, by its host.
    manners: Arc<Mutex<BTreeMap<&'static str, Manner>>>,
    taken: Arc<Mutex<Taken>>,
    /// The keys whose requests were refused, which are events.
    failures: BTreeMap<String, u64>,
    names: u64,
}

impl World {
    fn new(random: &mut Random, module: &[u8]) -> Result<Self> {
        let capacity = random.pick(&[4_usize, 16, 64]);
        let settings = json!({
            "template_path": "t.json",
            "event_timeout": random.pick(&[0, 5, 30]),
            "digest": random.pick(&[false, true]),
            "max_per_minute": random.pick(&[0, 0, 3]),
        });
        let handler = |host: &str| {
            let mut meta = settings.clone();
            meta["target_path"] = json!(format!("http://{host}/"));
            json!({ "handler_name": "eh_web_hook_handler", "handler_meta": meta })
        };
        let config = json!({
            "apis": [{ "api_id": "a", "event_handlers": { "events": {
                "AuthFailure": RECEIVERS.map(handler)
            } } }],
            "templates": { "t.json": r#"{"key": "{{Meta.Key}}", "n": {{Meta.Suppressed}}}"# },
            "delivery": {
                "capacity": capacity, "max_attempts": random.pick(&[2, 5, 8]),
                "base_delay_ms": random.pick(&[100, 1000]), "timeout_ms": random.pick(&[1000, 5000]),
                "max_in_flight": random.pick(&[2, 64]),
            },
        });
        let workers = random.pick(&[1_usize, 2, 4]);
        let well = RECEIVERS.map(|host| (host, Manner::Status(200)));
        let (manners, taken) = (Arc::new(Mutex::new(BTreeMap::from(well))), Arc::new(Mutex::new(Taken::default())));
        let (answers, takes) = (Arc::clone(&manners), Arc::clone(&taken));
        let builder = Gateway::builder(module)
            .workers(workers)
            .config(config.to_string())
            .plugin(|plugin| {
                plugin.failure_policy = FailurePolicy::FailReload;
                plugin.reload_backoff = Duration::from_millis(100);
            })
            .upstream("tollbell_http", move |request| {
                let manner = answers.lock().expect("no panic")[request.authority()].clone();
                let reply = reply(&manner);
                if reply.response.as_ref().is_some_and(|response| !response.is_reset && response.status() < 300) {
                    takes.lock().expect("no panic").take(request);
                }
                reply
            });
        let bootstrap = builder.get_bootstrap().clone();
        let gateway = builder.start()?;
        let failures = BTreeMap::new();
        Ok(World { gateway, bootstrap, config, capacity, workers, manners, taken, failures, names: 0 })
    }

    fn step(&mut self, random: &mut Random) -> Result<()> {
        match random.below(20) {
            0..=8 => self.fail(random)?,
            9..=13 => self.gateway.advance(Duration::from_millis(random.below(3000)))?,
            14 | 15 => {
                let manner = manner(random);
                self.manners.lock().expect("no panic").insert(random.pick(&RECEIVERS), manner);
            }
            16 => self.gateway.faults().cas_mismatches(u32::try_from(random.below(30))?),
            17 => self.gateway.faults().lost_notifications(u32::try_from(random.below(5))?),
            18 => self.callout_fault(random),
            _ if random.below(4) == 0 => self.update()?,
            _ => {
                let nth = u32::try_from(1 + random.below(4))?;
                self.gateway.faults().death_at(random.pick(&HOSTCALLS), nth, None);
            }
        }
        self.check_table()
    }

    /// Sends a request with a bad key: a new one, or one that was used before.
    fn fail(&mut self, random: &mut Random) -> Result<()> {
        for _ in 0..=random.below(4) {
            if self.names == 0 || random.below(3) > 0 {
                self.names += 1;
            }
            let key = format!("bad-{}", if random.below(3) > 0 { self.names } else { 1 + random.below(self.names) });
            let worker = 1 + usize::try_from(random.below(self.workers as u64))?;
            let pending = self.gateway.send_to(worker, Request::get("/").header("authorization", &key))?;
            if random.below(2) == 0 {
                self.gateway.settle()?;
            }
            // If a VM dies during the request, the answer is 503. Then nothing was refused, and no one must be
            // notified.
            if pending.response().is_some_and(|response| response.status() == 403) {
                *self.failures.entry(key).or_default() += 1;
            }
        }
        self.gateway.settle()
    }

    fn callout_fault(&self, random: &mut Random) {
        let fault = match random.below(6) {
            0 => CalloutFault::RefusedAtOnce,
            1 => CalloutFault::TimesOut,
            2 => CalloutFault::ConnectFailure,
            3 => CalloutFault::Reset,
            4 => CalloutFault::Status(503),
            _ => CalloutFault::Late(Duration::from_millis(random.below(10_000))),
        };
        self.gateway.faults().callout(fault);
    }

    /// The same configuration, except for a field that has no effect here.
    fn update(&mut self) -> Result<()> {
        self.names += 1;
        self.config["apis"][0]["name"] = json!(format!("name {}", self.names));
        let configuration = self.config.to_string().into_bytes();
        for listener in &mut self.bootstrap.listeners {
            for filter in &mut listener.manager.filters {
                filter.plugin.configuration.clone_from(&configuration);
            }
        }
        // A VM may die while it starts. Then the old configuration stays.
        let _ = self.gateway.update(&self.bootstrap);
        Ok(())
    }

    /// The used slots in shared data. The gauge does not change while no VM is alive to set it.
    fn held(&self) -> usize {
        let index = self.gateway.host().shared_data.get("", b"tb1/d").map(|(bytes, _)| bytes).unwrap_or_default();
        index.get(1..).unwrap_or_default().chunks(2).filter(|mark| *mark != [0, 0]).count()
    }

    /// The maximum number of slots. Each line of configurations has its own table, and an update that comes before its
    /// predecessor has ticked starts a line.
    fn room(&self) -> usize {
        let data = &self.gateway.host().shared_data;
        let records = data.keys("").into_iter().filter(|key| key.starts_with(b"tb1/s/"));
        let records = records.filter_map(|key| data.get("", &key).map(|(bytes, _)| bytes));
        let entries: Vec<u8> = records.flat_map(|bytes| bytes.get(1..).unwrap_or_default().to_vec()).collect();
        let lines: BTreeSet<&[u8]> = entries.chunks_exact(25).map(|entry| &entry[8..16]).collect();
        self.capacity * lines.len().max(1)
    }

    fn check_table(&self) -> Result<()> {
        let data = &self.gateway.host().shared_data;
        let taken = self.held();
        let room = self.room();
        ensure!(taken <= room, "{taken} slots of {room} are taken");
        let slots = data.keys("").iter().filter(|key| key.starts_with(b"tb1/d/")).count();
        ensure!(slots <= room, "there are {slots} slots of {room}");
        Ok(())
    }

    fn metric(&self, name: &str) -> u64 {
        self.gateway.metric(&format!("wasmcustom.tollbell_{name}")).unwrap_or_default()
    }

    /// Ends the faults, lets the receiver accept everything, and waits until nothing is held.
    fn recover(&mut self) -> Result<()> {
        self.gateway.faults().clear();
        self.manners.lock().expect("no panic").values_mut().for_each(|manner| *manner = Manner::Status(200));
        for _ in 0..600 {
            // A request starts a dead VM again.
            for worker in 1..=self.workers {
                self.gateway.send_to(worker, Request::get("/"))?;
            }
            self.gateway.advance(Duration::from_secs(2))?;
            self.check_table()?;
            if self.held() == 0 {
                return Ok(());
            }
        }
        Err(anyhow!("{} messages are still held after 20 minutes", self.held()))
    }

    /// Each event was delivered, is in a digest, was held back by a cool-down without one, or was reported as failed.
    fn check_events(&self) -> Result<()> {
        let taken = self.taken.lock().expect("no panic");
        let meta = &self.config["apis"][0]["event_handlers"]["events"]["AuthFailure"][0]["handler_meta"];
        let happened = self.failures.values().sum::<u64>() * RECEIVERS.len() as u64;
        let (delivered, digested) = (taken.messages.len() as u64, taken.digests.values().sum::<u64>());
        let silent = if meta["digest"] == true { 0 } else { self.metric("suppressed") };
        let reported = self.metric("failed") + self.metric("dropped") + self.metric("disabled");
        // A failed message can be a digest, and report several events.
        let has_digests = meta["digest"] == true || meta["max_per_minute"] != 0;
        if !has_digests || self.metric("failed") == 0 {
            ensure!(
                delivered + digested + silent + reported >= happened,
                "{happened} events: {delivered} delivered, {digested} in digests, {silent} suppressed, {reported} reported"
            );
        }
        let held_back = self.metric("suppressed") + self.metric("capped");
        ensure!(digested <= held_back, "{digested} events in digests, and only {held_back} were held back");
        Ok(())
    }

    /// After its period, a claim holds nothing back.
    fn check_claims(&mut self) -> Result<()> {
        self.gateway.advance(Duration::from_secs(100))?;
        let suppressed = self.metric("suppressed");
        let keys: Vec<String> = self.failures.keys().take(3).cloned().collect();
        for key in &keys {
            self.gateway.request(Request::get("/").header("authorization", key))?;
            self.gateway.advance(Duration::from_secs(2))?;
        }
        ensure!(self.metric("suppressed") == suppressed, "a claim outlived its period");
        let taken = self.taken.lock().expect("no panic");
        for key in &keys {
            ensure!(taken.keys.contains(key), "{key} is not reported after everything has recovered");
        }
        Ok(())
    }
}

impl Taken {
    fn take(&mut self, request: &Request) {
        let body: Value = serde_json::from_slice(&request.body.concat()).unwrap_or_default();
        let id = request.headers.get_str("webhook-id").unwrap_or_default().to_owned();
        match body["n"].as_u64() {
            Some(0) => {
                self.keys.insert(body["key"].as_str().unwrap_or_default().to_owned());
                self.messages.insert(id);
            }
            suppressed => {
                self.digests.insert(id, suppressed.unwrap_or_default());
            }
        }
    }
}

fn reply(manner: &Manner) -> Reply {
    match manner {
        Manner::Status(status) => Response::new(*status).into(),
        Manner::Throttles => Response::new(429).header("retry-after", "3").into(),
        Manner::Refuses => Reply::refused(),
        Manner::Resets => {
            let mut response = Response::new(200);
            response.is_reset = true;
            response.into()
        }
        Manner::Takes(delay) => Reply::from(Response::new(200)).after(*delay),
    }
}

fn manner(random: &mut Random) -> Manner {
    match random.below(9) {
        0..=2 => Manner::Status(200),
        3 => Manner::Status(500),
        4 => Manner::Status(404),
        5 => Manner::Throttles,
        6 => Manner::Refuses,
        7 => Manner::Resets,
        // Delays up to the longest time-out.
        _ => Manner::Takes(Duration::from_millis(random.below(8000))),
    }
}

fn run(seed: u64, module: &[u8]) -> Result<()> {
    let mut random = Random(seed);
    let mut world = World::new(&mut random, module)?;
    for step in 0..STEPS {
        world.step(&mut random).with_context(|| format!("step {step}"))?;
    }
    world.recover()?;
    world.check_events()?;
    world.check_claims()
}

/// Runs each seed on the module, on all processors. `SEED=n` runs one, and `SCHEDULES=n` as many.
///
/// # Errors
/// The seeds that failed.
pub fn run_all(schedules: u64, run: impl Fn(u64, &[u8]) -> Result<()> + Sync) -> Result<()> {
    let module = fs::read(project_root().join("dist/tollbell.wasm")).context("run `make build`")?;
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SEED") {
        return run(seed, &module);
    }
    let schedules = number("SCHEDULES").unwrap_or(schedules);
    let threads = std::thread::available_parallelism()?.get() as u64;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let (module, run) = (&module, &run);
        let shards: Vec<_> = (0..threads)
            .map(|shard| {
                scope.spawn(move || {
                    let seeds = (shard..schedules).step_by(usize::try_from(threads).unwrap_or(1));
                    let failed = seeds.filter_map(|seed| Some((seed, run(seed, module).err()?)));
                    failed.map(|(seed, error)| format!("SEED={seed}: {error:#}")).collect::<Vec<_>>()
                })
            })
            .collect();
        shards.into_iter().flat_map(|shard| shard.join().unwrap_or_else(|_| vec!["a shard panicked".into()])).collect()
    });
    ensure!(failed.is_empty(), "{} of {schedules} schedules failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

#[test]
fn a_thousand_schedules_of_faults_lose_no_event() -> Result<()> {
    let _shared = crate::support::MACHINE.blocking_read();
    run_all(SCHEDULES, run)
}
