//! The targets of messages.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::outbox::Tag;
use crate::base::fingerprint;

/// The `User-Agent` of tollbell's requests.
pub const USER_AGENT: &str = concat!("tollbell/", env!("CARGO_PKG_VERSION"));

/// Identifies a URL where it must not be shown. Equal URLs have equal ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointId(pub u64);

impl EndpointId {
    /// Made from the parts of a URL.
    pub fn new(scheme: &str, authority: &str, path_and_query: &str) -> Self {
        EndpointId(fingerprint(&[scheme, authority, path_and_query]))
    }
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// The scheme as in a URL.
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
    pub scheme: Scheme,
    /// The host, with the port if the URL has one.
    pub authority: String,
    /// Path and query; at least `/`.
    pub path_and_query: String,
    /// The Envoy cluster that reaches it.
    pub cluster: String,
    /// Identifies the URL where it must not be shown.
    pub endpoint: EndpointId,
    /// The tag of its messages in the outbox.
    pub tag: Tag,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{} by cluster {}", self.scheme.as_str(), self.authority, self.cluster)
    }
}

impl Target {
    /// The pseudo-headers of a request to the target.
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
