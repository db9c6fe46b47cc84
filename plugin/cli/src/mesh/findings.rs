//! What a plugin's settings lack for tollbell, and what a mesh cannot give.

use host_shim::config::model::{Bootstrap, FailurePolicy, WasmFilter};
use host_shim::{Finding, FindingKind};
use tollbell_core::config::document;

use super::Mesh;
use super::placement::{filters, has_admin};

/// Warnings about the plugin's settings in Envoy, and about what the mesh cannot give. An error is something that cannot
/// work in the mesh.
pub fn findings(bootstrap: &Bootstrap, mesh: Option<Mesh>) -> Vec<Finding> {
    let filters: Vec<&WasmFilter> = filters(bootstrap).collect();
    let mut found: Vec<Finding> = filters.iter().flat_map(|filter| of_filter(filter, mesh)).collect();
    match mesh {
        Some(Mesh::EnvoyGateway) => found.extend(several(&filters, FindingKind::Error)),
        Some(Mesh::Istio) => found.extend(several(&filters, FindingKind::Warning)),
        None => {}
    }
    found
}

fn of_filter(filter: &WasmFilter, mesh: Option<Mesh>) -> Vec<Finding> {
    let (name, plugin) = (&filter.filter_name, &filter.plugin);
    let admin = document(&plugin.configuration).is_ok_and(|configuration| has_admin(&configuration));
    let mut found = Vec::new();
    let mut warn = |text: String| found.push(Finding { kind: FindingKind::Warning, text });
    if admin && !plugin.allow_on_headers_stop_iteration {
        warn(format!(
            "http filter {name:?}: without allow_on_headers_stop_iteration, the admin endpoint answers 408 to posted \
             events; a WasmPlugin cannot set it, an EnvoyFilter can (envoy/istio/envoyfilter.yaml), and so can an \
             EnvoyPatchPolicy (envoy/gateway/tollbell.yaml)"
        ));
    }
    if plugin.failure_policy == FailurePolicy::FailOpen {
        warn(format!("http filter {name:?}: with FAIL_OPEN, requests pass unchecked after a VM has failed"));
    }
    if mesh == Some(Mesh::EnvoyGateway) && admin {
        warn(format!(
            "http filter {name:?}: Envoy Gateway limits buffered bodies to 32 KiB, so the admin endpoint answers 413 to \
             larger posts: raise connection.bufferLimit of a ClientTrafficPolicy"
        ));
    }
    found
}

/// Several placements in a chain. Listeners with equal ones have one each.
fn several(filters: &[&WasmFilter], kind: FindingKind) -> Option<Finding> {
    let (first, rest) = filters.split_first()?;
    let other = rest.iter().find(|other| other.plugin.configuration != first.plugin.configuration)?;
    let names = format!("http filters {:?} and {:?}", first.filter_name, other.filter_name);
    let text = match kind {
        FindingKind::Error => {
            format!(
                "{names}: Envoy Gateway gives each policy a vm_id of its own, so they cannot share counters: keep one"
            )
        }
        _ => format!("{names}: a WasmPlugin has no vm_id: they share counters with each other and with other plugins"),
    };
    Some(Finding { kind, text })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ADMIN: &str = include_str!("../../../../examples/admin-endpoints/envoy.yaml");

    fn found(yaml: &str, mesh: Option<Mesh>) -> Vec<(FindingKind, String)> {
        let loaded = host_shim::config::parse(yaml, "envoy.yaml", false).unwrap();
        findings(&loaded.bootstrap, mesh).into_iter().map(|finding| (finding.kind, finding.text)).collect()
    }

    #[test]
    fn settings_that_are_missing_for_the_admin_endpoint_are_found() {
        assert_eq!(found(ADMIN, None), []);
        let without = ADMIN.replace("allow_on_headers_stop_iteration: true", "");
        let [(FindingKind::Warning, text)] = &found(&without, None)[..] else { panic!("not one warning") };
        assert!(text.contains("answers 408"), "{text}");
        let open = ADMIN.replace("FAIL_RELOAD", "FAIL_OPEN");
        let [(FindingKind::Warning, text)] = &found(&open, None)[..] else { panic!("not one warning") };
        assert!(text.contains("pass unchecked"), "{text}");
        let [(FindingKind::Warning, text)] = &found(ADMIN, Some(Mesh::EnvoyGateway))[..] else { panic!("not one") };
        assert!(text.contains("32 KiB"), "{text}");
    }

    #[test]
    fn two_placements_cannot_share_counters_in_envoy_gateway() {
        let begin = ADMIN.find("          - name: tollbell\n").unwrap();
        let end = ADMIN.find("          - name: envoy.filters.http.router").unwrap();
        let second =
            ADMIN[begin..end].replace("name: tollbell\n", "name: second\n").replace("quota_max: 5", "quota_max: 6");
        let two = format!("{}{second}{}", &ADMIN[..end], &ADMIN[end..]);
        let kinds = |mesh| found(&two, Some(mesh)).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        assert!(kinds(Mesh::EnvoyGateway).contains(&FindingKind::Error));
        assert_eq!(kinds(Mesh::Istio), [FindingKind::Warning]);
        assert_eq!(found(&two, None), []);
    }
}
