//! The HTTP request that passes an email to a provider.

use std::fmt;

use serde_json::Value;

use crate::delivery::{Target, USER_AGENT};

/// A POST request. The signature of Amazon SES is not part of it, because each attempt has its own.
#[derive(Clone, PartialEq, Eq)]
pub struct MailRequest {
    pub target: Target,
    /// All headers except the pseudo-headers, lower case. They may contain the key.
    pub headers: Vec<(String, String)>,
    /// UTF-8 for all four providers. It may contain the key.
    pub body: String,
}

impl MailRequest {
    pub(super) fn new(target: &Target, content_type: &str, body: String) -> Self {
        let headers = [("accept", "application/json"), ("content-type", content_type), ("user-agent", USER_AGENT)];
        MailRequest {
            target: target.clone(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body,
        }
    }

    pub(super) fn json(target: &Target, body: &Value) -> Self {
        Self::new(target, "application/json", body.to_string())
    }

    pub(super) fn with_authorization(mut self, value: String) -> Self {
        self.headers.push(("authorization".to_owned(), value));
        self
    }

    /// The pseudo-headers and headers in the form of a held message.
    pub fn request_headers(&self) -> Vec<(String, String)> {
        self.target.pseudo_headers("POST").into_iter().chain(self.headers.iter().cloned()).collect()
    }
}

impl fmt::Debug for MailRequest {
    /// The form for log lines, without header values and the body, which contain keys and emails.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailRequest").field("target", &self.target).finish_non_exhaustive()
    }
}
