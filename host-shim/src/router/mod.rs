//! The decisions of the connection manager and of the router: the route, its changes, and local answers.

mod destination;
mod duration;
mod matching;
pub mod paths;
mod plan;
mod replies;
mod sendable;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

pub use destination::{destination, lacks_destination};
pub use plan::{Plan, backoff, plan, plan_of_route};
pub use replies::{
    NO_HOST_BODY, TIMEOUT_BODY, connect_failure, connection_refused, reply, reset_body, retried, tls_failure,
};
pub use sendable::{needs_length, refused, unsendable};
pub use upgrade::{Tunnel, is_upgrade, stays_open, websocket_failure};

use crate::base::{Headers, MapKind};
use crate::config::model::{
    AppendAction, Cluster, Forward, HeaderToAdd, Listener, PathMatch, Redirect, Route, RouteAction, RouteMatch,
};
use crate::traffic::{LocalReply, StreamData, flags};
use matching::matches;

pub struct Site {
    pub listener: Arc<Listener>,
    hosts: Vec<SiteHost>,
}

struct SiteHost {
    name: Arc<str>,
    domains: Vec<String>,
    routes: Vec<Arc<Route>>,
    number: usize,
}

pub struct Target {
    pub cluster: Arc<Cluster>,
    pub plan: Plan,
    pub auto_host_rewrite: bool,
    /// Whether the data of a CONNECT request goes to the host without HTTP.
    pub ends_connect: bool,
}

impl Site {
    pub fn new(listener: Arc<Listener>) -> Self {
        let hosts = listener.manager.virtual_hosts.iter().enumerate().map(|(number, host)| SiteHost {
            name: host.name.as_str().into(),
            domains: host.domains.clone(),
            routes: host.routes.iter().cloned().map(Arc::new).collect(),
            number,
        });
        let hosts = hosts.collect();
        Site { listener, hosts }
    }

    /// Chooses the route of a request, and stores it.
    pub fn choose(&self, data: &mut StreamData) {
        data.route_is_stale = false;
        let headers = &data.request_headers;
        let host = self.host_of(headers);
        data.info.virtual_host = host.map(|host| Arc::clone(&host.name));
        let route = host.and_then(|host| host.routes.iter().find(|route| matches(&route.matches, headers)));
        // hyper has no body for a CONNECT request of HTTP/2.
        let is_lost = data.info.protocol == "HTTP/2" && headers.get(":method") == Some(b"CONNECT");
        data.info.route = route.filter(|_| !is_lost).cloned();
        data.info.longest = match data.info.route.as_ref().map(|route| &route.action) {
            Some(RouteAction::Forward(forward)) => {
                duration::longest(&self.listener.manager, forward, &mut data.request_headers)
            }
            _ => Some(self.listener.manager.max_stream_duration).filter(|duration| !duration.is_zero()),
        };
    }

    fn host_of(&self, headers: &Headers) -> Option<&SiteHost> {
        // Envoy does not route a request with an unknown scheme.
        headers.get("x-forwarded-proto").filter(|scheme| !scheme.is_empty())?;
        let authority =
            headers.get(":authority").map(|host| String::from_utf8_lossy(host).to_lowercase()).unwrap_or_default();
        self.host(&authority)
    }

    /// Uses Envoy's order: exact match, longest suffix, longest prefix, `*`.
    fn host(&self, authority: &str) -> Option<&SiteHost> {
        let rank = |domain: &str| match domain {
            "*" => Some((0, 0)),
            _ if domain == authority => Some((3, 0)),
            _ => {
                let suffix = domain
                    .strip_prefix('*')
                    .filter(|suffix| authority.len() > suffix.len() && authority.ends_with(suffix));
                let prefix = domain
                    .strip_suffix('*')
                    .filter(|prefix| authority.len() > prefix.len() && authority.starts_with(prefix));
                suffix.map(|suffix| (2, suffix.len())).or(prefix.map(|prefix| (1, prefix.len())))
            }
        };
        let ranked = self
            .hosts
            .iter()
            .filter_map(|host| Some((host.domains.iter().filter_map(|domain| rank(domain)).max()?, host)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, host)| host)
    }

