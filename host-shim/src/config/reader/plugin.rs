//! Reads wasm plugins and their VMs.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::wire;
use super::model::{Code, FailurePolicy, Plugin, VmConfig};
use super::source::{Source, source};
use super::{Located, Message, Place};

const RELOAD_BACKOFF: Duration = Duration::from_secs(1);
const RUNTIMES: [&str; 3] = ["envoy.wasm.runtime.v8", "envoy.wasm.runtime.wasmtime", "envoy.wasm.runtime.wamr"];

pub(super) fn plugin(place: &Place<'_>) -> Option<Plugin> {
    let message = place.message("PluginConfig")?;
    let configuration = configuration(&message);
    let restriction = message.get("capability_restriction_config");
    let vm = message.required("vm_config").and_then(|place| vm_config(&place));
    let plugin = Plugin {
        name: message.string("name"),
        root_id: message.string("root_id"),
        failure_policy: failure_policy(&message),
        reload_backoff: reload_backoff(&message).unwrap_or(RELOAD_BACKOFF),
        allow_on_headers_stop_iteration: message.bool("allow_on_headers_stop_iteration"),
        allowed_capabilities: None,
        vm: VmConfig {
            vm_id: String::new(),
            code: Code::Inline(Vec::new()),
            code_at: None,
            configuration: Vec::new(),
            environment: Vec::new(),
        },
        configuration: Vec::new(),
        source: None,
        configuration_at: message.get("configuration").map(|place| place.at()),
    };
    message.done();
    let (vm, vm_restriction) = vm?;
    let allowed_capabilities = vm_restriction.or(restriction).and_then(|place| capabilities(&place));
    let (configuration, source) = configuration?;
    Some(Plugin { vm, allowed_capabilities, configuration, source, ..plugin })
}

type Configuration = (Vec<u8>, Option<super::Node>);

/// Reads a configuration. `None` means that errors were reported.
fn configuration(message: &Message<'_>) -> Option<Configuration> {
    match message.get("configuration") {
        Some(place) => wire::configuration(&place),
        None => Some((Vec::new(), None)),
    }
}

fn failure_policy(message: &Message<'_>) -> FailurePolicy {
    let policy = message.choice("failure_policy", &["UNSPECIFIED", "FAIL_RELOAD", "FAIL_CLOSED", "FAIL_OPEN"]);
    let is_open = message.get("fail_open").filter(|place| place.bool() == Some(true));
    match (policy, is_open) {
        (0, None) | (2, None) => FailurePolicy::FailClosed,
        (1, None) => FailurePolicy::FailReload,
        (0, Some(_)) | (_, None) => FailurePolicy::FailOpen,
        (_, Some(place)) => {
            place.error("fail_open and failure_policy cannot both be set: keep failure_policy");
            FailurePolicy::FailOpen
        }
    }
}

fn reload_backoff(message: &Message<'_>) -> Option<Duration> {
    let config = message.message("reload_config", "ReloadConfig")?;
    let backoff = config.message("backoff", "BackoffStrategy");
    config.done();
    let backoff = backoff?;
    let place = backoff.required("base_interval");
    backoff.done();
    let place = place?;
    let interval = place.duration()?;
    if interval < Duration::from_millis(1) {
        place.error("must be at least 1 ms");
    }
    Some(interval)
}

/// Reads the allowed names. `None` means that all are allowed.
fn capabilities(place: &Place<'_>) -> Option<Vec<String>> {
    let message = place.message("CapabilityRestrictionConfig")?;
    let entries = message.entries("allowed_capabilities");
    message.done();
    let names: Vec<_> = entries.into_iter().map(|(name, _)| name.to_owned()).collect();
    Some(names).filter(|names| !names.is_empty())
}

/// Reads a `VmConfig`. Also returns the place of its capability restrictions.
fn vm_config<'a>(place: &Place<'a>) -> Option<(VmConfig, Option<Place<'a>>)> {
    let message = place.message("VmConfig")?;
    if let Some(runtime) = message.get("runtime") {
        check_runtime(&runtime);
    }
    let code = message.required("code").and_then(|place| code(&place));
    let configuration = configuration(&message);
    let environment = message.get("environment_variables").map(|place| environment(&place)).unwrap_or_default();
    let vm_id = message.string("vm_id");
    let restriction = message.get("capability_restriction_config");
    message.done();
    let (code, code_at) = code?;
    let vm = VmConfig { vm_id, code, code_at: Some(code_at), configuration: configuration?.0, environment };
    Some((vm, restriction))
}

fn check_runtime(place: &Place<'_>) {
    let Some(runtime) = place.string() else { return };
    if runtime == "envoy.wasm.runtime.null" {
        place.error("this runtime is for plugins compiled into Envoy: a module needs envoy.wasm.runtime.v8");
    } else if !runtime.is_empty() && !RUNTIMES.contains(&runtime.as_str()) {
        place.error(format!("{runtime:?} is not one of {}", RUNTIMES.join(", ")));
    }
}

fn code(place: &Place<'_>) -> Option<(Code, Located)> {
    let message = place.message("AsyncDataSource")?;
    let found = message.required_one_of(&["local", "remote"]);
    message.done();
    match found? {
        ("local", place) => match source(&place)? {
            Source::File(path, at) => Some((Code::File(path), at)),
            Source::Bytes(bytes) => Some((Code::Inline(bytes), place.at())),
        },
        (_, place) => {
            place.error("the shim does not download code: use local.filename");
            None
        }
    }
}

fn environment(place: &Place<'_>) -> Vec<(String, String)> {
    let Some(message) = place.message("EnvironmentVariables") else { return Vec::new() };
    let host_keys = message.items("host_env_keys");
    let given = message.entries("key_values");
    message.done();
    let mut seen = BTreeSet::new();
    let mut variables = Vec::new();
    for place in host_keys {
        let Some(name) = place.string() else { continue };
        if !seen.insert(name.clone()) {
            place.error(format!("{name:?} is here twice"));
        }
        // A variable that the host does not have is left out.
        if let Ok(value) = std::env::var(&name) {
            variables.push((name, value));
        }
    }
    for (name, place) in given {
        if seen.contains(name) {
            place.error("is also in host_env_keys");
        }
        variables.extend(place.string().map(|value| (name.to_owned(), value)));
    }
    variables
}
