#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::config::defaults;
use crate::testing::{CALL, CONST, DROP, Guest};

const SECOND: u64 = 1_000_000_000;

fn feed(guest: Guest) -> Feed {
    let settings = FeedSettings {
        bootstrap: defaults::bootstrap(),
        modules: Modules::replaced_by(guest.module()),
        listener: 0,
        start: 1_780_000_000 * SECOND,
        log_level: LogLevel::Info,
        limits: Limits::default(),
    };
    Feed::start(settings, |_, _| Response::new(200)).unwrap()
}

fn request(path: &str) -> FedRequest {
    FedRequest {
        headers: Request::get(path).headers,
        client: SocketAddr::from(([192, 0, 2, 7], 1)),
        status: 200,
        details: None,
        flags: 0,
    }
}

#[test]
fn a_request_passes_or_is_held() {
    assert!(matches!(feed(Guest::importing(&[])).request(request("/")).unwrap(), Passage::Passed { .. }));
    let pauses = Guest::importing(&[]).function("proxy_on_request_headers", 3, 1, &[CONST, 1]);
    let feed = feed(pauses);
    for _ in 0..3 {
        assert_eq!(feed.request(request("/")).unwrap(), Passage::Held);
    }
}

#[test]
fn ticks_come_at_their_times_unless_they_are_skipped() {
    let guest = Guest::importing(&[("proxy_set_tick_period_milliseconds", 1), ("proxy_log", 3)])
        .function("proxy_on_configure", 2, 1, &[CONST, 10, CALL, 0, DROP, CONST, 1])
        .function("proxy_on_tick", 1, 0, &[CONST, 2, CONST, 0, CONST, 0, CALL, 1, DROP]);
    let feed = feed(guest);
    let start = feed.now();
    feed.advance_to(start + SECOND / 10).unwrap();
    assert_eq!(feed.take_logs().len(), 10);
    feed.skip_to(start + SECOND);
    assert_eq!((feed.take_logs().len(), feed.now()), (0, start + SECOND));
    feed.fire_ticks().unwrap();
    assert_eq!(feed.take_logs().len(), 1);
    assert!(feed.next_tick().is_some_and(|due| due > start + SECOND));
}

#[test]
fn flags_are_read_by_their_names() {
    assert_eq!(response_flags("UH,URX"), 0x8002);
    assert_eq!(response_flags("-"), 0);
}
