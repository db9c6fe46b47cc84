//! The content of a message: a request to a webhook's target, or an email for a provider to send.
//!
//! A message is made in two steps. Its draft shows whether a message of the same cause went out before. Only an
//! admitted message becomes [`Content`], which is held until it is delivered.

mod adopt;
mod draft;
pub mod mail;
pub mod receiver;
pub mod signature;
pub mod template;

pub use adopt::{address, adopt, bare};
pub use draft::{ContentError, body, draft, email, webhook_request};

use std::fmt;

use go_template::json::quoted;
use serde::{Deserialize, Serialize};

use crate::base::UnixMillis;
use crate::delivery;
use crate::delivery::{Delivery, DeliveryOutcome, Failure};
use crate::host::{Callout, CalloutReply, Callouts};
use mail::verdict::{MAX_ANSWER_BYTES, ProviderAnswer};
use mail::{Account, EmailMessage};
use signature::SigningKey;

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A request to a webhook's target.
    Webhook(WebhookRequest),
    /// An email. Each attempt makes a request to the provider.
    Email(Box<Email>),
}

/// A webhook's request, without the parts that its target determines.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRequest {
    /// GET, PUT, POST, PATCH or DELETE.
    pub method: String,
    /// All headers except the pseudo-headers, lower case.
    pub headers: Vec<(String, String)>,
    /// The body. A GET request is sent without it.
    pub body: String,
    /// Members that each attempt adds to the body, which is then a JSON object. So the text of a message, which the
    /// store of a fleet gets, contains no secret.
    pub secrets: Vec<(String, String)>,
    /// The keys that sign the message.
    pub keys: Vec<SigningKey>,
}

impl fmt::Debug for WebhookRequest {
    /// The form for log lines, without header values and the body, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An email and the account that sends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    pub account: Account,
    pub message: EmailMessage,
}

impl Content {
    /// Encodes the content for delivery.
    pub fn encode(&self) -> delivery::EncodedContent {
        // Serializing plain data into a growing vector cannot fail.
        delivery::EncodedContent(postcard::to_allocvec(self).unwrap_or_default())
    }

    /// Decodes held content; `None` if it is incomplete.
    pub fn decode(held: &delivery::EncodedContent) -> Option<Self> {
        postcard::from_bytes(&held.0).ok()
    }

    /// The content with its secrets replaced, to be shown.
    pub fn without_secrets(self) -> Self {
        match self {
            Content::Webhook(request) => {
                let secrets = request.secrets.into_iter().map(|(name, _)| (name, "…".to_owned())).collect();
                Content::Webhook(WebhookRequest { secrets, ..request })
            }
            email @ Content::Email(_) => email,
        }
    }

    /// The request of an attempt that begins at `now`.
    pub fn callout(&self, delivery: &Delivery, now: UnixMillis) -> Callout {
        let target = &delivery.target;
        let (headers, body) = match self {
            Content::Webhook(WebhookRequest { method, headers, body, secrets, keys }) => {
                let body = if method == "GET" { String::new() } else { with_members(body, secrets) };
                let signature = signature::headers(keys, &delivery.id, &body, now);
                let headers = target.pseudo_headers(method).into_iter().chain(headers.iter().cloned());
                (headers.chain(signature).collect(), body)
            }
            Content::Email(email) => {
                let request = email.account.request(&email.message);
                let headers = request.request_headers();
                // A provider is not a receiver of webhooks.
                let signature = email.account.sign(&headers, request.body.as_bytes(), now);
                (headers.into_iter().chain(signature).collect(), request.body)
            }
        };
        let (cluster, timeout_ms) = (target.cluster.clone(), delivery.timeout_ms.max(1));
        Callout { cluster, headers, body: body.into_bytes(), timeout_ms }
    }
}

/// A JSON object with more members at its beginning; any other text as it is.
fn with_members(body: &str, members: &[(String, String)]) -> String {
    let Some(rest) = body.strip_prefix('{').filter(|_| !members.is_empty()) else { return body.to_owned() };
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
    let comma = if rest.trim_start().starts_with('}') { "" } else { ", " };
    format!("{{{}{comma}{rest}", members.join(", "))
}

/// Judges the reply to an attempt. For an email, the body of the provider's answer counts, too.
pub fn outcome(host: &impl Callouts, delivery: &Delivery, reply: &CalloutReply, now: UnixMillis) -> DeliveryOutcome {
    let outcome = DeliveryOutcome::of_reply(reply, now);
    let is_by_proxy =
        matches!(outcome, DeliveryOutcome::Failed(Failure::NoResponse | Failure::Unreachable | Failure::TimedOut));
    let (Some(status), false) = (reply.status, is_by_proxy) else { return outcome };
    let Some(Content::Email(email)) = Content::decode(&delivery.content) else { return outcome };
    let body = host.reply_body(MAX_ANSWER_BYTES).unwrap_or_default();
    let header = |name: &str| host.reply_header(name);
    let verdict = email.account.judge(&ProviderAnswer { status, header: &header, body: &body }, now);
    if let Some(reason) = verdict.reason() {
        log::warn!("{delivery}: {reason}");
    }
    verdict.outcome()
}
