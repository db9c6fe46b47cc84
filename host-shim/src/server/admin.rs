//! The admin interface, with the paths of Envoy that the shim supports.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use regex::Regex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::Options;
use super::prometheus::{self, Tags};
use super::upstream::Load;
use crate::base::MetricType;
use crate::config::model::Discovery;
use crate::state::Host;
use crate::state::metrics::Stat;
use crate::worker::Program;

const HELP: &str = "\
admin commands are:
  /clusters: upstream cluster status
  /config_dump: dump current configuration
  /help: print out list of admin commands
  /listeners: print listener info
  /quitquitquit (POST): exit the server
  /ready: print server state, return 200 if LIVE, otherwise return 503
  /server_info: print server version/status information
  /stats: print server stats (filter, usedonly, format=json|prometheus)
  /stats/prometheus: print server stats in prometheus format
";

/// The interface.
pub(super) struct Admin {
    host: Arc<Host>,
    tags: Tags,
    listeners: String,
    started: u64,
    quit: Arc<Notify>,
    dump: RefCell<Value>,
    present: RefCell<(Arc<Program>, Arc<Load>)>,
}

impl Admin {
    pub(super) fn new(
        host: &Arc<Host>,
        options: &Options,
        present: (Arc<Program>, Arc<Load>),
        quit: Arc<Notify>,
    ) -> Result<Rc<Self>> {
        let workers = options.workers.max(1);
        host.metrics.gauge("server.live").set(1);
        host.metrics.gauge("server.concurrency").set(u64::try_from(workers).unwrap_or_default());
        let listeners =
            options.bootstrap.listeners.iter().map(|listener| format!("{}::{}\n", listener.name, listener.address));
        Ok(Rc::new(Admin {
            host: Arc::clone(host),
            tags: Tags::new(&options.bootstrap.stats_tags)?,
            listeners: listeners.collect(),
            started: host.clock.now(),
            quit,
            dump: RefCell::new(options.dump.clone()),
            present: RefCell::new(present),
        }))
    }

    /// Replaces the configuration that the interface shows.
    pub(super) fn show(&self, dump: Value, present: (Arc<Program>, Arc<Load>)) {
        self.dump.replace(dump);
        self.present.replace(present);
    }

    /// Serves the interface. It never returns.
    pub(super) async fn serve(self: Rc<Self>, socket: TcpListener) {
        loop {
            let Ok((stream, _)) = socket.accept().await else {
                // The process can be out of file descriptors. Wait until some are free.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let admin = Rc::clone(&self);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let response = admin.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                // The client can close the connection at any time.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let query = Query::of(request.uri().query().unwrap_or_default());
        let uptime = self.host.clock.now().saturating_sub(self.started) / 1_000_000_000;
        self.host.metrics.gauge("server.uptime").set(uptime);
        match request.uri().path() {
            "/" | "/help" => text(StatusCode::OK, HELP.to_owned()),
            "/ready" => text(StatusCode::OK, "LIVE\n".to_owned()),
            "/stats/prometheus" => self.prometheus(&query),
            "/stats" => match query.get("format").as_deref() {
                Some("prometheus") => self.prometheus(&query),
                Some("json") => self.stats(&query, |stats| {
                    let stats: Vec<Value> =
                        stats.iter().map(|(name, stat)| json!({"name": name, "value": stat.value()})).collect();
                    json_text(&json!({ "stats": stats }))
                }),
                Some(format) if !format.is_empty() && format != "text" => {
                    text(StatusCode::BAD_REQUEST, "usage: /stats?format=(json|prometheus|text)\n\n".to_owned())
                }
                _ => self.stats(&query, |stats| {
                    let lines = stats.iter().map(|(name, stat)| format!("{name}: {}\n", shown(stat)));
                    text(StatusCode::OK, lines.collect())
                }),
            },
            "/config_dump" => json_text(&json!({ "configs": [{
                "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
                "bootstrap": *self.dump.borrow(),
            }] })),
            "/clusters" => text(StatusCode::OK, clusters(&self.present.borrow())),
            "/quitquitquit" if request.method() == Method::POST => {
                self.quit.notify_one();
                text(StatusCode::OK, "OK\n".to_owned())
            }
            "/quitquitquit" => {
                let body = format!("Method {} not allowed, POST required.", request.method());
                text(StatusCode::METHOD_NOT_ALLOWED, body)
            }
            "/listeners" => text(StatusCode::OK, self.listeners.clone()),
            "/server_info" => json_text(&json!({
                "version": concat!("host-shim/", env!("CARGO_PKG_VERSION")),
                "state": "LIVE",
                "uptime_current_epoch": format!("{uptime}s"),
            })),
            _ => text(StatusCode::NOT_FOUND, format!("invalid path. {HELP}")),
        }
    }

    fn prometheus(&self, query: &Query) -> Response<Full<Bytes>> {
        self.stats(query, |stats| text(StatusCode::OK, prometheus::render(&stats, &self.tags)))
    }

    fn stats(
        &self,
        query: &Query,
        render: impl FnOnce(Vec<(String, Arc<Stat>)>) -> Response<Full<Bytes>>,
    ) -> Response<Full<Bytes>> {
        let filter = match query.get("filter").map(|filter| Regex::new(&filter)).transpose() {
            Ok(filter) => filter,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("Invalid re2 regex: {error}\n")),
        };
        let used_only = query.get("usedonly").is_some();
        let mut stats = self.host.metrics.all();
        stats.retain(|(name, stat)| {
            let is_used = stat.value() > 0 || !stat.samples().is_empty();
            filter.as_ref().is_none_or(|filter| filter.is_match(name)) && (is_used || !used_only)
        });
        render(stats)
    }
}

/// Lists the limits of each cluster like Envoy, and its hosts if they are known without DNS.
fn clusters((program, load): &(Arc<Program>, Arc<Load>)) -> String {
    let mut clusters: Vec<_> = program.clusters.values().collect();
    clusters.sort_by_key(|cluster| &cluster.name);
    let mut lines = String::new();
    for cluster in clusters {
        let name = &cluster.name;
        lines += &format!("{name}::default_priority::max_requests::{}\n", cluster.max_requests);
        lines += &format!("{name}::default_priority::max_pending_requests::{}\n", cluster.max_pending_requests);
        if let Discovery::Static(addresses) = &cluster.discovery {
            for address in addresses {
                let flags = if load.is_healthy(name, address) { "healthy" } else { "/failed_active_hc" };
                lines += &format!("{name}::{address}::health_flags::{flags}\n");
            }
        }
    }
    lines
}

fn shown(stat: &Stat) -> String {
    if stat.kind != MetricType::Histogram {
        return stat.value().to_string();
    }
    let mut samples = stat.samples();
    samples.sort_unstable();
    if samples.is_empty() {
        return "No recorded values".to_owned();
    }
    let at = |percent: usize| samples.get((samples.len() - 1) * percent / 100).copied().unwrap_or_default();
    [0, 25, 50, 75, 90, 95, 99, 100]
        .map(|percent| format!("P{percent}({value},{value})", value = at(percent)))
        .join(" ")
}

/// Parses the parameters of a query.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        let decoded = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            // As in Envoy, a plus sign in a filter belongs to the regular expression.
            (decoded(name), percent_decode_str(value).decode_utf8_lossy().into_owned())
        });
        Query(pairs.collect())
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=UTF-8", body)
}

fn json_text(value: &Value) -> Response<Full<Bytes>> {
    answer(StatusCode::OK, "application/json", format!("{value:#}\n"))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
