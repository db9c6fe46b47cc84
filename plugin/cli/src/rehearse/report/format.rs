//! Numbers, times and names as people read them.

use jiff::Timestamp;
use tollbell_core::owners::{OwnedLimit, Owner};

/// A time in Unix milliseconds, in UTC, to the second.
pub(super) fn time(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// A time as RFC 3339, to the millisecond.
pub(super) fn exact_time(millis: u64) -> String {
    let time = i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// `1,234,567`
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn lines(count: u64) -> String {
    format!("{} {}", number(count), if count == 1 { "line" } else { "lines" })
}

/// A length of time in its largest whole unit.
pub(super) fn duration(millis: u64) -> String {
    let units = [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second")];
    let unit = units.into_iter().find(|(length, _)| millis >= *length && millis.is_multiple_of(*length));
    match unit {
        Some((length, name)) if millis == length => name.to_owned(),
        Some((length, name)) => format!("{} {name}s", millis / length),
        None => format!("{millis} ms"),
    }
}

/// `1,000 per hour`
pub(super) fn quota(limit: &OwnedLimit) -> String {
    let window = limit.window_ms.map_or_else(|| "once".to_owned(), |window| format!("per {}", duration(window)));
    format!("{} {window}", number(limit.max))
}

/// A share in percent, rounded down as thresholds are.
pub(super) fn percent(used: u64, max: u64) -> String {
    let share = u128::from(used) * 100 / u128::from(max.max(1));
    format!("{share} %")
}

/// The kind of an owner, and its name.
pub(super) fn owner(owner: &Owner) -> (&'static str, &str) {
    match owner {
        Owner::Organisation(id) => ("organisation", id),
        Owner::Key(fingerprint) => ("key", fingerprint),
        Owner::Identity(name) => ("identity", name),
        Owner::Api(id) => ("API", id),
    }
}

/// A name that fits into a table. Fingerprints are cut.
pub(super) fn short(name: &str) -> String {
    const MOST: usize = 40;
    match name.strip_prefix("sha256:").and_then(|digits| digits.get(..12)) {
        Some(digits) => format!("sha256:{digits}…"),
        None if name.chars().count() > MOST => format!("{}…", name.chars().take(MOST - 1).collect::<String>()),
        None => name.to_owned(),
    }
}

/// A name with its alias.
pub(super) fn who(of: &Owner, alias: &str) -> String {
    let (kind, name) = owner(of);
    match alias.is_empty() {
        true => format!("{kind} {}", short(name)),
        false => format!("{kind} {} ({})", short(name), short(alias)),
    }
}

/// A text with nothing that would control a terminal, or the direction of the text after it.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if controls(c) { visible(c) } else { c.to_string() }).collect()
}

/// Whether a character controls a terminal or the direction of text.
pub(super) fn controls(c: char) -> bool {
    let is_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_direction
}

/// Shows a character that cannot be seen.
pub(super) fn visible(c: char) -> String {
    format!("\\u{{{:x}}}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [1000, 90_000, 3_600_000, 604_800_000, 1].map(duration),
            ["second", "90 seconds", "hour", "7 days", "1 ms"]
        );
        assert_eq!(time(1_780_000_000_123), "2026-05-28 20:26:40");
        assert_eq!(exact_time(1_780_000_000_123), "2026-05-28T20:26:40.123Z");
        assert_eq!(percent(2, 3), "66 %");
    }

    #[test]
    fn a_name_cannot_control_the_terminal() {
        assert_eq!(plain("a\u{1b}[31m\u{202e}é"), "a\\u{1b}[31m\\u{202e}é");
        assert_eq!(short(&format!("sha256:{}", "ab".repeat(32))), "sha256:abababababab…");
    }
}
