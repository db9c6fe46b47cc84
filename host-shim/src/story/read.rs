//! Reads stories from YAML. Each error has its line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use super::{Action, Behaviour, Expected, Fault, Step, Story, values};
use crate::config;
use crate::config::node::{Node, Value};
use crate::gateway::Request;
use crate::guest::HOSTCALLS;
use crate::state::faults::CalloutFault;

pub(super) fn stories(paths: &[PathBuf]) -> Result<Vec<Story>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut found: Vec<PathBuf> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            found.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
            found.sort();
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        bail!(
            "there is no story (a .yaml file) in {}",
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    files.iter().map(|file| story(file)).collect()
}

pub(super) fn story(path: &Path) -> Result<Story> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let root =
        config::node_of_yaml(&text).map_err(|(line, message)| anyhow!("{}:{line}: {message}", path.display()))?;
    let at = |line: usize, message: String| anyhow!("{}:{line}: {message}", path.display());
    let Value::Map(entries) = &root.value else {
        bail!(at(root.line, "a story must be a map with story, envoy and steps".to_owned()))
    };
    let mut story = Story {
        name: String::new(),
        file: path.to_owned(),
        envoy: PathBuf::new(),
        configuration: None,
        workers: 1,
        steps: Vec::new(),
    };
    for (key, node) in entries {
        match key.name.as_str() {
            "story" => {
                story.name = text_of(node).ok_or_else(|| at(node.line, "story: expected a string".to_owned()))?
            }
            "envoy" => {
                let file =
                    text_of(node).ok_or_else(|| at(node.line, "envoy: expected the name of a file".to_owned()))?;
                story.envoy = path.parent().unwrap_or(Path::new("")).join(file);
            }
            "configuration" => story.configuration = Some(node.clone()),
            "workers" => match node.value {
                Value::Int(workers @ 1..=64) => story.workers = usize::try_from(workers).unwrap_or(1),
                _ => bail!(at(node.line, "workers: expected a number from 1 to 64".to_owned())),
            },
            "steps" => {
                let Value::List(steps) = &node.value else { bail!(at(node.line, "steps: expected a list".to_owned())) };
                for node in steps {
                    let action = action(node).map_err(|error| at(node.line, format!("{error:#}")))?;
                    story.steps.push(Step { line: node.line, action });
                }
            }
            other => {
                bail!(at(
                    key.line,
                    format!("{other}: unknown key; a story has story, envoy, configuration, workers and steps")
                ))
            }
        }
    }
    if story.name.is_empty() || story.envoy.as_os_str().is_empty() || story.steps.is_empty() {
        bail!(at(root.line, "a story needs story, envoy and steps".to_owned()));
    }
    Ok(story)
}

fn text_of(node: &Node) -> Option<String> {
    match &node.value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    request: Option<RawRequest>,
    answer: Option<RawExpected>,
    upstream: Option<RawBehaviour>,
    targets: Option<RawBehaviour>,
    advance: Option<String>,
    messages: Option<Vec<RawExpected>>,
    metrics: Option<BTreeMap<String, u64>>,
    configure: Option<serde_json::Value>,
    fault: Option<RawFault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default = "once")]
    times: usize,
    worker: Option<usize>,
}

fn get() -> String {
    "GET".to_owned()
}

