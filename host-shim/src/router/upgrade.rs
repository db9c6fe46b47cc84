//! Requests for a tunnel: for an upgrade to another protocol, or with the method CONNECT.

use super::Site;
use super::replies::reply;
use crate::base::{Headers, MapKind};
use crate::config::model::RouteAction;
use crate::traffic::{LocalReply, StreamData};

/// What opens a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    Upgrade,
    Connect,
}

impl Tunnel {
    /// What a request asks for.
    pub fn wanted(request: &Headers) -> Option<Self> {
        if request.get(":method") == Some(b"CONNECT") {
            return Some(Tunnel::Connect);
        }
        is_upgrade(request).then_some(Tunnel::Upgrade)
    }

    /// Whether an answer with this status opens the tunnel.
    pub fn is_opened_by(self, status: u16) -> bool {
        match self {
            Tunnel::Upgrade => status == 101,
            Tunnel::Connect => (200..300).contains(&status),
        }
    }
}

/// Whether the headers ask for an upgrade, or grant it.
pub fn is_upgrade(headers: &Headers) -> bool {
    headers.get("upgrade").is_some()
        && headers.get("connection").is_some_and(|connection| {
            connection.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        })
}

/// Whether a response to a request opens a tunnel, so that the connection stays open.
pub fn stays_open(request: &Headers, response: &Headers) -> bool {
    match Tunnel::wanted(request) {
        Some(Tunnel::Upgrade) => is_upgrade(response),
        Some(Tunnel::Connect) => response.get(":status") == Some(b"200"),
        None => false,
    }
}

/// Makes Envoy's answer if an upstream does not accept a WebSocket, and does not refuse it with an error either.
pub fn websocket_failure(request: &Headers, response: &Headers, status: u16) -> Option<LocalReply> {
    let is_websocket = request.get("upgrade").is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"));
    if !is_websocket || status == 101 || status >= 400 {
        return None;
    }
    let mut answer = reply(u32::from(status), "", "websocket_handshake_unsuccessful", 0);
    for (name, value) in response.iter() {
        if !matches!(name, b":status" | b"content-length" | b"transfer-encoding") {
            answer.headers.append(MapKind::Response, name, value);
        }
    }
    Some(answer)
}

impl Site {
    /// Whether the route of a request, or else the connection manager, allows the tunnel that it asks for.
    pub fn allows(&self, tunnel: Tunnel, data: &StreamData) -> bool {
        let protocol = match tunnel {
            Tunnel::Connect => "connect".to_owned(),
            Tunnel::Upgrade => data.request_headers.get_str("upgrade").unwrap_or_default().to_ascii_lowercase(),
        };
        let of_route = data.info.route.as_ref().and_then(|route| match &route.action {
            RouteAction::Forward(forward) => find(&forward.upgrades, &protocol),
            _ => None,
        });
        of_route.or_else(|| find(&self.listener.manager.upgrades, &protocol)).unwrap_or(false)
    }
}

fn find(upgrades: &[(String, bool)], protocol: &str) -> Option<bool> {
    upgrades.iter().find(|(name, _)| name == protocol).map(|(_, is_enabled)| *is_enabled)
}
