//! The manifests for Istio, Envoy Gateway and Kubernetes: valid by the definitions of these projects, and consistent.
//! `make test-packaging` checks further with the code of the projects themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tollbell_core::config::Config;
use tollbell_tests::project_root;

use crate::schema::wrong_places;

const MANIFESTS: &[&str] = &[
    "envoy/istio/tollbell.yaml",
    "envoy/istio/envoyfilter.yaml",
    "envoy/istio/labels.yaml",
    "envoy/istio/gateway.yaml",
    "envoy/gateway/tollbell.yaml",
    "envoy/gateway/gateway.yaml",
    "envoy/kubernetes/deployment.yaml",
];

/// The configurations that `make test-packaging` writes, and where they have tollbell's part.
const ISTIO: &str = "envoy/istio/envoy.yaml";
const ISTIO_FILTER: &str = "envoy/istio/envoyfilter-envoy.yaml";
const GATEWAY: &str = "envoy/gateway/envoy.yaml";

fn text(file: &str) -> Result<String> {
    fs::read_to_string(project_root().join(file)).with_context(|| file.to_owned())
}

fn yaml(file: &str) -> Result<Value> {
    serde_norway::from_str(&text(file)?).with_context(|| file.to_owned())
}

pub fn documents(text: &str) -> Result<Vec<Value>> {
    serde_norway::Deserializer::from_str(text).map(|document| Ok(Value::deserialize(document)?)).collect()
}

/// The resource of a kind in a file of manifests.
fn resource(file: &str, kind: &str) -> Result<Value> {
    let found = documents(&text(file)?)?.into_iter().find(|document| document["kind"] == kind);
    found.with_context(|| format!("{file} has no {kind}"))
}

pub fn at<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value> {
    value.pointer(pointer).with_context(|| format!("no {pointer}"))
}

/// An API server refuses or drops unknown members: the schema of an object allows no others, unless it says so. Parts
/// such as `oneOf` only restrict further.
fn close(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if members.get("x-kubernetes-int-or-string") == Some(&json!(true)) {
        members.remove("type");
    }
    let keeps_others = members.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if members.contains_key("properties") && !members.contains_key("additionalProperties") && !keeps_others {
        members.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(close);
    }
    for name in ["items", "additionalProperties"] {
        members.get_mut(name).into_iter().for_each(close);
    }
}

/// An API version and a kind.
pub type Kind = (String, String);

pub type Schemas = BTreeMap<Kind, Value>;

/// A document, right or wrong.
struct Case {
    name: String,
    is_wrong: bool,
    document: Value,
}

/// The resources that an extension of Kubernetes defines.
fn read_definitions(path: &Path, schemas: &mut Schemas) -> Result<()> {
    for definition in documents(&fs::read_to_string(path)?)? {
        if definition["kind"] != "CustomResourceDefinition" {
            continue;
        }
        let (group, kind) = (at(&definition, "/spec/group")?, at(&definition, "/spec/names/kind")?);
        for version in at(&definition, "/spec/versions")?.as_array().context("versions")? {
            let mut schema = at(version, "/schema/openAPIV3Schema")?.clone();
            let properties = schema["properties"].as_object_mut().context("properties")?;
            for name in ["apiVersion", "kind", "metadata"] {
                properties.entry(name).or_insert_with(|| json!({}));
            }
            close(&mut schema);
            let [group, version, kind] = [group, &version["name"], kind].map(|text| text.as_str().unwrap_or_default());
            schemas.insert((format!("{group}/{version}"), kind.to_owned()), schema);
        }
    }
    Ok(())
}

/// The resources of Kubernetes itself.
fn read_api(path: &Path, schemas: &mut Schemas) -> Result<()> {
    let mut api: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let components = api["components"]["schemas"].as_object_mut().context("no schemas")?;
    components.values_mut().for_each(close);
    let components: Map<String, Value> = components.clone();
    for (name, schema) in &components {
        for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let [group, version, kind] =
                ["group", "version", "kind"].map(|member| kind[member].as_str().unwrap_or_default());
            let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            let whole = json!({ "$ref": format!("#/components/schemas/{name}"), "components": api["components"] });
            if ["ConfigMap", "Service", "Deployment"].contains(&kind) {
                schemas.insert((api_version, kind.to_owned()), whole);
            }
        }
    }
    Ok(())
}

pub fn schemas() -> Result<Schemas> {
    let mut schemas = Schemas::new();
    let folder = project_root().join(".tools/manifest-schemas");
    for entry in fs::read_dir(&folder).context("the schemas are missing; `make test` installs them")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            read_api(&path, &mut schemas)?;
        } else {
            read_definitions(&path, &mut schemas)?;
        }
    }
    Ok(schemas)
}

