//! The store of a schedule: a real Redis behind a network with faults, with a clock of its own.
//!
//! The clock moves on demand. So the scripts in Redis read their time from a key instead of Redis's clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_shim::gateway::{Reply, Response};
use tollbell_tests::project_root;
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

/// The lessees of each counter in its window, and what each may use.
const CLAIMS: &str = "local claims = {}
for _, key in ipairs(redis.call('KEYS', 'tollbell{k/*')) do
  local start, all = redis.call('HGET', key, 's'), redis.call('HGETALL', key)
  for at = 1, #all, 2 do
    local of, claim = string.match(all[at + 1], '^%d+:(%d+):%d+:(%d+)')
    if string.sub(all[at], 1, 1) == '@' and of == start then
      claims[#claims + 1] = key .. ' ' .. start .. ' ' .. all[at] .. '=' .. claim
    end
  end
end
return claims";

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

pub struct Store {
    pub redis: Redis,
    /// The script with the clock of the test.
    script: String,
    /// Its SHA-1.
    sha1: String,
    /// The store's time in milliseconds.
    clock: AtomicU64,
    random: Mutex<Random>,
    /// True while calls are lost, doubled and late.
    is_lossy: AtomicBool,
    /// Calls that arrive once more, after this time.
    doubled: Mutex<Vec<(u64, Vec<u8>)>>,
    trouble: Mutex<Option<(u64, Trouble)>>,
    /// Requests that lessees may use, and that the store does not know of any more.
    lost: AtomicU64,
    losses: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub fn start(seed: u64) -> Result<Self> {
        let script = std::fs::read_to_string(project_root().join("plugin/core/src/store/lease.lua"))?;
        ensure!(script.contains(TIME), "lease.lua reads the time in another way");
        let mut store = Store {
            redis: Redis::start()?,
            script: script.replace(TIME, CLOCK),
            sha1: String::new(),
            clock: AtomicU64::new(1_800_000_000_000),
            random: Mutex::new(Random(seed)),
            is_lossy: AtomicBool::new(true),
            doubled: Mutex::default(),
            trouble: Mutex::default(),
            lost: AtomicU64::new(0),
            losses: AtomicU64::new(0),
        };
        store.sha1 = store.load()?;
        Ok(store)
    }

    fn load(&self) -> Result<String> {
        let reply = self.redis.run(&["SCRIPT", "LOAD", &self.script])?;
        Ok(reply.lines().nth(1).context("no SHA-1")?.to_owned())
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

    /// The use of the first key's quota.
    pub fn used(&self) -> Result<u64> {
        let keys = self.redis.run(&["KEYS", "tollbell{k/*"])?;
        let key = keys.lines().nth(2).context("no counter")?;
        Ok(self.redis.run(&["HGET", key, "u"])?.lines().nth(1).context("no use")?.parse()?)
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
        for (_, body) in due {
            if lock(&self.trouble).is_none() {
                self.run(&body)?;
            }
        }
        Ok(())
    }

    /// A replica gets what was written so far.
    pub fn replicate(&self) -> Result<()> {
        self.redis.run(&["EVAL", REPLICATE, "0"]).map(drop)
    }

    /// Something happens to the store.
    pub fn fail(&self, random: &mut Random) -> Result<()> {
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
                self.redis.run(&["SCRIPT", "FLUSH"])?;
                self.lose(&["FLUSHALL"])
            }
        }
    }

    fn lose(&self, command: &[&str]) -> Result<()> {
        let before = self.claims()?;
        self.redis.run(command)?;
        let after = self.claims()?;
        let lost = before.iter().map(|(lessee, claim)| claim.saturating_sub(after.get(lessee).copied().unwrap_or(0)));
        self.lost.fetch_add(lost.sum(), Ordering::SeqCst);
        self.losses.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// What each lessee of each window may use.
    fn claims(&self) -> Result<BTreeMap<String, u64>> {
        let reply = self.redis.run(&["EVAL", CLAIMS, "0"])?;
        let claims = reply.lines().filter_map(|line| line.split_once('='));
        claims.map(|(lessee, claim)| Ok((lessee.to_owned(), claim.parse()?))).collect()
    }

    /// Runs a call in Redis, with the script that has the test's clock.
    fn run(&self, body: &[u8]) -> Result<Vec<u8>> {
        self.redis.run(&["SET", "clock", &self.now().to_string()])?;
        let text = String::from_utf8(body.to_vec())?;
        let mut with_text = text.split(WITH_TEXT);
        let mut text = with_text.next().unwrap_or_default().to_owned();
        for call in with_text {
            // Redis does not know the script, which is sent again.
            self.load()?;
            let (length, rest) = call.split_once("\r\n").context("no length")?;
            text = text + BY_SHA1 + &self.sha1 + &rest[length.parse()?..];
        }
        let marked: Vec<&str> = text.split(BY_SHA1).collect();
        let calls = marked[1..].iter().map(|call| format!("{BY_SHA1}{}{}", self.sha1, &call[40..]));
        self.redis.exchange(calls.fold(marked[0].to_owned(), |text, call| text + &call).as_bytes())
    }

    /// Runs the script with these keys and arguments. Returns its numbers.
    pub fn lease(&self, keys: &[&str], arguments: &[String]) -> Result<Vec<i64>> {
        self.redis.run(&["SET", "clock", &self.now().to_string()])?;
        let count = keys.len().to_string();
        let mut command = vec!["EVALSHA", &self.sha1, &count];
        command.extend(keys);
        command.extend(arguments.iter().map(String::as_str));
        let reply = self.redis.run(&command)?;
        reply.lines().skip(1).map(|line| Ok(line.trim_start_matches(':').parse()?)).collect()
    }

    /// Answers a call of a member.
    pub fn answer(&self, body: &[u8]) -> Result<Reply> {
        let now = self.now();
        let mut random = lock(&self.random);
        let trouble = *lock(&self.trouble);
        let late = |at| lock(&self.doubled).push((at, body.to_vec()));
        match trouble {
            Some((_, Trouble::Slow)) => {
                let delay = Duration::from_millis(50 + random.below(400));
                return Ok(Reply::from(Response::ok(self.run(body)?)).after(delay));
            }
            Some((until, Trouble::Stopped)) => {
                late(until);
                return Ok(Reply::from(Response::new(200)).after(NEVER));
            }
            Some((_, Trouble::FailsOver | Trouble::Restarts)) => return Ok(Reply::refused()),
            None => {}
        }
        if !self.is_lossy.load(Ordering::SeqCst) {
            return Ok(Response::ok(self.run(body)?).into());
        }
        let never = || Ok(Reply::from(Response::new(200)).after(NEVER));
        match random.below(20) {
            0 => Ok(Reply::refused()),
            1 => never(),
            2 => {
                self.run(body)?;
                never()
            }
            3 => {
                late(now + random.below(900));
                never()
            }
            4 => {
                late(now + random.below(900));
                Ok(Response::ok(self.run(body)?).into())
            }
            5..=8 => Ok(Reply::from(Response::ok(self.run(body)?)).after(Duration::from_millis(random.below(200)))),
            9 => Ok(Response::ok(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()).into()),
            10 => {
                let mut reply = self.run(body)?;
                reply.truncate(reply.len() / 2);
                Ok(Response::ok(reply).into())
            }
            _ => Ok(Response::ok(self.run(body)?).into()),
        }
    }
}