    fn header_changes<'s>(
        &'s self,
        data: &StreamData,
    ) -> impl Iterator<Item = &'s crate::config::model::HeaderChanges> {
        let host = data
            .info
            .virtual_host
            .as_ref()
            .and_then(|name| self.hosts.iter().find(|host| Arc::ptr_eq(&host.name, name)));
        host.and_then(|host| self.listener.manager.virtual_hosts.get(host.number)).map(|host| &host.headers).into_iter()
    }

    /// Decides where a request goes after its headers have passed the filters.
    ///
    /// # Errors
    /// A reply, if the router answers the request itself.
    pub fn route(
        &self,
        data: &mut StreamData,
        cluster: impl Fn(&str) -> Option<Arc<Cluster>>,
    ) -> Result<Target, LocalReply> {
        if data.route_is_stale {
            self.choose(data);
        }
        let Some(route) = data.info.route.clone() else {
            return Err(reply(404, "", "route_not_found", flags::NO_ROUTE_FOUND));
        };
        match &route.action {
            RouteAction::DirectResponse { status, body } => {
                let body = String::from_utf8_lossy(body).into_owned();
                let mut answer = reply(u32::from(*status), &body, "direct_response", 0);
                if *status == 201 || (300..400).contains(status) {
                    let here = redirect_to(&Redirect::default(), &route.matches, &data.request_headers);
                    answer.headers.add("location", here);
                }
                self.change_response(data, &mut answer.headers);
                Err(answer)
            }
            RouteAction::Redirect(redirect) => {
                let mut answer = reply(u32::from(redirect.status), "", "direct_response", 0);
                answer.headers.add("location", redirect_to(redirect, &route.matches, &data.request_headers));
                self.change_response(data, &mut answer.headers);
                Err(answer)
            }
            RouteAction::Forward(forward) => {
                let name = pick(forward, data.info.started);
                let Some(cluster) = cluster(name) else {
                    let mut answer = reply(503, "", "cluster_not_found", flags::NO_CLUSTER_FOUND);
                    self.change_response(data, &mut answer.headers);
                    return Err(answer);
                };
                let mut plan = self.change_request(data, &route, forward);
                let of_cluster = Some(cluster.max_stream_duration).filter(|duration| !duration.is_zero());
                plan.stream_timeout = plan.stream_timeout.or(of_cluster);
                let is_connect = data.request_headers.get(":method") == Some(b"CONNECT");
                let ends_connect = is_connect && forward.ends_connect;
                data.info.buffer_limit = route.buffer_limit;
                data.info.cluster = Some(Arc::clone(&cluster));
                Ok(Target { cluster, plan, auto_host_rewrite: forward.auto_host_rewrite, ends_connect })
            }
        }
    }

    fn change_request(&self, data: &mut StreamData, route: &Route, forward: &Forward) -> Plan {
        let hosts: Vec<_> = self.header_changes(data).collect();
        let headers = &mut data.request_headers;
        let tells = !self.listener.manager.suppress_envoy_headers;
        // As in Envoy, a route with durations of streams has no timeout.
        let timeout = forward.stream_duration.map_or(forward.timeout, |_| Duration::ZERO);
        let plan = plan_of_route(headers, timeout, &forward.retry_policy);
        if tells {
            plan.tell(headers, Duration::ZERO);
        }
        for changes in std::iter::once(&route.headers).chain(hosts) {
            changes.request_remove.iter().for_each(|name| {
                headers.remove(name);
            });
            changes.request_add.iter().for_each(|change| add(MapKind::Request, headers, change));
        }
        if let Some(replacement) = &forward.prefix_rewrite
            && let Some(path) = headers.get_str(":path").map(str::to_owned)
            && let Some(rewritten) = rewrite_prefix(&route.matches.path, &path, replacement)
        {
            if tells {
                headers.set("x-envoy-original-path", path);
            }
            headers.set_in_place(":path", rewritten);
        }
        if let Some((regex, replacement)) = &forward.regex_rewrite
            && let Some(path) = headers.get_str(":path").map(str::to_owned)
        {
            let (only, query) = path.split_at(path.find('?').unwrap_or(path.len()));
            let rewritten = format!("{}{query}", regex.replace_all(only, replacement));
            if tells {
                headers.set("x-envoy-original-path", path);
            }
            headers.set_in_place(":path", rewritten);
        }
        if let Some(host) = &forward.host_rewrite {
            rewrite_host(headers, host);
        }
        plan
    }

    /// Makes the changes of the connection manager to a response.
    pub fn finish_response(&self, headers: &mut Headers, request: &Headers) {
        let manager = &self.listener.manager;
        headers.set_in_place("server", &manager.server_name);
        for name in ["transfer-encoding", "proxy-connection"] {
            headers.remove(name);
        }
        if is_upgrade(request) && is_upgrade(headers) {
            let is_interim = headers.get(":status").is_some_and(|status| status.first() == Some(&b'1'));
            if !is_interim && headers.get("content-length").is_none() {
                headers.set_in_place("content-length", "0");
            }
        } else {
            headers.remove("connection");
            headers.remove("upgrade");
        }
        let shows_id = manager.responds_request_id || request.get("x-envoy-force-trace").is_some();
        if let (true, Some(id)) = (shows_id, request.get("x-request-id")) {
            headers.set_in_place("x-request-id", id);
        }
    }

    /// Makes the changes of the route and its virtual host to a response.
    pub fn change_response(&self, data: &StreamData, headers: &mut Headers) {
        let route = data.info.route.as_ref().map(|route| &route.headers);
        for changes in route.into_iter().chain(self.header_changes(data)) {
            changes.response_remove.iter().for_each(|name| {
                headers.remove(name);
            });
            changes.response_add.iter().for_each(|change| add(MapKind::Response, headers, change));
        }
    }
}