/// A change of a manifest that makes it wrong: the file, the kind, a place, and another value there.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("envoy/istio/tollbell.yaml", "WasmPlugin", "/spec/failStrategy", "\"FAIL_RETRY\""),
    ("envoy/istio/tollbell.yaml", "WasmPlugin", "/spec/allowOnHeadersStopIteration", "true"),
    ("envoy/istio/tollbell.yaml", "ServiceEntry", "/spec/resolution", "\"DYNAMIC\""),
    ("envoy/istio/tollbell.yaml", "DestinationRule", "/spec/trafficPolicy/tls/mode", "\"TLS\""),
    ("envoy/istio/envoyfilter.yaml", "EnvoyFilter", "/spec/configPatches/0/patch/operation", "\"PREPEND\""),
    ("envoy/gateway/tollbell.yaml", "EnvoyExtensionPolicy", "/spec/wasm/0/failurePolicy", "\"FAIL_RELOAD\""),
    ("envoy/gateway/tollbell.yaml", "EnvoyExtensionPolicy", "/spec/wasm/0/code/type", "\"OCI\""),
    ("envoy/gateway/tollbell.yaml", "EnvoyPatchPolicy", "/spec/jsonPatches/0/operation/op", "\"set\""),
    ("envoy/gateway/tollbell.yaml", "EnvoyProxy", "/spec/bootstrap/type", "\"Append\""),
    ("envoy/gateway/gateway.yaml", "Gateway", "/spec/listeners/0/port", "\"http\""),
    ("envoy/kubernetes/deployment.yaml", "Deployment", "/spec/template/spec/containers/0/arguments", "[]"),
    ("envoy/kubernetes/deployment.yaml", "Service", "/spec/ports/0/port", "\"http\""),
];

#[test]
fn every_manifest_is_valid_and_mistakes_are_found() -> Result<()> {
    // The validator runs once for each schema.
    let mut cases: BTreeMap<Kind, Vec<Case>> = BTreeMap::new();
    let mut add = |name: String, is_wrong: bool, document: Value| -> Result<()> {
        let version = document["apiVersion"].as_str().context("no apiVersion")?.to_owned();
        let kind = document["kind"].as_str().context("no kind")?.to_owned();
        cases.entry((version, kind)).or_default().push(Case { name, is_wrong, document });
        Ok(())
    };
    for file in MANIFESTS {
        for document in documents(&text(file)?)? {
            add((*file).to_owned(), false, document)?;
        }
    }
    for (file, kind, place, value) in MISTAKES {
        let mut document = resource(file, kind)?;
        let (parent, name) = place.rsplit_once('/').context("a place")?;
        document.pointer_mut(parent).with_context(|| format!("{file}: {parent}"))?[name] = serde_json::from_str(value)?;
        add(format!("{file}: {place}: {value}"), true, document)?;
    }
    let schemas = schemas()?;
    for (kind, cases) in cases {
        let schema = schemas.get(&kind).with_context(|| format!("no schema of {kind:?}"))?;
        let documents: Vec<Value> = cases.iter().map(|case| case.document.clone()).collect();
        for (Case { name, is_wrong, .. }, wrong) in cases.iter().zip(wrong_places(schema, &documents)?) {
            ensure!(wrong.is_empty() != *is_wrong, "{name}: {kind:?}: wrong places: {wrong:?}");
        }
    }
    Ok(())
}

/// The configuration of tollbell in a file that `make test-packaging` wrote.
fn written(file: &str) -> Result<Value> {
    let whole = yaml(file)?;
    let listener = at(&whole, "/static_resources/listeners/0")?;
    let chain = listener.get("default_filter_chain").map_or_else(|| at(listener, "/filter_chains/0"), Ok)?;
    let value = at(chain, "/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value")?;
    Ok(match value {
        Value::String(text) => serde_json::from_str(text)?,
        value => value.clone(),
    })
}

