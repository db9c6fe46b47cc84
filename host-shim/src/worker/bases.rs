//! The base VMs and canaries. Like Envoy, the shim starts a configuration in these steps: a base VM that keeps the
//! `vm_id`, a canary that tests the configuration and is killed, then a VM on the main thread and on each worker.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::Program;
use super::plugin::LoadedPlugin;
use crate::guest::Vm;
use crate::state::Host;
use crate::traffic::{Network, Ticket};

/// The base VMs of the main thread, by VM key. A base VM has the initialized module and no root context.
#[derive(Default)]
pub struct Bases(HashMap<String, Vm>);

impl Bases {
    /// Tests each plugin of a program in a canary.
    ///
    /// # Errors
    /// A plugin does not start, or refuses its configuration. The program must then not be used.
    pub fn try_out(&mut self, host: &Arc<Host>, program: &Program, network: &Rc<dyn Network>) -> Result<()> {
        let mut tried: Vec<&str> = Vec::new();
        for loaded in program.plugins.iter().flatten() {
            if !tried.contains(&loaded.key.as_str()) {
                tried.push(&loaded.key);
                self.try_plugin(host, loaded, network)?;
            }
        }
        Ok(())
    }

    /// Tests a plugin in a canary.
    ///
    /// # Errors
    /// The plugin does not start, or refuses its configuration.
    pub fn try_plugin(&mut self, host: &Arc<Host>, loaded: &LoadedPlugin, network: &Rc<dyn Network>) -> Result<()> {
        self.start(host, loaded, network)
            .with_context(|| format!("Unable to create Wasm plugin {}", loaded.plugin.name))
    }

    fn start(&mut self, host: &Arc<Host>, loaded: &LoadedPlugin, network: &Rc<dyn Network>) -> Result<()> {
        define_stats(host, &loaded.plugin.name);
        if !self.0.contains_key(&loaded.spec.key) {
            let base = Vm::start(&loaded.module, &loaded.spec, host, 0, Rc::clone(network))?;
            self.0.insert(loaded.spec.key.clone(), base);
        }
        canary(host, loaded, network)
    }

    /// Drops the VMs that a program does not use. The data of a `vm_id` is removed with its last VM.
    pub fn keep_only(&mut self, program: &Program) {
        self.0.retain(|key, _| program.plugins.iter().flatten().any(|loaded| loaded.spec.key == *key));
    }
}

/// Defines the statistics of a plugin, which Envoy shows from the start.
fn define_stats(host: &Host, plugin: &str) {
    for what in ["vm_reload", "vm_reload_backoff", "vm_reload_failure", "vm_reload_success"] {
        host.metrics.counter(&format!("wasm.{plugin}.{what}"));
    }
    // The shim loads no code from a server.
    for what in ["cache_hits", "cache_misses", "cache_negative_hits", "fetch_failures", "fetch_successes"] {
        host.metrics.counter(&format!("wasm.remote_load_{what}"));
    }
    host.metrics.gauge("wasm.remote_load_cache_entries");
}

fn canary(host: &Arc<Host>, loaded: &LoadedPlugin, network: &Rc<dyn Network>) -> Result<()> {
    let mut vm = Vm::start(&loaded.module, &loaded.spec, host, 0, Rc::clone(network))?;
    let root = vm.start_root(&loaded.plugin)?;
    let configured = vm.configure(root);
    // The canary is killed: no more callbacks are called, and its callouts are cancelled. Its shared data stays.
    let calls = vm.state().contexts.root(root).map(|root| root.calls.clone()).unwrap_or_default();
    for token in calls {
        network.cancel(Ticket { instance: vm.instance(), root, token });
    }
    configured
}
