//! What a provider's answer means.
//!
//! A reason is one of a fixed set of texts: what a provider writes in its own words can repeat keys and addresses.

use std::fmt;

use serde_json::Value;

use super::Provider;
use crate::base::UnixMillis;
use crate::delivery::{DeliveryOutcome, Failure, retry_after_ms};

/// The largest answer that is of use: a longer one counts as an empty one.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What came back from the provider itself, not from the proxy in its place.
pub struct ProviderAnswer<'a> {
    /// The status.
    pub status: u16,
    /// A header by its name in lower case.
    pub header: &'a dyn Fn(&str) -> Option<String>,
    /// The body; empty where it could not be read.
    pub body: &'a [u8],
}

/// What becomes of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderVerdict {
    /// The provider has taken it.
    Delivered,
    /// Another attempt would change nothing.
    Refused(Reason),
    /// Worth another attempt.
    Retry {
        /// Why.
        reason: Reason,
        /// The milliseconds that the provider asks for.
        after_ms: Option<u64>,
    },
}

impl ProviderVerdict {
    /// The same for the delivery policy, which backs off and gives up as for any message.
    pub fn outcome(&self) -> DeliveryOutcome {
        match *self {
            ProviderVerdict::Delivered => DeliveryOutcome::Delivered,
            ProviderVerdict::Refused(reason) => DeliveryOutcome::Refused(reason.status),
            ProviderVerdict::Retry { reason: Reason { status, .. }, after_ms: retry_after_ms } => {
                DeliveryOutcome::Failed(Failure::Status { status, retry_after_ms })
            }
        }
    }

    /// Why it is not delivered.
    pub fn reason(&self) -> Option<Reason> {
        match *self {
            ProviderVerdict::Delivered => None,
            ProviderVerdict::Refused(reason) | ProviderVerdict::Retry { reason, .. } => Some(reason),
        }
    }
}

/// A status, and what it means. It shows no key, no address and nothing of the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The status.
    pub status: u16,
    /// The error's name at the provider, or a few words; empty where the status says all.
    pub text: &'static str,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text {
            "" => write!(f, "status {}", self.status),
            text => write!(f, "status {}, {text}", self.status),
        }
    }
}

/// What a named error comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Final,
    Passing,
}

use Kind::{Final, Passing};

/// Mandrill's errors, by the `name` in its answer, whose status is 500 for most. Those that speak of things that a
/// letter does not use, such as webhooks, are left out.
const MANDRILL: [(&str, Kind); 9] = [
    ("Invalid_Key", Final),
    ("PaymentRequired", Final),
    ("PoorReputation", Final),
    ("Unknown_Subaccount", Final),
    ("Unknown_Template", Final),
    ("ValidationError", Final),
    ("GeneralError", Passing),
    ("ServiceUnavailable", Passing),
    ("RateLimitExceeded", Passing),
];

/// Why Mandrill rejected a recipient.
const MANDRILL_REJECTS: [&str; 10] = [
    "hard-bounce",
    "soft-bounce",
    "spam",
    "unsub",
    "custom",
    "invalid-sender",
    "invalid",
    "test-mode-limit",
    "unsigned",
    "rule",
];

/// Errors of SES's `SendEmail` and those common to AWS, by type.
const SES: [(&str, Kind); 37] = [
    ("AccountSuspendedException", Final),
    ("BadRequestException", Final),
    ("MailFromDomainNotVerifiedException", Final),
    ("MessageRejected", Final),
    ("NotFoundException", Final),
    ("AccessDeniedException", Final),
    ("ExpiredTokenException", Final),
    ("IncompleteSignature", Final),
    ("IncompleteSignatureException", Final),
    ("InvalidAction", Final),
    ("InvalidClientTokenId", Final),
    ("MalformedHttpRequestException", Final),
    ("MissingAuthenticationToken", Final),
    ("MissingAuthenticationTokenException", Final),
    ("NotAuthorized", Final),
    ("OptInRequired", Final),
    ("RequestEntityTooLargeException", Final),
    ("SerializationException", Final),
    ("UnknownOperationException", Final),
    ("UnrecognizedClientException", Final),
    ("ValidationError", Final),
    ("ValidationException", Final),
    // A wrong secret, unless the message speaks of the time.
    ("InvalidSignatureException", Final),
    ("SignatureDoesNotMatch", Final),
    ("LimitExceededException", Passing),
    ("SendingPausedException", Passing),
    ("Throttling", Passing),
    ("ThrottlingException", Passing),
    ("TooManyRequestsException", Passing),
    ("InternalFailure", Passing),
    ("InternalServiceErrorException", Passing),
    ("RequestAbortedException", Passing),
    ("RequestTimeoutException", Passing),
    ("ServiceUnavailable", Passing),
    ("ServiceUnavailableException", Passing),
    // The clock may be set right before the next attempt, which is signed with its own time.
    ("RequestExpired", Passing),
    ("RequestTimeTooSkewed", Passing),
];

const CLOCK: &str = "the proxy's clock and that of AWS differ too much";

impl Provider {
    /// What an answer that came `now` means.
    pub fn judge(self, answer: &ProviderAnswer<'_>, now: UnixMillis) -> ProviderVerdict {
        match self {
            Provider::Mandrill => answer.by_mandrill(now),
            Provider::SendGrid => answer.by_sendgrid(now),
            Provider::Mailgun => answer.by_mailgun(now),
            Provider::AmazonSes => answer.by_ses(now),
        }
    }
}

