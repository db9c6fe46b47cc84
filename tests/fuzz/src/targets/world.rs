//! Engines on a host in memory.

use std::cell::RefCell;
use std::rc::Rc;

use tollbell_core::config::Config;
use tollbell_core::engine::Engine;
use tollbell_core::host::{Callout, CalloutId, CalloutReply, Flow};
use tollbell_core::testing::{MemoryHost, TestStream, TestStreams};
use tollbell_core::{BodyPool, UnixMillis};

/// A configuration with everything that a request can meet.
pub const CONFIG: &str = include_str!("world.json");

/// So many inputs share a world.
const MOST_USES: u32 = 200;

/// Longer than every period of [`CONFIG`].
const RENEWAL_MS: u64 = 120_000;

const START: UnixMillis = UnixMillis(1_800_000_000_000);

/// A process with VMs.
pub struct World {
    pub host: MemoryHost,
    pub vms: Vec<Engine>,
    streams: TestStreams,
    now: UnixMillis,
    last_stream: u32,
}

impl World {
    /// Without a VM.
    pub fn on(host: MemoryHost) -> Self {
        host.set_now(START);
        World { host, vms: Vec::new(), streams: TestStreams::default(), now: START, last_stream: 0 }
    }

    /// With a VM that has that configuration.
    pub fn of(config: Config) -> Self {
        let mut world = World::on(MemoryHost::guessing());
        world.add(config);
        world
    }

    /// Hands over one that has [`CONFIG`], with all quotas renewed. To read the configuration takes much longer than a
    /// request, so that many inputs share a world; the first of a process has a new one, as where one is replayed.
    pub fn with_shared(run: impl FnOnce(&mut World)) {
        thread_local!(static SHARED: RefCell<Option<(World, u32)>> = const { RefCell::new(None) });
        SHARED.with_borrow_mut(|shared| {
            let (mut world, uses) = match shared.take() {
                Some((mut world, uses)) if uses < MOST_USES => {
                    world.tick(RENEWAL_MS);
                    (world, uses)
                }
                _ => (World::of(loaded(CONFIG)), 0),
            };
            run(&mut world);
            *shared = Some((world, uses + 1));
        });
    }

    /// Sets the clock to the beginning.
    pub fn begin_again(&mut self) {
        self.now = START;
        self.host.set_now(START);
    }

    /// A further VM.
    pub fn add(&mut self, config: Config) {
        let salt = self.vms.len() as u64;
        self.vms.push(Engine::new(config, &self.host, &BodyPool::default(), salt));
    }

    /// Opens a stream; names that begin with `@` are those of properties, with `.` for NUL.
    pub fn open(&mut self, pairs: &[(&[u8], &[u8])]) -> Rc<TestStream> {
        self.last_stream += 1;
        let headers = pairs.iter().filter(|(name, _)| !name.starts_with(b"@")).copied();
        let stream = TestStream::new(self.last_stream, headers);
        for (name, value) in pairs.iter().filter(|(name, _)| name.starts_with(b"@")) {
            let name = String::from_utf8_lossy(&name[1..]).replace('.', "\0");
            stream.properties.borrow_mut().insert(name, value.to_vec());
        }
        self.streams.open(stream)
    }

    /// A request without a body on the first VM, and its response.
    pub fn get(&mut self, path: &str, key: &str) -> Flow {
        self.exchange(path, key, "200")
    }

    /// The same with another status of the response.
    pub fn exchange(&mut self, path: &str, key: &str, status: &str) -> Flow {
        let pairs: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":path", path.as_bytes()),
            (b":authority", b"gw.test"),
            (b"authorization", key.as_bytes()),
        ];
        let stream = self.open(&pairs);
        let flow = self.vms[0].on_request_headers(&self.host, &stream, true);
        if flow == Flow::Continue {
            stream.response.borrow_mut().push((":status".to_owned(), status.as_bytes().to_vec()));
            self.vms[0].on_response_headers(&self.host, &stream, true);
        }
        self.close(&stream);
        flow
    }

    /// A request without a key and without a response.
    pub fn pass(&mut self, path: &[u8]) -> Flow {
        let stream = self.open(&[(b":method", b"GET"), (b":path", path), (b":authority", b"gw.test")]);
        let flow = self.vms[0].on_request_headers(&self.host, &stream, true);
        self.close(&stream);
        flow
    }

    /// The stream goes.
    pub fn close(&mut self, stream: &Rc<TestStream>) {
        self.vms[0].on_delete(stream);
        self.streams.close(tollbell_core::host::Stream::id(stream));
    }

    /// Lets time pass.
    pub fn tick(&mut self, ms: u64) -> Vec<(CalloutId, Callout)> {
        self.now = UnixMillis(self.now.0.saturating_add(ms));
        self.host.set_now(self.now);
        for vm in &mut self.vms {
            vm.on_tick(&self.host, &self.streams);
            vm.on_wake(&self.host);
        }
        self.host.take_sent()
    }

    /// An answer to a callout.
    pub fn reply(&mut self, id: CalloutId, status: u16) {
        self.reply_with(id, &CalloutReply { status: Some(status), ..CalloutReply::default() });
    }

    /// The same with more to it than a status.
    pub fn reply_with(&mut self, id: CalloutId, reply: &CalloutReply) {
        for vm in &mut self.vms {
            vm.on_callout_reply(&self.host, &self.streams, id, reply);
        }
    }

    /// The process ends.
    pub fn shut_down(&mut self) {
        for vm in &mut self.vms {
            vm.on_shutdown(&self.host);
        }
    }
}

/// A configuration that is known to be good.
pub fn loaded(text: &str) -> Config {
    match Config::load(text.as_bytes()) {
        Ok((config, _)) => config,
        Err(errors) => panic!("{errors:?}"),
    }
}
