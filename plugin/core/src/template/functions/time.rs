//! Tyk's `as_rfc3339` and `as_rfc3339_from_string`. One takes a time and the other the text that Go prints for one;
//! here times are text or Unix seconds, and both functions take them all. They give whole seconds, in the offset that
//! the text has, and any other text as it is.

use serde_json::Value;

use super::text::display;

pub(super) fn as_rfc3339(values: &[&Value]) -> String {
    let Some(value) = values.first() else { return String::new() };
    if let Some(seconds) = value.as_i64() {
        let time = jiff::Timestamp::from_second(seconds);
        return time.map_or_else(|_| display(value), |time| time.to_string());
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
    let normal = format!("{date}T{time}{offset}");
    let is_whole = date.len() == 10 && time.len() == 8;
    (is_whole && normal.parse::<jiff::Timestamp>().is_ok()).then_some(normal)
}
