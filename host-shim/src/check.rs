//! Checks a configuration without serving it: first the file, then the modules with their configurations.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{LogLevel, Status};
use crate::config::model::WasmFilter;
use crate::config::{self, Loaded, Located};
use crate::guest::Misconfigured;
use crate::state::clock::Clock;
use crate::state::logs::{LogLine, Logs};
use crate::state::{Host, Limits};
use crate::traffic::{Callout, Network, ProxyNode, Ticket};
use crate::worker::{Bases, Modules, Program};

/// The maximum time that a module may take to check its configuration.
const PATIENCE: Duration = Duration::from_secs(10);

/// A result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub kind: FindingKind,
    /// The message, with file and line if they are known.
    pub text: String,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but something in it is unusual or not supported.
    Warning,
    /// A message of a module that only summarizes its errors.
    Note,
}

/// Checks a configuration file. Each VM has `memory` bytes at most.
pub fn check(path: &Path, modules: &Modules, memory: usize) -> Vec<Finding> {
    let error = |text: String| Finding { kind: FindingKind::Error, text };
    let Loaded { bootstrap, warnings, .. } = match config::read(path) {
        Ok(loaded) => loaded,
        Err(errors) => return errors.0.iter().map(|problem| error(problem.to_string())).collect(),
    };
    // Clusters that are discovered at run time are not in the file.
    let is_whole = !warnings.iter().any(|warning| warning.path.starts_with("dynamic_resources"));
    let mut findings: Vec<Finding> =
        warnings.iter().map(|warning| Finding { kind: FindingKind::Warning, text: warning.to_string() }).collect();
    for (number, listener) in bootstrap.listeners.iter().enumerate() {
        for (place, filter) in listener.manager.filters.iter().enumerate() {
            let mut only = bootstrap.clone();
            only.listeners = bootstrap.listeners.get(number).cloned().into_iter().collect();
            for listener in &mut only.listeners {
                listener.manager.filters = listener.manager.filters.get(place).cloned().into_iter().collect();
            }
            let (lines, outcome) = try_out(&only, modules, memory, is_whole);
            findings.extend(opinion(path, filter, &lines, outcome));
        }
    }
    findings
}

/// The log lines of a module about its configuration, each with the line of the file that it refers to.
fn opinion(path: &Path, filter: &WasmFilter, lines: &[LogLine], outcome: anyhow::Result<()>) -> Vec<Finding> {
    let file = path.display();
    let plugin = &filter.plugin;
    let at_entry = |at: Option<&Located>, text: &str| match at {
        Some(at) => format!("{file}:{}: {}: {text}", at.line, at.path),
        None => format!("{file}: {}: {text}", filter.filter_name),
    };
    let told = lines.iter().filter(|line| line.from_module && line.level >= LogLevel::Warn).map(|line| {
        let said = line.text.split_once(": ").map_or(&*line.text, |(_prefix, said)| said);
        let at = plugin.source.as_ref().and_then(|source| source.locate(said));
        let is_error = line.level > LogLevel::Warn && outcome.is_err();
        let text = match &at {
            Some(at) => format!("{file}:{}: {said}", at.line),
            None => at_entry(plugin.configuration_at.as_ref(), said),
        };
        (at.is_some(), Finding { kind: if is_error { FindingKind::Error } else { FindingKind::Warning }, text })
    });
    let mut told: Vec<(bool, Finding)> = told.collect();
    let errors = told.iter().filter(|(_, finding)| finding.kind == FindingKind::Error).count();
    let has_place = told.iter().any(|(has_place, finding)| *has_place && finding.kind == FindingKind::Error);
    for (place, finding) in told.iter_mut().filter(|(_, finding)| finding.kind == FindingKind::Error) {
        // If some errors have a place, an error without one is a summary. So is a message that counts errors.
        if !*place && (has_place || errors > 1 && counts_errors(&finding.text)) {
            finding.kind = FindingKind::Note;
        }
    }
    let mut findings: Vec<Finding> = told.into_iter().map(|(_, finding)| finding).collect();
    if let (Err(reason), false) = (outcome, findings.iter().any(|finding| finding.kind == FindingKind::Error)) {
        let is_misconfigured = reason.chain().any(|cause| cause.is::<Misconfigured>());
        let at = if is_misconfigured { plugin.configuration_at.as_ref() } else { None };
        let text = at_entry(at.or(plugin.vm.code_at.as_ref()), &format!("{reason:#}"));
        findings.push(Finding { kind: FindingKind::Error, text });
    }
    findings
}

