//! Writes YAML that every reader reads back unchanged, including Envoy's yaml-cpp, in which `n` is false and `010` is
//! 8.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use tollbell_core::config::raw::{AsWritten, Written};

/// A value. Maps keep their order of insertion.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Yaml {
    Bool(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

/// A map of the entries that have a value.
pub(super) fn map<'n>(entries: impl IntoIterator<Item = (&'n str, Yaml)>) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

impl From<bool> for Yaml {
    fn from(value: bool) -> Self {
        Yaml::Bool(value)
    }
}

impl From<i64> for Yaml {
    fn from(value: i64) -> Self {
        Yaml::Whole(value)
    }
}

impl From<&str> for Yaml {
    fn from(text: &str) -> Self {
        Yaml::Text(text.to_owned())
    }
}

impl From<String> for Yaml {
    fn from(text: String) -> Self {
        Yaml::Text(text)
    }
}

impl From<Vec<Yaml>> for Yaml {
    fn from(list: Vec<Yaml>) -> Self {
        Yaml::List(list)
    }
}

impl Yaml {
    /// Settings of tollbell, without those that have their default, in the order of the schema.
    pub(super) fn of(settings: &impl Written) -> Self {
        // Conversion through text keeps the order. Plain data cannot fail.
        let text = serde_json::to_string(&AsWritten(settings)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or(Yaml::Map(Vec::new()))
    }

    /// The field with this name. If it is missing, it is added as an empty map in the schema's order.
    pub(super) fn member<T: Written>(&mut self, _: &T, name: &str) -> &mut Yaml {
        if !matches!(self, Yaml::Map(_)) {
            *self = Yaml::Map(Vec::new());
        }
        let Yaml::Map(entries) = self else { return self };
        let rank = |name: &str| T::FIELDS.iter().position(|field| *field == name);
        let place = entries.iter().position(|(other, _)| rank(other) >= rank(name)).unwrap_or(entries.len());
        if entries.get(place).is_none_or(|(other, _)| other != name) {
            entries.insert(place, (name.to_owned(), Yaml::Map(Vec::new())));
        }
        &mut entries[place].1
    }

    /// The values of a map or a list.
    pub(super) fn values_mut(&mut self) -> Box<dyn Iterator<Item = &mut Yaml> + '_> {
        match self {
            Yaml::List(items) => Box::new(items.iter_mut()),
            Yaml::Map(entries) => Box::new(entries.iter_mut().map(|(_, value)| value)),
            _ => Box::new(std::iter::empty()),
        }
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Ordered)
    }
}

struct Ordered;

impl<'de> Visitor<'de> for Ordered {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Text(String::new()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(i64::try_from(value).map_or(Yaml::Number(value as f64), Yaml::Whole))
    }

    /// Rates are written in Tyk's form: `100`, not `100.0`.
    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        let is_whole = value.fract() == 0.0 && value.abs() < 9e15;
        let whole = if is_whole { format!("{value:.0}").parse().ok() } else { None };
        Ok(whole.map_or(Yaml::Number(value), Yaml::Whole))
    }

    fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Yaml::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Yaml, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Yaml::Map(entries))
    }
}

/// The lines of a value that is indented by `indent` spaces, each with its line break.
pub(super) fn block(value: &Yaml, indent: usize) -> String {
    let mut text = String::new();
    write_block(value, indent, &mut text);
    text
}

/// Shorter values are written on one line.
const WIDTH: usize = 100;

fn write_block(value: &Yaml, indent: usize, text: &mut String) {
    let margin = " ".repeat(indent);
    match value {
        Yaml::Map(entries) if !entries.is_empty() => {
            for (name, value) in entries {
                text.push_str(&format!("{margin}{}:", scalar(name)));
                write_value(value, indent, text);
            }
        }
        Yaml::List(items) if !items.is_empty() => {
            for item in items {
                let start = text.len();
                match flow(item, indent + 2) {
                    Some(line) => text.push_str(&format!("{margin}- {line}\n")),
                    None => {
                        write_block(item, indent + 2, text);
                        text.replace_range(start..start + indent + 2, &format!("{margin}- "));
                    }
                }
            }
        }
        _ => text.push_str(&format!("{margin}{}\n", flow(value, indent).unwrap_or_default())),
    }
}

fn write_value(value: &Yaml, indent: usize, text: &mut String) {
    if let Yaml::Text(lines) = value
        && let Some(header) = literal(lines)
    {
        text.push_str(&format!(" {header}\n"));
        for line in lines.lines() {
            let margin = if line.is_empty() { 0 } else { indent + 2 };
            text.push_str(&format!("{}{line}\n", " ".repeat(margin)));
        }
        return;
    }
    match flow(value, indent + 2) {
        Some(line) => text.push_str(&format!(" {line}\n")),
        None => {
            text.push('\n');
            let is_list = matches!(value, Yaml::List(_));
            write_block(value, if is_list { indent } else { indent + 2 }, text);
        }
    }
}

