//! Event handlers: who is notified of an event, and how.

use std::fmt;

use litemap::LiteMap;

use super::admission::cap::Cap;
use super::content::signature::SigningKey;
use super::content::template::TemplateName;
use crate::base::{HandlerIndex, Mailbox, fingerprint};
use crate::delivery::{HandlerRef, ListPath, Target};

/// Every handler of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Handlers {
    list: Vec<Handler>,
    by_name: LiteMap<String, HandlerIndex>,
    by_place: LiteMap<ListPath, Vec<HandlerIndex>>,
}

impl Handlers {
    /// A name that no other has: where it is taken, a number tells them apart.
    pub fn free_name(&self, name: String) -> String {
        if self.by_name.contains_key(&name) { format!("{name}#{}", self.list.len()) } else { name }
    }

    /// Adds one, of a name that is free.
    pub fn push(&mut self, name: &str, action: Action) -> HandlerIndex {
        let (index, place) = (HandlerIndex(self.list.len()), ListPath::of(name));
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

    fn beside(&self, place: &ListPath) -> impl Iterator<Item = &Handler> {
        self.by_place.get(place).into_iter().flatten().filter_map(|index| self.get(*index))
    }
}

/// Handlers beside another one that a message remembers.
const MAX_BESIDE: usize = 64;

/// One handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// Where it stands in the configuration: `apis[orders].AuthFailure[0]`. For logs, and for the cool-down: two
    /// handlers with the same target and body do not silence each other.
    pub name: String,
    /// The list that it is in.
    pub place: ListPath,
    /// What it does.
    pub action: Action,
}

impl Handler {
    /// What tells it from others that stand in its place: its URL, or whom it writes to.
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

/// What a handler does with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes one structured line to the proxy's log.
    Log {
        /// Stands before the line.
        prefix: String,
    },
    /// Sends a message.
    Send(Box<Channel>),
}

impl Action {
    /// The way by which it sends messages.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Action::Send(channel) => Some(channel),
            Action::Log { .. } => None,
        }
    }
}

/// One way to notify someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Where the request goes: of an email, to the provider.
    pub target: Target,
    /// The time for one attempt, where it is not that of the delivery policy.
    pub timeout_ms: Option<u64>,
    /// The cool-down in milliseconds; 0 for none.
    pub event_timeout_ms: u64,
    /// Whether what a cool-down holds back is reported when it ends.
    pub digest: bool,
    /// How many messages a minute go out; of emails whose recipient varies, any number.
    pub cap: Cap,
    /// What is sent.
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

/// What a channel sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A request that a template writes.
    Webhook(Webhook),
    /// An email to this recipient.
    Email(Recipient),
}

/// Who gets an email.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Always the same.
    Fixed(Mailbox),
    /// The developer whom the event concerns: `meta_data.email` of the key, or whom the payload names.
    Developer,
}

/// A request to a webhook's target.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// GET, PUT, POST, PATCH or DELETE.
    pub method: &'static str,
    /// What writes the body.
    pub template: TemplateName,
    /// Every header but the pseudo-headers, lower case: those of `header_map`, `content-type`, `user-agent`.
    pub headers: Vec<(String, String)>,
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
    /// Without header values, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("method", &self.method).finish_non_exhaustive()
    }
}
