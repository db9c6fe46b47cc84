//! One exchange: a request and its response, with lookups in both.

use serde_json::{Map, Value};

use super::path::{Captures, query_value};

/// A request and the upstream's response to it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'e> {
    /// The request's method, in upper case.
    pub method: &'e str,
    /// The request's path as sent, without the query.
    pub path: &'e str,
    /// The request's query without the question mark; empty if there is none.
    pub query: &'e str,
    /// The request's content-type.
    pub request_type: Option<&'e str>,
    /// The request's body.
    pub request: BodyView<'e>,
    /// The response's status.
    pub status: u16,
    /// The response's `location`. It distinguishes a success of the portal from a redirect back to the form.
    pub location: Option<&'e str>,
    /// The response's content-type.
    pub response_type: Option<&'e str>,
    /// The response's body.
    pub response: BodyView<'e>,
}

/// The readable content of a body; see [`super::body`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum BodyView<'e> {
    /// JSON.
    Json(&'e Value),
    /// A form: names and values in their order, without files.
    Form(&'e [(String, String)]),
    /// No body, or one that was not needed.
    #[default]
    None,
    /// The body cannot be read; the text says why.
    Unreadable(&'e str),
}

impl<'e> BodyView<'e> {
    /// The value at a JSON pointer. In a form, `""` is an object of its fields, and `/name` is the first field with
    /// that name.
    pub fn at(self, pointer: &str) -> Option<Value> {
        match self {
            BodyView::Json(value) => value.pointer(pointer).cloned(),
            BodyView::Form(fields) if pointer.is_empty() => {
                let mut members = Map::new();
                for (name, value) in fields {
                    members.entry(name.clone()).or_insert_with(|| Value::from(value.clone()));
                }
                Some(Value::Object(members))
            }
            BodyView::Form(_) => {
                let name = pointer.strip_prefix('/')?.replace("~1", "/").replace("~0", "~");
                self.field(&name).map(Value::from)
            }
            BodyView::None | BodyView::Unreadable(_) => None,
        }
    }

    /// The JSON value at a pointer.
    pub fn json(self, pointer: &str) -> Option<&'e Value> {
        match self {
            BodyView::Json(value) => value.pointer(pointer),
            _ => None,
        }
    }

    /// The JSON text at a pointer, unless it is empty.
    pub fn text(self, pointer: &str) -> Option<&'e str> {
        self.json(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A form's first field with this name, unless it is empty.
    pub fn field(self, name: &str) -> Option<&'e str> {
        self.fields()
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
            .filter(|text| !text.is_empty())
    }

    /// A form's fields.
    pub fn fields(self) -> &'e [(String, String)] {
        match self {
            BodyView::Form(fields) => fields,
            _ => &[],
        }
    }
}

/// An exchange with the values that a rule found in its path.
#[derive(Debug)]
pub(super) struct Seen<'e> {
    pub(super) exchange: &'e Exchange<'e>,
    pub(super) captures: Captures,
}

impl<'e> Seen<'e> {
    /// The value at a named place of the path; empty if the rule has no such place.
    pub(super) fn path(&self, name: &str) -> &str {
        self.captures.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(super) fn query(&self, name: &str) -> Option<String> {
        query_value(self.exchange.query, name)
    }

    pub(super) fn request(&self) -> BodyView<'e> {
        self.exchange.request
    }

    pub(super) fn response(&self) -> BodyView<'e> {
        self.exchange.response
    }

    pub(super) fn status(&self) -> u16 {
        self.exchange.status
    }

    /// The path of the response's `location`.
    pub(super) fn location(&self) -> Option<&'e str> {
        let location = self.exchange.location?;
        let path = match location.split_once("://") {
            Some((_, rest)) => rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/"),
            None => location,
        };
        path.split(['?', '#']).next()
    }
}