/// The value on one line, if it is a scalar, or short and without nested maps.
fn flow(value: &Yaml, indent: usize) -> Option<String> {
    let is_scalar = |value: &Yaml| !matches!(value, Yaml::List(_) | Yaml::Map(_));
    let inner = |value: &Yaml| flow(value, indent);
    let line = match value {
        Yaml::Bool(value) => return Some(value.to_string()),
        Yaml::Whole(value) => return Some(value.to_string()),
        // Always with a fraction or an exponent, as in Rust's debug form.
        Yaml::Number(value) => return Some(format!("{value:?}")),
        Yaml::Text(text) => return Some(scalar(text)),
        Yaml::List(items) if items.is_empty() => return Some("[]".to_owned()),
        Yaml::Map(entries) if entries.is_empty() => return Some("{}".to_owned()),
        Yaml::List(items) if items.iter().all(is_scalar) => {
            format!("[{}]", items.iter().map(inner).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Yaml::Map(entries) if entries.len() <= 4 && entries.iter().all(|(_, value)| is_scalar(value)) => {
            let entries = entries.iter().map(|(name, value)| Some(format!("{}: {}", scalar(name), inner(value)?)));
            format!("{{ {} }}", entries.collect::<Option<Vec<_>>>()?.join(", "))
        }
        Yaml::List(_) | Yaml::Map(_) => return None,
    };
    (indent + line.len() <= WIDTH && !line.contains('\n')).then_some(line)
}

/// The header of a literal block, if the text can be written as one.
fn literal(text: &str) -> Option<&'static str> {
    let is_plain = |c: char| c == '\n' || c == '\u{a0}' || (!c.is_control() && is_printable(c));
    let begins_well = text.lines().next().is_some_and(|line| !line.is_empty() && !line.starts_with(' '));
    let ends_well = !text.ends_with("\n\n") && !text.lines().any(|line| line.ends_with(' '));
    (text.trim_end_matches('\n').contains('\n') && begins_well && ends_well && text.chars().all(is_plain))
        .then_some(if text.ends_with('\n') { "|" } else { "|-" })
}

/// A string: without quotes if no reader can read it as another type.
fn scalar(text: &str) -> String {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    if begins_well && text.chars().all(is_plain) && !words.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if !c.is_control() && is_printable(c) => quoted.push(c),
            c if u32::from(c) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// Line separators, the byte order mark and non-characters must be escaped.
fn is_printable(c: char) -> bool {
    !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn written_values_are_read_back() {
        let texts = [
            "",
            "n",
            "Yes",
            "off",
            "null",
            "~",
            "80.0",
            "010",
            "0x1f",
            "1e3",
            ".5",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "*a",
            "&a",
            "!a",
            "@a",
            "%a",
            "{a",
            "[a",
            "\"a\"",
            "'a'",
            "a\nb",
            "a\nb\n",
            "a\n\nb\n",
            "a\n\n",
            "\na",
            " a\nb",
            "a \nb",
            "\ta",
            "a\tb\nc",
            "a\r\nb",
            "\u{0}\u{7f}\u{85}",
            "\u{2028}\u{feff}",
            "ünï😀",
            "<<",
            "=",
            "a,b",
            "a]b",
            "{{.Type}}",
            "{{#if a}}\n  {{b}}\n{{/if}}\n",
            "inf",
            "---",
            "...",
            "2001-01-01",
            "1_000",
        ];
        let all = Yaml::List(texts.iter().map(|text| Yaml::from(*text)).collect());
        let keys = Yaml::Map(texts.iter().map(|text| ((*text).to_owned(), Yaml::from(*text))).collect());
        let tree = map([
            ("texts", all),
            ("keys", keys),
            (
                "deep",
                vec![vec![map([("a", Yaml::Number(80.0)), ("b", true.into()), ("c", vec![].into())])].into()].into(),
            ),
            ("maps", vec![map([("a", map([("b", (-1).into())])), ("d", "e".into())]), map([])].into()),
        ]);
        let text = block(&tree, 0);
        let read = host_shim::config::yaml_to_json(&text).expect(&text);
        for (at, wanted) in texts.iter().enumerate() {
            assert_eq!(read["texts"][at], **wanted, "{text}");
            assert_eq!(read["keys"][*wanted], **wanted, "{text}");
        }
        assert_eq!(read["deep"][0][0]["b"], true);
        assert_eq!(read["maps"][0]["a"]["b"], -1);
        assert_eq!(read["maps"][1], serde_json::json!({}));
    }
}
