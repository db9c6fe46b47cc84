//! For each operation of the presets, an exchange and its events; and exchanges without events.

use super::*;
use crate::access::Prefix;

mod dashboard;
mod gateway;
mod portal;

/// An exchange with a body of JSON or of a form, or without a body.
pub(super) struct Case {
    pub(super) preset: Preset,
    /// The row of the table that the case is for; empty if it is for none.
    pub(super) operation: &'static str,
    pub(super) method: &'static str,
    /// The path and the query.
    pub(super) target: String,
    pub(super) request: Body,
    pub(super) status: u16,
    pub(super) location: Option<&'static str>,
    pub(super) response: Body,
    /// The name, organisation and payload of each event.
    pub(super) expected: Vec<(&'static str, Option<&'static str>, Value)>,
}

impl Case {
    pub(super) fn run(&self, listen_path: &str, before: &str) -> Vec<Occurrence> {
        let rules = Rules::new(Prefix::parse(listen_path).unwrap(), Some(self.preset), Vec::new(), 1024);
        let target = format!("{before}{}", self.target);
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let needs = rules.watch(self.method, path).unwrap_or_default();
        // Bodies that are not needed are not there.
        let request = if needs.needs_request { self.request.view() } else { BodyView::None };
        let response = if needs.needs_response { self.response.view() } else { BodyView::None };
        let response_type = match &self.response {
            Body::Json(_) => Some("application/json; charset=utf-8"),
            _ => Some("text/html"),
        };
        let (method, status, location) = (self.method, self.status, self.location);
        let request_type = None;
        rules.occurrences(&Exchange {
            method,
            path,
            query,
            request_type,
            request,
            status,
            location,
            response_type,
            response,
        })
    }
}

fn sha(key: &str) -> String {
    crate::access::KeyHash::of(key.as_bytes()).fingerprint()
}

const ORG: &str = "5e2743567c1f8800018bdf35";
const RAW: &str = "5e2743567c1f8800018bdf35f00";
/// A key without an organisation, in Tyk's form.
const UUID: &str = "0b6a4f0e5d5c4e0f9a3c2d1e4b5a6978";

fn form(fields: &[(&str, &str)]) -> Body {
    Body::Form(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// The cases of the three presets.
pub(super) fn all() -> Vec<Case> {
    [gateway::gateway(), dashboard::dashboard(), portal::admin_api(), portal::pages()].into_iter().flatten().collect()
}

type Expected<'x> = &'x [(&'static str, Option<&'static str>, Value)];

fn answered(
    preset: Preset,
    operation: &'static str,
    target: &str,
    request: Value,
    response: Value,
    expected: Expected<'_>,
) -> Case {
    let method = operation.split([' ', ',']).next().unwrap();
    let request = if request.is_null() { Body::None } else { Body::Json(request) };
    let (target, expected) = (target.to_owned(), expected.to_vec());
    Case {
        preset,
        operation,
        method,
        target,
        request,
        status: 200,
        location: None,
        response: Body::Json(response),
        expected,
    }
}
