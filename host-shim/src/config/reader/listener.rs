//! Reads listeners and their filter chains.

use super::address::ip_address;
use super::model::{ConnectionManager, DownstreamTls, Listener};
use super::{Message, Names, Place, manager, metadata, other_extension, tls};

const NETWORK: &str = "envoy.extensions.filters.network";
const MANAGER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const BUFFER_LIMIT: u64 = 1 << 20;

/// Reads a listener. `clusters` are the names of clusters that routes can use.
pub(super) fn listener(place: &Place<'_>, clusters: &Names) -> Option<Listener> {
    let message = place.message("Listener")?;
    let name = message.string("name");
    let address = message.required("address").and_then(|place| ip_address(&place));
    let direction = message.choice("traffic_direction", &["UNSPECIFIED", "INBOUND", "OUTBOUND"]);
    let metadata = metadata(&message);
    let buffer_limit = message.u32("per_connection_buffer_limit_bytes").map_or(BUFFER_LIMIT, u64::from);
    let chain = filter_chain(&message, clusters);
    message.done();
    let (manager, tls) = chain?;
    let direction = u8::try_from(direction).unwrap_or_default();
    Some(Listener { name, address: address?, direction, metadata, tls, buffer_limit, manager })
}

fn filter_chain(listener: &Message<'_>, clusters: &Names) -> Option<(ConnectionManager, Option<DownstreamTls>)> {
    let chains = listener.items("filter_chains");
    let default = listener.get("default_filter_chain");
    let mut chains = chains.into_iter().chain(default);
    let Some(first) = chains.next() else {
        listener.missing("filter_chains");
        return None;
    };
    for other in chains {
        other.warn("the shim uses only the first filter chain: ignored");
    }
    let chain = first.message("FilterChain")?;
    let filters = chain.items("filters");
    let manager = network_filters(&filters, clusters);
    let tls = tls::downstream(&chain);
    chain.done();
    if filters.is_empty() {
        first.warn("it has no filters: the listener is skipped");
    }
    Some((manager?, tls.ok()?))
}

fn network_filters(places: &[Place<'_>], clusters: &Names) -> Option<ConnectionManager> {
    let mut manager = None;
    for place in places {
        let Some(filter) = place.message("Filter") else { continue };
        filter.required_string("name");
        let config = filter.one_of(&["typed_config", "config_discovery"]);
        filter.done();
        let any = match config {
            Some(("typed_config", config)) => match config.any().and_then(super::Any::unwrapped) {
                Some(any) => Some(any),
                None => continue,
            },
            Some((_, config)) => {
                config.warn("the shim does not support configuration discovery: the filter is skipped");
                continue;
            }
            None => None,
        };
        match any {
            Some(any) if any.type_name == MANAGER => {
                let message = any.message("HttpConnectionManager");
                let read = message.and_then(|message| manager::connection_manager(message, clusters));
                if manager.is_some() {
                    place.error("a second HTTP connection manager: it must be the last filter");
                }
                manager = Some(read);
            }
            any => {
                other_extension(place, any.as_ref(), NETWORK, "skipped");
            }
        }
    }
    if let (None, Some(first)) = (&manager, places.first()) {
        first.warn("there is no HTTP connection manager: the listener is skipped");
    }
    manager.flatten()
}
