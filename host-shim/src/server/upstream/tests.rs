#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Mutex;
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::connect::resolve;
use super::*;
use crate::base::lock;
use crate::config::model::{
    Bootstrap, Discovery, DnsFamily, DownstreamTls, HealthCheck, HealthProbe, HostAddress, HostPort, Secret,
    TrustedRoots,
};
use crate::server::body::{Sink as _, UpstreamSink};
use crate::worker::{Modules, Program};

const EVERY: Duration = Duration::from_millis(20);

fn cluster(discovery: Discovery) -> Cluster {
    Cluster { discovery, tcp_pool: true, panic_threshold: 0, ..crate::config::defaults::cluster("store") }
}

/// Sends a body to a cluster, and returns the body of the answer.
async fn answer(cluster: Cluster, body: &str) -> Result<String, LocalReply> {
    let cluster = Arc::new(cluster);
    let upstreams = Upstreams::new(&Load::of([&cluster].into_iter()));
    let (sink, sent) = UpstreamSink::new();
    sink.data(body.into());
    sink.end();
    let headers = [(":method", "POST"), (":path", "/"), (":authority", "store.test")].into_iter().collect();
    let response = upstreams.send(cluster, &headers, super::Manner::default(), |_| {}, sent).await?;
    assert_eq!((response.status().as_u16(), response.headers().len()), (200, 0));
    Ok(String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn raw_bytes_pass_through_tls_and_each_side_closes_its_half() {
    let own = DownstreamTls {
        certificate_chain: include_bytes!("pem/certificate.pem").to_vec(),
        private_key: Secret(include_bytes!("pem/key.pem").to_vec()),
        alpn: Vec::new(),
    };
    let acceptor = TlsAcceptor::from(tls::server(&own).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = HostAddress::Ip(listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let Ok(mut stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let mut asked = String::new();
            stream.read_to_string(&mut asked).await.unwrap();
            assert!(stream.get_ref().1.alpn_protocol().is_none());
            stream.write_all(format!("{asked} pong").as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let with = |roots: TrustedRoots| {
        let tls = UpstreamTls { sni: Some("localhost".into()), auto_sni: false, auto_san_validation: false, roots };
        Cluster { tls: Some(tls), ..cluster(Discovery::Static(vec![address.clone()])) }
    };
    let pem = include_bytes!("pem/certificate.pem").to_vec();
    let exchanges = async {
        assert_eq!(answer(with(TrustedRoots::Pem(pem)), "ping").await.unwrap(), "ping pong");
        let refused = answer(with(TrustedRoots::System), "ping").await.unwrap_err();
        assert!(refused.details.contains("TLS_error"), "{}", refused.details);
    };
    LocalSet::new().run_until(exchanges).await;
}

/// A store that answers a check with its role, and its address.
async fn store(role: &Arc<Mutex<&'static str>>) -> HostAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let role = Arc::clone(role);
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let role = Arc::clone(&role);
            tokio::spawn(async move {
                let mut asked = [0; 64];
                while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    let role = *lock(&role);
                    if role == "gone" {
                        return;
                    }
                    let _ = stream.write_all(format!("role:{role}\r\n").as_bytes()).await;
                }
            });
        }
    });
    HostAddress::Ip(address)
}

fn checked(discovery: Discovery) -> Cluster {
    let check = HealthCheck {
        timeout: EVERY * 10,
        interval: EVERY,
        no_traffic_interval: EVERY,
        no_traffic_healthy_interval: EVERY,
        unhealthy_interval: EVERY,
        unhealthy_edge_interval: EVERY,
        healthy_edge_interval: EVERY,
        unhealthy_threshold: 2,
        healthy_threshold: 1,
        reuse_connection: true,
        probe: HealthProbe::Tcp { send: b"INFO\n".to_vec(), receive: vec![b"role:".to_vec(), b"master".to_vec()] },
    };
    Cluster { health_check: Some(check), ..cluster(discovery) }
}

fn usable(cluster: &Cluster, load: &Load, mut hosts: Vec<HostAddress>) -> Vec<HostAddress> {
    load.retain_usable(cluster, &mut hosts, HostAddress::clone);
    hosts
}

/// Waits until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
    panic!("the condition never holds");
}

#[tokio::test]
async fn requests_follow_the_host_that_the_check_finds_healthy() {
    let roles = [Arc::new(Mutex::new("master")), Arc::new(Mutex::new("replica"))];
    let both = [store(&roles[0]).await, store(&roles[1]).await];
    let cluster = checked(Discovery::Static(both.to_vec()));
    let bootstrap = Bootstrap { clusters: vec![cluster.clone()], ..Bootstrap::default() };
    let program = Program::load(&bootstrap, &Modules::default()).unwrap();
    let load = Load::of(program.clusters.values());
    let checks = async {
        health::start(&program, &load).await;
        let found = || usable(&cluster, &load, both.to_vec());
        // The start waits for the first results.
        assert_eq!(found(), [both[0].clone()]);
        assert_eq!([true, false], [0, 1].map(|number| load.is_healthy("store", &both[number])));
        *lock(&roles[0]) = "gone";
        until(|| found().is_empty()).await;
        *lock(&roles[1]) = "master";
        until(|| found() == [both[1].clone()]).await;
        *lock(&roles[0]) = "master";
        until(|| found().len() == 2).await;
        // With a threshold of 50 %, all hosts are used if fewer are healthy.
        *lock(&roles[0]) = "replica";
        *lock(&roles[1]) = "replica";
        until(|| found().is_empty()).await;
        let panics = Cluster { panic_threshold: 50, ..cluster.clone() };
        assert_eq!(usable(&panics, &load, both.to_vec()).len(), 2);
    };
    LocalSet::new().run_until(checks).await;
}

#[tokio::test]
async fn the_addresses_of_a_name_are_checked() {
    let role = Arc::new(Mutex::new("master"));
    let address = store(&role).await;
    let name = HostPort { host: "localhost".into(), port: address.ip().unwrap().port() };
    let cluster = checked(Discovery::StrictDns(vec![name]));
    let bootstrap = Bootstrap { clusters: vec![cluster.clone()], ..Bootstrap::default() };
    let program = Program::load(&bootstrap, &Modules::default()).unwrap();
    let load = Load::of(program.clusters.values());
    let checks = async {
        health::start(&program, &load).await;
        let only_v4 = resolve(&HostPort { host: "localhost".into(), port: 1 }, DnsFamily::V4Only).await.unwrap();
        assert!(!only_v4.is_empty() && only_v4.iter().all(std::net::SocketAddr::is_ipv4));
        assert_eq!(usable(&cluster, &load, vec![address.clone()]), std::slice::from_ref(&address));
        let chosen = hosts::choose(&cluster, &Headers::new(), &load, 0).await.unwrap();
        assert_eq!((chosen.name, chosen.dns_name), (address.to_string(), Some("localhost".to_owned())));
    };
    LocalSet::new().run_until(checks).await;
}
