//! The board and the alert rules of `envoy/observability`, on a real Prometheus that scrapes a real Envoy.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use serde_json::{Value, json};
use tollbell_tests::client::{self, get_with_key};
use tollbell_tests::envoy::{Envoy, Process, Setup, free_port};
use tollbell_tests::project_root;
use tollbell_tests::redis::Redis;
use tollbell_tests::server::{Manner, Server};

use crate::fleet::member;
use crate::support::{SOON, eventually, hook, shared};

const FOLDER: &str = "envoy/observability";

fn read(file: &str) -> Result<String> {
    let path = project_root().join(FOLDER).join(file);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The alert rules, by name.
fn alerts() -> Result<Vec<(String, Value)>> {
    let file: Value = serde_norway::from_str(&read("alerts.yaml")?)?;
    let rules = file["groups"].as_array().context("no groups")?.iter().flat_map(|group| group["rules"].as_array());
    rules.flatten().map(|rule| Ok((rule["alert"].as_str().context("no name")?.to_owned(), rule.clone()))).collect()
}

/// The queries of the board with its variables replaced, by the title of the panel.
fn queries_of_the_board() -> Result<Vec<(String, String)>> {
    let board: Value = serde_json::from_str(&read("board.json")?)?;
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("no expr")?;
            let query = query.replace("$__rate_interval", "10s").replace("$__range", "10s");
            let query = query.replace("$job", ".+").replace("$instance", ".+");
            ensure!(!query.contains('$'), "an unknown variable: {query}");
            queries.push((format!("panel {}", panel["title"]), query));
        }
    }
    Ok(queries)
}

/// The parts of an alert's expression that always have data, whether or not it fires.
fn queries_of_an_alert(expression: &str) -> Result<Vec<String>> {
    let operator = Regex::new(r"\s+(?:or|unless on \([a-z, ]+\))\s+")?;
    let comparison = Regex::new(r"\s*>\s*[0-9.]+\s*$")?;
    Ok(operator.split(expression).map(|part| comparison.replace(part, "").into_owned()).collect())
}

fn promtool(arguments: &[&str]) -> Result<()> {
    let output = Command::new("promtool").args(arguments).current_dir(project_root().join(FOLDER)).output();
    let output = output.context("promtool is not installed; `make test` installs it")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "promtool {arguments:?}: {out}{err}");
    Ok(())
}

#[test]
fn the_alert_rules_pass_their_unit_tests() -> Result<()> {
    promtool(&["check", "rules", "alerts.yaml"])?;
    promtool(&["test", "rules", "alerts.test.yaml"])
}

#[test]
fn every_alert_has_two_tests_and_a_line_on_what_to_do() -> Result<()> {
    let (tests, page) = (read("alerts.test.yaml")?, fs::read_to_string(project_root().join("docs/operating.md"))?);
    let alerts = alerts()?;
    for (name, _) in &alerts {
        for case in ["fires", "is silent"] {
            ensure!(tests.contains(&format!("\n- name: {name} {case}\n")), "alerts.test.yaml lacks `{name} {case}`");
        }
        ensure!(page.contains(&format!("\n| `{name}` |")), "docs/operating.md lacks {name}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `Tollbell")).count();
    ensure!(rows == alerts.len(), "docs/operating.md has {rows} alerts, alerts.yaml {}", alerts.len());
    Ok(())
}

#[test]
fn the_panels_of_the_board_are_complete_and_do_not_overlap() -> Result<()> {
    let board: Value = serde_json::from_str(&read("board.json")?)?;
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in board["panels"].as_array().context("no panels")? {
        ensure!(ids.insert(panel["id"].as_u64().context("no id")?), "two panels have the id of {}", panel["title"]);
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap_or(u64::MAX));
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            ensure!(cell.0 < 24 && cells.insert(cell), "{} overlaps another panel", panel["title"]);
        }
        let is_row = panel["type"] == "row";
        let has_source = panel["datasource"]["uid"] == "${datasource}";
        ensure!(is_row || has_source && panel["description"].is_string(), "{} is not complete", panel["title"]);
    }
    Ok(())
}

