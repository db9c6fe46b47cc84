//! Reads a record from a line of text, by Envoy's format string.

use super::fields::{Fields, Slot};
use super::record::{Record, is_absent};
use super::time::TimeFormat;

/// Envoy's format if the configuration names none.
pub(crate) const DEFAULT_FORMAT: &str = concat!(
    r#"[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% "#,
    r#"%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "#,
    r#""%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%""#,
);

/// The most ways in which a line is tried.
const MAX_STEPS: usize = 10_000;

/// A format string, ready to read lines.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    parts: Vec<Part>,
}

/// An operator, with the text before it.
#[derive(Clone, Debug)]
struct Part {
    before: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Time(TimeFormat),
    Value(Slot),
    /// Without quotes. Only some headers of clients have quotes, and these should not be mistaken for the next field.
    Plain(Slot),
    /// Digits, or a hyphen.
    Number(Option<Slot>),
    /// Letters, digits, commas, slashes and dots, or a hyphen.
    Word(Option<Slot>),
    /// A value that is not needed, without quotes.
    Other,
    /// The end of the format.
    End,
}

impl Format {
    /// Reads a format string. `key` is the operator whose value is the API key, with or without the percent signs.
    ///
    /// # Errors
    /// The format cannot be read, or has no time or no path.
    pub(crate) fn new(format: &str, fields: &mut Fields, key: Option<&str>) -> Result<Self, String> {
        let key = key.map(|key| key.trim_matches('%'));
        let (mut parts, mut before) = (Vec::new(), String::new());
        let mut rest = format.strip_suffix('\n').or(format.strip_suffix("\\n")).unwrap_or(format);
        while let Some(at) = rest.find('%') {
            before.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('%') {
                before.push('%');
                rest = after;
                continue;
            }
            let (operator, after) =
                split(after).ok_or_else(|| format!("the format has no % after {:?}", &rest[at..]))?;
            if before.is_empty() && !parts.is_empty() {
                return Err(format!("nothing separates %{operator}% from the operator before it"));
            }
            let operator = if key == Some(operator) { Operator::Value(Slot::Key) } else { known(operator, fields) };
            parts.push(Part { before: std::mem::take(&mut before), operator });
            rest = after;
        }
        before.push_str(rest);
        parts.push(Part { before, operator: Operator::End });
        let has = |wanted: &dyn Fn(&Operator) -> bool| parts.iter().any(|part| wanted(&part.operator));
        if !has(&|operator| matches!(operator, Operator::Time(_))) {
            return Err("the format has no %START_TIME%".to_owned());
        }
        if !has(&|operator| *operator == Operator::Value(Slot::Path)) {
            return Err("the format has no %REQ(:PATH)%".to_owned());
        }
        if key.is_some() && !has(&|operator| *operator == Operator::Value(Slot::Key)) {
            return Err(format!("the format has no %{}%", key.unwrap_or_default()));
        }
        Ok(Format { parts })
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(super) fn read(&self, line: &str) -> Result<Record, String> {
        let mismatch = || "not in the log's format".to_owned();
        let (first, parts) = self.parts.split_first().ok_or_else(mismatch)?;
        let rest = line.strip_prefix(first.before.as_str()).ok_or_else(mismatch)?;
        let mut values = Vec::with_capacity(self.parts.len());
        let mut steps = 0;
        if !find(&first.operator, parts, rest, &mut values, &mut steps) {
            return Err(mismatch());
        }
        let mut record = Record::default();
        for (part, value) in self.parts.iter().zip(values) {
            match &part.operator {
                Operator::Time(format) => record.time = format.read(value).ok_or("a time in an unknown form")?,
                Operator::Value(Slot::Client) => record.set_client(value),
                Operator::Number(Some(Slot::Status)) => record.status = value.parse().unwrap_or_default(),
                Operator::Value(slot)
                | Operator::Plain(slot)
                | Operator::Number(Some(slot))
                | Operator::Word(Some(slot)) => record.add(*slot, value),
                Operator::Number(None) | Operator::Word(None) | Operator::Other | Operator::End => {}
            }
        }
        if record.text(Slot::Path).is_none() { Err("no path".to_owned()) } else { Ok(record) }
    }
}

/// Splits the operator from the text after its percent sign. The brackets of an operator may contain percent signs.
fn split(text: &str) -> Option<(&str, &str)> {
    let name = text.find(['%', '('])?;
    let mut end = name;
    if text[name..].starts_with('(') {
        // `%START_TIME(%s.%3f)%` ends after the last bracket that a percent sign or a length follows.
        end = text.match_indices(')').map(|(at, _)| at + 1).find(|at| {
            let after = &text[*at..];
            let length = after.strip_prefix(':').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
            length.unwrap_or(after).starts_with('%')
        })?;
    }
    let end = end + text[end..].find('%')?;
    Some((&text[..end], &text[end + 1..]))
}

fn known(operator: &str, fields: &mut Fields) -> Operator {
    let (name, argument) = match operator.split_once('(') {
        Some((name, rest)) => (name, rest.rsplit_once(')').map_or(rest, |(argument, _)| argument)),
        None => (operator, ""),
    };
    match name {
        "START_TIME" => Operator::Time(TimeFormat::new(argument)),
        "REQ" => match argument.to_ascii_lowercase().as_str() {
            ":method" => Operator::Word(Some(Slot::Method)),
            ":path" | "x-envoy-original-path?:path" | "x-envoy-original-path" => Operator::Value(Slot::Path),
            ":authority" | "host" => Operator::Plain(Slot::Authority),
            header if header.starts_with(':') || header.contains('?') => Operator::Other,
            header @ ("user-agent" | "referer") => Operator::Value(fields.header(header)),
            header => Operator::Plain(fields.header(header)),
        },
        "FILTER_STATE" if argument.starts_with("wasm.tollbell.key") => Operator::Value(Slot::Key),
        "PATH" => Operator::Value(Slot::Path),
        "DOWNSTREAM_REMOTE_ADDRESS" | "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => Operator::Value(Slot::Client),
        "RESPONSE_CODE" => Operator::Number(Some(Slot::Status)),
        "PROTOCOL" => Operator::Word(None),
        "RESPONSE_FLAGS" => Operator::Word(Some(Slot::Flags)),
        "RESPONSE_CODE_DETAILS" => Operator::Value(Slot::Details),
        "BYTES_RECEIVED" | "BYTES_SENT" | "DURATION" => Operator::Number(None),
        _ => Operator::Other,
    }
}

/// Finds the value of an operator at the beginning of a text, and those of the parts after it. A value ends where the
/// text before the next operator begins, so several ends are tried: a header may contain that text.
fn find<'l>(operator: &Operator, parts: &[Part], text: &'l str, values: &mut Vec<&'l str>, steps: &mut usize) -> bool {
    let Some((next, parts)) = parts.split_first() else { return *operator == Operator::End && text.is_empty() };
    let is_last = next.operator == Operator::End;
    let mut from = 0;
    loop {
        *steps += 1;
        if *steps > MAX_STEPS {
            return false;
        }
        let end = match is_last {
            // Only the whole rest is left for the last operator.
            true if from > 0 => None,
            true => text.len().checked_sub(next.before.len()).filter(|end| text.get(*end..) == Some(&next.before)),
            false => text.get(from..).and_then(|rest| rest.find(&next.before)).map(|at| from + at),
        };
        let Some(end) = end else { return false };
        let (value, rest) = (&text[..end], &text[end + next.before.len()..]);
        if !may_be(operator, value) {
            // A longer value of these kinds cannot fit either.
            if matches!(operator, Operator::Number(_) | Operator::Word(_)) {
                return false;
            }
        } else {
            values.push(value);
            if find(&next.operator, parts, rest, values, steps) {
                return true;
            }
            values.pop();
        }
        from = end + next.before.chars().next().map_or(1, char::len_utf8);
    }
}

