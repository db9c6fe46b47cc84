#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::TcpStream;

use tokio::runtime;

use super::*;
use crate::config;

/// Makes a configuration in which each listener answers with its text.
fn answering(listeners: &[(&str, &str)]) -> Loaded {
    let listener = |(name, text): &(&str, &str)| {
        format!(
            r#"
  - name: "{name}"
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                direct_response: {{ status: 200, body: {{ inline_string: "{text}" }} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"#
        )
    };
    let listeners: String = listeners.iter().map(listener).collect();
    config::parse(&format!("static_resources:\n  listeners:{listeners}"), "envoy.yaml", false).unwrap()
}

fn start(loaded: Loaded) -> Server {
    let options = Options {
        bootstrap: loaded.bootstrap,
        dump: loaded.dump,
        modules: crate::Modules::default(),
        workers: 1,
        log_level: LogLevel::Info,
        keeps_log: true,
        limits: Limits::default(),
    };
    Server::start(options).unwrap()
}

fn update(server: &Server, loaded: Loaded) -> Result<Vec<String>> {
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(server.update(loaded))
}

fn body(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn an_update_matches_listeners_by_name() {
    let server = start(answering(&[("A", "a"), ("B", "b")]));
    let bodies = || [0, 1].map(|number| body(server.addresses[number]));
    assert_eq!(bodies(), ["a", "b"]);
    update(&server, answering(&[("B", "new b"), ("A", "new a")])).unwrap();
    assert_eq!(bodies(), ["new a", "new b"]);
    let refusal = |listeners: &[(&str, &str)]| update(&server, answering(listeners)).unwrap_err().to_string();
    assert_eq!(refusal(&[("B", "c")]), "listener A was removed: restart the server");
    assert_eq!(refusal(&[("A", "c"), ("B", "c"), ("C", "c")]), "listener C was added: restart the server");
    assert_eq!(bodies(), ["new a", "new b"]);
}

#[test]
fn requests_can_follow_each_other_without_waiting() {
    let server = start(answering(&[("A", "a")]));
    let requests = b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n\r\nGET /2 HTTP/1.1\nhost: a\n\n\
        GET /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for piece in [1, requests.len()] {
        let mut stream = TcpStream::connect(server.addresses[0]).unwrap();
        for bytes in requests.chunks(piece) {
            stream.write_all(bytes).unwrap();
        }
        let mut responses = String::new();
        stream.read_to_string(&mut responses).unwrap();
        assert_eq!(responses.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{responses}");
        assert_eq!(responses.matches("connection: close\r\n").count(), 1, "{responses}");
    }
}
