use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use host_shim::config::model::{Code, Discovery, EscapedSlashes, FailurePolicy, TrustedRoots};
use host_shim::server::{self as shim, Options};
use host_shim::{Limits, LogLevel, Modules, config};
use serde_json::Value;
use tollbell_tests::envoy::Setup;
use tollbell_tests::project_root;
use tollbell_tests::server::Server;

use crate::support::{SOON, World, shared};

/// Where the commands of a page in `docs` run: with a server of that configuration, or in a copy of that folder.
const RUN_ON: &str = "<!-- run on: ";
const RUN_IN: &str = "<!-- run in: ";

/// The README files, each with the Envoy configuration that its commands run against.
fn readmes() -> Result<Vec<(PathBuf, String)>> {
    let mut stories = vec![(project_root().join("README.md"), "envoy/envoy.yaml".to_owned())];
    for entry in fs::read_dir(project_root().join("examples"))? {
        let folder = entry?.path();
        let name = folder.file_name().context("a name")?.to_string_lossy().into_owned();
        stories.push((folder.join("README.md"), format!("examples/{name}/envoy.yaml")));
    }
    Ok(stories)
}

/// The pages of `docs`.
pub fn pages() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(project_root().join("docs"))?.collect::<Result<Vec<_>, _>>()?;
    let files = entries.into_iter().map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect())
}

/// The text after a mark, up to the end of its comment.
fn directive(text: &str, mark: &str) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    Some(rest.split_once(" -->")?.0.to_owned())
}

/// The README files, and the pages of `docs` whose commands need a server.
fn stories() -> Result<Vec<(PathBuf, String)>> {
    let mut stories = readmes()?;
    for page in pages()? {
        if let Some(yaml) = directive(&fs::read_to_string(&page)?, RUN_ON) {
            stories.push((page, yaml));
        }
    }
    Ok(stories)
}

/// The other pages. Their commands run in a copy of a folder.
#[test]
fn commands_of_the_pages_have_the_shown_output_without_a_server() -> Result<()> {
    for page in pages()? {
        let text = fs::read_to_string(&page)?;
        if blocks(&text, "console").next().is_none() || text.contains(RUN_ON) {
            continue;
        }
        let name = page.display().to_string();
        let from = directive(&text, RUN_IN).with_context(|| format!("{name} does not say where its commands run"))?;
        let folder = project_root().join("target/pages").join(page.file_stem().context("a name")?);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let copied = Command::new("cp").arg("-r").arg(project_root().join(from).join(".")).arg(&folder).status()?;
        ensure!(copied.success(), "{name}: cannot copy");
        // Configurations name the module by this path.
        std::os::unix::fs::symlink(project_root().join("dist"), folder.join("dist"))?;
        blocks(&text, "console").try_for_each(|block| run_block(block, &folder, &[])).with_context(|| name)?;
    }
    Ok(())
}

/// True if a log has a warning of the configuration, except that refusals are only observed, which the example of that
/// cannot avoid.
fn has_warnings(log: &str) -> bool {
    log.lines().any(|line| line.contains("configuration:") && !line.ends_with("(observe)"))
}

/// In `console` blocks, each line after `$ ` is run, and its output must have the lines below it, in their order.
/// `json` blocks with the mark `webhook` or `email` must have arrived at the end, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn commands_of_the_readmes_have_the_shown_output_in_envoy() -> Result<()> {
    for (readme, yaml) in stories()? {
        let text = fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
        let world = World::with_setup(|upstream, receiver| Setup::file(&yaml, upstream, receiver)).await?;
        run_blocks(&text, world.envoy.port, world.envoy.admin).with_context(|| readme.display().to_string())?;
        arrived(&world.receiver, &text).await.with_context(|| readme.display().to_string())?;
        ensure!(
            !has_warnings(&world.envoy.log()),
            "{yaml} gives warnings:
{}",
            world.envoy.log()
        );
    }
    Ok(())
}

/// The same in the shim, from the same text.
#[tokio::test(flavor = "multi_thread")]
async fn commands_of_the_readmes_have_the_shown_output_in_the_shim() -> Result<()> {
    let _shared = shared().await;
    for (readme, yaml) in readmes()? {
        let text = fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
        let (upstream, receiver) = (Server::start().await?, Server::start().await?);
        let setup = Setup::file(&yaml, upstream.port, receiver.port)?;
        let loaded = config::parse(setup.text(), &yaml, false)?;
        ensure!(loaded.warnings.is_empty(), "{yaml}: {:?}", loaded.warnings);
        let options = Options {
            bootstrap: loaded.bootstrap,
            dump: loaded.dump,
            modules: Modules::default(),
            workers: 2,
            log_level: LogLevel::Warn,
            keeps_log: true,
            limits: Limits::default(),
        };
        let _server = tokio::task::spawn_blocking(|| shim::Server::start(options)).await??;
        let (port, admin) = setup.listener_and_admin();
        run_blocks(&text, port, admin).with_context(|| readme.display().to_string())?;
        arrived(&receiver, &text).await.with_context(|| readme.display().to_string())?;
    }
    Ok(())
}

