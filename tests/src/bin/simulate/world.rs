//! The events of a simulation, in the order of their times.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use anyhow::{Context, Result};
use tollbell_core::UnixMillis;
use tollbell_core::host::CalloutId;
use tollbell_core::testing::{Lessee, LesseeSettings, LesseeVerdict, MemoryHost};
use tollbell_tests::lease_model::Store;

use crate::Size;
use crate::demand::{Demand, Random};
use crate::figures::Figures;
use crate::network::{Command, REGIONS, Topology, commands, reply};

/// The start on all clocks.
const START_MS: u64 = 1_800_000_000_000;

/// Ticks of a VM, and those while requests wait in it.
const TICK_US: u64 = 500_000;
const WAITING_TICK_US: u64 = 25_000;

/// Keys whose idle stock is looked at.
const WATCHED: usize = 1000;

/// What happens in a fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) topology: Topology,
    pub(crate) reads_ahead: bool,
    pub(crate) patience_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) on_loss: &'static str,
    /// The seconds in which a region is cut off: that of the store, or another.
    pub(crate) outage: Option<(u64, u64)>,
    pub(crate) cuts_other: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Scenario {
            topology: Topology::Near,
            reads_ahead: true,
            patience_ms: 200,
            timeout_ms: 250,
            on_loss: "share",
            outage: None,
            cuts_other: false,
        }
    }
}

struct Vm {
    lessee: Lessee,
    region: usize,
    next_tick: u64,
    /// Requests that wait, by their streams: the key, and since when.
    waiting: HashMap<u32, (usize, u64)>,
}

enum Event {
    Tick(usize),
    Call { vm: usize, id: CalloutId, body: Vec<u8> },
    Reply { vm: usize, id: CalloutId, body: Option<Vec<u8>> },
    Second,
}

struct Due {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What is true of a key in a store's window.
#[derive(Clone, Copy, Default)]
struct Truth {
    start: i64,
    granted: i64,
    asked: u32,
    admitted: u32,
    /// When the threshold was crossed; 0 if it was not.
    crossed: u64,
    crossed_at: u32,
    is_told: bool,
}

pub(crate) struct World {
    size: Size,
    scenario: Scenario,
    demand: Demand,
    random: Random,
    host: MemoryHost,
    vms: Vec<Vm>,
    stores: Vec<Store>,
    members: u64,
    /// By store and key.
    truths: Vec<Vec<Truth>>,
    events: BinaryHeap<Reverse<Due>>,
    order: u64,
    now: u64,
    streams: u32,
    figures: Figures,
}

impl World {
    pub(crate) fn new(size: Size, scenario: Scenario) -> Self {
        let Scenario { topology, reads_ahead, patience_ms, timeout_ms, on_loss, .. } = scenario;
        let settings = LesseeSettings { reads_ahead, patience_ms, timeout_ms, on_loss };
        let mut random = Random(1);
        let vm = |number: usize| Vm {
            lessee: Lessee::new(settings, format!("{number:x}")),
            region: topology.region(number),
            next_tick: random.next() % TICK_US,
            waiting: HashMap::new(),
        };
        let vms: Vec<Vm> = (0..size.envoys * size.workers).map(vm).collect();
        let (stores, share) = if topology == Topology::Own { (REGIONS, 0.1) } else { (1, 1.0) };
        let mut world = World {
            demand: Demand::new(&size, share),
            host: MemoryHost::default(),
            stores: vec![Store::default(); stores],
            members: 0,
            truths: vec![vec![Truth::default(); size.keys]; stores],
            events: BinaryHeap::new(),
            order: 0,
            now: 0,
            streams: 0,
            figures: Figures::default(),
            random,
            size,
            scenario,
            vms,
        };
        for vm in 0..world.vms.len() {
            world.at(world.vms[vm].next_tick, Event::Tick(vm));
        }
        world.at(0, Event::Second);
        world
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse(Due { at, order: self.order, event }));
    }

    fn millis(&self) -> u64 {
        START_MS + self.now / 1000
    }

    fn clock(&self) -> UnixMillis {
        UnixMillis(self.millis())
    }

