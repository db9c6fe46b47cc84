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
    /// `configuration` as the module gets it: the value of a `StringValue` or `BytesValue`, or a serialized message.
    pub configuration: Vec<u8>,
    /// The `value` of `configuration` in the file, to find lines. `None` if there is no configuration.
    pub source: Option<Node>,
    /// The place of `configuration` in the file.
    pub configuration_at: Option<Located>,
    /// `failure_policy`, or the older `fail_open`.
    pub failure_policy: FailurePolicy,
    /// `reload_config.backoff.base_interval`. The default is 1 s.
    pub reload_backoff: Duration,
    /// `allow_on_headers_stop_iteration`.
    pub allow_on_headers_stop_iteration: bool,
    /// `capability_restriction_config.allowed_capabilities`. `None` means no restriction.
    pub allowed_capabilities: Option<Vec<String>>,
}

/// `envoy.extensions.wasm.v3.VmConfig`.
#[derive(Clone, Debug)]
pub struct VmConfig {
    /// `vm_id`. VMs with the same one share data and queues.
    pub vm_id: String,
    /// The module's code.
    pub code: Code,
    /// The place of the module's path in the file.
    pub code_at: Option<Located>,
    /// `configuration` as the module gets it.
    pub configuration: Vec<u8>,
    /// `environment_variables` in their order. `host_env_keys` are resolved when the file is read.
    pub environment: Vec<(String, String)>,
}

/// The source of a module.
#[derive(Clone, Debug)]
pub enum Code {
    /// A file. Like in Envoy, a relative path is relative to the working folder.
    File(PathBuf),
    /// `inline_bytes` or `inline_string`.
    Inline(Vec<u8>),
}

/// What happens to requests when the VM has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// The answer is 503. UNSPECIFIED means the same.
    #[default]
    FailClosed,
    /// Requests skip the filter.
    FailOpen,
    /// The next stream starts a new VM.
    FailReload,
}
