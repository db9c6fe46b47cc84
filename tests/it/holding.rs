use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::module::restricted;
use crate::support::{World, eventually};

const ALLOW: &str = "                allow_on_headers_stop_iteration: true\n";

/// More than Envoy buffers for a filter that holds a body.
const TOO_LONG: usize = 3 << 20;

/// Requests that the filter refuses, with everything that can follow their headers.
fn refused() -> Vec<Vec<u8>> {
    let head = |method: &str, headers: &str| {
        format!(
            "{method} /orders/1 HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\nauthorization: bad-key\r\n{headers}\r\n"
        )
    };
    let chunks = "5\r\nhello\r\n6\r\n world\r\n0\r\n";
    vec![
        head("GET", "").into(),
        head("GET", "").replace("authorization: bad-key\r\n", "").into(),
        (head("POST", "content-length: 11\r\n") + "hello world").into(),
        (head("POST", "transfer-encoding: chunked\r\n") + chunks + "\r\n").into(),
        (head("POST", "transfer-encoding: chunked\r\ntrailer: x-sum\r\n") + chunks + "x-sum: 1\r\n\r\n").into(),
        head("GET", "connection: upgrade\r\nupgrade: websocket\r\n").replace("connection: close\r\n", "").into(),
    ]
}

fn too_long() -> Vec<u8> {
    let head = format!("POST /orders/1 HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: {TOO_LONG}\r\n\r\n");
    [head.into_bytes(), vec![b'x'; TOO_LONG]].concat()
}

/// The first line of the answer, which may come while the request is still being sent.
async fn status_line(port: u16, request: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut reader, mut writer) = stream.split();
    let mut begin = vec![0; "HTTP/1.1 200".len()];
    let (_, read) = tokio::join!(writer.write_all(request), reader.read_exact(&mut begin));
    read.context("an answer")?;
    Ok(String::from_utf8_lossy(&begin).into_owned())
}

/// An Envoy that shows trailers to filters and has one worker, so that requests are seen in their order.
async fn world(is_allowed: bool, missing: &[&str]) -> Result<World> {
    World::with_setup(|upstream, receiver| {
        let setup = restricted(missing, upstream, receiver)?.workers(1);
        Ok(setup.edit(|yaml| {
            let options = "          stat_prefix: gateway\n          http_protocol_options: { enable_trailers: true }\n          upgrade_configs: [ { upgrade_type: websocket } ]\n";
            let yaml = yaml.replacen("          stat_prefix: gateway\n", options, 1);
            if is_allowed { yaml } else { yaml.replacen(ALLOW, "", 1) }
        }))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_reaches_no_upstream() -> Result<()> {
    for is_allowed in [true, false] {
        for (missing, status) in [(&[][..], "4"), (&["proxy_get_header_map_pairs"][..], "503")] {
            let world = world(is_allowed, missing).await?;
            for request in refused().into_iter().chain([too_long()]) {
                let line = status_line(world.envoy.port, &request).await?;
                let shown = String::from_utf8_lossy(&request[..request.len().min(200)]);
                assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {line}");
            }
            assert_eq!(world.envoy.stat("cluster.upstream.upstream_rq_total").await?, 0, "{is_allowed} {missing:?}");
        }
    }
    Ok(())
}

/// If the host takes no answer, a refused request waits, and so do its body and trailers.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_waits_if_no_answer_can_be_sent() -> Result<()> {
    for is_allowed in [true, false] {
        for unseen in [false, true] {
            let missing: &[&str] = match unseen {
                false => &["proxy_send_local_response"],
                true => &["proxy_send_local_response", "proxy_get_header_map_pairs"],
            };
            let world = world(is_allowed, missing).await?;
            let mut streams = Vec::new();
            let (mut sent, mut count) = (0, 0);
            for request in refused() {
                let mut stream = TcpStream::connect(("127.0.0.1", world.envoy.port)).await?;
                stream.write_all(&request).await?;
                (sent, count) = (sent + u64::try_from(request.len())?, count + 1);
                streams.push(stream);
            }
            eventually("Envoy has read all of it", async || {
                let read = world.envoy.stat("http.gateway.downstream_cx_rx_bytes_total").await?;
                Ok(read >= sent && world.envoy.log().matches("could not be sent").count() >= count)
            })
            .await?;
            // Envoy counts the bytes of a body only if a filter sees the body.
            if is_allowed {
                assert_eq!(status_line(world.envoy.port, &too_long()).await?, "HTTP/1.1 413");
            }
            assert_eq!(world.envoy.stat("cluster.upstream.upstream_rq_total").await?, 0, "{is_allowed} {missing:?}");
            drop(streams);
        }
    }
    Ok(())
}
