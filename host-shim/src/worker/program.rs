//! A configuration that is ready to run, with compiled modules, routes, and clusters by name.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use sha2::{Digest, Sha256};

use super::plugin::LoadedPlugin;
use crate::config::model::{Bootstrap, Cluster, Code, Listener, WasmFilter};
use crate::guest::{LoadedModule, VmSpec};
use crate::router::Site;
use crate::traffic::ProxyNode;

/// The source of modules.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// Replaces every module that a configuration names.
    pub instead: Option<Vec<u8>>,
    /// Folders to search by file name if a module file is not where the configuration says.
    pub folders: Vec<PathBuf>,
}

impl Modules {
    /// Uses this module instead of all others.
    pub fn replaced_by(module: impl Into<Vec<u8>>) -> Self {
        Modules { instead: Some(module.into()), folders: Vec::new() }
    }

    fn read(&self, code: &Code) -> Result<Vec<u8>> {
        let path = match (&self.instead, code) {
            (Some(code), _) | (None, Code::Inline(code)) => return Ok(code.clone()),
            (None, Code::File(path)) => path,
        };
        let elsewhere = self.folders.iter().filter_map(|folder| Some(folder.join(path.file_name()?)));
        let found = std::iter::once(path.clone()).chain(elsewhere).find(|path| path.exists());
        fs::read(found.as_ref().unwrap_or(path))
            .with_context(|| format!("cannot read the module {}{}", path.display(), advice(path)))
    }
}

/// A configuration that is ready to run.
pub struct Program {
    pub node: Arc<ProxyNode>,
    pub clusters: HashMap<String, Arc<Cluster>>,
    pub listeners: Vec<Arc<Site>>,
    /// The plugins of each listener, in the order of its filters.
    pub plugins: Vec<Vec<LoadedPlugin>>,
}

impl Program {
    /// Loads the modules of a configuration.
    ///
    /// # Errors
    /// A module cannot be read or is not valid.
    pub fn load(bootstrap: &Bootstrap, modules: &Modules) -> Result<Self> {
        let metadata = bootstrap.node_metadata.clone();
        let node = ProxyNode { id: bootstrap.node_id.clone(), cluster: bootstrap.node_cluster.clone(), metadata };
        let clusters = bootstrap.clusters.iter().map(|cluster| (cluster.name.clone(), Arc::new(cluster.clone())));
        let mut listeners = Vec::new();
        let mut plugins = Vec::new();
        for listener in &bootstrap.listeners {
            let listener = Arc::new(listener.clone());
            let loaded = listener.manager.filters.iter().map(|filter| {
                load(filter, &listener, modules).with_context(|| format!("http_filters {:?}", filter.filter_name))
            });
            plugins.push(loaded.collect::<Result<Vec<_>>>()?);
            listeners.push(Arc::new(Site::new(listener)));
        }
        Ok(Program { node: Arc::new(node), clusters: clusters.collect(), listeners, plugins })
    }
}

fn load(filter: &WasmFilter, listener: &Arc<Listener>, modules: &Modules) -> Result<LoadedPlugin> {
    let plugin = &filter.plugin;
    let code = modules.read(&plugin.vm.code)?;
    let module = LoadedModule::load(&code)?;
    let vm = &plugin.vm;
    let vm_key = digest(&[vm.vm_id.as_bytes(), &vm.configuration, &code]);
    let policy =
        format!("{:?} {:?} {}", plugin.failure_policy, plugin.reload_backoff, plugin.allow_on_headers_stop_iteration);
    // Equal plugins of several listeners are one plugin, unless the listeners have other properties for it.
    let site = format!("{} {}", listener.direction, serde_json::Value::from(listener.metadata.clone()));
    let parts = [&plugin.name, &plugin.root_id, &policy, &vm_key, &site].map(|part| part.as_bytes());
    let key = digest(&[parts.as_slice(), &[plugin.configuration.as_slice()]].concat());
    let spec = VmSpec {
        key: vm_key,
        vm_id: vm.vm_id.clone(),
        configuration: vm.configuration.clone(),
        environment: vm.environment.clone(),
        allowed_capabilities: plugin.allowed_capabilities.clone(),
    };
    Ok(LoadedPlugin {
        plugin: Arc::new(plugin.clone()),
        spec: Arc::new(spec),
        module,
        filter_name: filter.filter_name.clone(),
        is_disabled: filter.disabled,
        key,
    })
}

/// Advice for the error about a missing module file.
fn advice(path: &Path) -> String {
    let folder = std::env::current_dir().map(|folder| format!(" {}", folder.display())).unwrap_or_default();
    match path.is_relative() {
        true => format!(" (relative to the current folder{folder}; or use --wasm)"),
        false => " (or use --wasm)".to_owned(),
    }
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
