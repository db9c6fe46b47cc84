//! One exchange: a request, its response, and what can be looked up in them.

use serde_json::{Map, Value};

use super::path::{Captures, query_value};

/// A request and the upstream's response to it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'e> {
    /// The request's method, in capitals.
    pub method: &'e str,
    /// Its path as sent, without the query.
    pub path: &'e str,
    /// Its query, without the question mark; empty for none.
    pub query: &'e str,
    /// Its content-type.
    pub request_type: Option<&'e str>,
    /// Its body.
    pub request: BodyView<'e>,
    /// The response's status.
    pub status: u16,
    /// Its `location`, which tells a portal's success from a way back to the form.
    pub location: Option<&'e str>,
    /// Its content-type.
    pub response_type: Option<&'e str>,
    /// Its body.
    pub response: BodyView<'e>,
}

/// What is known of a body; see [`super::body`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum BodyView<'e> {
    /// It is JSON.
    Json(&'e Value),
    /// It is a form: names and values in their order, files left out.
    Form(&'e [(String, String)]),
    /// There is none, or it was not needed.
    #[default]
    None,
    /// It cannot be read, and why.
    Unreadable(&'e str),
}

impl<'e> BodyView<'e> {
    /// The value at a JSON pointer. Of a form, `""` is an object of its fields, and `/name` the first field of that
    /// name.
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

    /// A form's first field of that name, unless it is empty.
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

/// An exchange whose path a rule has taken apart.
#[derive(Debug)]
pub(super) struct Seen<'e> {
    pub(super) exchange: &'e Exchange<'e>,
    pub(super) captures: Captures,
}

impl<'e> Seen<'e> {
    /// What stands in the path at a named place; empty where the rule has none of that name.
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
