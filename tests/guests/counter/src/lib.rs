//! The smallest proxy-wasm filter that counts requests in shared data and shows the count in a response header.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

const KEY: &str = "count";

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { count: 0 }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    count: u64,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        loop {
            let (value, cas) = self.get_shared_data(KEY);
            let count = value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
            self.count = count + 1;
            if self.set_shared_data(KEY, Some(&self.count.to_le_bytes()), cas.or(Some(u32::MAX))).is_ok() {
                return Action::Continue;
            }
        }
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("x-count", Some(&self.count.to_string()));
        Action::Continue
    }
}
