//! Event handlers: who is told of an event, and how.

use std::fmt;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use crate::cap::Cap;
use crate::delivery::EndpointId;
use crate::delivery::outbox::Tag;
use crate::delivery::signature::SigningKey;
use crate::mail::{Address, Mailbox};
use crate::template::TemplateName;
use crate::units::fingerprint;

/// What tollbell calls itself in a request.
pub(crate) const USER_AGENT: &str = concat!("tollbell/", env!("CARGO_PKG_VERSION"));

/// A handler's place in the configuration's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandlerIndex(pub usize);

/// Every handler of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Handlers {
    list: Vec<Handler>,
    by_name: LiteMap<String, HandlerIndex>,
    by_place: LiteMap<Place, Vec<HandlerIndex>>,
}

impl Handlers {
    /// A name that no other has: where it is taken, a number tells them apart.
    pub fn free_name(&self, name: String) -> String {
        if self.by_name.contains_key(&name) { format!("{name}#{}", self.list.len()) } else { name }
    }

    /// Adds one, of a name that is free.
    pub fn push(&mut self, name: &str, action: Action) -> HandlerIndex {
        let (index, place) = (HandlerIndex(self.list.len()), Place::of(name));
        self.by_name.insert(name.to_owned(), index);
        self.by_place.entry(place.clone()).or_default().push(index);
        self.list.push(Handler { name: name.to_owned(), place, action });
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

impl Handlers {
    /// What a message remembers of its handler.
    pub fn reference(&self, handler: &Handler) -> HandlerRef {
        let beside = self.beside(&handler.place).filter(|other| other.name != handler.name);
        HandlerRef {
            name: handler.name.clone(),
            place: handler.place.clone(),
            mark: handler.mark(),
            beside: beside.take(MAX_BESIDE).map(|other| (fingerprint(&[&other.name]), other.mark())).collect(),
        }
    }

    /// The handler that a message's is in this configuration, whatever has become of its URL, its place in a list and its
    /// label; `None` where it was removed.
    pub fn find(&self, sought: &HandlerRef) -> Option<&Handler> {
        let named = self.named(&sought.name).filter(|handler| handler.place == sought.place);
        if sought.place.is_labelled(&sought.name)
            && let Some(named) = named
        {
            return Some(named);
        }
        // Where it has no label, its URL tells more than its place in the list.
        let was_beside = |handler: &Handler| sought.beside.contains(&(fingerprint(&[&handler.name]), handler.mark()));
        let same = |handler: &&Handler| handler.mark() == sought.mark;
        let moved = self.beside(&sought.place).filter(same).find(|handler| !was_beside(handler));
        let is_new = |handler: &&Handler| sought.beside.iter().all(|(_, mark)| *mark != handler.mark());
        named.filter(same).or(moved).or(named.filter(is_new))
    }

    fn beside(&self, place: &Place) -> impl Iterator<Item = &Handler> {
        self.by_place.get(place).into_iter().flatten().filter_map(|index| self.get(*index))
    }
}

/// Handlers beside another one that a message remembers.
const MAX_BESIDE: usize = 64;

/// The list of the configuration that a handler is an entry of: `apis[orders].AuthFailure`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place(pub String);

impl Place {
    /// Of a handler's name: what stands before the brackets at its end, or all of it.
    fn of(name: &str) -> Self {
        let (plain, _number) = name.rsplit_once('#').unwrap_or((name, ""));
        let list = plain.strip_suffix(']').and_then(|_| plain.rsplit_once('['));
        Place(list.map_or(name, |(list, _)| list).to_owned())
    }

    /// Whether a name in this list is its entry's label, not its number.
    fn is_labelled(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.0).unwrap_or_default();
        let entry = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        rest.is_empty() || entry.is_some_and(|entry| !entry.chars().all(|c| c.is_ascii_digit()))
    }
}

/// What a held message remembers of its handler, to find it in a later configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerRef {
    /// See [`Handler::name`].
    pub name: String,
    /// The list that it was in.
    pub place: Place,
    /// See [`Handler::mark`].
    pub mark: u64,
    /// The others of that list: fingerprints of their names, and their marks.
    pub beside: Vec<(u64, u64)>,
}

/// One handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Where it stands in the configuration: `apis[orders].AuthFailure[0]`. For logs, and for the cool-down: two
    /// handlers with the same target and body do not silence each other.
    pub name: String,
    /// The list that it is in.
    pub place: Place,
    /// What it does.
    pub action: Action,
}

impl Handler {
    /// What tells it from others that stand in its place: its URL, or whom it writes to.
    pub fn mark(&self) -> u64 {
        match &self.action {
            Action::Webhook(webhook) => webhook.target.endpoint.0,
            Action::Email(email) => match &email.to {
                Recipient::Fixed(to) => fingerprint(&["email", to.address.as_str()]),
                Recipient::Developer => fingerprint(&["developer"]),
            },
            Action::Log { .. } => fingerprint(&["log"]),
        }
    }
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

impl Target {
    /// The pseudo-headers of a request to it.
    pub fn pseudo_headers(&self, method: &str) -> [(String, String); 4] {
        let pseudo = [
            (":method", method),
            (":path", self.path_and_query.as_str()),
            (":authority", self.authority.as_str()),
            (":scheme", self.scheme.as_str()),
        ];
        pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

/// What a URL begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// As a URL has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// An absolute URL, and the cluster that reaches it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// With or without TLS.
    pub scheme: Scheme,
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
        write!(f, "{}://{} by cluster {}", self.scheme.as_str(), self.authority, self.cluster)
    }
}
