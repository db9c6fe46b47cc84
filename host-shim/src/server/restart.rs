//! Changes of a configuration that need a restart.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use crate::config::model::{Bootstrap, DownstreamTls, Listener};

/// Sorts the listeners of a new configuration into the order at the start, which is the order of the sockets. A
/// listener is identified by its name, or by its address if it has no name.
///
/// # Errors
/// A listener was added or removed.
pub(super) fn in_order(started: &Bootstrap, new: &mut Bootstrap) -> Result<()> {
    let mut left = std::mem::take(&mut new.listeners);
    for known in &started.listeners {
        let Some(at) = left.iter().position(|listener| identity(listener) == identity(known)) else {
            bail!("listener {} was removed: restart the server", shown(known));
        };
        new.listeners.push(left.remove(at));
    }
    match left.first() {
        Some(added) => bail!("listener {} was added: restart the server", shown(added)),
        None => Ok(()),
    }
}

fn identity(listener: &Listener) -> (&str, Option<SocketAddr>) {
    (&listener.name, listener.name.is_empty().then_some(listener.address))
}

fn shown(listener: &Listener) -> String {
    if listener.name.is_empty() { listener.address.to_string() } else { listener.name.clone() }
}

/// Lists the differences from the configuration at the start that need a restart. Both configurations have the same
/// listeners in the same order.
pub(super) fn needed(started: &Bootstrap, new: &Bootstrap) -> Vec<String> {
    let mut needed = Vec::new();
    let mut note = |differs: bool, what: String| {
        if differs {
            needed.push(what);
        }
    };
    note(started.admin != new.admin, "the address of the admin interface".to_owned());
    note(tags(started) != tags(new), "stats_tags".to_owned());
    for (started, new) in started.listeners.iter().zip(&new.listeners) {
        let of_listener = |what: &str| format!("{what} of the listener {:?}", new.name);
        note(started.address != new.address, of_listener("the address"));
        let prefixes = (&started.manager.stat_prefix, &new.manager.stat_prefix);
        note(prefixes.0 != prefixes.1, of_listener("stat_prefix"));
        note(started.tls.as_ref().map(tls) != new.tls.as_ref().map(tls), of_listener("the TLS context"));
    }
    needed
}

fn tags(bootstrap: &Bootstrap) -> Vec<(&str, &str)> {
    bootstrap.stats_tags.iter().map(|tag| (tag.name.as_str(), tag.regex.as_str())).collect()
}

fn tls(tls: &DownstreamTls) -> (&[u8], &[u8], &[String]) {
    (&tls.certificate_chain, &tls.private_key.0, &tls.alpn)
}
