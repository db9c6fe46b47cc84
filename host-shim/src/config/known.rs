//! The names that Envoy knows, and what the shim does with each field.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The release of Envoy that has these names.
pub(super) const ENVOY: &str = "Envoy 1.40";

/// What the shim does with a field. `fields.txt` describes each treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The shim does what Envoy does.
    Honoured,
    /// The shim does what Envoy does, within limits.
    Partly,
    /// The reader says what the shim does instead.
    Told,
    /// A warning says that the value changes nothing.
    Warned,
    /// Like `Warned`, and the gateway accepts what Envoy refuses.
    Opens,
    /// Nobody can see that the value changes nothing.
    Harmless,
}

impl Treatment {
    /// Whether the reader reads the field.
    #[cfg(test)]
    pub(super) fn is_read(self) -> bool {
        matches!(self, Treatment::Honoured | Treatment::Partly | Treatment::Told)
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "honoured" => Treatment::Honoured,
            "partly" => Treatment::Partly,
            "told" => Treatment::Told,
            "warned" => Treatment::Warned,
            "opens" => Treatment::Opens,
            "harmless" => Treatment::Harmless,
            _ => return None,
        })
    }
}

/// A field of a message.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name in the `.proto`.
    pub name: &'static str,
    /// What the shim does with it.
    pub treatment: Treatment,
    /// Why, or what the shim does instead. Empty if the field is honoured.
    pub reason: &'static str,
    /// Values that change nothing, beside the default of the type.
    pub(super) harmless_values: Vec<&'static str>,
    /// Whether even the default of the type changes something.
    pub(super) has_no_harmless_value: bool,
}

impl Field {
    fn new(written: &'static str, treatment: Treatment, reason: &'static str) -> Self {
        let mut parts = written.split('=');
        let name = parts.next().unwrap_or_default();
        let (name, has_no_harmless_value) = match name.strip_suffix('!') {
            Some(name) => (name, true),
            None => (name, false),
        };
        Field { name, treatment, reason, harmless_values: parts.collect(), has_no_harmless_value }
    }
}

/// The fields of each message that the shim reads, in the order of their names.
pub fn messages() -> &'static [(&'static str, Vec<Field>)] {
    static MESSAGES: OnceLock<Vec<(&str, Vec<Field>)>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut messages: Vec<(&str, Vec<Field>)> = Vec::new();
        for entry in entries(include_str!("fields.txt"), "    ") {
            let Some(rule) = entry.strip_prefix("  ") else {
                messages.push((entry, Vec::new()));
                continue;
            };
            let (names, reason) = rule.split_once(": ").unwrap_or((rule, ""));
            let mut names = names.split_whitespace();
            let treatment = names.next().and_then(Treatment::named);
            if let (Some(treatment), Some((_, fields))) = (treatment, messages.last_mut()) {
                fields.extend(names.map(|name| Field::new(name, treatment, reason)));
            }
        }
        messages
    })
}

/// Returns the fields of a message.
pub(super) fn fields(message: &str) -> &'static [Field] {
    static BY_NAME: OnceLock<HashMap<&str, &[Field]>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| messages().iter().map(|(name, fields)| (*name, fields.as_slice())).collect());
    by_name.get(message).copied().unwrap_or_default()
}

/// Returns the full names of all messages of an extension point such as `envoy.extensions.filters.http`.
pub(super) fn extensions(point: &str) -> impl Iterator<Item = String> {
    static POINTS: OnceLock<HashMap<&str, Vec<&str>>> = OnceLock::new();
    let points = POINTS.get_or_init(|| {
        let entries = entries(include_str!("extensions.txt"), "  ").into_iter();
        entries
            .filter_map(|entry| entry.split_once(':'))
            .map(|(point, names)| (point, names.split_whitespace().collect()))
            .collect()
    });
    points.get(point).into_iter().flatten().map(move |name| format!("{point}.{name}"))
}

/// Splits a text into its lines, without comments. A line with the indentation continues the line before it.
fn entries(text: &'static str, indentation: &str) -> Vec<&'static str> {
    let mut entries: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix(indentation), entries.last_mut()) {
            (Some(rest), Some(entry)) => {
                entry.push(' ');
                entry.push_str(rest.trim_start());
            }
            _ => entries.push(line.to_owned()),
        }
    }
    // The two tables are read once, and are needed until the end.
    entries.into_iter().map(|entry| &*entry.leak()).collect()
}

/// Returns the JSON name of a field: `statPrefix` for `stat_prefix`.
pub(super) fn lower_camel(field: &str) -> String {
    let mut words = field.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}