    pub(crate) fn run(mut self) -> Result<String> {
        let end = self.size.seconds * 1_000_000;
        let mean_us = 1e6 / self.size.rate as f64;
        // Requests come at random times.
        let mut next_request = 0.0_f64;
        loop {
            let next_event = self.events.peek().map_or(u64::MAX, |Reverse(due)| due.at);
            if (next_request as u64) < next_event {
                self.now = next_request as u64;
                if self.now >= end {
                    break;
                }
                self.request()?;
                next_request -= (1.0 - self.random.unit()).ln() * mean_us;
                continue;
            }
            let Some(Reverse(Due { at, event, .. })) = self.events.pop() else { break };
            self.now = at;
            if self.now >= end {
                break;
            }
            self.happen(event)?;
        }
        for store in &self.stores {
            let (counters, parts) = store.count();
            self.figures.counters += counters;
            self.figures.parts += parts;
        }
        self.figures.leases = self.vms.iter().map(|vm| vm.lessee.leases()).sum();
        self.figures.table(&self.size, &self.demand)
    }

    /// In a fleet of several regions, half of a key's requests come to one of them.
    fn draw_vm(&mut self, key: usize) -> usize {
        let vm = self.random.below(self.vms.len());
        if self.scenario.topology == Topology::Near || self.random.below(2) == 0 {
            return vm;
        }
        vm - vm % REGIONS + key % REGIONS
    }

    fn request(&mut self) -> Result<()> {
        let key = self.demand.draw(&mut self.random);
        let vm = self.draw_vm(key).min(self.vms.len() - 1);
        let store = self.scenario.topology.store(self.vms[vm].region);
        self.figures.requests += 1;
        self.truths[store][key].asked += 1;
        self.streams = self.streams.wrapping_add(1);
        let (stream, limit, now) = (self.streams, self.demand.limit(key), self.clock());
        match self.vms[vm].lessee.charge(&self.host, stream, limit, now) {
            Some(verdict) => self.decided(vm, key, verdict),
            None => drop(self.vms[vm].waiting.insert(stream, (key, self.now))),
        }
        self.after(vm)
    }

