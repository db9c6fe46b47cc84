//! Checks of an Envoy configuration whose tollbell counts in the store of a fleet.

use std::time::Duration;

use host_shim::config::model::{Bootstrap, Discovery, Listener};
use host_shim::{Finding, FindingKind};
use tollbell_core::preview::Preview;

/// The longest time after which a request that waits for the store should end by itself.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// The header in which tollbell names the node of a Redis Cluster.
const DESTINATION: &str = "x-envoy-original-dst-host";

/// Warnings about listeners whose requests could hang, and about clusters that cannot reach the store.
pub fn findings(bootstrap: &Bootstrap) -> Vec<Finding> {
    let texts = bootstrap.listeners.iter().flat_map(|listener| {
        let filters = listener.manager.filters.iter();
        let previews = filters.filter_map(|filter| Preview::load(&filter.plugin.configuration).ok());
        let with_store: Vec<Preview> = previews.filter(|preview| preview.store_cluster().is_some()).collect();
        let hang = (!with_store.is_empty()).then(|| could_hang(listener)).flatten();
        hang.into_iter()
            .chain(with_store.iter().filter_map(|preview| wrong_type(bootstrap, preview)))
            .collect::<Vec<_>>()
    });
    texts.map(|text| Finding { kind: FindingKind::Warning, text }).collect()
}

fn could_hang(listener: &Listener) -> Option<String> {
    let timeout = listener.manager.stream_idle_timeout;
    (timeout.is_zero() || timeout > MAX_IDLE).then(|| {
        format!(
            "listener {:?}: stream_idle_timeout is {timeout:?}: a request that waits for the store hangs for that long \
             if its VM fails; set it to a few seconds (envoy/fleet.yaml)",
            listener.name
        )
    })
}

/// Whether the type of the store's cluster is wrong for its mode.
fn wrong_type(bootstrap: &Bootstrap, preview: &Preview) -> Option<String> {
    let name = preview.store_cluster()?;
    let cluster = bootstrap.clusters.iter().find(|cluster| cluster.name == name)?;
    let goes_where_told = match &cluster.discovery {
        Discovery::OriginalDestination { header, port } => Some(header == DESTINATION && port.is_none()),
        _ => None,
    };
    match (preview.store_is_cluster(), goes_where_told) {
        (true, Some(true)) | (false, None) => None,
        (true, _) => Some(format!(
            "cluster {name:?}: store.redis.mode is cluster, so the nodes of the Redis Cluster are reached only if this \
             cluster has type ORIGINAL_DST, and original_dst_lb_config {{ use_http_header: true }} without another \
             header and port (envoy/fleet.yaml)"
        )),
        (false, Some(_)) => Some(format!(
            "cluster {name:?}: its type is ORIGINAL_DST, which is for a Redis Cluster: set store.redis.mode to cluster"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The findings on `envoy/fleet.yaml` after these replacements.
    fn findings_after(edits: &[(&str, &str)]) -> Vec<String> {
        let mut yaml = include_str!("../../../envoy/fleet.yaml").to_owned();
        for (from, to) in edits {
            assert!(yaml.contains(from), "{from}");
            yaml = yaml.replace(from, to);
        }
        let loaded = host_shim::config::parse(&yaml, "fleet.yaml", false).unwrap();
        findings(&loaded.bootstrap).into_iter().map(|finding| finding.text).collect()
    }

    fn typed(yaml: &str) -> (&str, &str) {
        ("type: STRICT_DNS", yaml)
    }

    #[test]
    fn the_type_of_the_stores_cluster_must_fit_its_mode() {
        let hosts = |yaml: &str| {
            let begin = yaml.find("    load_assignment:\n      cluster_name: tollbell_redis").unwrap();
            let end = yaml.find("    # With Sentinel, only").unwrap();
            yaml[begin..end].to_owned()
        };
        let hosts = hosts(include_str!("../../../envoy/fleet.yaml"));
        let mode = ("redis: { cluster: tollbell_redis }", "redis: { mode: cluster, seeds: [\"10.0.0.1:6379\"] }");
        let original = "type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED\n    original_dst_lb_config";
        let with = |config: &str| format!("{original}: {config}");
        let (by_header, by_other) =
            (with("{ use_http_header: true }"), with("{ use_http_header: true, http_header_name: x-to }"));
        let without_hosts = (hosts.as_str(), "");
        assert_eq!(findings_after(&[]), [""; 0]);
        assert_eq!(findings_after(&[mode, typed(&by_header), without_hosts]), [""; 0]);
        for edits in [&[mode][..], &[mode, typed(&by_other), without_hosts]] {
            let found = findings_after(edits);
            assert!(
                found.len() == 1 && found[0].contains("type ORIGINAL_DST, and original_dst_lb_config"),
                "{found:?}"
            );
        }
        let found = findings_after(&[typed(&by_header), without_hosts]);
        assert!(found.len() == 1 && found[0].contains("set store.redis.mode to cluster"), "{found:?}");
    }

    #[test]
    fn a_stream_that_could_hang_is_found() {
        for timeout in ["0s", "300s"] {
            let found = findings_after(&[("stream_idle_timeout: 15s", &format!("stream_idle_timeout: {timeout}"))]);
            assert!(found.len() == 1 && found[0].contains("hangs for that long if its VM fails"), "{found:?}");
        }
    }
}