/// Compares the messages of a receiver with the blocks of a text. A webhook is shown completely, an email with some
/// fields of its form. A string that ends in `…` matches any text with that beginning.
async fn arrived(receiver: &Server, text: &str) -> Result<()> {
    let shown = |kind: &str| blocks(text, kind).map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    let (webhooks, emails) = (shown("json webhook")?, shown("json email")?);
    let received = receiver.expect(webhooks.len() + emails.len(), SOON).await;
    let received = received.with_context(|| format!("shown: {webhooks:#?} {emails:#?}"))?;
    let mut left = received.iter().map(|message| message.json()).collect::<Result<Vec<_>>>()?;
    for (expected, is_email) in webhooks.iter().map(|block| (block, false)).chain(emails.iter().map(|b| (b, true))) {
        let found = left.iter().position(|actual| is_as_shown(actual, expected, is_email));
        left.remove(found.with_context(|| format!("{expected:#}\nis not among\n{:#}", Value::from(left.clone())))?);
    }
    Ok(())
}

fn is_as_shown(actual: &Value, expected: &Value, may_have_more: bool) -> bool {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            let is_there = |(name, expected): (&String, &Value)| {
                actual.get(name).is_some_and(|actual| is_as_shown(actual, expected, may_have_more))
            };
            (may_have_more || actual.len() == expected.len()) && expected.iter().all(is_there)
        }
        (Value::Array(actual), Value::Array(expected)) => {
            let pairs = || actual.iter().zip(expected);
            actual.len() == expected.len() && pairs().all(|(a, e)| is_as_shown(a, e, may_have_more))
        }
        (Value::String(actual), Value::String(expected)) => is_line_as_shown(actual, expected),
        _ => actual == expected,
    }
}

fn is_line_as_shown(actual: &str, expected: &str) -> bool {
    match expected.strip_suffix('…') {
        Some(start) => actual.starts_with(start),
        None => actual == expected,
    }
}

fn run_blocks(text: &str, port: u16, admin: u16) -> Result<()> {
    let commands: Vec<&str> = blocks(text, "console").collect();
    ensure!(!commands.is_empty(), "no command is shown");
    let ports = [("127.0.0.1:10000", format!("127.0.0.1:{port}")), ("127.0.0.1:9901", format!("127.0.0.1:{admin}"))];
    commands.into_iter().try_for_each(|block| run_block(block, &project_root(), &ports))
}

/// `yaml` blocks are excerpts of `envoy/envoy.yaml`, which has their lines in the same order.
#[test]
fn the_readmes_configuration_is_an_excerpt_of_the_example() -> Result<()> {
    let readme = fs::read_to_string(project_root().join("README.md"))?;
    let example = fs::read_to_string(project_root().join("envoy/envoy.yaml"))?;
    let mut excerpts = 0;
    for block in blocks(&readme, "yaml") {
        let mut lines = example.lines().map(str::trim);
        for line in block.lines().map(str::trim) {
            ensure!(lines.any(|other| other == line), "README.md shows {line:?}, which envoy/envoy.yaml lacks there");
        }
        excerpts += 1;
    }
    ensure!(excerpts > 0, "README.md shows no configuration");
    Ok(())
}

/// The texts of the fenced blocks of one kind: `yaml` does not include `yaml envoy`.
pub fn blocks<'t>(text: &'t str, kind: &str) -> impl Iterator<Item = &'t str> {
    let opening = format!("\n```{kind}\n");
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&opening)?;
        let (block, after) = after.split_once("\n```")?;
        rest = after;
        Some(block)
    })
}

