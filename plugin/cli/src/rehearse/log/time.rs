//! Times as logs have them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// Numbers from here on are in the next smaller unit: seconds up to the year 5138, then milliseconds, and so on.
const NEXT_UNIT: f64 = 1e11;

const NANOS: f64 = 1e9;

/// Reads a time in one of the usual forms: RFC 3339, or a number since 1970 whose size says its unit. The result is in
/// nanoseconds since 1970.
pub(super) fn usual(text: &str) -> Option<u64> {
    match text.as_bytes().first()? {
        _ if text.as_bytes().get(10) == Some(&b'T') => rfc3339(text),
        b'0'..=b'9' if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => number(text),
        _ => text.parse::<Timestamp>().ok().and_then(nanos).or_else(|| without_zone(text)),
    }
}

fn rfc3339(text: &str) -> Option<u64> {
    text.parse::<Timestamp>().ok().and_then(nanos).or_else(|| without_zone(text))
}

/// A time without a zone is in UTC, as Envoy writes it.
fn without_zone(text: &str) -> Option<u64> {
    nanos(text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn nanos(time: Timestamp) -> Option<u64> {
    u64::try_from(time.as_nanosecond()).ok()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn number(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut unit = NANOS;
    let value: f64 = whole.parse().ok()?;
    while value >= NEXT_UNIT * NANOS / unit && unit > 1.0 {
        unit /= 1000.0;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit as u64)?;
    let fraction: f64 = if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().ok()? };
    whole.checked_add((fraction * unit).round() as u64)
}

/// How `%START_TIME(…)%` writes a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// Any of the usual forms, Envoy's default among them.
    Usual,
    /// Seconds since 1970, and the digits of a fraction without a dot.
    Digits(usize),
    /// A format of strftime, in UTC unless it has an offset.
    Other(String),
}

impl TimeFormat {
    /// `format` is the text in brackets after `START_TIME`.
    pub(super) fn new(format: &str) -> Self {
        let fraction = |rest: &str| match rest {
            "" => Some(0),
            "%f" => Some(9),
            _ => rest.strip_prefix('%')?.strip_suffix('f')?.parse().ok().filter(|digits| *digits <= 9),
        };
        match format.strip_prefix("%s") {
            _ if format.is_empty() => TimeFormat::Usual,
            Some(rest) if rest.starts_with('.') && fraction(&rest[1..]).is_some() => TimeFormat::Usual,
            Some(rest) => fraction(rest).map_or_else(|| TimeFormat::other(format), TimeFormat::Digits),
            None => TimeFormat::other(format),
        }
    }

    /// Envoy's `%3f` is jiff's, but it also writes `%f` for nine digits.
    fn other(format: &str) -> Self {
        TimeFormat::Other(format.to_owned())
    }

    pub(super) fn read(&self, text: &str) -> Option<u64> {
        match self {
            TimeFormat::Usual => usual(text),
            TimeFormat::Digits(digits) => {
                let missing = u32::try_from(9usize.checked_sub(*digits)?).ok()?;
                text.parse::<u64>().ok()?.checked_mul(10u64.pow(missing))
            }
            TimeFormat::Other(format) => {
                let parsed = strtime::parse(format, text).ok()?;
                let zoned = || parsed.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok();
                nanos(parsed.to_timestamp().ok().or_else(|| zoned().map(|zoned| zoned.timestamp()))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: u64 = 1_780_000_000_123_000_000;

    #[test]
    fn the_usual_forms_are_read() {
        for text in [
            "2026-05-28T20:26:40.123Z",
            "2026-05-28T22:26:40.123+02:00",
            "2026-05-28T20:26:40.123",
            "2026-05-28 20:26:40.123",
            "1780000000.123",
            "1780000000123",
            "1780000000123000",
            "1780000000123000000",
        ] {
            assert_eq!(usual(text), Some(TIME), "{text}");
        }
        assert_eq!(usual("1780000000"), Some(1_780_000_000_000_000_000));
        for text in ["", "yesterday", "1.2.3", "2026-13-01T00:00:00Z", "99999999999999999999999"] {
            assert_eq!(usual(text), None, "{text}");
        }
    }

    #[test]
    fn formats_of_envoy_are_read() {
        for (format, text) in [
            ("", "2026-05-28T20:26:40.123Z"),
            ("%s.%3f", "1780000000.123"),
            ("%s%3f", "1780000000123"),
            ("%s%f", "1780000000123000000"),
            ("%Y/%m/%dT%H:%M:%S.%3f", "2026/05/28T20:26:40.123"),
            ("%d/%b/%Y:%H:%M:%S.%3f %z", "28/May/2026:22:26:40.123 +0200"),
        ] {
            assert_eq!(TimeFormat::new(format).read(text), Some(TIME), "{format}");
        }
        assert_eq!(TimeFormat::new("%s").read("1780000000"), Some(1_780_000_000_000_000_000));
        assert_eq!(TimeFormat::new("%Y").read("late"), None);
    }
}
