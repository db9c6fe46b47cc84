//! The content of a message: a request to a webhook's target, or an email for a provider to send.
//!
//! A message is made in two steps. Its draft shows whether a message of the same cause went out before. Only an
//! admitted message becomes [`Content`], which is held until it is delivered.

mod adopt;
mod draft;
pub mod mail;
pub mod signature;
pub mod template;

pub use adopt::{address, adopt, bare};
pub use draft::{ContentError, draft, email, webhook_request};

use std::fmt;

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

    /// The request of an attempt that begins at `now`.
    pub fn callout(&self, delivery: &Delivery, now: UnixMillis) -> Callout {
        let target = &delivery.target;
        let (headers, body) = match self {
            Content::Webhook(WebhookRequest { method, headers, body, keys }) => {
                let body = if method == "GET" { "" } else { body };
                let signature = signature::headers(keys, &delivery.id, body, now);
                let headers = target.pseudo_headers(method).into_iter().chain(headers.iter().cloned());
                (headers.chain(signature).collect(), body.to_owned())
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