/// Changes the host of a request, and stores the old host in a header.
pub fn rewrite_host(headers: &mut Headers, host: &str) {
    let before = headers.get(":authority").unwrap_or_default().to_vec();
    headers.set("x-envoy-original-host", before);
    headers.set_in_place(":authority", host);
}

fn add(kind: MapKind, headers: &mut Headers, change: &HeaderToAdd) {
    let is_there = headers.get(&change.name).is_some();
    match change.action {
        AppendAction::Append => headers.append(kind, change.name.as_bytes(), change.value.as_bytes()),
        AppendAction::AddIfAbsent if !is_there => headers.add(&change.name, &change.value),
        AppendAction::OverwriteOrAdd => headers.set(&change.name, &change.value),
        AppendAction::OverwriteIfExists if is_there => headers.set(&change.name, &change.value),
        AppendAction::AddIfAbsent | AppendAction::OverwriteIfExists => {}
    }
}

/// Chooses one of the clusters by weight. The time is the source of randomness.
fn pick(forward: &Forward, started: u64) -> &str {
    let total: u64 = forward.clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut chosen = if total == 0 { 0 } else { started.wrapping_mul(0x9e37_79b9_7f4a_7c15) % total };
    for (name, weight) in &forward.clusters {
        let weight = u64::from(*weight);
        if chosen < weight || total == 0 {
            return name;
        }
        chosen -= weight;
    }
    ""
}

fn rewrite_prefix(matched: &PathMatch, path: &str, replacement: &str) -> Option<String> {
    let prefix = match matched {
        PathMatch::Prefix(prefix) | PathMatch::Exact(prefix) | PathMatch::PathSeparatedPrefix(prefix) => prefix,
        PathMatch::Regex(_) | PathMatch::Connect => return None,
    };
    Some(format!("{replacement}{}", path.get(prefix.len()..)?))
}

/// Splits a host and its port. An IPv6 address is in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    }
}

fn redirect_to(redirect: &Redirect, matched: &RouteMatch, headers: &Headers) -> String {
    let authority = headers.get_str(":authority").unwrap_or_default();
    let old_scheme = headers.get_str("x-forwarded-proto").or_else(|| headers.get_str(":scheme")).unwrap_or("http");
    let scheme = redirect.scheme.as_deref().unwrap_or(old_scheme);
    let (name, port) = split_port(authority);
    let host = match (redirect.host.as_deref(), redirect.port) {
        (host, Some(port)) => format!("{}:{port}", host.unwrap_or(name)),
        (Some(host), None) => host.to_owned(),
        // The standard port of the other scheme is removed.
        (None, None) => match (scheme, port) {
            ("https", Some("80")) | ("http", Some("443")) => name.to_owned(),
            _ => authority.to_owned(),
        },
    };
    let full = headers.get_str(":path").unwrap_or("/");
    let (path, query) = full.split_once('?').unwrap_or((full, ""));
    let new_path = redirect
        .path
        .clone()
        .or_else(|| redirect.prefix.as_ref().and_then(|prefix| rewrite_prefix(&matched.path, path, prefix)))
        .unwrap_or_else(|| path.to_owned());
    let query = if query.is_empty() || redirect.strip_query || new_path.contains('?') {
        String::new()
    } else {
        format!("?{query}")
    };
    format!("{scheme}://{host}{new_path}{query}")
}
