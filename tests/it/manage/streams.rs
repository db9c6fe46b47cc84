use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::body::Bytes;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tollbell_tests::envoy::{Envoy, Setup};

use super::stand_in::{Answer, Parts, StandIn, send};
use crate::support::{alone, shared};

const MIB: usize = 1024 * 1024;

/// The default of `max_body_bytes`.
const LIMIT: u64 = 256 * 1024;

/// Bytes that cannot be compressed or confused.
fn noise(size: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..size).map(next).collect()
}

/// Answers an upload with its size, and a download with the requested number of bytes, labelled as JSON.
fn answer(size: usize, pause: Duration) -> Answer {
    let body = noise(size);
    let (first, rest) = (body.slice(..size.min(1000)), body.slice(size.min(1000)..));
    let headers = vec![("content-type", "application/json".to_owned())];
    Answer { status: 200, headers, body: Parts::chunked([(Duration::ZERO, first), (pause, rest)]) }
}

/// An Envoy with an observed API, `/watched/`, and one that is not observed, `/plain/`.
async fn world(pause: Duration) -> Result<(Envoy, StandIn)> {
    let upstream = StandIn::start(move |seen| match seen.target.rsplit_once("size=") {
        Some((_, size)) => answer(size.parse().expect("a number"), pause),
        None => Answer::json(200, json!({ "size": seen.body.len(), "key_id": "k" })),
    })
    .await?;
    let config = json!({ "apis": [
        { "api_id": "plain", "org_id": "acme", "listen_path": "/plain/", "use_keyless": true },
        { "api_id": "watched", "org_id": "acme", "listen_path": "/watched/", "use_keyless": true,
          "observe": { "preset": "tyk-dashboard" } },
    ] });
    // The receiver does not exist, so observed events are not delivered.
    let envoy = Setup::config(&config, upstream.port, upstream.port)?.workers(1).start().await?;
    Ok((envoy, upstream))
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_download_of_an_observed_api_arrives_as_it_is_sent() -> Result<()> {
    const PAUSE: Duration = Duration::from_secs(2);
    let _shared = shared().await;
    let (envoy, _upstream) = world(PAUSE).await?;
    for size in [100_000, 8 * MIB] {
        let target = format!("/watched/api/keys?size={size}");
        let seen = send(envoy.port, "POST", &target, &JSON, Parts::whole("{}")).await?;
        ensure!(seen.body == noise(size), "{size} bytes came changed: {}", seen.body.len());
        ensure!(seen.last >= PAUSE && seen.first < seen.last / 2, "{:?} of {:?}", seen.first, seen.last);
    }
    assert!(envoy.log().contains("is not readable: larger than 262144 bytes"), "a body that is too large is logged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_of_an_observed_api_pass_unchanged_without_being_kept() -> Result<()> {
    const SIZE: usize = 8 * MIB;
    const ROUNDS: usize = 3;
    let _alone = alone().await;
    let (envoy, upstream) = world(Duration::ZERO).await?;
    let (body, download) = (noise(SIZE), format!("size={SIZE}"));
    // The maximum memory while bodies pass, and the memory before.
    let measure = async |api: &str| -> Result<(u64, u64)> {
        let before = envoy.resident()?;
        let mut peak = before;
        for _ in 0..ROUNDS {
            let upload = format!("/{api}/api/keys");
            for (target, is_chunked) in
                [(upload.clone(), false), (upload.clone(), true), (format!("{upload}?{download}"), true)]
            {
                let parts =
                    if is_chunked { Parts::in_pieces_of(10_007, body.clone()) } else { Parts::whole(body.clone()) };
                let mut sending = Box::pin(send(envoy.port, "POST", &target, &JSON, parts));
                let seen = loop {
                    match tokio::time::timeout(Duration::from_millis(2), &mut sending).await {
                        Ok(seen) => break seen?,
                        Err(_) => peak = peak.max(envoy.resident()?),
                    }
                };
                ensure!(seen.status == 200, "{seen:?}");
                let arrived = upstream.seen().pop().context("nothing arrived")?;
                ensure!(arrived.body == body, "{} bytes of {SIZE} came", arrived.body.len());
                if target.contains('?') {
                    ensure!(seen.body == noise(SIZE), "{} bytes of {SIZE} came back", seen.body.len());
                }
            }
        }
        Ok((before, peak))
    };
    let (plain_before, plain_peak) = measure("plain").await?;
    let (before, peak) = measure("watched").await?;
    println!(
        "resident: {plain_before} and at most {plain_peak} not observed, then {before} and at most {peak} observed"
    );
    ensure!(peak <= plain_peak + 8 * LIMIT, "{plain_peak} resident bytes grew to {peak}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_uploads_use_bounded_memory_and_hide_no_event() -> Result<()> {
    const SIZE: usize = 250_000;
    const STALLED: usize = 600;
    let _alone = alone().await;
    let (envoy, _upstream) = world(Duration::ZERO).await?;
    let stall = async |api: &str| -> Result<u64> {
        let head = format!(
            "POST /{api}/api/keys HTTP/1.1\r\nhost: a.test\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            SIZE + 1
        );
        let mut streams = Vec::new();
        for _ in 0..STALLED {
            let mut stream = TcpStream::connect(("127.0.0.1", envoy.port)).await?;
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&[b' '; SIZE]).await?;
            streams.push(stream);
        }
        let events = envoy.metric("tollbell_events{type=\"key_event\"}").await?;
        send(envoy.port, "POST", "/watched/api/keys", &JSON, Parts::whole("{}")).await?;
        assert_eq!(
            envoy.metric("tollbell_events{type=\"key_event\"}").await?,
            events + 1,
            "an upload that ends is still read"
        );
        envoy.resident()
    };
    // Envoy needs memory for them, too, and frees it at any time.
    let plain = stall("plain").await?.max(stall("plain").await?);
    let watched = stall("watched").await?;
    println!("{STALLED} uploads that do not end: {plain} bytes resident not observed, {watched} observed");
    // The module keeps 32 MiB of bodies, in lists that may have twice the capacity, and wasm memory has gaps.
    ensure!(watched <= plain + 96 * MIB as u64, "{watched} bytes, {plain} not observed");
    Ok(())
}
