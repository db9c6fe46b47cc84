//! Checks the settings for fetching sessions.

use crate::base::member;
use crate::config::calls::{basic, legal_header, target};
use crate::config::error::Errors;
use crate::config::raw;
use crate::delivery::Target;

/// The source of fetched sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysFrom {
    /// The target of the request.
    pub target: Target,
    /// Headers of the request, lower case.
    pub headers: Vec<(String, String)>,
    /// The interval between two fetches.
    pub interval_ms: u64,
    /// The largest answer that is read.
    pub max_bytes: usize,
}

/// `None` if no sessions are fetched.
pub fn check(raw: &raw::Config, errors: &mut Errors, warnings: &mut Errors) -> Option<KeysFrom> {
    if raw.keys_from.url.is_empty() && !raw.keys_from.cluster.is_empty() {
        warnings.add("keys_from.url", "missing: no keys are fetched");
    }
    let from = &raw.keys_from;
    let (target, user_info) = match from.url.as_str() {
        "" => return None,
        url => target("keys_from.url", url, &raw.callouts, errors, warnings)?,
    };
    let mut headers = Vec::new();
    for (name, value) in &from.headers {
        let place = member("keys_from.headers", name);
        headers.extend(legal_header(&place, name, value, errors).map(|name| (name, value.clone())));
    }
    if let Some(user_info) = user_info {
        headers.push(("authorization".to_owned(), basic(&user_info)));
    }
    Some(KeysFrom {
        target: Target {
            cluster: if from.cluster.is_empty() { target.cluster } else { from.cluster.clone() },
            ..target
        },
        headers,
        interval_ms: from.interval_s.saturating_mul(1000),
        max_bytes: usize::try_from(from.max_bytes).unwrap_or(usize::MAX),
    })
}
