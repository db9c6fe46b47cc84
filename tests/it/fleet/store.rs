//! The store of a schedule: a real Redis behind a network with faults, with a clock of its own.
//!
//! The clock moves on demand. So the scripts in Redis read their time from a key instead of Redis's clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_shim::gateway::{Reply, Response};
use serde_json::{Value, json};
use tollbell_core::testing::{SCRIPTS, Script};
use tollbell_tests::redis::Redis;

use crate::schedules::Random;

/// What the script asks for the time, and what it asks here.
const TIME: &str = "local t = redis.call('TIME')\nlocal now = t[1] * 1000 + math.floor(t[2] / 1000)";
const CLOCK: &str = "local now = tonumber(redis.call('GET', 'clock'))";

/// The start of a script call in a pipeline, by the script's SHA-1 and with its text.
const BY_SHA1: &str = "$7\r\nEVALSHA\r\n$40\r\n";
const WITH_TEXT: &str = "$4\r\nEVAL\r\n$";

/// Copies what the members wrote, as a replica gets it.
const REPLICATE: &str = "for _, key in ipairs(redis.call('KEYS', 'replica*')) do redis.call('DEL', key) end
for _, key in ipairs(redis.call('KEYS', 'tollbell*')) do redis.call('COPY', key, 'replica' .. key) end";

/// Goes on with what the replica has.
const FAIL_OVER: &str = "for _, key in ipairs(redis.call('KEYS', 'tollbell*')) do redis.call('DEL', key) end
for _, key in ipairs(redis.call('KEYS', 'replica*')) do redis.call('COPY', key, string.sub(key, 8)) end";

/// The requests that are granted to each lessee in the window of each counter.
const GRANTED: &str = "local all = {}
for _, key in ipairs(redis.call('KEYS', 'tollbell{k/*')) do
  local start, fields = redis.call('HGET', key, 's'), redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local of, claim = string.match(fields[i + 1], '^%d+:(%d+):%d+:(%d+)')
    if string.sub(fields[i], 1, 1) == '@' and of == start then
      all[#all + 1] = key .. ' ' .. start .. ' ' .. fields[i] .. ' ' .. claim
    end
  end
end
return table.concat(all, '\\n')";

/// Longer than the time-out of a call.
const NEVER: Duration = Duration::from_secs(5);

/// The way the store answers, up to a time of its clock.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Slow,
    /// It executes later what it gets meanwhile, as after `SIGSTOP`.
    Stopped,
    /// No node is a primary. Then a replica is.
    FailsOver,
    /// It starts again without its data.
    Restarts,
}

/// A script, and the SHA-1 of the same script with the clock of the test.
struct Clocked {
    script: Script,
    sha1: String,
}

/// The servers of a store.
pub trait Servers: Send + Sync {
    /// What `store.redis` is in the members' configuration.
    fn config(&self) -> Value {
        json!({})
    }

    /// Runs a call at this time, with the scripts that have the clock of the test. `None`: the server does not answer.
    fn run(&self, destination: Option<&str>, call: &[u8], now: u64) -> Result<Option<Vec<u8>>>;

    /// The use of the first key's quota.
    fn used(&self) -> Result<u64>;

    /// Something happens to the servers, if there are several.
    fn disturb(&self, _random: &mut Random) -> Result<()> {
        Ok(())
    }

    /// The server, if there is only one.
    fn only(&self) -> Option<&Redis> {
        None
    }
}

/// One Redis.
pub struct OneRedis {
    redis: Redis,
    scripts: Vec<Clocked>,
}

/// Where a call goes, if it says that, and its bytes.
pub type Call = (Option<String>, Vec<u8>);

pub struct Store {
    pub servers: Arc<dyn Servers>,
    /// The store's time in milliseconds.
    clock: AtomicU64,
    random: Mutex<Random>,
    /// True while calls are lost, doubled and late.
    is_lossy: AtomicBool,
    /// Calls that arrive once more, after this time.
    doubled: Mutex<Vec<(u64, Call)>>,
    trouble: Mutex<Option<(u64, Trouble)>>,
    /// Requests that lessees may use, and that the store does not know of any more.
    lost: AtomicU64,
    losses: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A script with another clock.
pub fn with_clock(script: Script, clock: &str) -> Result<String> {
    let clocked = script.text.replace(TIME, clock);
    ensure!(!clocked.contains("TIME"), "a script reads the time in another way");
    Ok(clocked)
}

/// A call with other commands instead of the scripts'. `command` gets the script, and whether its text was sent.
pub fn with_commands(call: &[u8], command: impl Fn(Script, bool) -> Result<String>) -> Result<String> {
    let find = |is_wanted: &dyn Fn(&Script) -> bool| SCRIPTS.into_iter().find(is_wanted).context("an unknown script");
    let text = String::from_utf8(call.to_vec())?;
    let mut with_text = text.split(WITH_TEXT);
    let mut text = with_text.next().unwrap_or_default().to_owned();
    let mut sent = Vec::new();
    for call in with_text {
        let (length, rest) = call.split_once("\r\n").context("no length")?;
        let (script, rest) = rest.split_at(length.parse()?);
        let script = find(&|known| known.text == script)?;
        sent.push(script.sha1);
        text = text + BY_SHA1 + script.sha1 + rest;
    }
    let mut marked = text.split(BY_SHA1);
    let mut text = marked.next().unwrap_or_default().to_owned();
    for call in marked {
        let (sha1, rest) = call.split_at(40);
        let script = find(&|known| known.sha1 == sha1)?;
        text = text + &command(script, sent.contains(&script.sha1))? + &rest["\r\n".len()..];
    }
    Ok(text)
}

impl OneRedis {
    pub fn start() -> Result<Self> {
        let mut one = OneRedis { redis: Redis::start()?, scripts: Vec::new() };
        for script in SCRIPTS {
            let sha1 = one.load(script)?;
            one.scripts.push(Clocked { script, sha1 });
        }
        Ok(one)
    }

