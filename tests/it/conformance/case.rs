//! Cases in the form of the files in `tests/conformance`, and the behaviour of a host in each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tollbell_tests::project_root;

/// A file of cases, which share one process of the host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Theme {
    /// The file's name without its ending.
    #[serde(skip)]
    pub name: String,
    /// The cases in the order in which they run.
    pub cases: Vec<Case>,
}

/// Scripts, and the requests that run them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A name that is unique in all files.
    pub name: String,
    /// The script of the only filter.
    pub script: Option<String>,
    /// The filters, from downstream to upstream, if there is more than one script.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// The requests, one after the other; one GET by default.
    #[serde(default = "one_get")]
    pub requests: Vec<Request>,
    /// The target of the listener's only route.
    #[serde(default)]
    pub route: Route,
    /// The cluster of the route, instead of `upstream`.
    pub cluster: Option<String>,
    /// More fields of the listener.
    #[serde(default)]
    pub listener: Fields,
    /// More fields of the connection manager.
    #[serde(default)]
    pub manager: Fields,
    /// More fields of the action of a route to a cluster.
    #[serde(default)]
    pub action: Fields,
    /// More fields of the route.
    #[serde(default)]
    pub route_fields: Fields,
    /// True if the route matches CONNECT requests instead of all others.
    #[serde(default)]
    pub connects: bool,
    /// The domains of the virtual host; all by default.
    #[serde(default)]
    pub domains: Vec<String>,
    /// The answer of the upstream.
    #[serde(default)]
    pub upstream: Answer,
    /// The answers to the first requests, before the upstream answers as `upstream` says.
    #[serde(default)]
    pub first_answers: Vec<Answer>,
    /// True if HTTP/1.1 trailers pass.
    #[serde(default)]
    pub trailers: bool,
    /// True if the listener has a direction, and listener and route have metadata.
    #[serde(default)]
    pub decorated: bool,
    /// True if the beginning of a request that is refused may reach the upstream or not. It is not observed then.
    #[serde(default)]
    pub upstream_races: bool,
    /// True if the lines of the setup are observed, sorted, instead of those of the traffic.
    #[serde(default)]
    pub setup: bool,
    /// True if the case needs its own process, because the host may refuse it or die.
    #[serde(default)]
    pub own_process: bool,
    /// The beginnings of the names of statistics to observe at the end.
    #[serde(default)]
    pub stats: Vec<String>,
    /// The case continues until a log line contains this text.
    pub until: Option<String>,
}

/// Fields of a message in the configuration.
pub type Fields = BTreeMap<String, serde_json::Value>;

/// A filter that runs the probe.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The plugin's configuration.
    #[serde(default)]
    pub script: String,
    /// The VM's configuration.
    #[serde(default)]
    pub vm_script: String,
    /// The plugin's root_id.
    #[serde(default)]
    pub root_id: String,
    /// The suffix of the case's vm_id. Filters of a case with equal VM settings share a VM.
    #[serde(default)]
    pub vm: String,
    /// As in Envoy's PluginConfig; Envoy's default if empty.
    #[serde(default)]
    pub failure_policy: String,
    /// Hostcalls and callbacks to allow; all if empty.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// True if there is no configuration at all, instead of an empty one.
    #[serde(default)]
    pub unconfigured: bool,
    /// As in Envoy's PluginConfig.
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// The calls of a module of its own, instead of the probe; `wasi.rs` describes them.
    #[serde(default)]
    pub wasi: Vec<String>,
}

/// The target of a route.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The cluster of an upstream that answers.
    #[default]
    Upstream,
    /// A cluster without a server.
    Refused,
    /// A direct response: 200 `direct`.
    Direct,
    /// No target.
    None,
}

/// A request. Headers are `name: value`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// Headers in addition to `host`.
    pub headers: Vec<String>,
    /// The number of repetitions of the headers.
    pub repeat_headers: usize,
    /// The whole request as it is sent, instead of everything above and below that would be sent.
    pub raw: String,
    /// The body, sent with its length.
    pub body: String,
    /// The number of repetitions of the body.
    pub repeat: usize,
    /// The body, chunked, with a pause before each chunk.
    pub chunks: Vec<String>,
    /// The trailers after the chunks.
    pub trailers: Vec<String>,
    /// The data that is sent one after the other when the head of a response has opened a tunnel. The client reads what
    /// comes back as the body, and closes the connection.
    pub tunnel: Vec<String>,
    /// True if the next request waits until this one is answered.
    pub wait: bool,
    /// The time without an answer after which the client closes the connection, in milliseconds.
    pub hang_up_ms: Option<u64>,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            repeat_headers: 1,
            raw: String::new(),
            body: String::new(),
            repeat: 1,
            chunks: Vec::new(),
            trailers: Vec::new(),
            tunnel: Vec::new(),
            wait: true,
            hang_up_ms: None,
        }
    }
}

