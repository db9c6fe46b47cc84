//! Wasm filters, with their plugins and VMs.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Located;
use crate::config::node::Node;

/// A wasm filter in the chain.
#[derive(Clone, Debug)]
pub struct WasmFilter {
    /// The name of the `http_filters` entry.
    pub filter_name: String,
    /// `disabled: true` of that entry.
    pub disabled: bool,
    /// The plugin.
    pub plugin: Plugin,
}

/// `envoy.extensions.wasm.v3.PluginConfig`.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// `name`.
    pub name: String,
    /// `root_id`.
    pub root_id: String,
    /// `vm_config`.
    pub vm: VmConfig,
    /// `configuration`, as the module gets it: the value of a `StringValue` or `BytesValue`, or a serialized message.
    pub configuration: Vec<u8>,
    /// Where `configuration` stands in the file: its `value`, to find lines in. None if there is no configuration.
    pub source: Option<Node>,
    /// The entry `configuration` itself.
    pub configuration_at: Option<Located>,
    /// `failure_policy` (or the older `fail_open`).
    pub failure_policy: FailurePolicy,
    /// `reload_config.backoff.base_interval`, 1 s unless given.
    pub reload_backoff: Duration,
    /// `allow_on_headers_stop_iteration`.
    pub allow_on_headers_stop_iteration: bool,
    /// `capability_restriction_config.allowed_capabilities`; None where nothing is restricted.
    pub allowed_capabilities: Option<Vec<String>>,
}

/// `envoy.extensions.wasm.v3.VmConfig`.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// `vm_id`: names the shared data.
    pub vm_id: String,
    /// Where the module is.
    pub code: Code,
    /// Where the file says so.
    pub code_at: Option<Located>,
    /// `configuration`, as the module gets it.
    pub configuration: Vec<u8>,
    /// `environment_variables`, in their order; `host_env_keys` are read when the file is.
    pub environment: Vec<(String, String)>,
}

/// A module's place.
#[derive(Clone, Debug)]
pub enum Code {
    /// A file; a relative name is relative to the working folder, as Envoy's are.
    File(PathBuf),
    /// `inline_bytes` or `inline_string`.
    Inline(Vec<u8>),
}

/// What happens to requests when the VM has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// 503; also for UNSPECIFIED.
    #[default]
    FailClosed,
    /// They pass by the filter.
    FailOpen,
    /// The VM is made anew at the next stream.
    FailReload,
}
