//! Tyk's files as trees, in which each setting gets a note about its result.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

/// All errors in the input, each line with its file and place.
#[derive(Clone, Default)]
pub(super) struct Errors(Rc<RefCell<Vec<String>>>);

impl Errors {
    pub(super) fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut errors = self.0.borrow_mut();
        if !errors.contains(&text) {
            errors.push(text);
        }
    }

    pub(super) fn add_all(&self, texts: Vec<String>) {
        texts.into_iter().for_each(|text| self.add(text));
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}

/// The result for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Carried,
    /// The new value, and the reason.
    Changed(String),
    /// The advice.
    Missing(String),
    /// Tyk refuses requests because of it, and tollbell passes them. The advice.
    Opened(String),
}

/// An input file.
pub(super) struct File {
    /// The name as the user wrote it.
    pub(super) name: String,
    root: Value,
    notes: RefCell<BTreeMap<String, Note>>,
    errors: Errors,
}

impl File {
    pub(super) fn new(name: String, root: Value, errors: &Errors) -> Self {
        File { name, root, notes: RefCell::default(), errors: errors.clone() }
    }

    pub(super) fn add_error(&self, text: String) {
        self.errors.add(text);
    }

    /// The number of errors in this file, and in those that share its list.
    pub(super) fn errors(&self) -> usize {
        self.errors.len()
    }

    pub(super) fn take_errors(&self) -> Vec<String> {
        self.errors.take()
    }

    pub(super) fn root(&self) -> At<'_> {
        At { file: self, path: String::new(), value: Some(&self.root) }
    }

    /// Every setting with its note. Settings without a note get the text and the place that `advice` returns.
    pub(super) fn settings(&self, advice: impl Fn(&str) -> (String, String)) -> Vec<Setting> {
        let notes = self.notes.borrow();
        let mut collector = Collector { notes: &notes, advice: &advice, settings: Vec::new() };
        collector.collect(&self.root, String::new(), None);
        collector.settings
    }
}

/// The beginning of advice that needs no action.
pub(super) const IDLE: &str = "nothing to do";

/// A leaf of a file.
pub(super) struct Setting {
    pub(super) path: String,
    pub(super) note: Note,
    /// The place of the note: the setting itself, or a whole that contains it.
    pub(super) told_at: String,
}

struct Collector<'n> {
    notes: &'n BTreeMap<String, Note>,
    advice: &'n dyn Fn(&str) -> (String, String),
    settings: Vec<Setting>,
}

impl<'n> Collector<'n> {
    fn collect(&mut self, value: &Value, path: String, inherited: Option<(&'n Note, &str)>) {
        let own = self.notes.get(&path);
        let told_at =
            if own.is_some() { path.clone() } else { inherited.map(|(_, at)| at.to_owned()).unwrap_or_default() };
        let note = own.or(inherited.map(|(note, _)| note));
        let inherited = note.map(|note| (note, told_at.as_str()));
        let before = self.settings.len();
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (name, value) in map {
                    self.collect(value, member(&path, name), inherited);
                }
            }
            Value::Array(list)
                if list.iter().any(|item| item.is_object() || item.is_array()) || self.has_items(&path) =>
            {
                for (index, value) in list.iter().enumerate() {
                    self.collect(value, format!("{path}[{index}]"), inherited);
                }
            }
            _ => self.leaf(value, path.clone(), own.is_some(), inherited),
        }
        // A note about a whole counts even if the whole is empty, except the note that nothing must be done.
        let is_whole = value.is_object() || value.is_array();
        let is_idle = |note: &Note| matches!(note, Note::Missing(text) if text.starts_with(IDLE));
        let is_told = self.settings.iter().skip(before).any(|setting| setting.told_at == path);
        if let Some(note) = own.filter(|note| is_whole && **note != Note::Carried && !is_idle(note) && !is_told) {
            self.settings.push(Setting { note: note.clone(), told_at: path.clone(), path });
        }
    }

    /// True if items of a list have notes.
    fn has_items(&self, path: &str) -> bool {
        let start = format!("{path}[");
        self.notes.range(start.clone()..).next().is_some_and(|(path, _)| path.starts_with(&start))
    }

    fn leaf(&mut self, value: &Value, path: String, is_own: bool, note: Option<(&Note, &str)>) {
        let is_empty = is_empty(value) || note.is_none() && is_switched_off(&path, value);
        let setting = match note {
            Some((Note::Missing(_) | Note::Opened(_), _)) | None if is_empty => return,
            Some(_) if is_empty && !is_own => return,
            Some((note, told_at)) => Setting { note: note.clone(), told_at: told_at.to_owned(), path },
            None => {
                let (advice, told_at) = (self.advice)(&path);
                Setting { note: Note::Missing(advice), told_at, path }
            }
        };
        self.settings.push(setting);
    }
}

/// True for the values that Tyk writes if nothing is set.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0001-01-01T00:00:00Z",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// True if a field that could restrict a key has a value: neither empty in Tyk's form, nor -1 for no limit.
pub(super) fn says_something(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|number| number != 0.0 && number != -1.0),
        Value::Object(fields) if fields.get("enabled") == Some(&Value::Bool(false)) => false,
        Value::Object(fields) => fields.values().any(says_something),
        other => !is_empty(other),
    }
}