    /// Loads a script with the clock of the test.
    fn load(&self, script: Script) -> Result<String> {
        let reply = self.redis.run(&["SCRIPT", "LOAD", &with_clock(script, CLOCK)?])?;
        Ok(reply.lines().nth(1).context("no SHA-1")?.to_owned())
    }

    /// The SHA-1 of the script with the clock of the test.
    fn clocked(&self, script: Script) -> Result<&str> {
        let clocked = self.scripts.iter().find(|clocked| clocked.script == script);
        Ok(&clocked.context("an unknown script")?.sha1)
    }

    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Runs the script of leases with these keys and arguments. Returns its numbers.
    pub fn lease(&self, keys: &[&str], arguments: &[String], now: u64) -> Result<Vec<i64>> {
        self.redis.run(&["SET", "clock", &now.to_string()])?;
        let count = keys.len().to_string();
        let mut command = vec!["EVALSHA", self.clocked(Script::LEASE)?, &count];
        command.extend(keys);
        command.extend(arguments.iter().map(String::as_str));
        let reply = self.redis.run(&command)?;
        reply.lines().skip(1).map(|line| Ok(line.trim_start_matches(':').parse()?)).collect()
    }
}

impl Servers for OneRedis {
    fn run(&self, _destination: Option<&str>, call: &[u8], now: u64) -> Result<Option<Vec<u8>>> {
        self.redis.run(&["SET", "clock", &now.to_string()])?;
        let call = with_commands(call, |script, has_text| {
            if has_text {
                self.load(script)?;
            }
            Ok(format!("{BY_SHA1}{}\r\n", self.clocked(script)?))
        })?;
        self.redis.exchange(call.as_bytes()).map(Some)
    }

    fn used(&self) -> Result<u64> {
        let keys = self.redis.run(&["KEYS", "tollbell{k/*"])?;
        let key = keys.lines().nth(2).context("no counter")?;
        Ok(self.redis.run(&["HGET", key, "u"])?.lines().nth(1).context("no use")?.parse()?)
    }

    fn only(&self) -> Option<&Redis> {
        Some(&self.redis)
    }
}

impl Store {
    pub fn start(seed: u64) -> Result<Self> {
        Ok(Store::of(Arc::new(OneRedis::start()?), seed))
    }

    pub fn of(servers: Arc<dyn Servers>, seed: u64) -> Self {
        Store {
            servers,
            clock: AtomicU64::new(1_800_000_000_000),
            random: Mutex::new(Random(seed)),
            is_lossy: AtomicBool::new(true),
            doubled: Mutex::default(),
            trouble: Mutex::default(),
            lost: AtomicU64::new(0),
            losses: AtomicU64::new(0),
        }
    }

    /// The only server.
    pub fn redis(&self) -> Result<&Redis> {
        self.servers.only().context("there are several servers")
    }

    fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub fn set_clock(&self, millis: u64) {
        self.clock.store(millis, Ordering::SeqCst);
    }

