//! The functions that Tyk's templates have beside Go's: `as_rfc3339` and `as_rfc3339_from_string`. In Tyk one takes a
//! time, and the other the text that Go prints for a time. Here times are text or Unix seconds, and both functions take
//! all forms. They return whole seconds in the offset of the text. Any other text stays as it is.

use go_template::{Dialect, Function, display};
use serde_json::Value;

use crate::base::datetime;
use crate::event::VOLATILE;

/// Tyk's dialect of Go's templates, with the names of tollbell's events.
pub(super) static DIALECT: Dialect = Dialect {
    functions: &[
        Function::new("as_rfc3339", "as_rfc3339", 1, 1, |_, values| Value::String(as_rfc3339(values))),
        Function::new("as_rfc3339_from_string", "as_rfc3339_from_string", 1, 1, |_, values| {
            Value::String(as_rfc3339(values))
        }),
    ],
    // Names in Tyk's first documentation, and their current names.
    renamed: &[("EventType", "Type"), ("EventMetaData", "Meta")],
    printed_by_go: Some(&["Meta", "HostInfo", "MetaData"]),
    watched: &VOLATILE,
    holds_watched: &["Meta"],
};

fn as_rfc3339(values: &[&Value]) -> String {
    let Some(value) = values.first() else { return String::new() };
    if let Some(seconds) = value.as_i64() {
        let at = u64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
        return at.and_then(datetime::rfc3339_seconds).unwrap_or_else(|| display(value));
    }
    let text = display(value);
    normal(&text).unwrap_or(text)
}

fn normal(text: &str) -> Option<String> {
    let (date, after) = text.split_once(['T', ' '])?;
    let end = after.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(after.len());
    let (time, after) = after.split_at_checked(end)?;
    let after = after.strip_prefix('.').map_or(after, |tail| tail.trim_start_matches(|c: char| c.is_ascii_digit()));
    // Go adds the zone's name, and sometimes more.
    let offset = after.split_whitespace().next()?;
    let offset = match offset.len() {
        5 => {
            let (hours, minutes) = offset.split_at_checked(3)?;
            format!("{hours}:{minutes}")
        }
        _ => offset.to_owned(),
    };
    let offset = if matches!(offset.as_str(), "+00:00" | "-00:00") { "Z" } else { &offset };
    let is_whole = date.len() == 10 && time.len() == 8;
    let exists = is_whole && datetime::is_date_and_time(date, time) && datetime::is_offset(offset);
    exists.then(|| format!("{date}T{time}{offset}"))
}
