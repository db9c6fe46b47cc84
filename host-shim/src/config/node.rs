//! The tree of a configuration file. Each node has its line.

use std::collections::HashSet;

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line on which it begins. The first line is 1.
    pub line: usize,
    /// The value.
    pub value: Value,
    /// Whether it is a `|` scalar. The first line of its text is then the line after `line`.
    pub is_literal: bool,
    /// The source text of a YAML scalar without quotes.
    pub plain: Option<String>,
}

/// A value as Envoy's YAML reader understands it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An empty value, `~` or `null`.
    Null,
    /// `true` or `false`, and in YAML also `yes`, `on`, `y` and similar words.
    Bool(bool),
    /// An integer. From JSON, only an integer that fits in 32 bits.
    Int(i64),
    /// Any other number in a JSON file. In YAML such a number is a string, as in Envoy.
    Float(f64),
    /// A string.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file. Each key is unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key as it is in the file.
    pub name: String,
    /// The line of the key.
    pub line: usize,
}

impl Node {
    pub(super) fn new(line: usize, value: Value) -> Self {
        Node { line, value, is_literal: false, plain: None }
    }

    /// Returns an entry of a map.
    pub fn entry(&self, name: &str) -> Option<(&Key, &Node)> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(key, node)| (key, node))
    }

    /// Returns an item of a list.
    pub fn item(&self, index: usize) -> Option<&Node> {
        let Value::List(items) = &self.value else { return None };
        items.get(index)
    }

    /// Returns the node at a path such as `apis[0].auth`, if it exists.
    pub fn find(&self, path: &str) -> Option<&Node> {
        super::locate::find(self, path)
    }

    /// Finds the node that a module's message about its configuration refers to. See [`super::Located`].
    pub fn locate(&self, text: &str) -> Option<super::Located> {
        super::locate::locate(self, text)
    }

    /// Describes the type of the value for error messages.
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

    /// Whether the value is null or the default of protobuf. Such a value changes nothing.
    pub(super) fn is_default(&self) -> bool {
        match &self.value {
            Value::Null | Value::Bool(false) | Value::Int(0) => true,
            Value::String(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            _ => false,
        }
    }
}

/// Adds an entry to a map. As in Envoy, a new value replaces the old value of the same key. The function then returns
/// the old line. `names` has the keys of the map so far: in a map with a hundred thousand keys, a linear search for
/// each key would take minutes.
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
