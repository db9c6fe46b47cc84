//! How long a request with its response may take: `max_stream_duration` of routes and of the connection manager.

use std::time::Duration;

use crate::base::Headers;
use crate::config::model::{ConnectionManager, Forward};
use crate::traffic::is_grpc;

/// The most digits of a `grpc-timeout` have this value.
const MOST: u128 = 99_999_999;

/// Returns the longest duration of a request, from its beginning. Also tells it to a gRPC upstream, if the route has
/// durations.
pub fn longest(manager: &ConnectionManager, forward: &Forward, headers: &mut Headers) -> Option<Duration> {
    let of_route = forward.stream_duration;
    let asked = headers.get_str("grpc-timeout").and_then(grpc_timeout);
    let longest = match (asked, of_route.and_then(|durations| durations.grpc_most)) {
        (Some(asked), Some(most)) => {
            let asked = if most.is_zero() { asked } else { asked.min(most) };
            Some(asked.saturating_sub(of_route.map(|durations| durations.grpc_offset).unwrap_or_default()))
        }
        _ => {
            let of_route = of_route.and_then(|durations| durations.most);
            Some(of_route.unwrap_or(manager.max_stream_duration)).filter(|duration| !duration.is_zero())
        }
    };
    if let (true, Some(longest)) = (of_route.is_some() && is_grpc(headers), longest) {
        let millis = longest.as_millis();
        let text = if millis <= MOST { format!("{millis}m") } else { format!("{}S", longest.as_secs()) };
        headers.set_in_place("grpc-timeout", text);
    }
    longest
}

/// Reads a `grpc-timeout`: a number and a unit. Parts of a millisecond are rounded up.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_millis(number.div_ceil(1000)),
        "n" => Duration::from_millis(number.div_ceil(1_000_000)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_has_a_unit() {
        let millis = |text: &str| grpc_timeout(text).map(|timeout| timeout.as_millis());
        assert_eq!(["2H", "2M", "2S", "2m", "1001u", "1n"].map(millis), [7_200_000, 120_000, 2000, 2, 2, 1].map(Some));
        assert_eq!(["", "2", "S", "-1S", "2X", "2\u{e4}"].map(millis), [None; 6]);
    }
}
