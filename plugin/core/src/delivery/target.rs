//! Where messages go.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::outbox::Tag;
use crate::base::fingerprint;

/// What tollbell calls itself in a request.
pub const USER_AGENT: &str = concat!("tollbell/", env!("CARGO_PKG_VERSION"));

/// What a target's URL stands for where URLs must not be shown: two are alike only if the URLs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointId(pub u64);

impl EndpointId {
    /// Of a URL's parts.
    pub fn new(scheme: &str, authority: &str, path_and_query: &str) -> Self {
        EndpointId(fingerprint(&[scheme, authority, path_and_query]))
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
