//! The callbacks of a plugin and of its streams.

use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Result, bail};
use wasmtime::TypedFunc;

use super::codes::{DataStatus, HeadersStatus};
use super::context::{Context, Root, StreamContext};
use super::exports::HeadersCallback;
use super::memory::word;
use super::vm::Vm;
use crate::config::model::Plugin;

/// `proxy_on_configure` returned false, or failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(String);

impl Vm {
    /// Adds the root context of a plugin: calls `proxy_on_context_create`, then `proxy_on_vm_start`.
    ///
    /// # Errors
    /// The module returns false, or traps.
    pub fn start_root(&mut self, plugin: &Arc<Plugin>) -> Result<u32> {
        let exports = Rc::clone(&self.exports);
        let id = self.state_mut().contexts.add(Context::Root(Root::new(Arc::clone(plugin))));
        self.create_root(id);
        if let Some(on_vm_start) = &exports.on_vm_start {
            let size = word(self.state().spec.configuration.len());
            match self.call("proxy_on_vm_start", id, on_vm_start, (id, size)) {
                Some(0) => bail!("the module refused to start: proxy_on_vm_start returned false"),
                Some(_) => {}
                None => bail!(self.failure_text()),
            }
        }
        Ok(id)
    }

    fn create_root(&mut self, id: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(root) = self.state_mut().contexts.root_mut(id)
            && std::mem::replace(&mut root.created, true)
        {
            return;
        }
        if let Some(create) = &exports.on_context_create {
            self.call("proxy_on_context_create", id, create, (id, 0));
        }
    }

    /// Configures a plugin: calls `proxy_on_configure`.
    ///
    /// # Errors
    /// The module returns false, or traps.
    pub fn configure(&mut self, root: u32) -> Result<()> {
        self.create_root(root);
        let exports = Rc::clone(&self.exports);
        let Some(on_configure) = &exports.on_configure else { return Ok(()) };
        let size = self.state().contexts.root(root).map_or(0, |root| word(root.plugin.configuration.len()));
        self.set_configuring(root, true);
        let answer = self.call("proxy_on_configure", root, on_configure, (root, size));
        self.set_configuring(root, false);
        match answer {
            Some(0) => {
                let text = "the module refused its configuration: proxy_on_configure returned false";
                Err(Misconfigured(text.to_owned()).into())
            }
            Some(_) => Ok(()),
            None => Err(Misconfigured(self.failure_text()).into()),
        }
    }

    fn set_configuring(&mut self, root: u32, is_configuring: bool) {
        if let Some(root) = self.state_mut().contexts.root_mut(root) {
            root.is_configuring = is_configuring;
        }
    }

    fn failure_text(&self) -> String {
        self.failure.clone().unwrap_or_default()
    }

