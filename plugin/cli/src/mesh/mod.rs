//! Meshes and gateways of Kubernetes: what they lack, and their manifests.

mod findings;
mod gateway;
mod istio;
mod placement;

use std::fs;
use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use host_shim::config;
use host_shim::{Finding, FindingKind};
use serde_json::Value;

pub use self::findings::findings;
use self::placement::Placement;

/// Who configures Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mesh {
    /// An Istio gateway
    Istio,
    /// Envoy Gateway
    EnvoyGateway,
}

/// The options of `export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Who is to configure Envoy
    #[arg(long = "for", value_name = "MESH")]
    mesh: Mesh,
    /// The Envoy configuration with tollbell
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The OCI image of the module
    #[arg(long, value_name = "IMAGE", default_value = concat!("registry.example.com/tollbell:", env!("CARGO_PKG_VERSION")))]
    image: String,
    /// The namespace of the gateway [default: istio-ingress, or default for Envoy Gateway]
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// A label of an Istio gateway's pods
    #[arg(long, value_name = "NAME=VALUE", default_value = "istio=ingressgateway")]
    selector: String,
    /// The Gateway, and the listeners that get tollbell, for Envoy Gateway
    #[arg(long, value_name = "NAME/LISTENER,…", default_value = "eg/http")]
    gateway: String,
    /// The manifest to write; - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

impl Export {
    /// Writes the manifest. Returns whether the mesh can do all that the configuration needs.
    ///
    /// # Errors
    /// The configuration has errors or no single placement of tollbell, or the manifest cannot be written.
    pub fn execute(&self) -> Result<bool> {
        let loaded = config::read(&self.config).map_err(|errors| anyhow!("{errors}"))?;
        let found = findings(&loaded.bootstrap, Some(self.mesh));
        for finding in &found {
            eprintln!("{}: {}", if finding.kind == FindingKind::Error { "error" } else { "warning" }, finding.text);
        }
        if found.iter().any(|finding: &Finding| finding.kind == FindingKind::Error) {
            return Ok(false);
        }
        let text = fs::read_to_string(&self.config)?;
        let whole = config::yaml_to_json(&text).map_err(|errors| anyhow!("{errors}"))?;
        let placement = Placement::find(&loaded.bootstrap, &whole)?;
        let manifests = match self.mesh {
            Mesh::Istio => {
                let (name, value) = self.selector.split_once('=').context("--selector has the form NAME=VALUE")?;
                let namespace = self.namespace.as_deref().unwrap_or("istio-ingress");
                istio::manifests(&placement, &self.image, namespace, (name, value))
            }
            Mesh::EnvoyGateway => {
                let (gateway, listeners) =
                    self.gateway.split_once('/').context("--gateway has the form NAME/LISTENER,…")?;
                let namespace = self.namespace.as_deref().unwrap_or("default");
                let listeners: Vec<&str> = listeners.split(',').collect();
                gateway::manifests(&placement, &self.image, namespace, gateway, &listeners)
            }
        };
        let documents: Vec<String> = manifests.iter().map(import_tyk::yaml_text).collect();
        let text = documents.join("---\n");
        if self.out.as_os_str() == "-" {
            stdout().write_all(text.as_bytes())?;
        } else {
            fs::write(&self.out, text).with_context(|| format!("cannot write {}", self.out.display()))?;
        }
        Ok(true)
    }
}

/// The only value of a list.
fn single<T>(mut values: Vec<T>, what: &str) -> Result<T> {
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => Ok(value),
        (None, _) => bail!("the configuration has no {what}"),
        (Some(_), false) => bail!("the configuration has several {what}: export them one by one"),
    }
}

/// The metadata of a resource.
fn metadata(namespace: &str) -> Value {
    serde_json::json!({ "name": "tollbell", "namespace": namespace })
}
