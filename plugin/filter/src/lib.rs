//! tollbell as a proxy-wasm filter: what the host calls, and nothing else.
//!
//! [`abi`] declares the imports; [`host`] and [`stream`] put the core's ports on them ([`shared_data`], [`statistics`] and
//! [`logging`] help); [`plugin`] keeps the engines of one VM. The exports are the callbacks that the filter implements: the
//! host calls every callback that exists, for every request, and each costs about as much as a read of shared data.

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

/// Runs `work` on the plugin. A host never enters a guest twice, but if one did, the inner call would do nothing.
fn with_plugin<T: Default>(work: impl FnOnce(&mut Plugin) -> T) -> T {
    PLUGIN.with(|plugin| plugin.try_borrow_mut().map(|mut plugin| work(&mut plugin)).unwrap_or_default())
}

#[allow(unsafe_code, clippy::missing_docs_in_private_items)]
mod exports {
    use tollbell_core::host::Flow;

    use super::{abi, with_plugin};

    /// Envoy knows further actions; the ABI has these two, and a host may answer any other one with an error.
    ///
    /// What comes behind the headers has callbacks of its own in Envoy with `allow_on_headers_stop_iteration`, and in
    /// other hosts: each of them must pause too. In Envoy without that setting none comes.
    fn action(flow: Flow) -> u32 {
        match flow {
            Flow::Continue => 0,
            Flow::Pause => 1,
        }
    }

    /// Marks the version of the ABI.
    #[unsafe(no_mangle)]
    extern "C" fn proxy_abi_version_0_2_1() {}

    /// The host's way to hand over bytes.
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
