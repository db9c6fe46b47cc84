//! The additions of `run --demo`: servers for the targets on this machine, and commands to try.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use host_shim::config::model::{Bootstrap, Discovery, HostAddress};
use host_shim::server::refuse_taken;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use regex::Regex;
use tokio::net::TcpListener;

/// Starts an upstream for each loopback address of a STATIC cluster, and a receiver for each loopback URL in the
/// modules' configurations. They end with the process.
///
/// # Errors
/// An address is in use.
pub fn start(bootstrap: &Bootstrap) -> Result<()> {
    let (mut upstreams, mut receivers) = (upstream_addresses(bootstrap), receiver_addresses(bootstrap));
    for listener in &bootstrap.listeners {
        // A listener of the configuration itself can replace either.
        upstreams.remove(&listener.address);
        receivers.remove(&listener.address);
    }
    receivers.retain(|address| !upstreams.contains(address));
    for address in &upstreams {
        serve(*address, false).with_context(|| format!("the demo's upstream on {address}"))?;
    }
    for address in &receivers {
        serve(*address, true).with_context(|| format!("the demo's webhook receiver on {address}"))?;
    }
    Ok(())
}

fn upstream_addresses(bootstrap: &Bootstrap) -> BTreeSet<SocketAddr> {
    let speak_http = bootstrap.clusters.iter().filter(|cluster| cluster.tls.is_none() && !cluster.tcp_pool);
    let addresses = speak_http.map(|cluster| match &cluster.discovery {
        Discovery::Static(addresses) => addresses.as_slice(),
        _ => &[],
    });
    addresses.flatten().filter_map(HostAddress::ip).filter(|address| address.ip().is_loopback()).collect()
}

fn receiver_addresses(bootstrap: &Bootstrap) -> BTreeSet<SocketAddr> {
    let Ok(url) = Regex::new(r"http://(?:127\.0\.0\.1|localhost):([0-9]{1,5})\b") else { return BTreeSet::new() };
    let filters = bootstrap.listeners.iter().flat_map(|listener| &listener.manager.filters);
    let texts = filters.map(|filter| String::from_utf8_lossy(&filter.plugin.configuration).into_owned());
    let ports = texts.flat_map(|text| {
        url.captures_iter(&text).filter_map(|found| found.get(1)?.as_str().parse().ok()).collect::<Vec<u16>>()
    });
    ports.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)).collect()
}

/// The text for the user of the demo: the comment of the configuration after the line `# To try it`, or else a request.
pub fn proposals(yaml: &str, listener: Option<SocketAddr>, admin: Option<SocketAddr>) -> String {
    let comment = yaml.lines().skip_while(|line| !line.starts_with("# To try it")).skip(1);
    let own = comment.map_while(|line| line.strip_prefix('#'));
    let mut lines: Vec<String> = own.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()).collect();
    if lines.is_empty() {
        lines.extend(listener.map(|listener| format!("  curl -i http://{listener}/")));
        lines.extend(admin.map(|admin| format!("  curl -s http://{admin}/stats/prometheus")));
    }
    format!(
        "\nIn another terminal, try:\n\n{}\n\nEvery webhook that arrives is printed here. Ctrl-C ends it.\n",
        lines.join("\n")
    )
}

fn serve(address: SocketAddr, prints: bool) -> Result<()> {
    refuse_taken(address)?;
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("demo".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let Ok(socket) = TcpListener::from_std(socket) else { return };
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, prints));
                    // The gateway may close the connection at any time.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    })?;
    Ok(())
}

async fn answer(request: Request<Incoming>, prints: bool) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if prints {
        let text = printed(&parts, &body);
        // Standard output may be closed.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
        return Ok(Response::new(Full::default()));
    }
    Ok(Response::new(Full::new(Bytes::from(format!("{} {}\n", parts.method, parts.uri)))))
}

/// A message in readable form: JSON is indented.
fn printed(parts: &http::request::Parts, body: &[u8]) -> String {
    let mut text = format!("── webhook: {} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        text.push_str(&format!("   {name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    let body = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => format!("{json:#}"),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    for line in body.lines() {
        text.push_str(&format!("   {line}\n"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use host_shim::gateway::Gateway;

    fn bootstrap() -> Bootstrap {
        Gateway::builder(Vec::new()).get_bootstrap().clone()
    }

    #[test]
    fn a_listener_of_the_configuration_stands_in_for_an_upstream() {
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut bootstrap = bootstrap();
        bootstrap
            .clusters
            .iter_mut()
            .for_each(|c| c.discovery = Discovery::Static(vec![HostAddress::Ip(own.local_addr().unwrap())]));
        bootstrap.listeners.iter_mut().for_each(|listener| listener.address = own.local_addr().unwrap());
        start(&bootstrap).unwrap();
    }

    #[test]
    fn a_taken_address_comes_with_advice() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut bootstrap = bootstrap();
        bootstrap
            .clusters
            .iter_mut()
            .for_each(|cluster| cluster.discovery = Discovery::Static(vec![HostAddress::Ip(address)]));
        let error = format!("{:#}", start(&bootstrap).unwrap_err());
        assert!(error.contains(&format!("the demo's upstream on {address}: cannot listen on")), "{error}");
        assert!(error.ends_with("stop it, or change the address"), "{error}");
    }
}
