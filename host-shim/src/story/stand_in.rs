//! Stand-ins: listeners of the same configuration that are the target of clusters, and that answer by their routes
//! alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::base::Headers;
use crate::config::model::{Bootstrap, Cluster, Discovery, HostAddress, Listener};
use crate::gateway::{Request, Response};
use crate::router::{Site, Target};
use crate::state::clock::Clock;
use crate::traffic::{Info, StreamData, reply_message};

/// Answers a client's request by routes alone: first those of the first listener, then those of the listener that is
/// the target of the cluster. Returns `None` if no listener of the configuration is the target.
pub fn answer(bootstrap: &Bootstrap, request: &Request) -> Option<Response> {
    let mut headers = request.headers.clone();
    if headers.get("x-forwarded-proto").is_none() {
        headers.add("x-forwarded-proto", "http");
    }
    match route(bootstrap, bootstrap.listeners.first()?, headers) {
        Ok((headers, target)) => behind(bootstrap, &target.cluster, headers),
        Err(response) => Some(response),
    }
}

/// Returns the answer of the listener that is the target of a cluster, or `None` if there is no such listener.
pub(super) fn behind(bootstrap: &Bootstrap, cluster: &Cluster, headers: Headers) -> Option<Response> {
    let Discovery::Static(addresses) = &cluster.discovery else { return None };
    let listener =
        bootstrap.listeners.iter().find(|listener| addresses.contains(&HostAddress::Ip(listener.address)))?;
    // A listener that forwards the request is not a stand-in.
    route(bootstrap, listener, headers).err()
}

/// Finds the target to which a listener sends a request, and the changed headers.
///
/// # Errors
/// The response, if the listener answers the request itself.
fn route(bootstrap: &Bootstrap, listener: &Listener, headers: Headers) -> Result<(Headers, Target), Response> {
    let listener = Arc::new(listener.clone());
    let site = Site::new(Arc::clone(&listener));
    let client = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut data = StreamData::new(headers, Info::new(listener, &Clock::manual(), client));
    site.choose(&mut data);
    let cluster = |name: &str| bootstrap.clusters.iter().find(|cluster| cluster.name == name).cloned().map(Arc::new);
    match site.route(&mut data, cluster) {
        Ok(target) => Ok((data.request_headers, target)),
        Err(reply) => {
            let (headers, body) = reply_message(&reply, &data.request_headers);
            Err(Response { headers, body, ..Response::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config;

    fn answered(yaml: &str, request: Request) -> Option<(u16, Option<String>)> {
        let bootstrap = config::parse(yaml, "envoy.yaml", false).unwrap().bootstrap;
        let response = answer(&bootstrap, &request)?;
        Some((response.status(), response.headers.get_str("location").map(str::to_owned)))
    }

    #[test]
    fn a_listener_that_is_the_target_of_a_cluster_answers_by_its_routes() {
        let portal = |request| answered(include_str!("../../../examples/developer-portal/envoy.yaml"), request);
        assert_eq!(portal(Request::post("/portal-api/users", "{}")), Some((401, None)));
        assert_eq!(portal(Request::post("/portal-api/users", "{}").header("authorization", "x")), Some((200, None)));
        let form = Request::post("/auth/password/register", "email=a%40b.test");
        assert_eq!(portal(form), Some((302, Some("/auth/login".to_owned()))));
        assert_eq!(portal(Request::get("/auth/password/register")), Some((404, None)));
    }

    #[test]
    fn a_request_that_leaves_the_configuration_gets_no_answer() {
        let mail = |path| answered(include_str!("../../../examples/e-mail/envoy.yaml"), Request::post(path, ""));
        assert_eq!(mail("/orders/1"), None);
        assert_eq!(mail("/dashboard/api/portal/requests"), Some((200, None)), "behind a rewritten prefix");
    }
}
