//! `tollbell export`: each example as a manifest, in the shape that a mesh makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use host_shim::Modules;
use host_shim::story::{self, ShimSubject, Story};
use serde_json::{Value, json};
use tollbell_tests::project_root;

use crate::files::shell;
use crate::manifests::{Kind, at, documents, schemas};
use crate::schema::wrong_places;
use crate::stories::EnvoySubject;

const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// The manifests of a configuration.
fn export(mesh: &str, config: &Path) -> Result<Vec<Value>> {
    let output = shell(&format!("tollbell export --for {mesh} --config {}", config.display()), &project_root())?;
    ensure!(output.status.success(), "{mesh}: {}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8_lossy(&output.stdout))
}

fn kind<'a>(manifests: &'a [Value], kind: &str) -> Option<&'a Value> {
    manifests.iter().find(|manifest| manifest["kind"] == kind)
}

/// JSON text, as a mesh passes the configuration on.
fn as_text(configuration: &Value) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration.to_string() })
}

/// The plugin and the clusters that Istio makes of the manifests.
fn by_istio(manifests: &[Value]) -> Result<(Value, Vec<Value>)> {
    let patches = kind(manifests, "EnvoyFilter").map(|filter| at(filter, "/spec/configPatches")).transpose()?;
    let patches = patches.and_then(Value::as_array).cloned().unwrap_or_default();
    let patched = |place: &str| -> Vec<Value> {
        let patches = patches.iter().filter(|patch| patch["applyTo"] == place);
        patches.map(|patch| patch["patch"]["value"].clone()).collect()
    };
    let mut plugin = match (kind(manifests, "WasmPlugin"), patched("EXTENSION_CONFIG").first()) {
        (Some(plugin), None) => json!({
            "name": "istio-ingress.tollbell",
            "failure_policy": plugin["spec"]["failStrategy"].as_str().map(|s| s.replace("CLOSE", "CLOSED")),
            "configuration": as_text(&plugin["spec"]["pluginConfig"]),
            "vm_config": { "runtime": "envoy.wasm.runtime.v8" },
        }),
        (None, Some(extension)) => at(extension, "/typed_config/config")?.clone(),
        _ => anyhow::bail!("not one plugin: {manifests:#?}"),
    };
    plugin["vm_config"]["code"] = json!({ "local": { "filename": "dist/tollbell.wasm" } });
    Ok((plugin, patched("CLUSTER")))
}

/// The plugin and the clusters that Envoy Gateway makes of the manifests.
fn by_envoy_gateway(manifests: &[Value]) -> Result<(Value, Vec<Value>)> {
    let wasm = at(kind(manifests, "EnvoyExtensionPolicy").context("no policy")?, "/spec/wasm/0")?;
    let patches = at(kind(manifests, "EnvoyPatchPolicy").context("no patches")?, "/spec/jsonPatches")?;
    let mut plugin = json!({
        "name": wasm["name"],
        "configuration": as_text(&wasm["config"]),
        "vm_config": {
            "vm_id": "envoyextensionpolicy/default/tollbell/wasm/0",
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": "dist/tollbell.wasm" } },
        },
    });
    let mut clusters = Vec::new();
    for patch in patches.as_array().context("a list")? {
        let operation = &patch["operation"];
        match operation["path"].as_str().context("a path")? {
            "" => clusters.push(operation["value"].clone()),
            name => plugin[name] = operation["value"].clone(),
        }
    }
    Ok((plugin, clusters))
}

/// The example's file with the plugin and the clusters of a mesh instead of its own.
fn in_the_mesh(example: &Path, plugin: Value, clusters: Vec<Value>, file: &Path) -> Result<()> {
    let mut whole: Value = serde_norway::from_str(&fs::read_to_string(example)?)?;
    let filters = whole.pointer_mut(FILTERS).and_then(Value::as_array_mut).context("no filters")?;
    let own = filters.iter_mut().find(|filter| filter["typed_config"]["@type"] == WASM).context("no plugin")?;
    own["typed_config"]["config"] = plugin;
    let known = whole.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut).context("no clusters")?;
    known.retain(|cluster| !clusters.iter().any(|other| other["name"] == cluster["name"]));
    let is_own = |cluster: &&Value| cluster["name"].as_str().is_some_and(|name| name.starts_with("tollbell_"));
    ensure!(known.iter().find(is_own).is_none(), "a cluster is not exported: {known:#?}");
    known.extend(clusters);
    fs::create_dir_all(file.parent().context("a folder")?)?;
    fs::write(file, serde_norway::to_string(&whole)?)?;
    Ok(())
}

/// The stories that run an example as it is.
fn stories() -> Result<Vec<Story>> {
    let mut stories = Story::read_all(&[project_root().join("tests/stories")])?;
    let examples = project_root().join("examples").canonicalize()?;
    stories.retain(|story| {
        let is_example = story.envoy.canonicalize().is_ok_and(|file| file.starts_with(&examples));
        is_example && story.configuration.is_none() && !story.needs_control()
    });
    Ok(stories)
}

/// The story of the admin endpoint needs most of what meshes cannot say, so it also runs in Envoy.
const IN_ENVOY: &str = "admin-endpoints";

#[test]
fn each_example_works_in_the_shape_that_a_mesh_makes_of_its_manifest() -> Result<()> {
    let stories = stories()?;
    std::env::set_current_dir(project_root())?;
    ensure!(stories.len() > 6, "{} stories", stories.len());
    let mut by_kind: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
    for story in stories {
        let example: PathBuf = story.envoy.canonicalize()?;
        let name = example.parent().and_then(Path::file_name).context("a name")?.to_string_lossy().into_owned();
        for mesh in ["istio", "envoy-gateway"] {
            let manifests = export(mesh, &example)?;
            let (plugin, clusters) =
                if mesh == "istio" { by_istio(&manifests)? } else { by_envoy_gateway(&manifests)? };
            let file = project_root().join(format!("target/mesh/{mesh}-{name}.yaml"));
            in_the_mesh(&example, plugin, clusters, &file)?;
            let story = Story { envoy: file, ..story.clone() };
            story::run(&story, &mut ShimSubject::start(&story, &Modules::default())?, &mut |_| {})
                .map_err(|error| anyhow::anyhow!("{mesh}: {name}: {error:#}"))?;
            if name == IN_ENVOY {
                story::run(&story, &mut EnvoySubject::start(&story)?, &mut |_| {})
                    .map_err(|error| anyhow::anyhow!("{mesh}: {name}, in Envoy: {error:#}"))?;
            }
            for manifest in manifests {
                let [version, kind] =
                    ["apiVersion", "kind"].map(|member| manifest[member].as_str().unwrap_or_default().to_owned());
                by_kind.entry((version, kind)).or_default().push(manifest);
            }
        }
    }
    let schemas = schemas()?;
    for (kind, manifests) in by_kind {
        let schema = schemas.get(&kind).with_context(|| format!("no schema of {kind:?}"))?;
        for (manifest, wrong) in manifests.iter().zip(wrong_places(schema, &manifests)?) {
            ensure!(wrong.is_empty(), "{wrong:?}: {manifest:#}");
        }
    }
    Ok(())
}
