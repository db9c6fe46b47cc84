//! Event handlers: who is told of an event, and how.

use std::collections::BTreeMap;
use std::fmt;

use crate::cap::Cap;
use crate::delivery::EndpointId;
use crate::delivery::outbox::Tag;
use crate::delivery::signature::SigningKey;
use crate::mail::{Address, Mailbox};
use crate::template::TemplateName;

/// What tollbell calls itself in a request.
pub(crate) const USER_AGENT: &str = concat!("tollbell/", env!("CARGO_PKG_VERSION"));

/// A handler's place in the configuration's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerIndex(pub usize);

/// Every handler of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Handlers {
    list: Vec<Handler>,
    by_name: BTreeMap<String, HandlerIndex>,
}

impl Handlers {
    /// A name that no other has: where it is taken, a number tells them apart.
    pub fn free_name(&self, name: String) -> String {
        if self.by_name.contains_key(&name) { format!("{name}#{}", self.list.len()) } else { name }
    }

    /// Adds one, of a name that is free.
    pub fn push(&mut self, name: &str, action: Action) -> HandlerIndex {
        let index = HandlerIndex(self.list.len());
        self.by_name.insert(name.to_owned(), index);
        self.list.push(Handler { name: name.to_owned(), action });
        index
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Handler> {
        self.list.iter()
    }

    /// The one at a place.
    pub fn get(&self, index: HandlerIndex) -> Option<&Handler> {
        self.list.get(index.0)
    }

    /// The one of that name.
    pub fn named(&self, name: &str) -> Option<&Handler> {
        self.get(*self.by_name.get(name)?)
    }

    /// The webhook of that name.
    pub fn webhook(&self, name: &str) -> Option<&Webhook> {
        match &self.named(name)?.action {
            Action::Webhook(webhook) => Some(webhook),
            Action::Email(_) | Action::Log { .. } => None,
        }
    }
}

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
    Webhook(Box<Webhook>),
    /// Sends a letter.
    Email(Box<Email>),
}

impl Action {
    /// Where messages go.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Action::Webhook(webhook) => Some(&webhook.target),
            Action::Email(email) => Some(&email.carried_by.target),
            Action::Log { .. } => None,
        }
    }
}

/// A letter's recipient, and how it is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// The request to the provider, but for what each letter brings.
    pub carried_by: Webhook,
    /// To whom.
    pub to: Recipient,
}

/// Who gets a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Always the same.
    Fixed(Mailbox),
    /// The developer whom the event concerns: `meta_data.email` of the key, or whom the payload names.
    Developer,
}

impl Recipient {
    /// Whether every letter is for this address.
    pub fn is_always(&self, address: &Address) -> bool {
        matches!(self, Recipient::Fixed(to) if to.address == *address)
    }
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
    /// The time for one attempt, where it is not that of the delivery policy.
    pub timeout_ms: Option<u64>,
    /// The cool-down in milliseconds; 0 for none.
    pub event_timeout_ms: u64,
    /// Whether what a cool-down holds back is told when it ends.
    pub digest: bool,
    /// How many messages a minute go out; of letters whose recipient varies, any number.
    pub cap: Cap,
    /// What messages are signed with; several while secrets rotate.
    pub keys: Vec<SigningKey>,
}

impl Webhook {
    /// Whether the method carries a body.
    pub fn has_body(&self) -> bool {
        self.method != "GET"
    }

    /// Pseudo-headers and headers of a request.
    pub fn request_headers(&self) -> Vec<(String, String)> {
        let pseudo = [
            (":method", self.method),
            (":path", self.target.path_and_query.as_str()),
            (":authority", self.target.authority.as_str()),
            (":scheme", self.target.scheme),
        ];
        let pseudo = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        pseudo.chain(self.headers.iter().cloned()).collect()
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
    /// What the URL is known by where it must not be shown.
    pub endpoint: EndpointId,
    /// Whose slots of the outbox its messages take.
    pub tag: Tag,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{} by cluster {}", self.scheme, self.authority, self.cluster)
    }
}
