//! Reads the health checks of clusters.

use std::time::Duration;

use super::model::{HealthCheck, HealthProbe};
use super::{Message, Place};

const NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);
const PANIC_THRESHOLD: u32 = 50;

/// Reads `health_checks`. `None` also means that the shim does not support the check.
pub(super) fn check(cluster: &Message<'_>) -> Option<HealthCheck> {
    let places = cluster.items("health_checks");
    let are_many = places.len() > 1;
    let checks: Vec<_> = places.iter().map(|place| health_check(place, are_many)).collect();
    if let Some(second) = places.get(1) {
        second.warn("not honoured: the shim makes only the first health check of a cluster");
    }
    checks.into_iter().next()?
}

/// Reads `healthy_panic_threshold`, in per cent.
pub(super) fn panic_threshold(cluster: &Message<'_>) -> u32 {
    let Some(config) = cluster.message("common_lb_config", "CommonLbConfig") else { return PANIC_THRESHOLD };
    let percent = config.message("healthy_panic_threshold", "Percent");
    config.done();
    let Some(percent) = percent else { return PANIC_THRESHOLD };
    let value = percent.get("value").and_then(|place| place.percent()).unwrap_or_default();
    percent.done();
    value
}

fn health_check(place: &Place<'_>, needs_name: bool) -> Option<HealthCheck> {
    let message = place.message("HealthCheck")?;
    if needs_name {
        message.required_string("name");
    }
    let needed = |field| message.required(field).and_then(|place| more_than_zero(&place));
    let (timeout, interval) = (needed("timeout"), needed("interval"));
    let threshold = |field| message.required(field).and_then(|place| place.u32());
    let (unhealthy_threshold, healthy_threshold) = (threshold("unhealthy_threshold"), threshold("healthy_threshold"));
    let given = |field| message.get(field).and_then(|place| more_than_zero(&place));
    let no_traffic_interval = given("no_traffic_interval").unwrap_or(NO_TRAFFIC_INTERVAL);
    let no_traffic_healthy_interval = given("no_traffic_healthy_interval").unwrap_or(no_traffic_interval);
    let (unhealthy, healthy_edge) = (given("unhealthy_interval"), given("healthy_edge_interval"));
    let unhealthy_edge = given("unhealthy_edge_interval");
    let reuse_connection = message.optional_bool("reuse_connection").unwrap_or(true);
    let kinds = ["tcp_health_check", "http_health_check", "grpc_health_check", "custom_health_check"];
    let kind = message.required_one_of(&kinds);
    message.done();
    let probe = match kind? {
        ("tcp_health_check", place) => tcp(&place)?,
        (_, place) => {
            place.warn("not honoured: the shim has only TCP health checks, so all hosts are healthy");
            return None;
        }
    };
    let interval = interval?;
    let unhealthy_interval = unhealthy.unwrap_or(interval);
    Some(HealthCheck {
        timeout: timeout?,
        interval,
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
        unhealthy_edge_interval: unhealthy_edge.unwrap_or(unhealthy_interval),
        healthy_edge_interval: healthy_edge.unwrap_or(interval),
        unhealthy_threshold: unhealthy_threshold?,
        healthy_threshold: healthy_threshold?,
        reuse_connection,
        probe,
    })
}

fn more_than_zero(place: &Place<'_>) -> Option<Duration> {
    let duration = place.duration()?;
    if duration.is_zero() {
        place.error("must be more than 0s");
        return None;
    }
    Some(duration)
}

fn tcp(place: &Place<'_>) -> Option<HealthProbe> {
    let message = place.message("TcpHealthCheck")?;
    let send = message.get("send");
    let receive = message.items("receive");
    message.done();
    let send = match send {
        Some(place) => payload(&place)?,
        None => Vec::new(),
    };
    let receive = receive.iter().map(payload).collect::<Option<_>>()?;
    Some(HealthProbe::Tcp { send, receive })
}

/// Reads bytes: `text` has them in hexadecimal, `binary` in Base64.
fn payload(place: &Place<'_>) -> Option<Vec<u8>> {
    let message = place.message("Payload")?;
    let found = message.required_one_of(&["text", "binary"]);
    message.done();
    let (kind, place) = found?;
    if kind == "binary" {
        return place.bytes();
    }
    let text = place.string()?;
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
    if text.is_empty() || bytes.is_none() {
        place.error(format!("{text:?} is not hexadecimal: write the bytes of the text, such as 50494e47 for PING"));
        return None;
    }
    bytes
}
