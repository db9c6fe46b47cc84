//! The tree of a configuration file, each part with its line.

use std::collections::HashSet;

/// A part of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line on which it begins; the first is 1.
    pub line: usize,
    /// What it is.
    pub value: Value,
    /// It is a `|` scalar: the first line of its text is the one after `line`, and so on.
    pub is_literal: bool,
    /// The text of a YAML scalar that is not quoted.
    pub plain: Option<String>,
}

/// What a node is, as Envoy's YAML reader understands it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true`, and in YAML also `yes`, `on`, `y` and the like.
    Bool(bool),
    /// A whole number. From JSON only those that fit into 32 bits.
    Int(i64),
    /// Any other number of a JSON file. YAML's are strings, in Envoy too.
    Float(f64),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the file's order, each key once.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: String,
    /// The line on which it stands.
    pub line: usize,
}

impl Node {
    pub(super) fn new(line: usize, value: Value) -> Self {
        Node { line, value, is_literal: false, plain: None }
    }

    /// The entry of a map.
    pub fn entry(&self, name: &str) -> Option<(&Key, &Node)> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(key, node)| (key, node))
    }

    /// The item of a list.
    pub fn item(&self, index: usize) -> Option<&Node> {
        let Value::List(items) = &self.value else { return None };
        items.get(index)
    }

    /// The node at a path such as `apis[0].auth`, if there is one.
    pub fn find(&self, path: &str) -> Option<&Node> {
        super::locate::find(self, path)
    }

    /// What a module wrote about its configuration, found in this tree: see [`super::Located`].
    pub fn locate(&self, text: &str) -> Option<super::Located> {
        super::locate::locate(self, text)
    }

    /// For error messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Null, or what protobuf has by default: setting a field to it changes nothing.
    pub(super) fn is_default(&self) -> bool {
        match &self.value {
            Value::Null | Value::Bool(false) | Value::Int(0) => true,
            Value::String(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            _ => false,
        }
    }
}

/// Adds an entry to a map. A key that is there already loses its old value, as in Envoy; its old line is returned.
/// `names` are those of the map so far: among a hundred thousand keys, a search for each would take minutes.
pub(super) fn insert(
    entries: &mut Vec<(Key, Node)>,
    names: &mut HashSet<String>,
    key: Key,
    node: Node,
) -> Option<usize> {
    let is_new = names.insert(key.name.clone());
    let first = if is_new { None } else { entries.iter().position(|(other, _)| other.name == key.name) };
    let first = first.map(|index| entries.remove(index).0.line);
    entries.push((key, node));
    first
}
