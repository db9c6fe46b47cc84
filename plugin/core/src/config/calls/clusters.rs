//! The proxy's clusters that a configuration needs, with the targets that need them.

use crate::base::{hint, member};
use crate::config::error::Errors;
use crate::config::raw;
use crate::delivery::{Clusters, Scheme, Target};

/// The clusters that these targets need. `keys_from` has its own setting.
pub fn needed<'t>(
    raw: &raw::Config,
    targets: impl IntoIterator<Item = &'t Target>,
    keys_from: Option<&Target>,
) -> Clusters {
    let mut all = Clusters::new();
    let mut add = |path: String, target: &Target| {
        let used = all.entry(target.cluster.clone()).or_default();
        if !used.paths.contains(&path) {
            used.paths.push(path);
        }
        used.targets.insert(target.authority.clone());
    };
    for target in targets {
        add(path_of(&raw.callouts, target), target);
    }
    if let Some(target) = keys_from {
        let path =
            if raw.keys_from.cluster.is_empty() { path_of(&raw.callouts, target) } else { "keys_from.cluster".into() };
        add(path, target);
    }
    // Entries for hosts that are no target's need their cluster, too.
    for (host, cluster) in &raw.callouts.clusters {
        let path = member("callouts.clusters", host);
        if all.values().all(|used| !used.paths.contains(&path)) {
            all.entry(cluster.clone()).or_default().paths.push(path);
        }
    }
    all
}

/// The setting that determines the cluster of a target.
fn path_of(callouts: &raw::Callouts, target: &Target) -> String {
    let host = target.authority.rsplit_once(':').map_or(target.authority.as_str(), |(host, _)| host);
    let mut names = [target.authority.as_str(), host].into_iter();
    let named = names.find_map(|wanted| callouts.clusters.keys().find(|name| name.eq_ignore_ascii_case(wanted)));
    match (named, target.scheme) {
        (Some(name), _) => member("callouts.clusters", name),
        (None, Scheme::Http) => "callouts.http_cluster".to_owned(),
        (None, Scheme::Https) => "callouts.https_cluster".to_owned(),
    }
}

/// Adds an error for each cluster that a target needs and that the proxy does not have.
pub fn check(all: &Clusters, is_there: &dyn Fn(&str) -> Option<bool>, errors: &mut Errors) {
    let missing = all.iter().filter(|(name, used)| !used.targets.is_empty() && is_there(name) == Some(false));
    for (name, used) in missing {
        let near = hint(name, all.keys().map(String::as_str).filter(|other| is_there(other) == Some(true)));
        let targets = used.shown_targets();
        for path in &used.paths {
            errors.add(path, format!("there is no cluster {name:?}{near}: nothing would reach {targets}"));
        }
    }
}