/// Grafana's own types of a board, checked by TypeScript.
#[test]
fn the_board_has_the_type_of_a_board_of_grafana() -> Result<()> {
    const TYPES: &str = "node_modules/@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen";
    let tools = project_root().join(".tools/grafana-schema").canonicalize().context("run `make test`")?;
    let folder = project_root().join("target/board");
    fs::create_dir_all(&folder)?;
    let check = |name: &str, board: &str| -> Result<String> {
        let types = tools.join(TYPES);
        let text = format!("import type {{ Dashboard }} from {types:?};\nexport const board: Dashboard = {board};\n");
        fs::write(folder.join(name), text)?;
        let output = Command::new("node")
            .arg(tools.join("node_modules/typescript/bin/tsc"))
            .args([
                "--noEmit",
                "--strict",
                "--skipLibCheck",
                "--module",
                "esnext",
                "--moduleResolution",
                "bundler",
                name,
            ])
            .current_dir(&folder)
            .output()
            .context("node is not installed")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let board = read("board.json")?;
    let errors = check("board.ts", &board)?;
    ensure!(errors.is_empty(), "{errors}");
    let errors = check("wrong.ts", &board.replace("\"graphTooltip\"", "\"tooltip\""))?;
    ensure!(errors.contains("TS2353"), "a wrong member is not found: {errors}");
    Ok(())
}

/// A Prometheus. Dropping it ends it.
struct Prometheus {
    port: u16,
    folder: PathBuf,
    _process: Process,
}

impl Prometheus {
    fn start(scrapes: Value) -> Result<Self> {
        let port = free_port()?;
        let folder = project_root().join("target/prometheus").join(format!("{}-{port}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [project_root().join(FOLDER).join("alerts.yaml").canonicalize()?],
            "scrape_configs": scrapes,
        });
        let file = folder.join("prometheus.yaml");
        fs::write(&file, config.to_string())?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--log.level=warn", "--web.enable-lifecycle"])
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?);
        let process = Process::start(&mut command).context("prometheus is not installed; `make test` installs it")?;
        Ok(Prometheus { port, folder, _process: process })
    }

    async fn get(&self, target: &str) -> Result<Value> {
        let reply = client::get(self.port, target, &[]).await?;
        let answer: Value = serde_json::from_str(&reply.body).with_context(|| reply.body.clone())?;
        ensure!(answer["status"] == "success", "{target}: {answer}");
        Ok(answer["data"].clone())
    }

    /// The samples of a query.
    async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.get(&format!("/api/v1/query?query={encoded}")).await?;
        Ok(data["result"].as_array().context("no result")?.clone())
    }

    /// The names of a job's metrics of tollbell, with the names of their labels.
    async fn shapes(&self, job: &str) -> Result<BTreeSet<(String, Vec<String>)>> {
        let samples = self.query(&format!(r#"{{job="{job}", __name__=~"tollbell_.+"}}"#)).await?;
        let shape = |sample: Value| {
            let labels = sample["metric"].as_object().context("no labels")?;
            let name = labels["__name__"].as_str().context("no name")?.to_owned();
            let labels = labels.keys().filter(|label| *label != "__name__").cloned().collect();
            anyhow::Ok((name, labels))
        };
        samples.into_iter().map(shape).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        println!("---- Prometheus' log ----\n{}", fs::read_to_string(self.folder.join("log")).unwrap_or_default());
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A gateway with a store, fetched keys of which one is closed, quotas, and a target that no cluster reaches.
fn configuration(keys: u16) -> Value {
    json!({
        "store": { "redis": { "cluster": "tollbell_redis" } },
        "apis": [{
            "api_id": "orders", "org_id": "acme", "listen_path": "/orders/",
            "event_handlers": { "events": {
                "AuthFailure": [hook("/auth", 1)],
                "QuotaExceeded": [hook("/quota", 1)],
                "KeyExpired": [{
                    "handler_name": "eh_web_hook_handler",
                    "handler_meta": { "target_path": "http://nowhere.example.com/", "event_timeout": 60 },
                }],
            } },
        }],
        "keys": {
            "good-key": {
                "org_id": "acme", "quota_max": 4, "quota_renewal_rate": 2, "monitor": { "trigger_limits": [50] },
            },
            "old-key": { "org_id": "acme", "expires": 1 },
        },
        "monitor": {
            "enable_trigger_monitors": true, "monitor_user_keys": true,
            "configuration": { "target_path": "http://RECEIVER/monitor", "event_timeout": 1 },
        },
        "keys_from": { "url": format!("http://127.0.0.1:{keys}/sessions"), "interval_s": 1 },
        "callouts": { "clusters": { "nowhere.example.com": "missing" } },
        "unmatched": "refuse",
    })
}

const SESSIONS: &str = r#"{"fetched": {"org_id": "acme"}, "closed": {"org_id": "acme", "hmac_enabled": true}}"#;

/// Requests with every kind of key.
async fn load(envoy: &Envoy, round: usize) -> Result<()> {
    for key in ["good-key", "good-key", "good-key", "fetched", "closed", "old-key", "wrong-key"] {
        get_with_key(envoy.port, &format!("/orders/{round}"), key).await?;
    }
    get_with_key(envoy.port, "/nothing", "good-key").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_board_and_alerts_has_data_and_an_alert_fires() -> Result<()> {
    let _shared = shared().await;
    let redis = tokio::task::spawn_blocking(Redis::start).await??;
    let (upstream, receiver, keys) = (Server::start().await?, Server::start().await?, Server::start().await?);
    keys.set_manner(Manner { body: SESSIONS.to_owned(), ..Manner::default() });
    let setup = member::setup(&configuration(keys.port), upstream.port, receiver.port, &[redis.port()])?;
    let envoy = setup.start().await?;
    let scrapes = json!([{
        "job_name": "envoy", "metrics_path": "/stats/prometheus",
        "static_configs": [{ "targets": [format!("127.0.0.1:{}", envoy.admin)] }],
    }]);
    let prometheus = Prometheus::start(scrapes)?;

    let mut missing = queries_of_the_board()?;
    for (name, rule) in alerts()? {
        let expression = rule["expr"].as_str().context("no expr")?;
        missing.extend(queries_of_an_alert(expression)?.into_iter().map(|query| (name.clone(), query)));
    }
    ensure!(missing.len() > 40, "only {} queries", missing.len());
    let deadline = Instant::now() + SOON;
    for round in 0.. {
        // Half of the time, the receiver fails.
        receiver.set_manner(Manner { status: if round % 8 < 4 { 200 } else { 500 }, ..Manner::default() });
        load(&envoy, round).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut still = Vec::new();
        for (name, query) in missing {
            // Prometheus may not have started yet.
            let is_there = match prometheus.query(&query).await {
                Ok(samples) => !samples.is_empty(),
                Err(error) if error.to_string().contains("/api/") => bail!("{name}: {error:#}"),
                Err(_) => false,
            };
            if !is_there {
                still.push((name, query));
            }
        }
        missing = still;
        if missing.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "no data: {missing:#?}");
    }

    // The target whose cluster is missing fires an alert.
    eventually("an alert fires", async || {
        let alerts = prometheus.get("/api/v1/alerts").await?["alerts"].clone();
        let mut alerts = alerts.as_array().context("no alerts")?.iter();
        Ok(alerts.any(|alert| alert["labels"]["alertname"] == "TollbellClusterMissing" && alert["state"] == "firing"))
    })
    .await
}

/// With the rules of `relabel.yaml`, an Envoy without labels has the metrics of one with labels.
#[tokio::test(flavor = "multi_thread")]
async fn relabelling_makes_the_metrics_of_a_mesh_those_of_the_board() -> Result<()> {
    let _shared = shared().await;
    let (upstream, receiver) = (Server::start().await?, Server::start().await?);
    let labelled = Setup::file("envoy/envoy.yaml", upstream.port, receiver.port)?.start().await?;
    let without = |yaml: String| yaml.replace("stats_config:", "layered_runtime: {}\n").replace("  stats_tags:\n", "");
    let tags = Regex::new(r"(?m)^  - \{ tag_name: .*\n")?;
    let plain = Setup::file("envoy/envoy.yaml", upstream.port, receiver.port)?
        .edit(|yaml| tags.replace_all(&without(yaml), "").into_owned())
        .start()
        .await?;
    for envoy in [&labelled, &plain] {
        get_with_key(envoy.port, "/orders/1", "wrong-key").await?;
    }
    receiver.expect(2, SOON).await?;
    let names = plain.admin("/stats/prometheus").await?;
    ensure!(names.contains("\ntollbell_requests_outcome_admitted{} 0\n"), "the names have labels: {names}");
    let relabel: Value = serde_norway::from_str(&read("relabel.yaml")?)?;
    let scrape = |job: &str, envoy: &Envoy, rules: &Value| {
        json!({
            "job_name": job, "metrics_path": "/stats/prometheus", "metric_relabel_configs": rules,
            "static_configs": [{ "targets": [format!("127.0.0.1:{}", envoy.admin)] }],
        })
    };
    let scrapes =
        [scrape("labelled", &labelled, &json!([])), scrape("mesh", &plain, &relabel["metric_relabel_configs"])];
    let prometheus = Prometheus::start(json!(scrapes))?;
    let attempt =
        |job: &str| format!(r#"tollbell_attempts{{job="{job}", outcome="delivered", target=~"127.0.0.1_.+"}}"#);
    eventually("both are scraped", async || {
        let [labelled, mesh] = [attempt("labelled"), attempt("mesh").replace("127.0.0.1_", "127_0_0_1_")];
        let (Ok(labelled), Ok(mesh)) = (prometheus.query(&labelled).await, prometheus.query(&mesh).await) else {
            return Ok(false);
        };
        Ok(!labelled.is_empty() && !mesh.is_empty())
    })
    .await?;
    let (labelled, mesh) = (prometheus.shapes("labelled").await?, prometheus.shapes("mesh").await?);
    let different: Vec<_> = labelled.symmetric_difference(&mesh).collect();
    ensure!(different.is_empty(), "{different:#?}");
    ensure!(labelled.len() > 20, "only {labelled:#?}");
    Ok(())
}
