//! Reads a value by the rules of protobuf's JSON mapping.

use std::time::Duration;

use super::any::Any;
use super::locate::Located;
use super::message::Message;
use super::node::{Node, Value};
use super::report::{Report, hint, member};

/// A node with its path. Every method that reads a value reports an error and returns `None` if the value is not valid.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    /// The line of its key if it is an entry of a map, or its own line.
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) report: &'a Report,
}

impl<'a> Place<'a> {
    pub(super) fn error(&self, message: impl Into<String>) {
        self.report.error(self.line, &self.path, message);
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        self.report.warn(self.line, &self.path, message);
    }

    /// Returns its path and line, for errors that are found later.
    pub(super) fn at(&self) -> Located {
        Located { path: self.path.clone(), line: self.line }
    }

    /// Returns the place of an entry of this map.
    pub(super) fn child(&self, name: &str, line: usize, node: &'a Node) -> Place<'a> {
        Place { node, line, path: member(&self.path, name), report: self.report }
    }

    /// Reads a message. Null is a message without fields.
    pub(super) fn message(&self, name: &'static str) -> Option<Message<'a>> {
        match &self.node.value {
            Value::Map(entries) => Some(Message::new(self.clone(), name, entries)),
            Value::Null => Some(Message::new(self.clone(), name, &[])),
            _ => self.expected("a map"),
        }
    }

    /// Reads a `google.protobuf.Any`.
    pub(super) fn any(&self) -> Option<Any<'a>> {
        Any::read(self)
    }

    /// Reads the items of a list. Like in protobuf, any other value is a list with one item.
    pub(super) fn items(&self) -> Vec<Place<'a>> {
        let Value::List(items) = &self.node.value else { return vec![self.clone()] };
        let places = (0_usize..).zip(items).map(|(index, node)| {
            let path = format!("{}[{index}]", self.path);
            Place { node, line: node.line, path, report: self.report }
        });
        places.collect()
    }

    /// Reads the entries of a `map<string, …>`.
    pub(super) fn entries(&self) -> Vec<(&'a str, Place<'a>)> {
        match &self.node.value {
            Value::Map(entries) => {
                entries.iter().map(|(key, node)| (key.name.as_str(), self.child(&key.name, key.line, node))).collect()
            }
            Value::Null => Vec::new(),
            _ => self.expected("a map").unwrap_or_default(),
        }
    }

    pub(super) fn string(&self) -> Option<String> {
        match &self.node.value {
            Value::String(text) => Some(text.clone()),
            Value::Null => Some(String::new()),
            _ => self.expected("a string"),
        }
    }

    /// Reads `true` or `false`, also as a string.
    pub(super) fn bool(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            Value::Null => Some(false),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => self.expected("true or false"),
        }
    }

    /// Reads an integer, also as a string (`"10"`) or as a float without a fraction (`1e3`).
    pub(super) fn u32(&self) -> Option<u32> {
        let number = match &self.node.value {
            Value::Int(integer) => u32::try_from(*integer).ok(),
            Value::Float(float) => whole(*float),
            Value::String(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(whole)),
            Value::Null => Some(0),
            _ => return self.expected("a number"),
        };
        if number.is_none() {
            self.error(format!("{} is not a whole number from 0 to {}", self.shown(), u32::MAX));
        }
        number
    }

    pub(super) fn port(&self) -> Option<u16> {
        let port = u16::try_from(self.u32()?).ok();
        if port.is_none() {
            self.error(format!("{} is not a port: the maximum is {}", self.shown(), u16::MAX));
        }
        port
    }

    /// Reads a number of per cent, rounded as Envoy rounds it.
    pub(super) fn percent(&self) -> Option<u32> {
        let number = match &self.node.value {
            Value::Int(integer) => integer.to_string().parse().ok(),
            Value::Float(float) => Some(*float),
            Value::String(text) => text.parse().ok(),
            Value::Null => Some(0.0),
            _ => return self.expected("a number"),
        };
        let percent: Option<f64> = number.filter(|number| (0.0..=100.0).contains(number));
        if percent.is_none() {
            self.error(format!("{} is not a number from 0 to 100", self.shown()));
        }
        whole(percent?.round())
    }

    /// Reads a duration in seconds with an `s`, such as `0.25s`.
    pub(super) fn duration(&self) -> Option<Duration> {
        let Value::String(text) = &self.node.value else {
            return match self.node.value {
                Value::Int(seconds) => {
                    self.error(format!("expected a duration such as \"{seconds}s\", found {seconds}"));
                    None
                }
                _ => self.expected("a duration such as \"5s\""),
            };
        };
        let duration = duration(text);
        if duration.is_none() {
            let advice = if text.starts_with('-') { "it must not be negative" } else { "seconds, as in \"0.25s\"" };
            self.error(format!("{text:?} is not a duration: {advice}"));
        }
        duration
    }

    /// Reads an enum value by its name in upper or lower case, or by its number. The number is the index in `names`.
    pub(super) fn choice(&self, names: &[&str]) -> Option<usize> {
        let index = match &self.node.value {
            Value::Int(number) => usize::try_from(*number).ok().filter(|index| *index < names.len()),
            Value::Null => Some(0),
            Value::String(text) => {
                let number = text.parse().ok().filter(|index| *index < names.len());
                names.iter().position(|name| name.eq_ignore_ascii_case(text)).or(number)
            }
            _ => return self.expected("the name of an enum value"),
        };
        if index.is_none() {
            let near = hint(&self.shown(), names.iter().copied());
            let names: Vec<_> = names.iter().copied().filter(|name| !name.is_empty()).collect();
            self.error(format!("{} is not one of {}{near}", self.shown(), names.join(", ")));
        }
        index
    }

    /// Reads Base64 in the standard or the URL alphabet, with or without padding.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
        let text = self.string()?.replace('-', "+").replace('_', "/");
        let config = GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true);
        let decoded = GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(text);
        if decoded.is_err() {
            self.error("not Base64");
        }
        decoded.ok()
    }

    pub(super) fn expected<T>(&self, expected: &str) -> Option<T> {
        let advice = match self.node.value {
            Value::Bool(_) if expected == "a string" => {
                "; YAML reads y, n, yes, no, on and off as true or false: quote it"
            }
            Value::Int(_) if expected == "a string" => "; quote it",
            _ => "",
        };
        self.error(format!("expected {expected}, found {}{advice}", self.node.kind()));
        None
    }

    fn shown(&self) -> String {
        match &self.node.value {
            Value::String(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => self.node.kind().to_owned(),
        }
    }
}

/// A float without a fraction is printed like an integer.
fn whole(float: f64) -> Option<u32> {
    float.to_string().parse().ok()
}

fn duration(text: &str) -> Option<Duration> {
    let (seconds, fraction) = text.strip_suffix('s').map(|number| number.split_once('.').unwrap_or((number, "0")))?;
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    Some(Duration::new(seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?))
}
