//! tollbell as a proxy-wasm filter: the callbacks of the host, and nothing else.
//!
//! [`abi`] declares the imports. [`host`] and [`stream`] implement the core's ports with them, with the help of
//! [`shared_data`], [`statistics`] and [`logging`]. [`plugin`] keeps the engines of one VM. Only the callbacks that the
//! filter needs are exported: the host calls every exported callback for every request, and each call costs about as
//! much as a read of shared data.

mod abi;
mod counters;
mod host;
mod logging;
mod plugin;
mod shared_data;
mod statistics;
mod stream;

use std::cell::RefCell;

use plugin::Plugin;

thread_local! {
    static PLUGIN: RefCell<Plugin> = RefCell::new(Plugin::default());
}

/// Runs `work` on the plugin. A host never enters a guest twice. If one did, the inner call would do nothing.
fn with_plugin<T: Default>(work: impl FnOnce(&mut Plugin) -> T) -> T {
    PLUGIN.with(|plugin| plugin.try_borrow_mut().map(|mut plugin| work(&mut plugin)).unwrap_or_default())
}

#[allow(unsafe_code, clippy::missing_docs_in_private_items)]
mod exports {
    use tollbell_core::host::Flow;

    use super::{abi, with_plugin};

    /// The ABI's value for a flow. Envoy has further actions; the ABI has these two, and a host may treat any other as
    /// an error.
    ///
    /// The parts after the headers have their own callbacks in other hosts, and in Envoy with
    /// `allow_on_headers_stop_iteration`. Each of these callbacks must pause, too. Without that setting Envoy makes no
    /// such callbacks.
    fn action(flow: Flow) -> u32 {
        match flow {
            Flow::Continue => 0,
            Flow::Pause => 1,
        }
    }

    /// Marks the version of the ABI.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    /// The host calls this for memory in which it passes bytes.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
        abi::allocate(size)
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
        with_plugin(|plugin| plugin.on_context_create(context, parent));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
        u32::from(with_plugin(|plugin| plugin.on_configure(root, size)))
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_headers(stream: u32, _count: usize, end_of_stream: u32) -> u32 {
        action(with_plugin(|plugin| plugin.on_request_headers(stream, end_of_stream != 0)))
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_body(stream: u32, size: usize, end_of_stream: u32) -> u32 {
        action(with_plugin(|plugin| plugin.on_request_body(stream, size, end_of_stream != 0)))
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_request_trailers(stream: u32, _count: usize) -> u32 {
        action(with_plugin(|plugin| plugin.on_request_trailers(stream)))
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_headers(stream: u32, _count: usize, end_of_stream: u32) -> u32 {
        with_plugin(|plugin| plugin.on_response_headers(stream, end_of_stream != 0));
        action(Flow::Continue)
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_body(stream: u32, size: usize, end_of_stream: u32) -> u32 {
        with_plugin(|plugin| plugin.on_response_body(stream, size, end_of_stream != 0));
        action(Flow::Continue)
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_response_trailers(stream: u32, _count: usize) -> u32 {
        with_plugin(|plugin| plugin.on_response_trailers(stream));
        action(Flow::Continue)
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_tick(root: u32) {
        with_plugin(|plugin| plugin.on_tick(root));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_queue_ready(root: u32, _queue: u32) {
        with_plugin(|plugin| plugin.on_queue_ready(root));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_http_call_response(root: u32, call: u32, headers: usize, _body: usize, _trailers: usize) {
        with_plugin(|plugin| plugin.on_http_call_response(root, call, headers));
    }

    #[unsafe(no_mangle)]
    extern "C" fn proxy_on_delete(context: u32) {
        with_plugin(|plugin| plugin.on_delete(context));
    }
}