/// Runs the commands of a block in a folder. `tollbell` is the binary that cargo has built next to this test.
fn run_block(block: &str, folder: &Path, replaced: &[(&str, String)]) -> Result<()> {
    for part in format!("\n{block}").split("\n$ ").skip(1) {
        let (command, expected) = part.split_once('\n').unwrap_or((part, ""));
        let command = replaced.iter().fold(command.to_owned(), |command, (from, to)| command.replace(from, to));
        // Statistics follow the counted events within a tick.
        let mut tries = if command.contains("/stats") { 40 } else { 1 };
        loop {
            let output = shell(&command, folder)?;
            let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).replace('\r', ""));
            let text = text.concat();
            let mut lines = text.lines();
            let missing =
                expected.lines().find(|line| !line.is_empty() && !lines.any(|actual| is_line_as_shown(actual, line)));
            let Some(line) = missing else { break };
            tries -= 1;
            ensure!(tries > 0, "{command}\nshould show {line:?}, shows\n{text}");
            sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// Runs a command with the project's own binaries on the path.
pub fn shell(command: &str, folder: &Path) -> Result<Output> {
    let own = std::env::current_exe()?.ancestors().nth(2).context("a target folder")?.to_owned();
    if command.split_whitespace().any(|word| word == "tollbell") {
        ensure!(own.join("tollbell").is_file(), "cargo has not built the command tollbell");
    }
    let path = format!("{}:{}", own.display(), std::env::var("PATH")?);
    Ok(Command::new("bash").args(["-c", command]).current_dir(folder).env("PATH", path).output()?)
}

/// Words in backticks that look like a path must name an existing file.
#[test]
fn the_paths_that_the_documents_name_exist() -> Result<()> {
    let mut files =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "host-shim/README.md"].map(PathBuf::from).to_vec();
    files.extend(pages()?);
    let mut named = 0;
    for file in files {
        let text = fs::read_to_string(project_root().join(&file))?;
        let name = file.display();
        for word in text.split('`').skip(1).step_by(2) {
            let roots = ["plugin/", "host-shim/", "tests/", "envoy/", "examples/", "docs/", ".ci/", ".github/"];
            if roots.iter().any(|root| word.starts_with(root)) && !word.contains(['*', ' ', '…', '<']) {
                ensure!(project_root().join(Path::new(word)).exists(), "{name} names {word}, which does not exist");
                named += 1;
            }
        }
    }
    ensure!(named > 0, "no path is named: is this test looking at it?");
    Ok(())
}

/// Only host.rs may make hostcalls, and the core has none. The manifest and this test check it.
#[test]
fn the_core_is_pure() -> Result<()> {
    let manifest = fs::read_to_string(project_root().join("plugin/core/Cargo.toml"))?;
    ensure!(!manifest.contains("proxy-wasm"), "the core must not know proxy-wasm");
    for file in ["lib.rs", "plugin.rs"] {
        let source = fs::read_to_string(project_root().join("plugin/filter/src").join(file))?;
        for used in source.split("abi::").skip(1) {
            let is_hostcall = !["Action", "allocate", "parse_pairs", "{self, Action, Body}"]
                .iter()
                .any(|name| used.starts_with(name));
            ensure!(!is_hostcall, "{file} must go through host.rs: abi::{}", used.lines().next().unwrap_or_default());
        }
    }
    Ok(())
}

/// The shim is a host for any filter.
#[test]
fn the_shim_does_not_know_tollbell() -> Result<()> {
    let mut folders = vec![project_root().join("host-shim/src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&fs::read(&path)?).to_ascii_lowercase();
            let named = ["tollbell", "tyk"].into_iter().find(|name| text.contains(name));
            ensure!(named.is_none(), "{} names {}", path.display(), named.unwrap_or_default());
            files += 1;
        }
    }
    let manifest = fs::read_to_string(project_root().join("host-shim/Cargo.toml"))?;
    ensure!(!manifest.contains("tollbell"), "the manifest of the shim names tollbell");
    ensure!(files > 50, "only {files} files: is this test looking at them?");
    Ok(())
}

#[test]
fn the_shim_reads_the_projects_configurations_without_a_warning() -> Result<()> {
    let examples =
        ["auth-failures", "quota-alerts", "signed-webhooks"].map(|name| format!("examples/{name}/envoy.yaml"));
    for name in ["envoy/envoy.yaml".to_owned(), "envoy/fleet.yaml".to_owned()].into_iter().chain(examples) {
        let loaded = config::read(&project_root().join(&name))?;
        ensure!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
        let manager = &loaded.bootstrap.listeners[0].manager;
        assert_eq!(manager.escaped_slashes, EscapedSlashes::UnescapeAndRedirect);
        ensure!(manager.normalize_path && manager.merge_slashes && manager.use_remote_address);
        let filter = &manager.filters[0];
        assert_eq!((filter.filter_name.as_str(), filter.plugin.vm.vm_id.as_str()), ("tollbell", "tollbell"));
        assert_eq!(filter.plugin.failure_policy, FailurePolicy::FailReload);
        ensure!(matches!(&filter.plugin.vm.code, Code::File(path) if path == Path::new("dist/tollbell.wasm")));
        ensure!(!filter.plugin.configuration.is_empty() && filter.plugin.source.is_some());
        assert_eq!(loaded.bootstrap.stats_tags.len(), 3);
        assert_eq!(loaded.bootstrap.admin.map(|admin| admin.port()), Some(9901));
    }
    let loaded = config::read(&project_root().join("envoy/envoy.yaml"))?;
    let mut clusters = loaded.bootstrap.clusters.iter();
    let https = clusters.find(|cluster| cluster.name == "tollbell_https").context("tollbell_https")?;
    ensure!(matches!(https.discovery, Discovery::DynamicForwardProxy));
    let tls = https.tls.as_ref().context("tollbell_https has no TLS")?;
    ensure!(matches!(tls.roots, TrustedRoots::System) && tls.auto_sni && tls.auto_san_validation);
    Ok(())
}