    fn happen(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Second => self.look(),
            Event::Tick(vm) => {
                if self.vms[vm].next_tick != self.now {
                    return Ok(());
                }
                let now = self.clock();
                self.vms[vm].lessee.tick(&self.host, now);
                self.vms[vm].next_tick = u64::MAX;
                return self.after(vm);
            }
            Event::Call { vm, id, body } => {
                let answer = self.answer(vm, &body)?;
                if let Some(way) = self.way(vm) {
                    self.at(self.now + way, Event::Reply { vm, id, body: Some(answer) });
                }
            }
            Event::Reply { vm, id, body } => {
                let (status, now) = (body.as_ref().map(|_| 200), self.clock());
                self.host.set_reply(&[], &body.unwrap_or_default());
                self.vms[vm].lessee.reply(&self.host, id, status, now);
                return self.after(vm);
            }
        }
        Ok(())
    }

    /// Takes what a VM did.
    fn after(&mut self, vm: usize) -> Result<()> {
        for (id, callout) in self.host.take_sent() {
            self.figures.calls += 1;
            if let Some(way) = self.way(vm) {
                self.at(self.now + way, Event::Call { vm, id, body: callout.body });
            }
            self.at(self.now + self.scenario.timeout_ms * 1000, Event::Reply { vm, id, body: None });
        }
        for (stream, verdict) in self.vms[vm].lessee.take_settled() {
            let (key, since) = self.vms[vm].waiting.remove(&stream).context("no stream waits")?;
            self.figures.waits.add((self.now - since) as f64 / 1000.0);
            self.decided(vm, key, verdict);
        }
        for key in self.vms[vm].lessee.take_crossed() {
            self.crossed(vm, usize::try_from(key)? - 2);
        }
        let is_waiting = self.vms[vm].lessee.is_waiting();
        let soon = self.now + if is_waiting { WAITING_TICK_US } else { TICK_US };
        if soon < self.vms[vm].next_tick {
            self.vms[vm].next_tick = soon;
            self.at(soon, Event::Tick(vm));
        }
        Ok(())
    }

    fn is_cut(&self, vm: usize) -> bool {
        let second = self.now / 1_000_000;
        let is_now = self.scenario.outage.is_some_and(|(from, to)| (from..to).contains(&second));
        // The members beside the store still reach it if their region is cut off from the others.
        is_now && if self.scenario.cuts_other { self.vms[vm].region == 1 } else { true }
    }

    fn way(&mut self, vm: usize) -> Option<u64> {
        let region = self.vms[vm].region;
        let way = self.scenario.topology.way(region, &mut self.random)?;
        (!self.is_cut(vm)).then_some(way)
    }

    fn answer(&mut self, vm: usize, body: &[u8]) -> Result<Vec<u8>> {
        let now = i64::try_from(self.millis())?;
        let store = self.scenario.topology.store(self.vms[vm].region);
        let mut bytes = Vec::new();
        for command in commands(body)? {
            let (lessee, lines) = match command {
                Command::Hello => {
                    self.members += 1;
                    bytes.extend(format!(":{}\r\n", self.members).bytes());
                    continue;
                }
                Command::Lease { lessee, lines } => (lessee, lines),
            };
            let numbers = self.stores[store].call(&lessee, &lines, now);
            for line in &lines {
                let number = line.key.rsplit(':').next().unwrap_or_default();
                let key = usize::try_from(u64::from_str_radix(number, 16)?)? - 2;
                self.count_script(key);
                let size = self.stores[store].size(&line.key).unwrap_or_default();
                self.renew(store, key, size.start, size.granted);
            }
            reply(&numbers, &mut bytes);
        }
        Ok(bytes)
    }

    fn count_script(&mut self, key: usize) {
        let second = usize::try_from(self.now / 1_000_000).unwrap_or_default();
        let shards = self.size.shards;
        let by_shard = &mut self.figures.by_shard;
        if by_shard.len() <= second {
            by_shard.resize_with(second + 1, || vec![0; shards]);
        }
        let mixed = Random(key as u64).below(shards);
        by_shard[second][mixed] += 1;
        self.figures.scripts += 1;
        self.figures.of_first_key += u64::from(key == 0);
    }

    /// The store has this window of a key.
    fn renew(&mut self, store: usize, key: usize, start: i64, granted: i64) {
        let max = self.demand.limit(key).max;
        let truth = &mut self.truths[store][key];
        if truth.start != start {
            if truth.start > 0 && u64::from(truth.asked) > max {
                self.figures.allowed += max;
                self.figures.got += u64::from(truth.admitted).min(max);
            }
            *truth = Truth { start, ..Truth::default() };
        }
        truth.granted = granted;
    }

    fn decided(&mut self, vm: usize, key: usize, verdict: LesseeVerdict) {
        let limit = self.demand.limit(key);
        let store = self.scenario.topology.store(self.vms[vm].region);
        let cut = self.is_cut(vm);
        let (figures, truth) = (&mut self.figures, &mut self.truths[store][key]);
        match verdict {
            LesseeVerdict::Admitted => {
                figures.admitted += 1;
                figures.in_outage[0] += u64::from(cut);
                truth.admitted += 1;
                let admitted = u64::from(truth.admitted);
                figures.beyond += u64::from(admitted > limit.max);
                // As the module counts a percentage.
                if admitted >= (limit.max * 4).div_ceil(5) && truth.crossed == 0 {
                    (truth.crossed, truth.crossed_at) = (self.now, truth.admitted);
                }
            }
            LesseeVerdict::Refused => {
                figures.refused += 1;
                figures.in_outage[1] += u64::from(cut);
                figures.refused_early += u64::from(u64::from(truth.admitted) < limit.max);
            }
            LesseeVerdict::Unavailable => {
                figures.unavailable += 1;
                figures.in_outage[2] += u64::from(cut);
            }
        }
    }

    fn crossed(&mut self, vm: usize, key: usize) {
        let store = self.scenario.topology.store(self.vms[vm].region);
        let truth = &mut self.truths[store][key];
        if truth.crossed == 0 || truth.is_told {
            return;
        }
        truth.is_told = true;
        self.figures.late.add((self.now - truth.crossed) as f64 / 1000.0);
        let requests = truth.admitted - truth.crossed_at;
        self.figures.late_by.add(f64::from(requests) * 100.0 / self.demand.limit(key).max as f64);
    }

    /// At every second: what is idle in stocks.
    fn look(&mut self) {
        let now = i64::try_from(self.millis()).unwrap_or_default();
        for (store, truths) in self.stores.iter_mut().zip(&self.truths) {
            store.expire(now);
            for (key, truth) in truths.iter().enumerate().take(WATCHED) {
                let max = self.demand.limit(key).max;
                let is_used = u64::from(truth.admitted) * 2 >= max;
                let is_running = truth.start + i64::try_from(self.size.window * 1000).unwrap_or_default() > now;
                if is_used && is_running {
                    let idle = (truth.granted - i64::from(truth.admitted)).max(0);
                    self.figures.idle.add(idle as f64 * 100.0 / max as f64);
                }
            }
        }
        self.at(self.now + 1_000_000, Event::Second);
    }
}