    pub fn tick(&mut self, root: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_tick) = exports.on_tick.as_ref().filter(|_| self.state().contexts.contains(root)) {
            self.call("proxy_on_tick", root, on_tick, root);
        }
    }

    pub fn queue_ready(&mut self, root: u32, token: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_queue_ready) = exports.on_queue_ready.as_ref().filter(|_| self.state().contexts.contains(root)) {
            self.call("proxy_on_queue_ready", root, on_queue_ready, (root, token));
        }
    }

    /// Adds the context of a stream: calls `proxy_on_context_create`.
    pub fn create_stream(&mut self, context: StreamContext) -> u32 {
        let exports = Rc::clone(&self.exports);
        let root = context.root;
        let id = self.state_mut().contexts.add(Context::Stream(context));
        if let Some(create) = &exports.on_context_create {
            self.call("proxy_on_context_create", id, create, (id, root));
        }
        id
    }

    fn headers(
        &mut self,
        name: &str,
        id: u32,
        callback: Option<&HeadersCallback>,
        count: u32,
        end: bool,
    ) -> HeadersStatus {
        let code = match callback {
            None => return if self.failure.is_some() { HeadersStatus::StopAll } else { HeadersStatus::Continue },
            Some(HeadersCallback::V1(callback)) => self.call(name, id, callback, (id, count)),
            Some(HeadersCallback::V2(callback)) => self.call(name, id, callback, (id, count, u32::from(end))),
        };
        let Some(code) = code else { return HeadersStatus::StopAll };
        let allows_stop =
            self.state().contexts.root(id).is_some_and(|root| root.plugin.allow_on_headers_stop_iteration);
        HeadersStatus::from_code(code, self.stopped, allows_stop)
    }

    pub fn request_headers(&mut self, id: u32, count: u32, end: bool) -> HeadersStatus {
        let exports = Rc::clone(&self.exports);
        self.headers("proxy_on_request_headers", id, exports.on_request_headers.as_ref(), count, end)
    }

    pub fn response_headers(&mut self, id: u32, count: u32, end: bool) -> HeadersStatus {
        let exports = Rc::clone(&self.exports);
        self.headers("proxy_on_response_headers", id, exports.on_response_headers.as_ref(), count, end)
    }

    fn data(
        &mut self,
        name: &str,
        id: u32,
        callback: Option<&TypedFunc<(u32, u32, u32), u32>>,
        size: u32,
        end: bool,
    ) -> DataStatus {
        let Some(callback) = callback else {
            return if self.failure.is_some() { DataStatus::NoBuffer } else { DataStatus::Continue };
        };
        match self.call(name, id, callback, (id, size, u32::from(end))) {
            Some(code) => DataStatus::from_code(code, self.stopped),
            None => DataStatus::NoBuffer,
        }
    }

    pub fn request_body(&mut self, id: u32, size: u32, end: bool) -> DataStatus {
        let exports = Rc::clone(&self.exports);
        self.data("proxy_on_request_body", id, exports.on_request_body.as_ref(), size, end)
    }

    pub fn response_body(&mut self, id: u32, size: u32, end: bool) -> DataStatus {
        let exports = Rc::clone(&self.exports);
        self.data("proxy_on_response_body", id, exports.on_response_body.as_ref(), size, end)
    }

    fn trailers(&mut self, name: &str, id: u32, callback: Option<&TypedFunc<(u32, u32), u32>>, count: u32) -> bool {
        let Some(callback) = callback else { return self.failure.is_none() };
        let code = self.call(name, id, callback, (id, count));
        code == Some(0) && !self.stopped
    }

    /// Calls `proxy_on_request_trailers`. Returns whether the stream continues.
    pub fn request_trailers(&mut self, id: u32, count: u32) -> bool {
        let exports = Rc::clone(&self.exports);
        self.trailers("proxy_on_request_trailers", id, exports.on_request_trailers.as_ref(), count)
    }

    /// Calls `proxy_on_response_trailers`. Returns whether the stream continues.
    pub fn response_trailers(&mut self, id: u32, count: u32) -> bool {
        let exports = Rc::clone(&self.exports);
        self.trailers("proxy_on_response_trailers", id, exports.on_response_trailers.as_ref(), count)
    }

    pub fn log(&mut self, id: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_log) = &exports.on_log {
            self.call("proxy_on_log", id, on_log, id);
        }
    }

    /// Calls `proxy_on_done`. Returns whether the context can be deleted immediately.
    pub fn done(&mut self, id: u32) -> bool {
        let exports = Rc::clone(&self.exports);
        match &exports.on_done {
            Some(on_done) => self.call("proxy_on_done", id, on_done, id) != Some(0),
            None => true,
        }
    }

    /// Calls `proxy_on_delete`, and removes the context.
    pub fn delete(&mut self, id: u32) {
        let exports = Rc::clone(&self.exports);
        if let Some(on_delete) = &exports.on_delete {
            self.call("proxy_on_delete", id, on_delete, id);
        }
        self.state_mut().contexts.remove(id);
    }
}
