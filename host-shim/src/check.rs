//! Checking a configuration without serving it: the file, then each module's own opinion.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::abi::types::{LogLevel, Status};
use crate::config::model::WasmFilter;
use crate::config::{self, Loaded};
use crate::host::{Host, Limits};
use crate::network::{Callout, Network, Ticket};
use crate::program::Program;
use crate::state::clock::Clock;
use crate::state::logs::{LogLine, Logs};
use crate::stream::data::Node;
use crate::topology::Bases;

/// How long a module may look at its configuration.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub kind: FindingKind,
    /// With file and line where they are known.
    pub text: String,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// The configuration cannot be used.
    Error,
    /// It can, but this is odd, or not supported.
    Warning,
    /// What a module says beside its errors.
    Note,
}

/// Checks a configuration file; `module` replaces the modules that it names.
pub fn check(path: &Path, module: Option<&[u8]>) -> Vec<Finding> {
    let error = |text: String| Finding { kind: FindingKind::Error, text };
    let Loaded { bootstrap, warnings, .. } = match config::read(path) {
        Ok(loaded) => loaded,
        Err(errors) => return errors.0.iter().map(|problem| error(problem.to_string())).collect(),
    };
    let mut findings: Vec<Finding> =
        warnings.iter().map(|warning| Finding { kind: FindingKind::Warning, text: warning.to_string() }).collect();
    for (number, listener) in bootstrap.listeners.iter().enumerate() {
        for (place, filter) in listener.manager.filters.iter().enumerate() {
            let mut only = bootstrap.clone();
            only.listeners = bootstrap.listeners.get(number).cloned().into_iter().collect();
            for listener in &mut only.listeners {
                listener.manager.filters = listener.manager.filters.get(place).cloned().into_iter().collect();
            }
            let (lines, outcome) = try_out(&only, module);
            findings.extend(opinion(path, filter, &lines, outcome));
        }
    }
    findings
}

/// What a module said of its configuration, with the lines that it is about.
fn opinion(path: &Path, filter: &WasmFilter, lines: &[LogLine], outcome: anyhow::Result<()>) -> Vec<Finding> {
    let file = path.display();
    let told = lines.iter().filter(|line| line.from_module && line.level >= LogLevel::Warn).map(|line| {
        let said = line.text.split_once(": ").map_or(&*line.text, |(_prefix, said)| said);
        let at = filter.plugin.source.as_ref().and_then(|source| source.locate(said));
        let is_error = line.level > LogLevel::Warn && outcome.is_err();
        let text = match &at {
            Some(at) => format!("{file}:{}: {said}", at.line),
            None => format!("{file}: {}: {said}", filter.filter_name),
        };
        (at.is_some(), Finding { kind: if is_error { FindingKind::Error } else { FindingKind::Warning }, text })
    });
    let mut told: Vec<(bool, Finding)> = told.collect();
    // Beside errors that have a place, one that has none sums them up.
    let has_place = told.iter().any(|(has_place, finding)| *has_place && finding.kind == FindingKind::Error);
    for (_, finding) in
        told.iter_mut().filter(|(place, finding)| has_place && !place && finding.kind == FindingKind::Error)
    {
        finding.kind = FindingKind::Note;
    }
    let mut findings: Vec<Finding> = told.into_iter().map(|(_, finding)| finding).collect();
    if let (Err(reason), false) = (outcome, findings.iter().any(|finding| finding.kind == FindingKind::Error)) {
        findings
            .push(Finding { kind: FindingKind::Error, text: format!("{file}: {}: {reason:#}", filter.filter_name) });
    }
    findings
}

fn try_out(bootstrap: &config::model::Bootstrap, module: Option<&[u8]>) -> (Vec<LogLine>, anyhow::Result<()>) {
    let limits = Limits { callback: Some(PATIENCE), ..Limits::default() };
    let host = Host::new(Clock::System, Logs::kept(LogLevel::Info), limits);
    let program = match Program::load(bootstrap, module) {
        Ok(program) => Arc::new(program),
        Err(error) => return (Vec::new(), Err(error)),
    };
    let network: Rc<dyn Network> = Rc::new(NoNetwork(Arc::clone(&program)));
    let outcome = Bases::default().try_out(&host, &program, &network);
    (host.logs.lines(), outcome)
}

/// Clusters are there, and nothing is sent.
struct NoNetwork(Arc<Program>);

impl Network for NoNetwork {
    fn node(&self) -> Arc<Node> {
        Arc::clone(&self.0.node)
    }

    fn has_cluster(&self, name: &str) -> bool {
        self.0.clusters.contains_key(name)
    }

    fn call(&self, _: Ticket, _: Callout) -> Result<(), Status> {
        Err(Status::InternalFailure)
    }

    fn cancel(&self, _: Ticket) {}
}