impl ProviderAnswer<'_> {
    fn reason(&self, text: &'static str) -> Reason {
        Reason { status: self.status, text }
    }

    fn refused(&self, text: &'static str) -> ProviderVerdict {
        ProviderVerdict::Refused(self.reason(text))
    }

    fn retry(&self, text: &'static str, now: UnixMillis) -> ProviderVerdict {
        let after = (self.header)("retry-after").and_then(|value| retry_after_ms(&value, now));
        ProviderVerdict::Retry { reason: self.reason(text), after_ms: after }
    }

    fn json(&self) -> Value {
        crate::base::json::parse(self.body).unwrap_or_default()
    }

    /// Where the status is all that is known: as for webhooks, a 4xx is final but for 408, 425 and 429. A 2xx that is
    /// not what the provider documents is tried again: a letter may arrive twice, and never not at all.
    fn by_status(&self, now: UnixMillis) -> ProviderVerdict {
        match self.status {
            401 | 403 => self.refused("the key is not accepted, or may not send from this address"),
            413 => self.refused("the letter is too large"),
            429 => self.retry("too many requests", now),
            408 | 425 => self.retry("", now),
            400..=499 => self.refused(""),
            200..=299 => self.retry("not the answer that the provider documents", now),
            300..=399 => self.retry("a redirect, which is not followed", now),
            _ => self.retry("", now),
        }
    }

    fn by_name(&self, name: &'static str, kind: Kind, now: UnixMillis) -> ProviderVerdict {
        match kind {
            Final => self.refused(name),
            Passing => self.retry(name, now),
        }
    }

    /// 200 with a status for each recipient, of which there is one; errors have a name.
    fn by_mandrill(&self, now: UnixMillis) -> ProviderVerdict {
        let json = self.json();
        if let Some((name, kind)) = find(&MANDRILL, json.get("name").and_then(Value::as_str)) {
            return self.by_name(name, kind, now);
        }
        let results = json.as_array().filter(|_| self.status == 200);
        let Some(first) = results.and_then(|results| results.first()) else { return self.by_status(now) };
        let text = |name: &str| first.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("status") {
            "sent" | "queued" | "scheduled" => ProviderVerdict::Delivered,
            "invalid" => self.refused("the recipient is invalid"),
            "rejected" => {
                let given = text("reject_reason");
                let known = MANDRILL_REJECTS.into_iter().find(|reason| *reason == given);
                self.refused(known.unwrap_or("the recipient is rejected"))
            }
            _ => self.by_status(now),
        }
    }

    /// 202; 429 with `X-RateLimit-Reset` in Unix seconds.
    fn by_sendgrid(&self, now: UnixMillis) -> ProviderVerdict {
        match (self.status, self.by_status(now)) {
            (202, _) => ProviderVerdict::Delivered,
            (429, ProviderVerdict::Retry { reason, after_ms: None }) => {
                let reset = (self.header)("x-ratelimit-reset").and_then(|value| value.trim().parse::<u64>().ok());
                let after_ms = reset.map(|seconds| UnixMillis(seconds.saturating_mul(1000)).since(now));
                ProviderVerdict::Retry { reason, after_ms: after_ms.filter(|ms| *ms > 0) }
            }
            (_, verdict) => verdict,
        }
    }

    /// 200.
    fn by_mailgun(&self, now: UnixMillis) -> ProviderVerdict {
        match self.status {
            200 => ProviderVerdict::Delivered,
            402 => self.refused("the account must pay, or has reached its limit"),
            404 => self.refused("no such domain, or it is in the other region"),
            _ => self.by_status(now),
        }
    }

    /// 200 with a `MessageId`; errors have a type, in a header or in the body.
    fn by_ses(&self, now: UnixMillis) -> ProviderVerdict {
        let json = self.json();
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        if self.status == 200 {
            let id = text("MessageId").is_some_and(|id| !id.is_empty());
            return if id { ProviderVerdict::Delivered } else { self.by_status(now) };
        }
        let r#type = (self.header)("x-amzn-errortype").or_else(|| text("__type").or(text("code")).map(str::to_owned));
        // `Name:http://…` and `namespace#Name`.
        let r#type = r#type.as_deref().and_then(|name| name.split(':').next()?.rsplit('#').next());
        let message = text("message").or(text("Message")).unwrap_or_default();
        match find(&SES, r#type) {
            Some(("InvalidSignatureException" | "SignatureDoesNotMatch", _)) if speaks_of_time(message) => {
                self.retry(CLOCK, now)
            }
            Some(("RequestExpired" | "RequestTimeTooSkewed", _)) => self.retry(CLOCK, now),
            Some((name, kind)) => self.by_name(name, kind, now),
            None => self.by_status(now),
        }
    }
}

/// AWS gives a signature of another time the same type as a wrong one, and tells them apart in words.
fn speaks_of_time(message: &str) -> bool {
    message.contains("Signature expired") || message.contains("Signature not yet current")
}

fn find(known: &[(&'static str, Kind)], name: Option<&str>) -> Option<(&'static str, Kind)> {
    let name = name?.trim();
    known.iter().find(|(candidate, _)| *candidate == name).copied()
}

#[cfg(test)]
mod tests;