    /// The requests that lessees might use when the store lost that they may.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// The ids of all messages that it holds.
    pub fn held(&self) -> Result<Vec<String>> {
        const HELD: &str = "local ids = {}
for _, pattern in ipairs({ 'tollbell*:held:*', 'tollbell*:given:*' }) do
  for _, key in ipairs(redis.call('KEYS', pattern)) do
    for _, id in ipairs(redis.call('HKEYS', key)) do ids[#ids + 1] = id end
  end
end
return table.concat(ids, ' ')";
        let Some(redis) = self.servers.only() else { return Ok(Vec::new()) };
        let reply = redis.run(&["EVAL", HELD, "0"])?;
        Ok(reply.lines().nth(1).unwrap_or_default().split_whitespace().map(str::to_owned).collect())
    }

    /// From now on, every call arrives once and is answered at once.
    pub fn mend(&self) -> Result<()> {
        if let Some((_, trouble)) = lock(&self.trouble).take() {
            self.recover(trouble)?;
        }
        self.is_lossy.store(false, Ordering::SeqCst);
        lock(&self.doubled).clear();
        Ok(())
    }

    pub fn advance(&self, millis: u64) -> Result<()> {
        let now = self.clock.fetch_add(millis, Ordering::SeqCst) + millis;
        let over = lock(&self.trouble).take_if(|(until, _)| *until <= now);
        if let Some((_, trouble)) = over {
            self.recover(trouble)?;
        }
        let (due, later): (Vec<_>, Vec<_>) = lock(&self.doubled).drain(..).partition(|(at, _)| *at <= now);
        lock(&self.doubled).extend(later);
        for (_, call) in due {
            if lock(&self.trouble).is_none() {
                self.run(&call)?;
            }
        }
        Ok(())
    }

    /// A replica gets what was written so far.
    pub fn replicate(&self) -> Result<()> {
        self.servers.only().map_or(Ok(()), |redis| redis.run(&["EVAL", REPLICATE, "0"]).map(drop))
    }

    /// Something happens to the store.
    pub fn fail(&self, random: &mut Random) -> Result<()> {
        if self.servers.only().is_none() {
            return self.servers.disturb(random);
        }
        let until = self.now() + 100 + random.below(1500);
        let trouble = match random.below(5) {
            0 => Trouble::Slow,
            1 => Trouble::Stopped,
            2 => Trouble::FailsOver,
            3 => Trouble::Restarts,
            _ => return self.lose(&["FLUSHALL"]),
        };
        lock(&self.trouble).get_or_insert((until, trouble));
        Ok(())
    }

    fn recover(&self, trouble: Trouble) -> Result<()> {
        match trouble {
            Trouble::Slow | Trouble::Stopped => Ok(()),
            Trouble::FailsOver => self.lose(&["EVAL", FAIL_OVER, "0"]),
            Trouble::Restarts => {
                self.redis()?.run(&["SCRIPT", "FLUSH"])?;
                self.lose(&["FLUSHALL"])
            }
        }
    }

    fn granted(&self) -> Result<BTreeMap<String, u64>> {
        let reply = self.redis()?.run(&["EVAL", GRANTED, "0"])?;
        let grants = reply.lines().filter_map(|line| line.rsplit_once(' '));
        grants.map(|(lessee, claim)| Ok((lessee.to_owned(), claim.trim().parse()?))).collect()
    }

    fn lose(&self, command: &[&str]) -> Result<()> {
        let before = self.granted()?;
        self.redis()?.run(command)?;
        let after = self.granted()?;
        let lost = |(lessee, claim): (&String, &u64)| claim.saturating_sub(*after.get(lessee).unwrap_or(&0));
        self.lost.fetch_add(before.iter().map(lost).sum(), Ordering::SeqCst);
        self.losses.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn run(&self, (destination, call): &Call) -> Result<Option<Vec<u8>>> {
        self.servers.run(destination.as_deref(), call, self.now())
    }

    /// Runs a call. It is answered at once.
    fn answer_now(&self, call: &Call) -> Result<Reply> {
        Ok(self.run(call)?.map_or_else(Reply::refused, |reply| Response::ok(reply).into()))
    }

    /// Answers a call of a member.
    pub fn answer(&self, call: &Call) -> Result<Reply> {
        let now = self.now();
        let mut random = lock(&self.random);
        let trouble = *lock(&self.trouble);
        let late = |at| lock(&self.doubled).push((at, call.clone()));
        match trouble {
            Some((_, Trouble::Slow)) => {
                let delay = Duration::from_millis(50 + random.below(400));
                return Ok(self.answer_now(call)?.after(delay));
            }
            Some((until, Trouble::Stopped)) => {
                late(until);
                return Ok(Reply::from(Response::new(200)).after(NEVER));
            }
            Some((_, Trouble::FailsOver | Trouble::Restarts)) => return Ok(Reply::refused()),
            None => {}
        }
        if !self.is_lossy.load(Ordering::SeqCst) {
            return self.answer_now(call);
        }
        let never = || Ok(Reply::from(Response::new(200)).after(NEVER));
        match random.below(20) {
            0 => Ok(Reply::refused()),
            1 => never(),
            2 => {
                self.run(call)?;
                never()
            }
            3 => {
                late(now + random.below(900));
                never()
            }
            4 => {
                late(now + random.below(900));
                self.answer_now(call)
            }
            5..=8 => Ok(self.answer_now(call)?.after(Duration::from_millis(random.below(200)))),
            9 => Ok(Response::ok(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()).into()),
            10 => {
                let Some(mut reply) = self.run(call)? else { return Ok(Reply::refused()) };
                reply.truncate(reply.len() / 2);
                Ok(Response::ok(reply).into())
            }
            _ => self.answer_now(call),
        }
    }
}
