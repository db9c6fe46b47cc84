//! The guest of the comparison, on the Rust SDK. `tests/guests/README.md` describes it.

use std::time::Duration;

use proxy_wasm::hostcalls::{define_metric, increment_metric, record_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

#[derive(Clone, Copy, Default)]
struct Metrics {
    requests: u32,
    last: u32,
    sizes: u32,
}

#[derive(Default)]
struct Root {
    metrics: Metrics,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let configuration = self.get_plugin_configuration().unwrap_or_default();
        log::info!("setup: configured with {}", String::from_utf8_lossy(&configuration));
        self.metrics = Metrics {
            requests: define_metric(MetricType::Counter, "guest_requests").unwrap_or_default(),
            last: define_metric(MetricType::Gauge, "guest_last").unwrap_or_default(),
            sizes: define_metric(MetricType::Histogram, "guest_sizes").unwrap_or_default(),
        };
        self.set_tick_period(Duration::from_millis(50));
        true
    }

    fn on_tick(&mut self) {
        log::info!("setup: ticked");
        self.set_tick_period(Duration::ZERO);
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { metrics: self.metrics, task: String::new(), call: "none".to_owned() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    metrics: Metrics,
    /// The value of the header x-do.
    task: String,
    /// The status of the callout's response.
    call: String,
}

impl Stream {
    fn does(&self, task: &str) -> bool {
        self.task.split(' ').any(|word| word == task)
    }

    fn count(&self) -> u64 {
        loop {
            let (value, cas) = self.get_shared_data("count");
            let count = value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes) + 1;
            if self.set_shared_data("count", Some(&count.to_le_bytes()), cas).is_ok() {
                return count;
            }
        }
    }
}

fn shown(headers: &[(String, Vec<u8>)]) -> String {
    let pairs = headers.iter().map(|(name, value)| format!("{name}={}", value.escape_ascii()));
    pairs.collect::<Vec<_>>().join(" ")
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, headers: usize, body_size: usize, trailers: usize) {
        self.call = self.get_http_call_response_header(":status").unwrap_or_else(|| "missing".to_owned());
        let body = self.get_http_call_response_body(0, body_size).unwrap_or_default();
        log::info!(
            "callout: {} with {headers} headers, {:?}, {trailers} trailers",
            self.call,
            String::from_utf8_lossy(&body)
        );
        self.set_http_request_header("x-call", Some(&self.call));
        self.resume_http_request();
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        self.task = self.get_http_request_header("x-do").unwrap_or_default();
        log::info!("request headers, end {end_of_stream}: {}", shown(&self.get_http_request_headers_bytes()));
        let _ = increment_metric(self.metrics.requests, 1);
        let _ = record_metric(self.metrics.last, self.count());
        self.set_http_request_header("x-guest", Some("rust"));
        self.add_http_request_header("x-added", "one");
        self.add_http_request_header("x-added", "two");
        self.set_http_request_header("x-drop", None);
        if self.does("respond") {
            let headers = vec![("x-refused", "yes"), ("content-type", "text/plain")];
            self.send_http_response(403, headers, Some(b"refused\n"));
            return Action::Pause;
        }
        if self.does("hold") || self.does("change") {
            self.set_http_request_header("content-length", None);
        }
        if self.does("call") || self.does("call-nowhere") {
            let cluster = if self.does("call") { "callout" } else { "nowhere" };
            let headers =
                vec![(":method", "POST"), (":path", "/call"), (":authority", "callout.test"), ("x-from", "guest")];
            match self.dispatch_http_call(cluster, headers, Some(b"question"), vec![], Duration::from_secs(2)) {
                Ok(_) => return Action::Pause,
                Err(status) => log::info!("callout refused: {status:?}"),
            }
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.does("respond-body") {
            self.send_http_response(413, vec![("x-refused", "body")], Some(b"no body\n"));
            return Action::Pause;
        }
        if self.does("hold") && !end_of_stream {
            return Action::Pause;
        }
        if self.does("hold") {
            let body = self.get_http_request_body(0, size).unwrap_or_default();
            log::info!("request body: {size} bytes");
            self.set_http_request_body(0, size, &body.to_ascii_uppercase());
        }
        if self.does("change") && end_of_stream {
            self.set_http_request_body(size, 0, b"<end>");
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        log::info!("request trailers: {}", shown(&self.get_http_request_trailers_bytes()));
        self.add_http_request_trailer("x-guest-trailer", "request");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        log::info!("response headers, end {end_of_stream}: {}", shown(&self.get_http_response_headers_bytes()));
        self.set_http_response_header("x-guest", Some("rust"));
        self.set_http_response_header("x-powered-by", None);
        if self.does("response-respond") {
            self.send_http_response(502, vec![("x-refused", "response")], Some(b"bad answer\n"));
            return Action::Pause;
        }
        if self.does("response-hold") || self.does("response-change") {
            self.set_http_response_header("content-length", None);
        }
        if self.does("response-hold") && !end_of_stream && self.does("stop") {
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if self.does("response-hold") && !end_of_stream {
            return Action::Pause;
        }
        if self.does("response-hold") {
            let body = self.get_http_response_body(0, size).unwrap_or_default();
            log::info!("response body: {size} bytes");
            self.set_http_response_body(0, size, &body.to_ascii_uppercase());
            let _ = record_metric(self.metrics.sizes, size as u64);
        }
        if self.does("response-change") && end_of_stream {
            self.set_http_response_body(size, 0, b"<end>");
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        log::info!("response trailers: {}", shown(&self.get_http_response_trailers_bytes()));
        self.add_http_response_trailer("x-guest-trailer", "response");
        Action::Continue
    }

    fn on_log(&mut self) {
        let text = |path: Vec<&str>| {
            self.get_property(path).map_or("none".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
        };
        let code = self.get_property(vec!["response", "code"]).and_then(|value| value.try_into().ok());
        log::info!(
            "done: code {}, details {}, protocol {}, call {}",
            code.map_or(-1, i64::from_le_bytes),
            text(vec!["response", "code_details"]),
            text(vec!["request", "protocol"]),
            self.call
        );
    }
}
