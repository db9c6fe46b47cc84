//! What a gateway that serves cannot change.

use crate::config::model::{Bootstrap, DownstreamTls};

/// Names what differs from the configuration that the gateway was started with, and needs a new start.
pub(super) fn needed(started: &Bootstrap, new: &Bootstrap) -> Vec<String> {
    let mut needed = Vec::new();
    let mut note = |differs: bool, what: String| {
        if differs {
            needed.push(what);
        }
    };
    note(started.admin != new.admin, "the address of the admin interface".to_owned());
    note(tags(started) != tags(new), "stats_tags".to_owned());
    note(started.listeners.len() != new.listeners.len(), "the number of listeners".to_owned());
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