/// Tyk writes -1 for limits that are not set, and true where a part is disabled.
fn is_switched_off(path: &str, value: &Value) -> bool {
    let name = path.rsplit(['.', ']']).next().unwrap_or_default();
    value.as_f64() == Some(-1.0) || value.as_bool() == Some(true) && (name == "disabled" || name.ends_with("_disabled"))
}

/// `path.name`, or `path["na.me"]` if the name is not a plain word.
fn member(path: &str, name: &str) -> String {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    match (path, is_plain) {
        ("", true) => name.to_owned(),
        (_, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[{name:?}]"),
    }
}

/// A place in a file, with or without a value.
#[derive(Clone)]
pub(super) struct At<'f> {
    file: &'f File,
    path: String,
    value: Option<&'f Value>,
}

impl<'f> At<'f> {
    pub(super) fn get(&self, name: &str) -> At<'f> {
        if self.value.is_some_and(|value| !value.is_object()) {
            self.expected::<()>("an object");
        }
        let value = self.value.and_then(|value| value.get(name)).filter(|value| !value.is_null());
        At { file: self.file, path: member(&self.path, name), value }
    }

    /// `get` for a path of plain names with dots.
    pub(super) fn at(&self, names: &str) -> At<'f> {
        names.split('.').fold(self.clone(), |at, name| at.get(name))
    }

    pub(super) fn items(&self) -> Vec<At<'f>> {
        match self.value {
            Some(Value::Array(list)) => list
                .iter()
                .enumerate()
                .map(|(index, value)| At {
                    file: self.file,
                    path: format!("{}[{index}]", self.path),
                    value: Some(value),
                })
                .collect(),
            Some(_) => self.expected("a list"),
            None => Vec::new(),
        }
    }

    pub(super) fn entries(&self) -> Vec<(&'f str, At<'f>)> {
        match self.value {
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| {
                    let at = At { file: self.file, path: member(&self.path, name), value: Some(value) };
                    (name.as_str(), at)
                })
                .collect(),
            Some(_) => self.expected("an object"),
            None => Vec::new(),
        }
    }

    pub(super) fn value(&self) -> Option<&'f Value> {
        self.value
    }

    /// True if it has a value that is not empty in Tyk's form.
    pub(super) fn is_set(&self) -> bool {
        self.value.is_some_and(|value| !is_empty(value))
    }

    pub(super) fn text(&self) -> Option<&'f str> {
        match self.value? {
            Value::String(text) => Some(text),
            _ => self.expected("a string"),
        }
    }

    /// The text; empty if there is none.
    pub(super) fn words(&self) -> &'f str {
        self.text().unwrap_or_default()
    }

    pub(super) fn flag(&self) -> bool {
        match self.value {
            Some(Value::Bool(value)) => *value,
            None => false,
            _ => self.expected("true or false"),
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self.value? {
            Value::Number(number) => number.as_f64(),
            _ => self.expected("a number"),
        }
    }

    /// A whole number. Tyk's dashboard writes some as `1000.0`.
    pub(super) fn whole(&self) -> Option<i64> {
        match self.value? {
            Value::Number(number) => number.as_i64().or_else(|| {
                let number = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15)?;
                format!("{number:.0}").parse().ok()
            }),
            _ => None,
        }
        .or_else(|| self.expected("a whole number"))
    }

    pub(super) fn carried(&self) {
        self.note(Note::Carried);
    }

    pub(super) fn changed(&self, how: impl Into<String>) {
        self.note(Note::Changed(how.into()));
    }

    pub(super) fn missing(&self, instead: impl Into<String>) {
        self.note(Note::Missing(instead.into()));
    }

    /// Records that Tyk refuses requests because of it and tollbell passes them.
    pub(super) fn opened(&self, instead: impl Into<String>) {
        self.note(Note::Opened(instead.into()));
    }

    /// Records that it is left out as a whole, because another setting has the same content.
    pub(super) fn replaced(&self, by: impl Into<String>) {
        self.left_out("");
        self.changed(by);
    }

    /// Records that it is left out as a whole. None of its parts is carried over.
    pub(super) fn left_out(&self, why: impl Into<String>) {
        let is_below = |path: &str| {
            let rest = path.strip_prefix(self.path.as_str());
            rest.is_some_and(|rest| self.path.is_empty() || rest.starts_with(['.', '[']))
        };
        let asks = |note: &Note| matches!(note, Note::Missing(text) if !text.starts_with(IDLE));
        self.file.notes.borrow_mut().retain(|path, note| asks(note) || !is_below(path));
        self.missing(why);
    }

    pub(super) fn error(&self, text: impl AsRef<str>) {
        self.file.errors.add(format!("{}: {}", self.place(), text.as_ref()));
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// The file and the path.
    pub(super) fn place(&self) -> String {
        let separator = if self.path.is_empty() { "" } else { ": " };
        format!("{}{separator}{}", self.file.name, self.path)
    }

    fn note(&self, note: Note) {
        if self.value.is_some() {
            self.file.notes.borrow_mut().insert(self.path.clone(), note);
        }
    }

    fn expected<T: Default>(&self, what: &str) -> T {
        let found = match self.value {
            Some(Value::Null) | None => "nothing",
            Some(Value::Bool(_)) => "true or false",
            Some(Value::Number(_)) => "a number",
            Some(Value::String(_)) => "a string",
            Some(Value::Array(_)) => "a list",
            Some(Value::Object(_)) => "an object",
        };
        self.error(format!("must be {what}, is {found}"));
        T::default()
    }
}