fn may_be(operator: &Operator, value: &str) -> bool {
    match operator {
        Operator::Number(_) => is_absent(value) || value.bytes().all(|byte| byte.is_ascii_digit()),
        Operator::Word(_) => value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b",-_./".contains(&byte)),
        Operator::End => value.is_empty(),
        Operator::Plain(_) | Operator::Other => !value.contains('"'),
        Operator::Time(_) | Operator::Value(_) => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(format: &str, key: Option<&str>, line: &str) -> Result<Record, String> {
        Format::new(format, &mut Fields::default(), key).unwrap().read(line)
    }

    #[test]
    fn envoys_default_format_is_read() {
        let line = concat!(
            r#"[2026-05-28T20:26:40.123Z] "POST /orders/1?a=b c HTTP/1.1" 403 UH,URX 0 12 3 - "192.0.2.7,10.0.0.1" "#,
            r#""agent "with" "quotes"" "id-1" "a.test:80" "-""#
        );
        let record = read(DEFAULT_FORMAT, None, line).unwrap();
        assert_eq!((record.time, record.status, record.client), (1_780_000_000_123_000_000, 403, None));
        let texts: Vec<(Slot, &str)> = record.texts().collect();
        let expected = [
            (Slot::Method, "POST"),
            (Slot::Path, "/orders/1?a=b c"),
            (Slot::Flags, "UH,URX"),
            (Slot::Header(0), "192.0.2.7,10.0.0.1"),
            (Slot::Header(1), r#"agent "with" "quotes""#),
            (Slot::Header(2), "id-1"),
            (Slot::Authority, "a.test:80"),
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_format_of_its_own_is_read() {
        let format = "%START_TIME(%s.%3f)% 100%% %REQ(X-API-KEY):20% %DOWNSTREAM_REMOTE_ADDRESS% %PATH(NQ)%\\n";
        let record = read(format, Some("%REQ(X-API-KEY):20%"), "1780000000.123 100% k1 [2001:db8::1]:7 /a").unwrap();
        assert_eq!(record.text(Slot::Key), Some("k1"));
        assert_eq!(record.client, "[2001:db8::1]:7".parse().ok());
        let filter_state = "%START_TIME% %FILTER_STATE(wasm.tollbell.key:PLAIN)% %REQ(:PATH)%";
        let record = read(filter_state, None, "2026-05-28T20:26:40Z sha256:ab /").unwrap();
        assert_eq!(record.text(Slot::Key), Some("sha256:ab"));
    }

    #[test]
    fn a_line_in_another_format_is_refused() {
        for line in ["", "[", "[2026-05-28T20:26:40.123Z] \"GET / HTTP/1.1\" 200", "{\"path\":\"/\"}"] {
            assert_eq!(read(DEFAULT_FORMAT, None, line).unwrap_err(), "not in the log's format", "{line}");
        }
        let quotes = format!("[t] \"GET / HTTP/1.1\" {}", "\" \"".repeat(5000));
        assert!(read(DEFAULT_FORMAT, None, &quotes).is_err(), "it is not tried in every way");
    }

    #[test]
    fn a_wrong_format_is_named() {
        let fault = |format: &str, key| Format::new(format, &mut Fields::default(), key).unwrap_err();
        assert_eq!(fault("%REQ(:PATH)%", None), "the format has no %START_TIME%");
        assert_eq!(fault("%START_TIME%", None), "the format has no %REQ(:PATH)%");
        assert_eq!(
            fault("%START_TIME%%REQ(:PATH)%", None),
            "nothing separates %REQ(:PATH)% from the operator before it"
        );
        assert_eq!(fault("%START_TIME% %REQ(:PATH)", None), "the format has no % after \"%REQ(:PATH)\"");
        assert_eq!(fault("%START_TIME% %REQ(:PATH)%", Some("REQ(X)")), "the format has no %REQ(X)%");
    }
}
