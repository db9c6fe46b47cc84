#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::testing::{CALL, CONST, DROP, Guest};

fn info_lines(gateway: &Gateway) -> usize {
    gateway.logs().iter().filter(|line| line.from_module && line.level == LogLevel::Info).count()
}

#[test]
fn root_contexts_of_a_vm_close_one_by_one() {
    let guest = Guest::importing(&[("proxy_set_tick_period_milliseconds", 1), ("proxy_done", 0), ("proxy_log", 3)])
        .function("proxy_on_configure", 2, 1, &[CONST, 10, CALL, 0, DROP, CONST, 1])
        .function("proxy_on_done", 1, 1, &[CONST, 0])
        .function("proxy_on_tick", 1, 0, &[CALL, 1, DROP])
        .function("proxy_on_delete", 1, 0, &[CONST, 2, CONST, 0, CONST, 0, CALL, 2, DROP]);
    let mut bootstrap = defaults::bootstrap();
    let filters = &mut bootstrap.listeners[0].manager.filters;
    filters.push(filters[0].clone());
    filters[1].plugin.name = "second".to_owned();
    let gateway = Gateway::builder(guest.module()).bootstrap(bootstrap.clone()).start().unwrap();
    bootstrap.listeners[0].manager.filters.clear();
    gateway.update(&bootstrap).unwrap();
    assert_eq!(info_lines(&gateway), 0);
    gateway.advance(Duration::from_millis(10)).unwrap();
    assert_eq!(info_lines(&gateway), 4, "two contexts on each of two threads: {:?}", gateway.logs());
}
