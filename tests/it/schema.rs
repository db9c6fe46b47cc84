//! The JSON Schemas for editors, checked with an independent validator: ajv.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tollbell_tests::project_root;

const ENVOY_SCHEMA: &str = "envoy/envoy.schema.json";
const SCHEMA: &str = "envoy/tollbell.schema.json";

/// The places of the errors in each document, by a schema of the project.
fn wrong_by(schema: &str, documents: &[Value]) -> Result<Vec<Vec<String>>> {
    wrong_places(&serde_json::from_str(&fs::read_to_string(project_root().join(schema))?)?, documents)
}

/// The places of the errors in each document.
pub fn wrong_places(schema: &Value, documents: &[Value]) -> Result<Vec<Vec<String>>> {
    let mut child = Command::new("node")
        .args(["tests/verify/schema.mjs", ".tools/ajv"])
        .current_dir(project_root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("node is not installed")?;
    let input = json!({ "schema": schema, "documents": documents }).to_string();
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "ajv did not run; `make test` installs it");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn yaml(path: &PathBuf) -> Result<Value> {
    let text = fs::read_to_string(path)?;
    serde_norway::from_str(&text).with_context(|| path.display().to_string())
}

/// `envoy/envoy.yaml` and the examples.
fn files() -> Result<Vec<PathBuf>> {
    let mut files = vec![project_root().join("envoy/envoy.yaml")];
    for entry in fs::read_dir(project_root().join("examples"))? {
        files.push(entry?.path().join("envoy.yaml"));
    }
    Ok(files)
}

const FILTER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config";

#[test]
fn the_schemas_match_the_code() -> Result<()> {
    for (file, schema) in
        [(SCHEMA, tollbell_core::config::schema()), (ENVOY_SCHEMA, tollbell_core::config::envoy_schema())]
    {
        let text = fs::read_to_string(project_root().join(file))?;
        ensure!(serde_json::from_str::<Value>(&text)? == schema, "{file} is not the code's: run `make schema`");
    }
    Ok(())
}

#[test]
fn every_file_that_users_copy_is_valid_and_names_its_schema() -> Result<()> {
    let files = files()?;
    let documents: Vec<Value> = files.iter().map(yaml).collect::<Result<_>>()?;
    for (file, wrong) in files.iter().zip(wrong_by(ENVOY_SCHEMA, &documents)?) {
        ensure!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
        let text = fs::read_to_string(file)?;
        let modeline = text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema="));
        let schema = file.parent().context("a folder")?.join(modeline.context("no modeline")?);
        ensure!(schema.canonicalize()? == project_root().join(ENVOY_SCHEMA).canonicalize()?, "{}", file.display());
    }
    Ok(())
}

/// A place in tollbell's part of `envoy/envoy.yaml`, a wrong value, and the place where the schema reports it.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("/apis/0/event_handlers/events/AuthFailed", "[]", "/apis/0/event_handlers/events"),
    (
        "/apis/0/event_handlers/events/AuthFailure/0/handler_name",
        "\"eh_webhook\"",
        "/apis/0/event_handlers/events/AuthFailure/0/handler_name",
    ),
    (
        "/apis/0/event_handlers/events/AuthFailure/0/handler_meta/method",
        "\"FETCH\"",
        "/apis/0/event_handlers/events/AuthFailure/0/handler_meta/method",
    ),
    (
        "/apis/0/event_handlers/events/AuthFailure/0/handler_meta/event_timeout",
        "-1",
        "/apis/0/event_handlers/events/AuthFailure/0/handler_meta/event_timeout",
    ),
    (
        "/apis/0/event_handlers/events/AuthFailure/0/handler_meta/target",
        "\"http://a/\"",
        "/apis/0/event_handlers/events/AuthFailure/0/handler_meta",
    ),
    (
        "/apis/0/server",
        r#"{"eventHandlers": [{"enabled": true, "trigger": "Hostdown", "type": "webhook"}]}"#,
        "/apis/0/server/eventHandlers/0/trigger",
    ),
    (
        "/apis/0/server",
        r#"{"eventHandlers": [{"enabled": true, "trigger": "HostDown", "type": "custom"}]}"#,
        "/apis/0/server/eventHandlers/0/type",
    ),
    (
        "/apis/0/observe",
        r#"{"rules": [{"event": "key_events", "method": "POST", "path": "/x"}]}"#,
        "/apis/0/observe/rules/0/event",
    ),
    (
        "/apis/0/observe",
        r#"{"rules": [{"event": "key_event", "action": "added", "method": "POST", "path": "/x"}]}"#,
        "/apis/0/observe/rules/0/action",
    ),
    ("/apis/0/observe", r#"{"preset": "tyk"}"#, "/apis/0/observe/preset"),
    ("/apis/0/use_keyless", "\"no\"", "/apis/0/use_keyless"),
    ("/apis/0/listen_pth", "\"/x\"", "/apis/0"),
    ("/apis/1", "{}", "/apis/1"),
    ("/keys/demo-key/quota_max", "-10", "/keys/demo-key/quota_max"),
    ("/keys/demo-key/per", "-2", "/keys/demo-key/per"),
    ("/keys/demo-key/expires", "4102444800000", "/keys/demo-key/expires"),
    ("/keys/demo-key/monitor/trigger_limits", "[0]", "/keys/demo-key/monitor/trigger_limits/0"),
    ("/monitor/global_trigger_limit", "120", "/monitor/global_trigger_limit"),
    ("/orgs/acme/event_options", r#"{"api_events": {"webhook": "http://a/"}}"#, "/orgs/acme/event_options"),
    ("/webhooks", r#"[{"name": "a", "target_url": "http://a/", "events": ["Nothing"]}]"#, "/webhooks/0/events/0"),
    ("/email_templates", r#"{"key_evnt": {}}"#, "/email_templates"),
    ("/delivery", r#"{"max_attempts": 0}"#, "/delivery/max_attempts"),
    ("/unmatched", "\"deny\"", "/unmatched"),
    ("/enforce_quotas", "true", ""),
];

fn set(document: &mut Value, pointer: &str, value: Value) -> Result<()> {
    let (parent, name) = pointer.rsplit_once('/').context("a pointer")?;
    match document.pointer_mut(parent).with_context(|| parent.to_owned())? {
        Value::Array(items) => items[name.parse::<usize>()?] = value,
        other => other[name] = value,
    }
    Ok(())
}

#[test]
fn mistakes_are_found_at_their_places() -> Result<()> {
    let example = yaml(&project_root().join("envoy/envoy.yaml"))?;
    let place = format!("{FILTER}/config/configuration/value");
    let (mut whole, mut own) = (Vec::new(), Vec::new());
    for (pointer, value, _) in MISTAKES {
        let mut document = example.clone();
        set(&mut document, &format!("{place}{pointer}"), serde_json::from_str(value)?)?;
        own.push(document.pointer(&place).context("tollbell's part")?.clone());
        whole.push(document);
    }
    let found = wrong_by(ENVOY_SCHEMA, &whole)?.into_iter().zip(wrong_by(SCHEMA, &own)?);
    for ((pointer, value, expected), (whole, own)) in MISTAKES.iter().zip(found) {
        let in_whole = format!("{place}{expected}");
        ensure!(whole.contains(&in_whole), "{pointer}: {value}: {whole:?}");
        ensure!(own.iter().any(|found| found == expected), "{pointer}: {value}: {own:?}");
    }
    Ok(())
}

/// Parts that are not tollbell's, or that the schema cannot check, are left alone.
#[test]
fn parts_of_envoy_are_never_marked() -> Result<()> {
    let example = yaml(&project_root().join("envoy/envoy.yaml"))?;
    let wrong = json!({ "apis": 5, "anything": [] });
    let with = |changes: &[(&str, Value)]| -> Result<Value> {
        let mut document = example.clone();
        changes.iter().try_for_each(|(pointer, value)| set(&mut document, pointer, value.clone()))?;
        Ok(document)
    };
    let at = |place: &str| format!("{FILTER}{place}");
    let text = json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{\"apis\": 5}" });
    let structure = json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": wrong });
    let fine = [
        with(&[(&at("/config/configuration"), text)])?,
        // Another module.
        with(&[
            (&at("/config/name"), json!("other")),
            (&at("/config/vm_config/code/local/filename"), json!("/etc/other.wasm")),
            (&at("/config/configuration"), structure.clone()),
        ])?,
        with(&[("/static_resources/listeners/0/metadata", json!({ "filter_metadata": { "x": structure } }))])?,
        with(&[(
            "/layered_runtime",
            json!({ "layers": [{ "name": "x", "static_layer": { "a": -5, "apis": null } }] }),
        )])?,
        json!({}),
        json!({ "resources": [{ "@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "x" }] }),
    ];
    for (index, wrong) in wrong_by(ENVOY_SCHEMA, &fine)?.iter().enumerate() {
        ensure!(wrong.is_empty(), "document {index}: {wrong:?}");
    }
    // tollbell's part is recognised by its file alone, by its name alone, and in a file with one listener.
    let marked = [
        with(&[(&at("/config/name"), json!("gateway")), (&at("/config/configuration"), structure.clone())])?,
        with(&[
            (&at("/config/vm_config/code"), json!({ "remote": {} })),
            (&at("/config/configuration"), structure.clone()),
        ])?,
        {
            let mut document = with(&[(&at("/config/configuration"), structure)])?;
            json!({ "resources": [document["static_resources"]["listeners"][0].take()] })
        },
    ];
    for (index, wrong) in wrong_by(ENVOY_SCHEMA, &marked)?.iter().enumerate() {
        ensure!(wrong.iter().any(|place| place.ends_with("/value/apis")), "document {index}: {wrong:?}");
    }
    Ok(())
}
