//! Event handlers: who is notified of an event, and how.

use std::fmt;

use litemap::LiteMap;

use super::admission::cap::Cap;
use super::content::receiver::Receiver;
use super::content::signature::SigningKey;
use super::content::template::TemplateName;
use super::when::When;
use crate::base::{Address, HandlerIndex, Mailbox, fingerprint};
use crate::delivery::{HandlerRef, ListPath, Target};

/// All handlers of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Handlers {
    list: Vec<Handler>,
    by_name: LiteMap<String, HandlerIndex>,
    by_place: LiteMap<ListPath, Vec<HandlerIndex>>,
}

impl Handlers {
    /// A unique name. If `name` is in use, a number is appended.
    pub fn free_name(&self, name: String) -> String {
        if self.by_name.contains_key(&name) { format!("{name}#{}", self.list.len()) } else { name }
    }

    /// Adds a handler. Its name must be free.
    pub fn push(&mut self, name: &str, when: When, action: Action) -> HandlerIndex {
        let (index, place) = (HandlerIndex(self.list.len()), ListPath::of(name));
        self.by_name.insert(name.to_owned(), index);
        self.by_place.entry(place.clone()).or_default().push(index);
        self.list.push(Handler { name: name.to_owned(), place, when, action });
        index
    }

    pub fn iter(&self) -> impl Iterator<Item = &Handler> {
        self.list.iter()
    }

    /// The handler at an index.
    pub fn get(&self, index: HandlerIndex) -> Option<&Handler> {
        self.list.get(index.0)
    }

    /// The handler with this name.
    pub fn named(&self, name: &str) -> Option<&Handler> {
        self.get(*self.by_name.get(name)?)
    }
}

impl Handlers {
    /// The reference that a message stores to find its handler later.
    pub fn reference(&self, handler: &Handler) -> HandlerRef {
        let beside = self.beside(&handler.place).filter(|other| other.name != handler.name);
        HandlerRef {
            name: handler.name.clone(),
            place: handler.place.clone(),
            mark: handler.mark(),
            beside: beside.take(MAX_BESIDE).map(|other| (fingerprint(&[&other.name]), other.mark())).collect(),
        }
    }

    /// Finds the handler of a message in this configuration, even if its URL, its place in the list or its label has
    /// changed; `None` if it was removed.
    pub fn find(&self, sought: &HandlerRef) -> Option<&Handler> {
        let named = self.named(&sought.name).filter(|handler| handler.place == sought.place);
        if sought.place.is_labelled(&sought.name)
            && let Some(named) = named
        {
            return Some(named);
        }
        // Without a label, the URL identifies a handler better than its place in the list.
        let was_beside = |handler: &Handler| sought.beside.contains(&(fingerprint(&[&handler.name]), handler.mark()));
        let same = |handler: &&Handler| handler.mark() == sought.mark;
        let moved = self.beside(&sought.place).filter(same).find(|handler| !was_beside(handler));
        let is_new = |handler: &&Handler| sought.beside.iter().all(|(_, mark)| *mark != handler.mark());
        named.filter(same).or(moved).or(named.filter(is_new))
    }

    fn beside(&self, place: &ListPath) -> impl Iterator<Item = &Handler> {
        self.by_place.get(place).into_iter().flatten().filter_map(|index| self.get(*index))
    }
}

/// The maximum number of neighbours that a reference stores.
const MAX_BESIDE: usize = 64;

/// One handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The handler's place in the configuration, such as `apis[orders].AuthFailure[0]`. It is used in logs and for
    /// cool-downs: two handlers with the same target and body do not suppress each other's messages.
    pub name: String,
    /// The list that contains the handler.
    pub place: ListPath,
    /// The events that it gets.
    pub when: When,
    pub action: Action,
}

impl Handler {
    /// Distinguishes the handler from others in its place: its URL, or its recipient.
    pub fn mark(&self) -> u64 {
        match &self.action {
            Action::Log { .. } => fingerprint(&["log"]),
            Action::Send(channel) => match &channel.form {
                Form::Webhook(_) => channel.target.endpoint.0,
                Form::Email(Recipient::Fixed(to)) => fingerprint(&["email", to.address.as_str()]),
                Form::Email(Recipient::Developer) => fingerprint(&["developer"]),
            },
        }
    }
}

/// The action of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes one structured line to the proxy's log.
    Log {
        /// The text before the line.
        prefix: String,
    },
    /// Sends a message.
    Send(Box<Channel>),
}

impl Action {
    /// The channel that sends its messages; `None` for a log handler.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Action::Send(channel) => Some(channel),
            Action::Log { .. } => None,
        }
    }
}

/// A way to notify someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The target of the request. For an email, this is the provider.
    pub target: Target,
    /// The time-out of one attempt, if it differs from the delivery policy's.
    pub timeout_ms: Option<u64>,
    /// The cool-down in milliseconds; 0 for none.
    pub event_timeout_ms: u64,
    /// True if a digest reports the events that a cool-down held back.
    pub digest: bool,
    /// The maximum number of messages per minute. Emails to varying recipients have no limit.
    pub cap: Cap,
    pub form: Form,
}

impl Channel {
    /// The method of its requests.
    pub fn method(&self) -> &'static str {
        match &self.form {
            Form::Webhook(webhook) => webhook.method,
            Form::Email(_) => "POST",
        }
    }
}

/// The kind of message that a channel sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A request whose body a template renders.
    Webhook(Webhook),
    /// An email to this recipient.
    Email(Recipient),
}

impl Form {
    /// True if its messages show the event's key. Otherwise they show its fingerprint.
    pub fn shows_keys(&self) -> bool {
        match self {
            Form::Webhook(webhook) => match &webhook.body {
                Body::Template(_) => true,
                Body::Receiver { receiver, .. } => receiver.shows_keys,
            },
            Form::Email(_) => false,
        }
    }

    /// The recipient of a digest, which webhooks do not have. `None` if there is no digest, because it cannot have
    /// several recipients.
    pub fn digest_recipient(&self) -> Option<Option<&Address>> {
        match self {
            Form::Webhook(_) => Some(None),
            Form::Email(Recipient::Fixed(to)) => Some(Some(&to.address)),
            Form::Email(Recipient::Developer) => None,
        }
    }
}

/// The recipient of an email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The same address for all events.
    Fixed(Mailbox),
    /// The developer concerned: `meta_data.email` of the key's session, or the person in the payload.
    Developer,
}

/// Where the body of a webhook comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A template of the configuration, or one of Tyk's.
    Template(TemplateName),
    /// The built-in message for a receiver. `source` is its name for the gateway.
    Receiver { receiver: &'static Receiver, source: String },
}

/// A request to a webhook's target.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// GET, PUT, POST, PATCH or DELETE.
    pub method: &'static str,
    pub body: Body,
    /// All headers except the pseudo-headers, lower case: those of `header_map`, `content-type`, `user-agent`.
    pub headers: Vec<(String, String)>,
    /// Members of the body that are secrets. The body does not contain them before an attempt.
    pub secrets: Vec<(String, String)>,
    /// The keys that sign messages. There are several while secrets rotate.
    pub keys: Vec<SigningKey>,
}

impl Webhook {
    /// True if requests with this method have a body.
    pub fn has_body(&self) -> bool {
        self.method != "GET"
    }
}

impl fmt::Debug for Webhook {
    /// The form for log lines, without header values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("method", &self.method).finish_non_exhaustive()
    }
}
