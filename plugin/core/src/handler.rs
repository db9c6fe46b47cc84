//! Event handlers: who is told of an event, and how.

use std::fmt;

use crate::template::TemplateName;

/// A handler's place in the configuration's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerIndex(pub usize);

/// One handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Where it stands in the configuration: `apis[orders].AuthFailure[0]`. For logs, and for the cool-down: two
    /// handlers with the same target and body do not silence each other.
    pub name: String,
    /// What it does.
    pub action: Action,
}

/// What a handler does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes one structured line to the proxy's log.
    Log {
        /// Stands before the line.
        prefix: String,
    },
    /// Sends a message.
    Webhook(Webhook),
}

/// A message's target and form.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// GET, PUT, POST, PATCH or DELETE.
    pub method: &'static str,
    /// Where to.
    pub target: Target,
    /// What of.
    pub template: TemplateName,
    /// Every header but the pseudo-headers, lower case: those of `header_map`, `content-type`, `user-agent`.
    pub headers: Vec<(String, String)>,
    /// The cool-down in milliseconds; 0 for none.
    pub event_timeout_ms: u64,
}

impl Webhook {
    /// Whether the method carries a body.
    pub fn has_body(&self) -> bool {
        self.method != "GET"
    }
}

impl fmt::Debug for Webhook {
    /// Without header values and the target's query, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("method", &self.method)
            .field("target", &self.target.authority)
            .finish_non_exhaustive()
    }
}

/// An absolute URL, and the cluster that reaches it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host, and port where the URL names one.
    pub authority: String,
    /// Path and query; at least `/`.
    pub path_and_query: String,
    /// The Envoy cluster.
    pub cluster: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{} by cluster {}", self.scheme, self.authority, self.cluster)
    }
}
