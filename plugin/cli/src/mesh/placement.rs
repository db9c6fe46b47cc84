//! tollbell in an Envoy configuration, and the parts that it needs beside it.

use anyhow::{Context as _, Result};
use host_shim::config::model::{Bootstrap, FailurePolicy, Plugin, WasmFilter};
use host_shim::config::to_json;
use serde_json::{Value, json};
use tollbell_core::config::document;
use tollbell_core::preview::Preview;

use super::single;

/// The filters with tollbell.
pub(super) fn filters(bootstrap: &Bootstrap) -> impl Iterator<Item = &WasmFilter> {
    let filters = bootstrap.listeners.iter().flat_map(|listener| &listener.manager.filters);
    filters.filter(|filter| Preview::load(&filter.plugin.configuration).is_ok())
}

/// tollbell's settings and the plugin's, with the clusters and the labels of the file.
pub(super) struct Placement {
    pub(super) configuration: Value,
    pub(super) allow_on_headers_stop_iteration: bool,
    pub(super) failure_policy: FailurePolicy,
    pub(super) allowed_capabilities: Option<Vec<String>>,
    pub(super) vm_id: String,
    /// The clusters that tollbell calls, as they are in the file.
    pub(super) clusters: Vec<Value>,
    /// `stats_config.stats_tags`.
    pub(super) stats_tags: Option<Value>,
}

impl Placement {
    /// Finds the only placement. Equal placements of several listeners are one.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub(super) fn find(bootstrap: &Bootstrap, whole: &Value) -> Result<Self> {
        let mut plugins: Vec<&Plugin> = Vec::new();
        for filter in filters(bootstrap) {
            if !plugins.iter().any(|plugin| plugin.configuration == filter.plugin.configuration) {
                plugins.push(&filter.plugin);
            }
        }
        let plugin = single(plugins, "placement of tollbell without errors")?;
        // As it is written, if it is not JSON text.
        let written = plugin.source.as_ref().map(to_json).filter(Value::is_object);
        let configuration = match written {
            Some(written) => written,
            None => document(&plugin.configuration).ok().context("the configuration is not JSON")?,
        };
        let called = called_clusters(&configuration);
        let known = whole.pointer("/static_resources/clusters").and_then(Value::as_array).into_iter().flatten();
        let is_called =
            |cluster: &&Value| cluster["name"].as_str().is_some_and(|name| called.iter().any(|c| c == name));
        Ok(Placement {
            allow_on_headers_stop_iteration: plugin.allow_on_headers_stop_iteration,
            failure_policy: plugin.failure_policy,
            allowed_capabilities: plugin.allowed_capabilities.clone(),
            vm_id: plugin.vm.vm_id.clone(),
            clusters: known.filter(is_called).map(without_nulls).collect(),
            stats_tags: whole.pointer("/stats_config/stats_tags").cloned(),
            configuration: without_nulls(&configuration),
        })
    }

    /// Whether the admin endpoint is on. Its posts need `allow_on_headers_stop_iteration`.
    pub(super) fn has_admin(&self) -> bool {
        has_admin(&self.configuration)
    }

    /// `failure_policy` as Envoy writes it.
    pub(super) fn failure_policy(&self) -> &'static str {
        match self.failure_policy {
            FailurePolicy::FailClosed => "FAIL_CLOSED",
            FailurePolicy::FailOpen => "FAIL_OPEN",
            FailurePolicy::FailReload => "FAIL_RELOAD",
        }
    }

    /// `capability_restriction_config`.
    pub(super) fn capabilities(&self) -> Option<Value> {
        let allowed = self.allowed_capabilities.as_ref()?;
        let allowed = allowed.iter().map(|name| (name.clone(), json!({}))).collect::<serde_json::Map<_, _>>();
        Some(json!({ "allowed_capabilities": allowed }))
    }
}

/// The same without members that are null, which mean the default.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(members.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        value => value.clone(),
    }
}

/// Whether a configuration of tollbell turns on the admin endpoint.
pub(super) fn has_admin(configuration: &Value) -> bool {
    configuration.pointer("/admin/token_sha256").and_then(Value::as_str).is_some_and(|token| !token.is_empty())
}

/// The names of the clusters that a configuration of tollbell calls.
fn called_clusters(configuration: &Value) -> Vec<String> {
    let text = |pointer: &str| configuration.pointer(pointer).and_then(Value::as_str).filter(|name| !name.is_empty());
    let mut names = vec![
        text("/callouts/http_cluster").unwrap_or("tollbell_http"),
        text("/callouts/https_cluster").unwrap_or("tollbell_https"),
    ];
    let of_hosts = configuration.pointer("/callouts/clusters").and_then(Value::as_object);
    names.extend(of_hosts.into_iter().flat_map(|clusters| clusters.values()).filter_map(Value::as_str));
    names.extend(text("/keys_from/cluster"));
    if configuration.get("store").is_some() {
        names.push(text("/store/redis/cluster").unwrap_or("tollbell_redis"));
    }
    names.into_iter().map(str::to_owned).collect()
}
