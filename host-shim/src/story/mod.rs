//! Stories: what clients, targets and time do, and what must come of it, as data.
//!
//! ```yaml
//! story: A key uses up its quota
//! envoy: ../../envoy/envoy.yaml
//! steps:
//! - request: { path: /orders/1, headers: { authorization: demo-key }, times: 10 }
//!   answer: { status: 200 }
//! - request: { path: /orders/1, headers: { authorization: demo-key } }
//!   answer: { status: 403, json: { error: Quota exceeded } }
//! - messages:
//!   - { path: /quota, json: { text: "…" } }
//! ```
//!
//! A story says nothing of the host that it runs on: a [`Subject`] is that host. One that moves the clock, plans faults
//! or breaks connections needs a host that can do so.

mod form;
mod read;
mod run;
mod shim;
mod stand_in;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

pub use form::fields as form_fields;
pub use run::{Failure, run};
pub use shim::ShimSubject;
pub use stand_in::answer as stand_in;

use crate::config::node::Node;
use crate::gateway::{Request, Response};
use crate::state::faults::CalloutFault;

/// A story.
#[derive(Clone, Debug)]
pub struct Story {
    /// What it tells.
    pub name: String,
    /// Where it was read.
    pub file: PathBuf,
    /// The Envoy configuration that it runs with.
    pub envoy: PathBuf,
    /// Replaces the plugin's own configuration.
    pub configuration: Option<Node>,
    /// Worker threads.
    pub workers: usize,
    /// What happens.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Clone, Debug)]
pub struct Step {
    /// The line in the file.
    pub line: usize,
    /// What it does.
    pub action: Action,
}

/// What a step does, or expects.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sends a request, maybe several times, and looks at each answer.
    Request {
        /// The request.
        request: Request,
        /// How often.
        times: usize,
        /// Which worker gets it; they take turns unless this says so. Only a host that can choose obeys.
        worker: Option<usize>,
        /// The answer.
        answer: Box<Expected>,
    },
    /// How the clusters' upstreams answer from now on.
    Upstream(Behaviour),
    /// How the targets of callouts answer from now on.
    Targets(Behaviour),
    /// Time passes.
    Advance(Duration),
    /// These messages, and no others, have reached the targets since the last such step, in any order.
    Messages(Vec<Expected>),
    /// Statistics by their names without `wasmcustom.`.
    Metrics(BTreeMap<String, u64>),
    /// The plugin gets another configuration, as by an update of its listener.
    Configure(Node),
    /// Something goes wrong.
    Fault(Fault),
}

/// What a request or a response must look like. What is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The status of an answer.
    pub status: Option<u16>,
    /// The method of a message.
    pub method: Option<String>,
    /// Path and query of a message.
    pub path: Option<String>,
    /// Headers; None for one that must not be there.
    pub headers: BTreeMap<String, Option<String>>,
    /// The body as text.
    pub text: Option<String>,
    /// The body as JSON; of a form, an object of its fields.
    pub json: Option<serde_json::Value>,
    /// What must stand in that JSON, among other members.
    pub members: Option<serde_json::Value>,
}

/// How a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// How long it takes.
    pub delay: Duration,
    /// Nothing listens.
    pub is_refused: bool,
    /// The connection breaks while it answers.
    pub is_reset: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            status: 200,
            headers: BTreeMap::new(),
            body: String::new(),
            delay: Duration::ZERO,
            is_refused: false,
            is_reset: false,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next compare-and-swaps mismatch.
    CasMismatches(u32),
    /// The next queue notifications get lost.
    LostNotifications(u32),
    /// What becomes of the next callout.
    Callout(CalloutFault),
    /// The VM that makes the nth call of a hostcall dies; `thread` 0 is the main thread's, None is any.
    Death {
        /// With the prefix `proxy_`.
        hostcall: String,
        /// From 1.
        nth: u32,
        /// The thread.
        thread: Option<usize>,
    },
}

/// A host that stories run on.
pub trait Subject {
    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// When there is none.
    fn request(&mut self, request: &Request, worker: Option<usize>) -> Result<Response>;

    /// Changes how the upstreams answer.
    ///
    /// # Errors
    /// When the host cannot do so.
    fn set_upstream(&mut self, behaviour: &Behaviour) -> Result<()>;

    /// Changes how the callouts' targets answer.
    ///
    /// # Errors
    /// When the host cannot do so.
    fn set_targets(&mut self, behaviour: &Behaviour) -> Result<()>;

    /// All messages that have reached the targets so far. Waits for at least `count`, as long as the host finds right.
    ///
    /// # Errors
    /// When the host fails.
    fn messages(&mut self, count: usize) -> Result<Vec<Request>>;

    /// A statistic's value by its name without `wasmcustom.`.
    ///
    /// # Errors
    /// When there is none of that name.
    fn metric(&mut self, name: &str) -> Result<u64>;

    /// Lets a little time pass for what happens by itself; false where nothing does.
    fn wait_a_moment(&mut self) -> bool {
        false
    }

    /// Gives the plugin another configuration.
    ///
    /// # Errors
    /// When it is refused.
    fn configure(&mut self, configuration: &Node) -> Result<()>;

    /// Lets time pass.
    ///
    /// # Errors
    /// When the host's clock cannot be moved.
    fn advance(&mut self, _duration: Duration) -> Result<()> {
        bail!("this host's clock cannot be moved")
    }

    /// What has failed in the host since the last call, without a fault that was planned.
    fn failures(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// What was logged since the last call, from warnings up.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// The faults that have struck nothing so far.
    fn faults_left(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Plans a fault.
    ///
    /// # Errors
    /// When the host has none.
    fn fault(&mut self, _fault: &Fault) -> Result<()> {
        bail!("this host cannot inject faults")
    }
}

impl Story {
    /// Reads a story.
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub fn read(path: &Path) -> Result<Self> {
        read::story(path)
    }

    /// Reads the stories that paths name: files, or folders of `.yaml` files, sorted.
    ///
    /// # Errors
    /// What is wrong, or that there is none.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>> {
        read::stories(paths)
    }

    /// Whether it needs a clock that can be moved, or faults: a real Envoy has neither.
    pub fn needs_control(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::Advance(_) | Action::Fault(_) => true,
            Action::Request { worker, .. } => worker.is_some(),
            Action::Upstream(behaviour) | Action::Targets(behaviour) => behaviour.is_refused || behaviour.is_reset,
            Action::Messages(_) | Action::Metrics(_) | Action::Configure(_) => false,
        })
    }
}