fn one_get() -> Vec<Request> {
    vec![Request::default()]
}

/// The answer of a server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<String>,
    /// The whole answer as it is sent, instead of everything else. The server then closes the connection.
    pub raw: String,
    /// True if the server does not close the connection after `raw`, returns what it gets, and closes the connection
    /// after `close`. The request is on record with the data as its body.
    pub tunnel: bool,
    /// The body, sent with its length.
    pub body: String,
    /// The body, chunked, with a pause before each chunk.
    pub chunks: Vec<String>,
    /// The trailers after the chunks.
    pub trailers: Vec<String>,
    /// The time before the answer.
    pub delay_ms: u64,
    /// True if the server closes the connection in the middle of the body.
    pub cut: bool,
}

impl Default for Answer {
    fn default() -> Self {
        Answer {
            status: 200,
            headers: vec!["x-upstream: yes".to_owned()],
            raw: String::new(),
            tunnel: false,
            body: "ok".to_owned(),
            chunks: Vec::new(),
            trailers: Vec::new(),
            delay_ms: 0,
            cut: false,
        }
    }
}

/// The observed behaviour in a case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// True if the host did not start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The responses that the client got, by request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responses: Vec<Seen>,
    /// The requests that the upstream and the callout server got, sorted by method and path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream_requests: Vec<Seen>,
    /// Statistics: `name: value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<String>,
    /// The guests' lines: `[plugin] text`, or `[plugin level] text` if the level is not info.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_lines: Vec<String>,
}

/// A request or a response as its receiver saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// True if `100 Continue` came before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// `200`, `HTTP/1.0 200`, or `GET /path`; `nothing` if the connection was closed before.
    pub start: String,
    /// `name: value`, in the order of the wire.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Trailers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trailers: Vec<String>,
    /// True if the connection was closed before the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// The record of a case.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    #[serde(flatten)]
    observed: Observed,
}

impl Case {
    /// The filters, including one made from `script`.
    pub fn filters(&self) -> Vec<Filter> {
        let only = self.script.iter().map(|script| Filter { script: script.clone(), ..Filter::default() });
        only.chain(self.filters.iter().cloned()).collect()
    }

    /// The name of the n-th filter's plugin: the case's name and a letter.
    pub fn plugin(&self, n: usize) -> String {
        format!("{}.{}", self.name, ["a", "b", "c", "d"].get(n).unwrap_or(&"more"))
    }

    /// The vm_id of a filter.
    pub fn vm_id(&self, filter: &Filter) -> String {
        format!("{}{}", self.name, filter.vm)
    }
}

fn folder() -> PathBuf {
    project_root().join("tests/conformance")
}

fn record(theme: &str) -> PathBuf {
    folder().join("recorded").join(theme).with_extension("yaml")
}

/// All themes, by name.
pub fn themes() -> Result<Vec<Theme>> {
    let mut themes = Vec::new();
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path)?;
            let theme: Theme = serde_norway::from_str(&text).with_context(|| path.display().to_string())?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            themes.push(Theme { name, ..theme });
        }
    }
    themes.sort_by(|one, other| one.name.cmp(&other.name));
    let mut names = BTreeSet::new();
    for case in themes.iter().flat_map(|theme| &theme.cases) {
        ensure!(names.insert(&case.name), "two cases have the name {}", case.name);
    }
    Ok(themes)
}

impl Theme {
    /// The recorded behaviour, by the case's name.
    pub fn recorded(&self) -> Result<Vec<(String, Observed)>> {
        let Ok(text) = fs::read_to_string(record(&self.name)) else { return Ok(Vec::new()) };
        let records: Vec<Record> = serde_norway::from_str(&text).with_context(|| self.name.clone())?;
        Ok(records.into_iter().map(|record| (record.name, record.observed)).collect())
    }

    /// Replaces the record.
    pub fn write_record(&self, observed: Vec<(String, Observed)>) -> Result<()> {
        let records: Vec<Record> = observed.into_iter().map(|(name, observed)| Record { name, observed }).collect();
        Ok(fs::write(record(&self.name), serde_norway::to_string(&records)?)?)
    }
}
