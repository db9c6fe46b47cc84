//! The HTTP request that hands a letter to a provider.

use std::fmt;

use serde_json::Value;

use crate::delivery::{Target, USER_AGENT};

/// A POST. The signature of Amazon SES is not in it: each attempt is signed anew.
#[derive(Clone, PartialEq, Eq)]
pub struct MailRequest {
    /// Where to.
    pub target: Target,
    /// Every header but the pseudo-headers, lower case. They may hold the key.
    pub headers: Vec<(String, String)>,
    /// UTF-8 with all four providers. It may hold the key.
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

    /// Pseudo-headers and headers, as a held message has them.
    pub fn request_headers(&self) -> Vec<(String, String)> {
        self.target.pseudo_headers("POST").into_iter().chain(self.headers.iter().cloned()).collect()
    }
}

impl fmt::Debug for MailRequest {
    /// Without header values and the body, which have keys and letters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailRequest").field("target", &self.target).finish_non_exhaustive()
    }
}