/// True for a text such as `refused, 3 errors`.
fn counts_errors(text: &str) -> bool {
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.windows(2).any(|pair| matches!(pair, [count, "error" | "errors"] if count.parse::<u32>().is_ok()))
}

fn try_out(
    bootstrap: &config::model::Bootstrap,
    modules: &Modules,
    memory: usize,
    is_whole: bool,
) -> (Vec<LogLine>, anyhow::Result<()>) {
    let limits = Limits { callback: Some(PATIENCE), memory };
    let host = Host::new(Clock::System, Logs::kept(LogLevel::Info), limits);
    let program = match Program::load(bootstrap, modules) {
        Ok(program) => Arc::new(program),
        Err(error) => return (Vec::new(), Err(error)),
    };
    let network: Rc<dyn Network> = Rc::new(NoNetwork { program: Arc::clone(&program), is_whole });
    let outcome = Bases::default().try_out(&host, &program, &network);
    (host.logs.lines(), outcome)
}

/// A network that knows the clusters and sends nothing.
struct NoNetwork {
    program: Arc<Program>,
    /// True if the file contains every cluster.
    is_whole: bool,
}

impl Network for NoNetwork {
    fn node(&self) -> Arc<ProxyNode> {
        Arc::clone(&self.program.node)
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.program.clusters.contains_key(name)
    }

    fn tells_clusters(&self) -> bool {
        self.is_whole
    }

    fn call(&self, _: Ticket, _: Callout) -> Result<(), Status> {
        Err(Status::InternalFailure)
    }

    fn cancel(&self, _: Ticket) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::testing::{CONST, Guest, UNREACHABLE};

    const ENVOY: &str = r#"
static_resources:
  listeners:
  - name: gateway
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config: { virtual_hosts: [] }
          http_filters:
          - name: wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                configuration: { "@type": type.googleapis.com/google.protobuf.StringValue, value: x }
                vm_config:
                  code:
                    local: { filename: no/such.wasm }
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

    /// Returns the only finding about a module.
    fn found(name: &str, module: Option<&[u8]>) -> String {
        let file = std::env::temp_dir().join(format!("host-shim-check-{}-{name}.yaml", std::process::id()));
        std::fs::write(&file, ENVOY).unwrap();
        let modules = module.map(Modules::replaced_by).unwrap_or_default();
        let findings = check(&file, &modules, 64 << 20);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].kind, FindingKind::Error);
        findings[0].text.rsplit_once("yaml:").unwrap().1.to_owned()
    }

    #[test]
    fn errors_about_a_module_have_a_line() {
        let missing = found("missing", None);
        assert!(missing.starts_with("21: ") && missing.contains(".code.local.filename: "), "{missing}");
        assert!(missing.contains("relative to the current folder") && missing.contains("; or use --wasm"), "{missing}");
        let text = found("text", Some(b"<html>"));
        assert!(text.ends_with(r#"not WebAssembly: it begins with "<htm" instead of "\0asm""#), "{text}");
        let configured = |body: &[u8]| Guest::importing(&[]).function("proxy_on_configure", 2, 1, body).module();
        let refused = found("refused", Some(&configured(&[CONST, 0])));
        assert!(refused.starts_with("18: ") && refused.contains("config.configuration: "), "{refused}");
        let trapped = found("trapped", Some(&configured(&[UNREACHABLE])));
        assert!(trapped.starts_with("18: ") && trapped.contains("unreachable"), "{trapped}");
    }

    #[test]
    fn a_module_is_found_by_its_name_in_another_folder() {
        let folder = std::env::temp_dir().join(format!("host-shim-modules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("envoy.yaml");
        std::fs::write(&file, ENVOY).unwrap();
        std::fs::write(folder.join("such.wasm"), Guest::importing(&[]).module()).unwrap();
        let modules = Modules { instead: None, folders: vec![folder.join("none"), folder.clone()] };
        let findings = check(&file, &modules, 64 << 20);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn a_text_that_counts_errors_is_a_summary() {
        assert!(counts_errors("configuration: refused, 3 errors") && counts_errors("1 error"));
        assert!(!counts_errors("error 3: no such key") && !counts_errors("errors"));
    }
}
