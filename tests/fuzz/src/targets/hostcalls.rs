//! Hostcalls with any arguments, from the probe (`tests/guests/probe`): each fault is the guest's, and the next request
//! is served.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use host_shim::config::model::FailurePolicy;
use host_shim::gateway::{Gateway, Request, Response};

use super::input::Numbers;

const CALLBACKS: [&str; 4] = ["on_request_headers", "on_request_body", "on_response_headers", "on_log"];

const MEMORY: usize = 64 << 20;

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let mut input = Numbers(bytes);
    let mut script = Script(|end| input.below(end));
    let mut text = String::new();
    for number in 0..4 {
        text.push_str(&script.sequence(number));
    }
    if let Err(error) = serve(&text) {
        panic!("{error:#}\n{text}");
    }
}

fn serve(script: &str) -> anyhow::Result<()> {
    let gateway = Gateway::builder(probe())
        .config(script)
        .plugin(|plugin| {
            plugin.failure_policy = FailurePolicy::FailReload;
            plugin.reload_backoff = Duration::from_millis(1);
        })
        .memory_limit(MEMORY)
        .callback_limit(Duration::from_secs(2))
        .upstream("upstream", |_| Response::ok("hello").into())
        .start()?;
    for number in 0..4 {
        gateway.send(Request::post(&format!("/{number}"), "body"))?;
        gateway.settle()?;
        // A VM that died comes back after its back-off.
        gateway.advance(Duration::from_millis(2))?;
    }
    // The last script may have left an allocator that kills the VM at the next request.
    gateway.request(Request::get("/"))?;
    gateway.advance(Duration::from_millis(2))?;
    let served = gateway.request(Request::get("/"))?;
    anyhow::ensure!(served.status() == 200, "{served:?}");
    anyhow::ensure!(gateway.memory()? <= 3 * MEMORY, "{} bytes", gateway.memory()?);
    Ok(())
}

fn probe() -> Vec<u8> {
    static PROBE: OnceLock<Vec<u8>> = OnceLock::new();
    let read = || {
        let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let found = folders.find_map(|folder| fs::read(folder.join("dist/test/probe.wasm")).ok());
        found.unwrap_or_else(|| panic!("dist/test/probe.wasm is not built; run `make fuzz` or `make test`"))
    };
    PROBE.get_or_init(read).clone()
}

/// Makes scripts for the probe, of numbers below a given one.
pub struct Script<N>(pub N);

impl<N: FnMut(usize) -> usize> Script<N> {
    /// Eight lines in a callback of the request to a path.
    pub fn sequence(&mut self, path: u64) -> String {
        let mut text = format!("{} /{path}:\n", self.pick(&CALLBACKS));
        for _ in 0..8 {
            text.push_str(&format!("  {}\n", self.line()));
        }
        text
    }

    fn pick<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[(self.0)(choices.len())]
    }

    fn number(&mut self) -> &'static str {
        self.pick(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "99", "-1", "0x7fffffff", "0x80000000", "65536"])
    }

    fn bytes(&mut self) -> &'static str {
        self.pick(&[
            "null",
            "\"\"",
            "\"x\"",
            "\"x\"*70000",
            "\":path\"",
            "\"k\"",
            "\"\\0\\xff\"",
            "ptr:0xfffffff0/16",
            "ptr:0/0xffffffff",
            "ptr:0x10000/0x7fffffff",
            "ptr:4/4",
            "request.path",
            "xds.node.id",
        ])
    }

    fn pairs(&mut self) -> &'static str {
        self.pick(&[
            "[]",
            "[\"a: b\"]",
            "[\":method: GET\", \":path: /\", \":authority: a\"]",
            "[\"a: b\"]*2000",
            "\"\\xff\\xff\\xff\\xff\"",
            "\"\\x01\\0\\0\\0\\xff\\xff\\xff\\x7f\\0\\0\\0\\0\"",
            "null",
            "ptr:0xfffffff0/16",
        ])
    }

    fn result(&mut self) -> &'static str {
        self.pick(&["", "", "", " @bad", " @0x10"])
    }

    /// One line of a script: a hostcall with arguments of any kind, or something worse.
    fn line(&mut self) -> String {
        let call = self.pick(&[
            "log n b",
            "get_log_level r",
            "get_current_time_nanoseconds r",
            "set_tick_period_milliseconds n",
            "done",
            "set_effective_context n",
            "get_buffer_status n r",
            "get_buffer_bytes n n n r",
            "set_buffer_bytes n n n b",
            "get_header_map_size n r",
            "get_header_map_pairs n r",
            "set_header_map_pairs n p",
            "get_header_map_value n b r",
            "add_header_map_value n b b",
            "replace_header_map_value n b b",
            "remove_header_map_value n b",
            "continue_stream n",
            "close_stream n",
            "get_status r",
            "send_local_response n b b p n",
            "http_call b p b p n r",
            "grpc_call b b b p b n r",
            "grpc_stream b b b p r",
            "grpc_send n b n",
            "grpc_cancel n",
            "grpc_close n",
            "set_shared_data b b n",
            "get_shared_data b r",
            "register_shared_queue b r",
            "resolve_shared_queue b b r",
            "enqueue_shared_queue n b",
            "dequeue_shared_queue n r",
            "define_metric n b r",
            "record_metric n n",
            "increment_metric n n",
            "get_metric n r",
            "get_property b r",
            "set_property b b",
            "call_foreign_function b b r",
            "malloc m",
            "return n",
            "trap",
            "store 0xfffffff0",
            "grow 64",
            "overflow",
        ]);
        let words = call.split(' ').map(|word| match word {
            "n" => self.number().to_owned(),
            "b" => self.bytes().to_owned(),
            "p" => self.pairs().to_owned(),
            "r" => self.result().trim().to_owned(),
            "m" => self.pick(&["ok", "none", "wild", "trap"]).to_owned(),
            word => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}
