//! Hosts whose names the proxy may still be looking up. The proxy refuses a callout to such a host at once, and looks
//! the name up. This does not count as an attempt, or each start would count a failure for every target. The same
//! refusal can mean that no host is healthy or that a circuit breaker is open, so it counts as a look-up only for a
//! limited time.

use std::collections::HashMap;

use super::target::Target;
use crate::base::UnixMillis;

/// The maximum time of a look-up.
pub const LOOKUP_MS: u64 = 5000;

/// The delay until the callout is tried again.
pub const AGAIN_MS: u64 = 100;

/// Envoy forgets a name that was not used for five minutes. If a host was last refused longer ago than this, its name
/// is looked up again.
const FORGOTTEN_MS: u64 = 60_000;

#[derive(Debug)]
struct Refused {
    since: UnixMillis,
    last: UnixMillis,
}

/// The hosts that the proxy refuses at present, by cluster and authority.
#[derive(Debug, Default)]
pub struct Lookups(HashMap<(String, String), Refused>);

impl Lookups {
    /// Called when a callout to a target was refused at once. Returns true if its name may still be looked up.
    pub fn refused(&mut self, target: &Target, now: UnixMillis) -> bool {
        self.0.retain(|_, refused| now.since(refused.last) < FORGOTTEN_MS && refused.last <= now);
        let key = (target.cluster.clone(), target.authority.clone());
        let refused = self.0.entry(key).or_insert(Refused { since: now, last: now });
        refused.last = now;
        now.since(refused.since) < LOOKUP_MS
    }

    /// Called when a callout to a target was started.
    pub fn started(&mut self, target: &Target) {
        if !self.0.is_empty() {
            self.0.remove(&(target.cluster.clone(), target.authority.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::outbox::Tag;
    use crate::delivery::target::{EndpointId, Scheme};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn target(host: &str) -> Target {
        Target {
            scheme: Scheme::Http,
            authority: host.to_owned(),
            path_and_query: "/".to_owned(),
            cluster: "c".to_owned(),
            endpoint: EndpointId(1),
            tag: Tag::of(host),
        }
    }

    #[test]
    fn a_refusal_counts_as_a_look_up_for_a_limited_time() {
        let mut lookups = Lookups::default();
        let mut refused = |host: &str, at: u64| lookups.refused(&target(host), UnixMillis(1_000_000 + at));
        assert!(refused("a", 0) && refused("a", LOOKUP_MS - 1));
        assert!(!refused("a", LOOKUP_MS));
        assert!(refused("b", LOOKUP_MS), "another host");
        assert!(!refused("a", LOOKUP_MS + 50_000), "still none");
        assert!(refused("a", LOOKUP_MS + 50_000 + FORGOTTEN_MS));
        lookups.started(&target("a"));
        assert!(lookups.refused(&target("a"), UnixMillis(1_000_000 + 2 * FORGOTTEN_MS)));
    }
}
