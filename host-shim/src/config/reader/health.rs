//! Reads the health checks of clusters.

use std::ops::Range;
use std::time::Duration;

use http::Method;

use super::model::{AppendAction, HealthCheck, HealthProbe, HttpProbe};
use super::{Message, Place, headers};

const NO_TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);
const PANIC_THRESHOLD: u32 = 50;

/// Reads `health_checks`. `None` also means that the shim does not support the check.
pub(super) fn check(cluster: &Message<'_>) -> Option<HealthCheck> {
    let places = cluster.items("health_checks");
    let are_many = places.len() > 1;
    let name = cluster.string("name");
    let checks: Vec<_> = places.iter().map(|place| health_check(place, &name, are_many)).collect();
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

fn health_check(place: &Place<'_>, cluster: &str, needs_name: bool) -> Option<HealthCheck> {
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
        ("http_health_check", place) => http(&place, cluster)?,
        (_, place) => {
            place.warn("not honoured: the shim has only TCP and HTTP health checks, so all hosts are healthy");
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

fn http(place: &Place<'_>, cluster: &str) -> Option<HealthProbe> {
    const METHODS: [&str; 10] =
        ["METHOD_UNSPECIFIED", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let message = place.message("HttpHealthCheck")?;
    let path = message.required("path");
    let host = message.optional_string("host").unwrap_or_else(|| cluster.to_owned());
    let method = message.choice("method", &METHODS);
    let send = message.get("send");
    let receive = message.items("receive");
    let searched = message.u32("response_buffer_size").unwrap_or(1024);
    let expected = statuses(&message, "expected_statuses");
    let retriable = statuses(&message, "retriable_statuses");
    let codec = message.get("codec_client_type");
    let changes = headers::changes_of_request(&message);
    message.done();
    let codec = codec.and_then(|place| {
        let codec = place.choice(&["HTTP1", "HTTP2", "HTTP3"])?;
        if codec == 2 {
            place.warn("the shim does not support HTTP/3: it uses HTTP/1.1");
        }
        Some(codec)
    });
    let path = path?;
    let read = path.string()?;
    if http::Uri::try_from(&read).is_err() {
        path.error(format!("{read:?} is not a path"));
        return None;
    }
    let mut headers = vec![("user-agent".to_owned(), "Envoy/HC".to_owned())];
    headers.retain(|(name, _)| !changes.request_remove.contains(name));
    for change in &changes.request_add {
        let is_there = headers.iter().any(|(name, _)| *name == change.name);
        match (change.action, is_there) {
            (AppendAction::AddIfAbsent, true) | (AppendAction::OverwriteIfExists, false) => continue,
            (AppendAction::OverwriteOrAdd | AppendAction::OverwriteIfExists, true) => {
                headers.retain(|(name, _)| *name != change.name);
            }
            _ => {}
        }
        headers.push((change.name.clone(), change.value.clone()));
    }
    let body = match send {
        Some(place) => payload(&place)?,
        None => Vec::new(),
    };
    Some(HealthProbe::Http(Box::new(HttpProbe {
        method: METHODS.get(method).filter(|_| method > 0).and_then(|name| name.parse().ok()).unwrap_or(Method::GET),
        host,
        path: read,
        headers,
        body,
        receive: receive.iter().map(payload).collect::<Option<_>>()?,
        searched: if searched == 0 { usize::MAX } else { usize::try_from(searched).unwrap_or(usize::MAX) },
        expected: if expected.is_empty() { std::iter::once(200..201).collect() } else { expected },
        retriable,
        http2: codec == Some(1),
    })))
}

/// Reads a list of `Int64Range`.
fn statuses(message: &Message<'_>, field: &'static str) -> Vec<Range<u16>> {
    let ranges = message.messages(field, "Int64Range").into_iter().filter_map(|range| {
        let [start, end] = ["start", "end"].map(|field| range.u32(field).unwrap_or_default());
        let place = range.place.clone();
        range.done();
        let status = |number: u32| u16::try_from(number).ok().filter(|number| (100..=600).contains(number));
        let read = status(start).zip(status(end)).filter(|(start, end)| start < end);
        if read.is_none() {
            place.error(format!("{start} to {end} is not a range of statuses: the end is the first status after it"));
        }
        read.map(|(start, end)| start..end)
    });
    ranges.collect()
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