/// The manifests' own configurations of tollbell have no mistakes, and the written files are made from them. Only
/// `make test-packaging` can make these files anew.
#[test]
fn the_written_configurations_are_those_of_the_manifests() -> Result<()> {
    let filter = resource("envoy/istio/envoyfilter.yaml", "EnvoyFilter")?;
    let plugin = at(&filter, "/spec/configPatches/1/patch/value/typed_config/config/configuration/value")?.clone();
    let cases = [
        (at(&resource("envoy/istio/tollbell.yaml", "WasmPlugin")?, "/spec/pluginConfig")?.clone(), ISTIO),
        (plugin, ISTIO_FILTER),
        (
            at(&resource("envoy/gateway/tollbell.yaml", "EnvoyExtensionPolicy")?, "/spec/wasm/0/config")?.clone(),
            GATEWAY,
        ),
    ];
    for (configuration, file) in cases {
        let text = configuration.to_string();
        let (_, warnings) = Config::load(text.as_bytes()).map_err(|errors| anyhow::anyhow!("{file}: {errors:?}"))?;
        ensure!(warnings.is_empty(), "{file}: {warnings:?}");
        let is_direct = written(file)? == configuration;
        let moved: Value = serde_json::from_str(&text.replace("https://hooks.example.com", "http://127.0.0.1:10002"))?;
        ensure!(
            is_direct || written(file)? == moved,
            "{file} is not made from its manifest: run `UPDATE=1 make test-packaging`"
        );
    }
    Ok(())
}

/// Each way to give the statistics their labels has the same tags.
#[test]
fn the_labels_of_statistics_are_the_same_everywhere() -> Result<()> {
    let tags = yaml("envoy/envoy.yaml")?["stats_config"]["stats_tags"].clone();
    ensure!(tags.as_array().is_some_and(|tags| tags.len() == 3), "{tags}");
    let labels = resource("envoy/istio/labels.yaml", "ConfigMap")?;
    let bootstrap = labels["data"]["custom_bootstrap.json"].as_str().context("no bootstrap")?;
    let istio: Value = serde_json::from_str(bootstrap)?;
    let proxy = resource("envoy/gateway/tollbell.yaml", "EnvoyProxy")?;
    let gateway: Value =
        serde_norway::from_str(at(&proxy, "/spec/bootstrap/value")?.as_str().context("no bootstrap")?)?;
    for (name, bootstrap) in
        [("labels.yaml", istio), ("EnvoyProxy", gateway), ("kubernetes", yaml("envoy/kubernetes/envoy.yaml")?)]
    {
        ensure!(bootstrap["stats_config"]["stats_tags"] == tags, "{name}: {}", bootstrap["stats_config"]);
    }
    Ok(())
}

/// The files for plain Kubernetes name each other's parts.
#[test]
fn the_parts_of_the_deployment_fit_together() -> Result<()> {
    let deployment = resource("envoy/kubernetes/deployment.yaml", "Deployment")?;
    let service = resource("envoy/kubernetes/deployment.yaml", "Service")?;
    let kustomization = yaml("envoy/kubernetes/kustomization.yaml")?;
    let envoy = yaml("envoy/kubernetes/envoy.yaml")?;
    let pod = at(&deployment, "/spec/template/spec")?;
    let labels = at(&deployment, "/spec/template/metadata/labels")?;
    ensure!(at(&deployment, "/spec/selector/matchLabels")? == labels && service["spec"]["selector"] == *labels);

    let generated = &kustomization["configMapGenerator"][0];
    ensure!(generated["name"] == *at(pod, "/volumes/0/configMap/name")? && generated["files"] == json!(["envoy.yaml"]));
    ensure!(kustomization["images"][0]["name"] == *at(pod, "/containers/0/image")?);
    let mount = at(pod, "/containers/0/volumeMounts/0/mountPath")?.as_str().context("a path")?;
    ensure!(at(pod, "/containers/0/args/1")? == &json!(format!("{mount}/envoy.yaml")));

    // The two listeners, the ports of the container, and those who use them by name.
    let port = |listener: usize| -> Result<&Value> {
        at(&envoy, &format!("/static_resources/listeners/{listener}/address/socket_address/port_value"))
    };
    ensure!(at(pod, "/containers/0/ports/0")? == &json!({ "name": "http", "containerPort": port(0)? }));
    ensure!(at(pod, "/containers/0/ports/1")? == &json!({ "name": "probes", "containerPort": port(1)? }));
    ensure!(service["spec"]["ports"][0]["targetPort"] == "http");
    ensure!(at(pod, "/containers/0/readinessProbe/httpGet")? == &json!({ "path": "/ready", "port": "probes" }));
    let scraped = at(&deployment, "/spec/template/metadata/annotations/prometheus.io~1port")?;
    ensure!(scraped == &json!(port(1)?.to_string()), "{scraped}");

    let module = written_module(&envoy)?;
    ensure!(text("envoy/kubernetes/Dockerfile")?.contains(&format!(" {module}\n")), "{module} is not in the image");
    Ok(())
}

fn written_module(envoy: &Value) -> Result<&str> {
    const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";
    let filter = at(envoy, FILTER)?;
    at(filter, "/typed_config/config/vm_config/code/local/filename")?.as_str().context("a file")
}
