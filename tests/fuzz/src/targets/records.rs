//! Records in shared data: any bytes under the keys of each kind. Nothing panics, and nothing is admitted uncounted.

use std::cell::RefCell;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tollbell_core::host::{Callout, CalloutRefused, Entry, Flow, SharedData};
use tollbell_core::testing::MemoryHost;

use super::input::Numbers;
use super::world::{CONFIG, World, loaded};

/// More than any key may send.
const REQUESTS: usize = 14;

/// What keys may send in a minute, at one moment.
const QUOTAS: [(&str, usize); 3] = [("ten", 10), ("limited", 3), ("fetched", 4)];

/// So many inputs share a world: see [`World::with_shared`].
const MOST_USES: u32 = 50;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    thread_local!(static SHARED: RefCell<Option<(World, u32)>> = const { RefCell::new(None) });
    SHARED.with_borrow_mut(|shared| {
        let (mut world, uses) = match shared.take() {
            Some(shared) if shared.1 < MOST_USES => shared,
            _ => (World::on(MemoryHost::guessing()), 0),
        };
        world.begin_again();
        for (key, value) in records() {
            let _ = world.host.put(key, value);
        }
        if uses == 0 {
            // The second VM finds what the first has made of the records.
            world.add(loaded(&config()));
            world.settle();
            world.add(loaded(&config()));
        }
        of(&mut world, &mut Numbers(bytes));
        *shared = Some((world, uses + 1));
    });
}

fn of(world: &mut World, input: &mut Numbers<'_>) {
    for _ in 0..4 {
        damage(&world.host, input);
    }
    if input.below(32) == 1 {
        world.add(loaded(&config()));
    }
    for _ in 0..3 {
        let status = [200, 410, 429, 503][input.below(4)];
        for (id, callout) in world.tick(600) {
            answer(world, &callout);
            world.reply(id, status);
        }
        world.get("/orders/1", "nobody");
        world.get("/orders/1", "free");
        damage(&world.host, input);
    }
    for (key, quota) in QUOTAS {
        let admitted = (0..REQUESTS).filter(|_| world.get("/orders/1", key) == Flow::Continue).count();
        assert!(admitted <= quota, "{admitted} requests of {key:?}, which has {quota}");
    }
    world.tick(5000);
    if world.vms.len() > 2 {
        world.shut_down();
        world.vms.truncate(2);
    }
}

/// Puts other bytes in the place of a record, or changes some of it.
fn damage(host: &MemoryHost, input: &mut Numbers<'_>) {
    let keys = host.keys();
    let place = usize::from(u16::from_le_bytes([input.byte(), input.byte()]));
    let Some(key) = keys.get(place % keys.len().max(1)) else { return };
    let mut value = match host.get(key) {
        Ok(Entry::Present(stored)) => stored.value,
        _ => Vec::new(),
    };
    match input.below(6) {
        0 => return,
        1 => {
            let length = usize::from(input.byte());
            value = input.take(length).to_vec();
        }
        2 => value.truncate(usize::from(input.byte())),
        3 => {
            let length = usize::from(input.byte());
            value.extend_from_slice(input.take(length));
        }
        _ => {
            for _ in 0..=input.below(4) {
                let at = usize::from(u16::from_le_bytes([input.byte(), input.byte()])) % value.len().max(1);
                let byte = input.byte();
                value.get_mut(at).into_iter().for_each(|changed| *changed = byte);
            }
        }
    }
    let _ = host.put(key, &value);
}

fn config() -> String {
    let mut config: Value = serde_json::from_str(CONFIG).unwrap_or_default();
    config["keys_from"] = json!({ "url": "http://keys.test/all", "interval_s": 1 });
    config["callouts"] = json!({ "clusters": { "nowhere.test": "missing" } });
    config.to_string()
}

fn answer(world: &mut World, callout: &Callout) {
    if callout.headers.iter().any(|(name, value)| name == ":authority" && value == "keys.test") {
        let sessions =
            json!({ "fetched": { "quota_max": 4, "quota_renewal_rate": 60 }, "other": { "org_id": "acme" } });
        world.host.set_reply(&[("etag", "v1")], sessions.to_string().as_bytes());
    }
}

/// Records of every kind, as a process makes them that has seen all.
fn records() -> &'static [(String, Vec<u8>)] {
    static RECORDS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let mut world = World::on(MemoryHost::guessing());
        for _ in 0..2 {
            world.add(loaded(&config()));
        }
        world.settle();
        for key in ["ten", "ten", "ten", "ten", "ten", "ten", "free", "limited", "fetched", "old", "off", "", "x", "y"]
        {
            world.get("/orders/1", key);
            world.get("/people/1", key);
        }
        for status in ["503", "503"] {
            world.exchange("/orders/1", "ten", status);
        }
        world.host.refuse_next_callout(CalloutRefused::UnknownCluster);
        let sent = world.tick(500);
        for (number, (id, _)) in sent.into_iter().enumerate() {
            world.reply(id, if number == 0 { 410 } else { 503 });
        }
        for key in ["x", "y", "z"] {
            world.get("/orders/1", key);
        }
        let host = &world.host;
        let keys = host.keys().into_iter();
        keys.filter_map(|key| match host.get(&key) {
            Ok(Entry::Present(stored)) => Some((key, stored.value)),
            _ => None,
        })
        .collect()
    })
}

impl World {
    /// Ticks and answers until nothing more is to be fetched.
    fn settle(&mut self) {
        for _ in 0..40 {
            for (id, callout) in self.tick(50) {
                answer(self, &callout);
                self.reply(id, 200);
            }
        }
    }
}
