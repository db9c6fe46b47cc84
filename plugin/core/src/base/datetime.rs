//! Calendar dates as text: RFC 3339, the compact form of AWS, and the dates of HTTP headers.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::json;

/// UTC with milliseconds, such as `2026-11-21T08:15:30.250Z`; `None` past the year 9999.
pub fn rfc3339_millis(unix_millis: u64) -> Option<String> {
    text(humantime::format_rfc3339_millis(system_time(unix_millis)?))
}

/// UTC with whole seconds, such as `2026-11-21T08:15:30Z`; `None` past the year 9999.
pub fn rfc3339_seconds(unix_millis: u64) -> Option<String> {
    text(humantime::format_rfc3339_seconds(system_time(unix_millis)?))
}

/// Parses a UTC date and time without seconds, as in Tyk's expiry dates of versions: `2030-12-31 23:59`. Returns Unix
/// milliseconds, or `None` for any other text and for dates before 1970.
pub fn parse_minutes(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(' ').filter(|(date, time)| date.len() == 10 && time.len() == 5)?;
    let since = humantime::parse_rfc3339(&format!("{date}T{time}:00Z")).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// ISO 8601 without separators, as AWS signs it: `20261121T081530Z`.
pub fn basic_iso8601(unix_millis: u64) -> Option<String> {
    Some(rfc3339_seconds(unix_millis)?.replace(['-', ':'], ""))
}

/// Whether `date` (`2026-11-21`) and `time` (`08:15:30`) exist.
pub fn is_date_and_time(date: &str, time: &str) -> bool {
    // humantime knows no date before 1970. The calendar repeats every 400 years.
    let Some((year, month_and_day)) = date.split_at_checked(4) else { return false };
    let Ok(year) = year.parse::<u16>() else { return false };
    humantime::parse_rfc3339(&format!("{}{month_and_day}T{time}Z", 2000_u16.saturating_add(year % 400))).is_ok()
}

/// Whether `offset` is `Z`, or hours and minutes such as `+02:00`.
pub fn is_offset(offset: &str) -> bool {
    let number = |text: &str, end: u8| {
        text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u8>().is_ok_and(|n| n < end)
    };
    let parts = offset.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'));
    offset == "Z" || parts.is_some_and(|(hours, minutes)| number(hours, 24) && number(minutes, 60))
}

/// Parses one of the three date forms of RFC 9110, section 5.6.7. Returns Unix milliseconds.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Parses a duration in Go's form, such as `1m30s` or `1.5h`. Returns whole seconds, or `None` for any other text.
pub fn go_duration_secs(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) = UNITS.iter().find_map(|(name, unit)| Some((unit, after.strip_prefix(name)?)))?;
        seconds += json::float(number)? * unit;
        rest = after;
    }
    let whole = Duration::try_from_secs_f64(seconds).ok()?.as_secs();
    (!text.is_empty()).then_some(whole)
}

fn system_time(unix_millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(unix_millis))
}

/// Formats without a panic: `to_string` panics past the year 9999.
fn text(time: humantime::Rfc3339Timestamp) -> Option<String> {
    let mut text = String::new();
    write!(text, "{time}").ok().map(|()| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn times_are_formatted_up_to_the_year_9999() {
        let at = 1_795_249_000_250;
        assert_eq!(rfc3339_millis(at).as_deref(), Some("2026-11-21T08:16:40.250Z"));
        assert_eq!(rfc3339_seconds(at).as_deref(), Some("2026-11-21T08:16:40Z"));
        assert_eq!(basic_iso8601(at).as_deref(), Some("20261121T081640Z"));
        assert_eq!(rfc3339_millis(253_402_300_799_999).as_deref(), Some("9999-12-31T23:59:59.999Z"));
        for past in [253_402_300_800_000, u64::MAX] {
            assert_eq!(rfc3339_millis(past), None);
        }
    }

    #[test]
    fn dates_times_and_offsets_that_do_not_exist_are_refused() {
        for (date, time) in [("2024-02-29", "23:59:59"), ("0001-01-01", "00:00:00"), ("9999-12-31", "12:00:00")] {
            assert!(is_date_and_time(date, time), "{date} {time}");
        }
        for (date, time) in [
            ("2023-02-29", "00:00:00"),
            ("1900-02-29", "00:00:00"),
            ("2024-01-01", "24:00:00"),
            ("2024-1-1", "00:00:00"),
        ] {
            assert!(!is_date_and_time(date, time), "{date} {time}");
        }
        assert!(["Z", "+02:00", "-11:30"].into_iter().all(is_offset));
        assert!(!["", "z", "+2:00", "+24:00", "+02:60", "0200", "+-1:00"].into_iter().any(is_offset));
    }

    #[test]
    fn http_dates_have_three_forms() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse_http_date(text), Some(784_111_777_000), "{text}");
        }
        assert_eq!(parse_http_date("tomorrow"), None);
    }

    #[test]
    fn expiry_dates_of_versions_have_no_seconds() {
        assert_eq!(parse_minutes("1970-01-01 00:01"), Some(60_000));
        assert_eq!(parse_minutes("2024-02-29 23:59"), Some(1_709_251_140_000));
        for text in
            ["", "2024-02-30 00:00", "2024-02-29", "2024-02-29 24:00", "2024-02-29T23:59", "2024-2-9 23:59", "-1"]
        {
            assert_eq!(parse_minutes(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_parsed_as_in_go() {
        for (text, seconds) in
            [("0s", 0), ("10s", 10), ("1m30s", 90), ("1.5h", 5400), ("999ms", 0), ("1h2m3s4ms", 3723)]
        {
            assert_eq!(go_duration_secs(text), Some(seconds), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1x", "1 m", "..s", "1e400s", "1m30"] {
            assert_eq!(go_duration_secs(text), None, "{text}");
        }
    }
}