fn once() -> usize {
    1
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpected {
    status: Option<u16>,
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Option<serde_json::Value>>,
    text: Option<String>,
    json: Option<serde_json::Value>,
    members: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBehaviour {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    delay: Option<String>,
    #[serde(default)]
    refused: bool,
    #[serde(default)]
    reset: bool,
}

fn ok() -> u16 {
    200
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum RawFault {
    CasMismatches(u32),
    LostNotifications(u32),
    Callout(RawCalloutFault),
    Death {
        hostcall: String,
        #[serde(default = "first")]
        nth: u32,
        thread: Option<usize>,
    },
}

fn first() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawCalloutFault {
    RefusedAtOnce,
    TimesOut,
    ConnectFailure,
    Reset,
    Late(String),
    Status(u16),
}

fn action(node: &Node) -> Result<Action> {
    let raw: RawStep = serde_json::from_value(values::step(node))?;
    if raw.answer.is_some() && raw.request.is_none() {
        bail!("answer is allowed only with request");
    }
    let answer = raw.answer.map(answer).transpose()?.unwrap_or_default();
    let mut actions = Vec::new();
    if let Some(raw) = raw.request {
        actions.push(request(raw, answer)?);
    }
    actions.extend(raw.upstream.map(behaviour).transpose()?.map(Action::Upstream));
    actions.extend(raw.targets.map(behaviour).transpose()?.map(Action::Targets));
    actions.extend(raw.advance.map(|text| duration(&text)).transpose()?.map(Action::Advance));
    actions.extend(raw.messages.map(messages).transpose()?.map(Action::Messages));
    actions.extend(raw.metrics.map(Action::Metrics));
    if raw.configure.is_some() {
        actions.extend(node.find("configure").cloned().map(Action::Configure));
    }
    actions.extend(raw.fault.map(fault).transpose()?.map(Action::Fault));
    let mut actions = actions.into_iter();
    match (actions.next(), actions.next()) {
        (Some(action), None) => Ok(action),
        _ => bail!(
            "a step has one of request (with answer), upstream, targets, advance, messages, metrics, configure, fault"
        ),
    }
}

fn answer(raw: RawExpected) -> Result<Expected> {
    if raw.method.is_some() || raw.path.is_some() {
        bail!("answer: method and path are allowed only in messages");
    }
    Ok(expected(raw))
}

fn messages(raw: Vec<RawExpected>) -> Result<Vec<Expected>> {
    if raw.iter().any(|message| message.status.is_some()) {
        bail!("messages: status is allowed only in answer");
    }
    Ok(raw.into_iter().map(expected).collect())
}

fn request(raw: RawRequest, answer: Expected) -> Result<Action> {
    if raw.times == 0 {
        bail!("request: times: 0 would send nothing");
    }
    if raw.worker == Some(0) {
        bail!("request: worker: there is no worker 0: the first is 1");
    }
    let mut request = Request::new(&raw.method, &raw.path);
    for (name, value) in &raw.headers {
        request = request.header(name, value);
    }
    if let Some(body) = raw.body {
        request = request.body(body);
    }
    Ok(Action::Request { request, times: raw.times, worker: raw.worker, answer: Box::new(answer) })
}

fn expected(raw: RawExpected) -> Expected {
    let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Expected {
        status: raw.status,
        method: raw.method,
        path: raw.path,
        headers: raw.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value.map(text))).collect(),
        text: raw.text,
        json: raw.json,
        members: raw.members,
    }
}

fn behaviour(raw: RawBehaviour) -> Result<Behaviour> {
    Ok(Behaviour {
        status: raw.status,
        headers: raw.headers,
        body: raw.body,
        delay: raw.delay.map(|text| duration(&text)).transpose()?.unwrap_or_default(),
        is_refused: raw.refused,
        is_reset: raw.reset,
    })
}

fn fault(raw: RawFault) -> Result<Fault> {
    Ok(match raw {
        RawFault::CasMismatches(count) => Fault::CasMismatches(count),
        RawFault::LostNotifications(count) => Fault::LostNotifications(count),
        RawFault::Callout(callout) => Fault::Callout(match callout {
            RawCalloutFault::RefusedAtOnce => CalloutFault::RefusedAtOnce,
            RawCalloutFault::TimesOut => CalloutFault::TimesOut,
            RawCalloutFault::ConnectFailure => CalloutFault::ConnectFailure,
            RawCalloutFault::Reset => CalloutFault::Reset,
            RawCalloutFault::Late(text) => CalloutFault::Late(duration(&text)?),
            RawCalloutFault::Status(status) => CalloutFault::Status(status),
        }),
        RawFault::Death { hostcall, nth, thread } if HOSTCALLS.contains(&hostcall.as_str()) => {
            Fault::Death { hostcall, nth, thread }
        }
        RawFault::Death { hostcall, .. } => {
            bail!("fault: death: there is no hostcall {hostcall:?}{}", config::hint(&hostcall, HOSTCALLS))
        }
    })
}

/// Parses a duration such as `61s`, `500ms`, `2m` or `1h 30m`.
fn duration(text: &str) -> Result<Duration> {
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| anyhow!("{text:?} is not a duration: write 61s, 500ms, 2m or 1h"))?;
    Duration::try_from(parsed).map_err(|_| anyhow!("{text:?} is a negative duration"))
}
