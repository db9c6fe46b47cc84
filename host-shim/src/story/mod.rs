//! Stories: tests as data, with requests, messages, time and faults, and the expected results.
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
//! A story does not depend on a host: a [`Subject`] is the host on which it runs. If a story moves the clock, plans
//! faults or breaks connections, its host must support that.

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
    /// The title.
    pub name: String,
    /// The path of its file.
    pub file: PathBuf,
    /// The path of the Envoy configuration.
    pub envoy: PathBuf,
    /// Replaces the configuration of the plugin.
    pub configuration: Option<Node>,
    /// The number of worker threads.
    pub workers: usize,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Clone, Debug)]
pub struct Step {
    /// The line in the file.
    pub line: usize,
    /// The action or the expectation.
    pub action: Action,
}

/// The action or the expectation of a step.
#[derive(Clone, Debug)]
pub enum Action {
    /// Sends a request once or several times, and checks each answer.
    Request {
        /// The request.
        request: Request,
        /// The number of times.
        times: usize,
        /// The worker that gets the request. By default, the workers get requests in turn. Some hosts cannot choose
        /// the worker, and ignore this.
        worker: Option<usize>,
        /// The expected answer.
        answer: Box<Expected>,
    },
    /// Changes how the upstreams answer from now on.
    Upstream(Behaviour),
    /// Changes how the targets of callouts answer from now on.
    Targets(Behaviour),
    /// Advances the clock.
    Advance(Duration),
    /// Expects exactly these messages at the targets since the last such step, in any order.
    Messages(Vec<Expected>),
    /// Expects the values of statistics, by their names without `wasmcustom.`.
    Metrics(BTreeMap<String, u64>),
    /// Changes the configuration of the plugin, like an update of its listener.
    Configure(Node),
    /// Injects a fault.
    Fault(Fault),
}

/// The expected parts of a request or a response. Parts that are not given are not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The status of an answer.
    pub status: Option<u16>,
    /// The method of a message.
    pub method: Option<String>,
    /// The path and the query of a message.
    pub path: Option<String>,
    /// The headers. `None` means that the header must be absent.
    pub headers: BTreeMap<String, Option<String>>,
    /// The body as text.
    pub text: Option<String>,
    /// The body as JSON. The JSON of a form is an object of its fields.
    pub json: Option<serde_json::Value>,
    /// Members that this JSON must have. It can have others.
    pub members: Option<serde_json::Value>,
}

/// The behaviour of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// The delay of the answer.
    pub delay: Duration,
    /// Whether the server refuses connections.
    pub is_refused: bool,
    /// Whether the connection breaks during the answer.
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

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next compare-and-swaps mismatch.
    CasMismatches(u32),
    /// The next queue notifications are lost.
    LostNotifications(u32),
    /// A fault of the next callout.
    Callout(CalloutFault),
    /// The VM that makes the nth call of a hostcall dies. `thread` 0 is the main thread, and `None` is any thread.
    Death {
        /// The name with the prefix `proxy_`.
        hostcall: String,
        /// The number of the call, from 1.
        nth: u32,
        /// The thread.
        thread: Option<usize>,
    },
}

/// A host on which stories run.
pub trait Subject {
    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// There is no answer.
    fn request(&mut self, request: &Request, worker: Option<usize>) -> Result<Response>;

    /// Changes how the upstreams answer.
    ///
    /// # Errors
    /// The host does not support the behaviour.
    fn set_upstream(&mut self, behaviour: &Behaviour) -> Result<()>;

    /// Changes how the targets of callouts answer.
    ///
    /// # Errors
    /// The host does not support the behaviour.
    fn set_targets(&mut self, behaviour: &Behaviour) -> Result<()>;

    /// Returns all messages that have reached the targets so far. Waits for at least `count` messages. The host decides
    /// how long it waits.
    ///
    /// # Errors
    /// The host fails.
    fn messages(&mut self, count: usize) -> Result<Vec<Request>>;

    /// Returns the value of a statistic by its name without `wasmcustom.`.
    ///
    /// # Errors
    /// There is no statistic with this name.
    fn metric(&mut self, name: &str) -> Result<u64>;

    /// Waits a short time for events in the background. Returns false if the host has none.
    fn wait_a_moment(&mut self) -> bool {
        false
    }

    /// Changes the configuration of the plugin.
    ///
    /// # Errors
    /// The configuration is refused.
    fn configure(&mut self, configuration: &Node) -> Result<()>;

    /// Advances the clock.
    ///
    /// # Errors
    /// The host's clock cannot be moved.
    fn advance(&mut self, _duration: Duration) -> Result<()> {
        bail!("this host's clock cannot be moved")
    }

    /// Returns the failures in the host since the last call, except those that a planned fault caused.
    fn failures(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the log lines since the last call, with warnings and above.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the faults that nothing has triggered so far.
    fn faults_left(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Plans a fault.
    ///
    /// # Errors
    /// The host cannot inject faults.
    fn fault(&mut self, _fault: &Fault) -> Result<()> {
        bail!("this host cannot inject faults")
    }
}

impl Story {
    /// Reads a story.
    ///
    /// # Errors
    /// The story is not valid. The error has the line.
    pub fn read(path: &Path) -> Result<Self> {
        read::story(path)
    }

    /// Reads the stories at the paths: files, or folders of `.yaml` files, sorted by name.
    ///
    /// # Errors
    /// A story is not valid, or there is no story.
    pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Self>> {
        read::stories(paths)
    }

    /// Whether the story needs a clock that can be moved, or faults. A real Envoy supports neither.
    pub fn needs_control(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::Advance(_) | Action::Fault(_) => true,
            Action::Request { worker, .. } => worker.is_some(),
            Action::Upstream(behaviour) | Action::Targets(behaviour) => behaviour.is_refused || behaviour.is_reset,
            Action::Messages(_) | Action::Metrics(_) | Action::Configure(_) => false,
        })
    }
}
