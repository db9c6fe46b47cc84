//! The endpoint at which the holder of a key sees its limits and their use.

use serde_json::{Value, json};

use super::endpoints;
use super::status::{Shown, shown, shown_session};
use crate::access::{Answer, ApiIndex, Caller, Prefix, Quota, Readings, Request, Session};
use crate::base::UnixMillis;

/// The configuration of the endpoint.
#[derive(Clone, Debug)]
pub struct OwnUsage {
    path: Prefix,
    /// The APIs in whose places a key may be.
    pub places: Vec<ApiIndex>,
    /// The requests that each key may send to the endpoint; `None` for any number.
    pub rate: Option<Quota>,
}

impl OwnUsage {
    pub fn new(path: Prefix, places: Vec<ApiIndex>, rate: Option<Quota>) -> Self {
        OwnUsage { path, places, rate }
    }

    /// True if a path may mean the endpoint, in any reading, so that no such request reaches an upstream.
    pub fn owns(&self, readings: &Readings<'_>) -> bool {
        readings.decoded().iter().any(|reading| *reading.path == *self.path.decoded())
    }
}

/// The endpoint takes only GET and HEAD.
///
/// # Errors
/// The refusal of another method.
pub fn check_method(request: &Request<'_>) -> Result<(), Answer> {
    if matches!(request.header(":method").unwrap_or(b"GET"), b"GET" | b"HEAD") {
        return Ok(());
    }
    let mut refusal = endpoints::answer(405, &json!({ "error": "this is for GET" }));
    refusal.headers.push(("allow", "GET, HEAD".to_owned()));
    Err(refusal)
}

/// Shows the limits of a key and of its organisation.
pub fn answer(scope: &Shown<'_>, session: &Session, now: UnixMillis) -> Answer {
    let mut body = shown_session(scope, session);
    if let Value::Object(members) = &mut body {
        let caller = Caller::of_session(scope.directory, session);
        let of_org = shown((scope.usages)(&caller.org_charge()));
        members.insert("organisation".to_owned(), json!({ "id": caller.org_id(), "limits": of_org }));
        members.insert("time".to_owned(), json!(now.to_rfc3339()));
    }
    Answer { details: format!("{}usage", Answer::DETAILS_PREFIX), ..endpoints::answer(200, &body) }
}
