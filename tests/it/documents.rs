//! The documents: snippets are valid, links lead to existing targets, and statistics and log lines are the module's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use serde_json::{Value, json};
use tollbell_core::config::Config;
use tollbell_tests::{envoy, project_root, reference, shim_fields};

use crate::files::{blocks, pages, shell};
use crate::support::{World, hook};

/// All documents of the project for readers, except the generated table of fields.
fn documents() -> Result<Vec<PathBuf>> {
    let root = project_root();
    let mut files = pages()?;
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"] {
        files.push(root.join(name));
    }
    for entry in fs::read_dir(root.join("examples"))?.chain(fs::read_dir(root.join("envoy"))?) {
        let path = entry?.path();
        if path.is_dir() {
            files.push(path.join("README.md"));
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The name of a document in messages.
fn shown(path: &Path) -> String {
    path.strip_prefix(project_root()).unwrap_or(path).display().to_string()
}

#[test]
fn the_reference_is_made_from_the_schema() -> Result<()> {
    let schema = serde_json::from_str(&read(&project_root().join("envoy/tollbell.schema.json"))?)?;
    let page = read(&project_root().join("docs/configuration.md"))?;
    ensure!(
        reference::page(&page, &schema, &reference::configurations()?)? == page,
        "docs/configuration.md is not current: run `make reference`"
    );
    Ok(())
}

#[test]
fn the_page_on_the_fields_is_made_from_the_table_of_the_shim() -> Result<()> {
    let page = read(&project_root().join("docs/host-shim-configuration.md"))?;
    ensure!(shim_fields::page(&page)? == page, "docs/host-shim-configuration.md is not current: run `make reference`");
    Ok(())
}

/// `yaml` blocks are whole configurations of tollbell without errors or warnings. `yaml part` blocks may have warnings:
/// they show a setting without the settings that use it.
#[test]
fn the_configurations_of_the_pages_are_valid() -> Result<()> {
    let (mut count, mut wrong) = (0, Vec::new());
    for page in pages()? {
        let text = read(&page)?;
        for (kind, may_warn) in [("yaml", false), ("yaml tollbell", false), ("yaml part", true)] {
            for block in blocks(&text, kind) {
                let config: Value =
                    serde_norway::from_str(block).with_context(|| format!("{}: {block}", shown(&page)))?;
                let findings = match Config::load(config.to_string().as_bytes()) {
                    Ok((_, warnings)) if may_warn || warnings.is_empty() => Vec::new(),
                    Ok((_, findings)) | Err(findings) => findings,
                };
                wrong.extend(findings.iter().map(|finding| format!("{}: {finding}", shown(&page))));
                count += 1;
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    ensure!(count > 0, "no page shows a configuration");
    Ok(())
}

/// `yaml envoy` and `yaml routes` blocks are fragments of Envoy's configuration. A real Envoy accepts them in their
/// place in `envoy/envoy.yaml`.
#[test]
fn the_envoy_configurations_of_the_pages_are_valid() -> Result<()> {
    for page in pages()? {
        let text = read(&page)?;
        let mut fragments: Vec<Value> = Vec::new();
        for block in blocks(&text, "yaml envoy") {
            fragments.push(serde_norway::from_str(block).with_context(|| format!("{}: {block}", shown(&page)))?);
        }
        for block in blocks(&text, "yaml routes") {
            fragments.push(json!({ "routes": serde_norway::from_str::<Value>(block)? }));
        }
        for fragment in fragments {
            let whole = within_envoy(&fragment)?;
            let folder = project_root().join("target/pages");
            fs::create_dir_all(&folder)?;
            let file = folder.join("envoy.json");
            fs::write(&file, whole.to_string())?;
            let output = Command::new(envoy::binary()?)
                .args(["--mode", "validate", "--use-dynamic-base-id", "--config-path"])
                .arg(&file)
                .current_dir(project_root())
                .output()?;
            let log = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}: {fragment:#}\n{log}", shown(&page));
        }
    }
    Ok(())
}

/// `envoy/envoy.yaml` with a fragment inserted at the place of its members.
fn within_envoy(fragment: &Value) -> Result<Value> {
    const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let mut whole: Value = serde_norway::from_str(&read(&project_root().join("envoy/envoy.yaml"))?)?;
    for (name, value) in fragment.as_object().context("an object")? {
        let place = match name.as_str() {
            "routes" => format!("{MANAGER}/route_config/virtual_hosts/0/routes"),
            "http_filters" => format!("{MANAGER}/http_filters"),
            "config" => format!("{MANAGER}/http_filters/0/typed_config/config"),
            "clusters" => "/static_resources/clusters".to_owned(),
            "http_connection_manager" => MANAGER.to_owned(),
            _ => {
                merge(&mut whole, json!({ name: value }));
                continue;
            }
        };
        let target = whole.pointer_mut(&place).context("a place")?;
        match (name.as_str(), target, value.clone()) {
            ("routes", target, routes) => *target = routes,
            ("http_filters", Value::Array(filters), Value::Array(more)) => {
                let own = filters.first().cloned().context("tollbell's filter")?;
                let router = filters.pop().context("the router")?;
                // A placement that has only its own settings means tollbell's filter with these settings.
                let more = more.into_iter().map(|filter| {
                    let is_own = filter["name"].as_str().is_some_and(|name| name.starts_with("tollbell"));
                    if !is_own {
                        return filter;
                    }
                    let mut placed = own.clone();
                    merge(&mut placed, filter);
                    placed
                });
                *filters = more.collect();
                filters.push(router);
            }
            ("clusters", Value::Array(clusters), Value::Array(more)) => {
                let names: Vec<&Value> = more.iter().map(|cluster| &cluster["name"]).collect();
                clusters.retain(|cluster| !names.contains(&&cluster["name"]));
                clusters.extend(more);
            }
            (_, target, value) => merge(target, value),
        }
    }
    // The fragment may use clusters with other names.
    for cluster in Regex::new(r#""cluster":"([a-z0-9_]+)""#)?.captures_iter(&fragment.to_string()) {
        let clusters =
            whole.pointer_mut("/static_resources/clusters").and_then(Value::as_array_mut).context("clusters")?;
        if !clusters.iter().any(|known| known["name"] == cluster[1]) {
            clusters.push(
                json!({ "name": &cluster[1], "type": "STATIC", "load_assignment": { "cluster_name": &cluster[1] } }),
            );
        }
    }
    Ok(whole)
}

fn merge(target: &mut Value, value: Value) {
    match (target, value) {
        (Value::Object(target), Value::Object(members)) => {
            members.into_iter().for_each(|(name, value)| merge(target.entry(name).or_insert(Value::Null), value));
        }
        (target, value) => *target = value,
    }
}

/// JSON on a page is valid.
#[test]
fn the_json_of_the_documents_is_json() -> Result<()> {
    for document in documents()? {
        let text = read(&document)?;
        for kind in ["json", "json webhook", "json email"] {
            for block in blocks(&text, kind) {
                serde_json::from_str::<Value>(block).with_context(|| format!("{}: {block}", shown(&document)))?;
            }
        }
    }
    Ok(())
}

/// A block of an unknown kind would not be checked.
#[test]
fn every_block_has_a_kind_that_is_checked() -> Result<()> {
    let known = [
        "console",
        "rust",
        "sh",
        "text",
        "yaml",
        "yaml tollbell",
        "yaml part",
        "yaml envoy",
        "yaml routes",
        "json",
        "json webhook",
        "json email",
    ];
    for document in documents()? {
        let text = read(&document)?;
        for kind in text.lines().filter_map(|line| line.trim_start().strip_prefix("```")).step_by(2) {
            ensure!(known.contains(&kind), "{} has a block {kind:?}", shown(&document));
        }
    }
    Ok(())
}

#[test]
fn the_example_of_the_shim_is_its_doc_test() -> Result<()> {
    let source = read(&project_root().join("host-shim/src/lib.rs"))?;
    // The first plain fence closes another block.
    let (_, section) = source.split_once("//! # Testing a filter\n").context("no section")?;
    let (_, example) = section.split_once("//! ```\n").context("no example")?;
    let (example, _) = example.split_once("\n//! ```").context("no end")?;
    let lines =
        example.lines().map(|line| line.trim_start_matches("//!")).map(|line| line.strip_prefix(' ').unwrap_or(line));
    let shown = lines.filter(|line| !line.starts_with("# ")).collect::<Vec<_>>().join("\n");
    ensure!(shown.lines().count() <= 20, "{} lines", shown.lines().count());
    ensure!(shown.contains("Gateway::builder"), "not the example: {shown}");
    for page in ["host-shim/README.md", "docs/host-shim.md"] {
        let text = read(&project_root().join(page))?;
        ensure!(blocks(&text, "rust").collect::<Vec<_>>() == [shown.as_str()], "{page} has another example");
    }
    Ok(())
}

/// `sh` blocks have commands that do not end, or that install software. Their targets, files and flags must exist.
#[test]
fn commands_that_are_not_run_exist() -> Result<()> {
    let makefile = read(&project_root().join("Makefile"))?;
    let mut count = 0;
    for document in documents()? {
        let text = read(&document)?;
        let name = shown(&document);
        let commands = blocks(&text, "sh").flat_map(str::lines).map(|line| line.split('#').next().unwrap_or_default());
        let spans = text.split('`').skip(1).step_by(2).filter(|span| span.starts_with("make ") && !span.contains('\n'));
        for command in commands.chain(spans).map(str::trim).filter(|command| !command.is_empty()) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let words: Vec<&str> = words.into_iter().skip_while(|word| word.contains("VERSION=")).collect();
            match words[..] {
                ["make", ref words @ ..] => {
                    for word in words {
                        match word.split_once('=') {
                            Some(("CONFIG" | "STORY", "…")) => {}
                            Some(("CONFIG" | "STORY", file)) => {
                                ensure!(project_root().join(file).exists(), "{name}: {command}: no file {file}");
                            }
                            Some((variable, _)) => ensure!(makefile.contains(variable), "{name}: {command}"),
                            None => ensure!(
                                makefile.lines().any(|line| line.starts_with(&format!("{word}:"))),
                                "{name}: the Makefile has no target {word}"
                            ),
                        }
                    }
                }
                ["tollbell", subcommand, ref words @ ..] => {
                    let output = shell(&format!("tollbell {subcommand} --help"), &project_root())?;
                    let help = String::from_utf8_lossy(&output.stdout);
                    ensure!(output.status.success(), "{name}: {command}");
                    for flag in words.iter().filter(|word| word.starts_with("--")) {
                        ensure!(help.contains(*flag), "{name}: {command}: there is no {flag}");
                    }
                }
                ["envoy" | "cargo" | "git" | "export" | "cd" | "redis-cli" | "docker" | "cosign" | "sha256sum", ..] => {
                }
                // The files that these commands name exist.
                ["kubectl" | "promtool", ref words @ ..] => {
                    for file in words.iter().filter(|word| word.starts_with("envoy/")) {
                        ensure!(project_root().join(file).exists(), "{name}: {command}: no file {file}");
                    }
                }
                _ => bail!("{name}: {command}: this test does not know the command"),
            }
            count += 1;
        }
    }
    ensure!(count > 0, "no document shows a command");
    Ok(())
}

/// Links within the project lead to a file, and to a heading in it.
#[test]
fn the_links_of_the_documents_have_targets() -> Result<()> {
    let link = Regex::new(r"\]\(([^)\s]+)\)")?;
    let mut count = 0;
    for document in documents()? {
        let text = read(&document)?;
        for found in link.captures_iter(&without_code(&text)) {
            let target = found.get(1).map_or("", |target| target.as_str());
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let place =
                if file.is_empty() { document.clone() } else { document.parent().context("a folder")?.join(file) };
            ensure!(place.exists(), "{}: {target} leads nowhere", shown(&document));
            ensure!(
                heading.is_empty() || headings(&read(&place)?).contains(heading),
                "{}: {target}: no such heading",
                shown(&document)
            );
            // The book contains only the pages of its own folder.
            let is_page = document.parent() == Some(&project_root().join("docs"));
            ensure!(!is_page || !file.contains(".."), "{}: {target} leads out of the book", shown(&document));
            count += 1;
        }
    }
    ensure!(count > 0, "no document has a link");
    Ok(())
}

fn headings(text: &str) -> BTreeSet<String> {
    let lines = without_code(text);
    let headings = lines
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings.map(reference::anchor).collect()
}

/// The text without its fenced blocks.
fn without_code(text: &str) -> String {
    let mut is_code = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_book_has_every_page() -> Result<()> {
    let summary = read(&project_root().join("docs/SUMMARY.md"))?;
    for page in pages()? {
        let name = page.file_name().context("a name")?.to_string_lossy().into_owned();
        ensure!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "docs/SUMMARY.md lacks {name}");
    }
    Ok(())
}

/// Lines end at 120 characters, except in tables and code, and where a link is longer.
#[test]
fn lines_are_not_too_long() -> Result<()> {
    for document in documents()? {
        for line in without_code(&read(&document)?).lines().filter(|line| !line.starts_with('|')) {
            let is_one_word = !line.trim_start_matches(['-', ' ']).contains(' ');
            let is_generated = shown(&document) == "docs/configuration.md";
            ensure!(line.chars().count() <= 120 || is_one_word || is_generated, "{}: {line}", shown(&document));
        }
    }
    Ok(())
}

/// The statistics of a real Envoy are the same as those of the page.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_operating_has_every_statistic() -> Result<()> {
    let page = read(&project_root().join("docs/operating.md"))?;
    let config = json!({
        "apis": [{ "api_id": "orders", "event_handlers": { "events": { "AuthFailure": [hook("/auth", 5)] } } }],
        "keys": { "good-key": {} }
    });
    let world = World::with_config(config).await?;
    tollbell_tests::client::get_with_key(world.envoy.port, "/", "wrong-key").await?;
    world.messages(1).await?;
    let statistics = world.envoy.admin("/stats/prometheus").await?;
    let name = Regex::new(r"(?m)^(tollbell_[a-z_]+)")?;
    let actual: BTreeSet<&str> =
        name.captures_iter(&statistics).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let row = Regex::new(r"(?m)^\| `(tollbell_[a-z_]+)")?;
    let shown: BTreeSet<&str> = row.captures_iter(&page).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    ensure!(actual == shown, "the module has {actual:#?}\ndocs/operating.md has {shown:#?}");
    let outcome = Regex::new(r#"(?m)^tollbell_requests\{.*outcome="([a-z_]+)""#)?;
    let limits = read(&project_root().join("docs/limits.md"))?;
    for found in outcome.captures_iter(&statistics) {
        ensure!(limits.contains(&format!("\n| `{}` |", &found[1])), "docs/limits.md lacks the outcome {}", &found[1]);
    }
    Ok(())
}

/// Each log line of the page is in the sources. `…` stands for variable text.
#[test]
fn the_page_on_operating_shows_log_lines_of_the_module() -> Result<()> {
    let page = read(&project_root().join("docs/operating.md"))?;
    let (_, section) = page.split_once("\n## Log lines\n").context("no section on log lines")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut sources = String::new();
    collect_sources(&project_root().join("plugin"), &mut sources)?;
    let continued = Regex::new(r"\\\n\s*")?;
    let sources = continued.replace_all(&sources, "").replace("\\\"", "\"");
    let lines: Vec<&str> =
        section.lines().filter_map(|row| row.strip_prefix("| `")?.split_once("` |").map(|(line, _)| line)).collect();
    ensure!(lines.len() > 10, "the page shows {} log lines", lines.len());
    let missing: Vec<&str> = lines
        .into_iter()
        .filter(|line| !line.split('…').map(str::trim).all(|part| part.is_empty() || sources.contains(part)))
        .collect();
    ensure!(missing.is_empty(), "no source logs {missing:#?}");
    Ok(())
}

fn collect_sources(folder: &Path, text: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_sources(&path, text)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
