use super::*;
use crate::config::known::{fields, messages};

/// A message that is missing in the table has no fields, so the reader would refuse every field in it.
#[test]
fn every_message_that_is_read_is_in_the_table() {
    let call = regex::Regex::new(r#"\.messages?\(\s*(?:(?:"[a-z0-9_]+"|\w+),\s*)?"([A-Z][\w.]*)""#).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut names = std::collections::BTreeSet::new();
    for folder in [folder.join("reader"), folder] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                names.extend(call.captures_iter(&text).map(|found| found[1].to_owned()));
            }
        }
    }
    // The fields of an Any are those of the message in it.
    assert!(names.remove("Any") && names.len() > 60, "{names:?}");
    let missing: Vec<_> = names.iter().filter(|name| fields(name).is_empty()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unused: Vec<_> = messages().iter().map(|(name, _)| *name).filter(|name| !names.contains(*name)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn each_field_is_in_the_table_once_and_with_a_reason() {
    for (message, known) in messages() {
        let mut names: Vec<_> = known.iter().map(|field| field.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{message}: {names:?}");
        for field in known {
            let needs_none = field.treatment == crate::config::Treatment::Honoured;
            assert_eq!(field.reason.is_empty(), needs_none, "{message}.{}", field.name);
        }
    }
}

/// The real Envoy accepts all of these options too.
#[test]
fn options_of_http_1_and_of_the_dns_cache_are_those_of_envoy() {
    let set = |options: &str| {
        let line = format!("stat_prefix: gateway\n          http_protocol_options: {{ {options} }}");
        parse(&with("stat_prefix: gateway", &line), "envoy.yaml", false).map(|loaded| shown(&loaded.warnings))
    };
    assert_eq!(set("enable_trailers: true").unwrap(), [""; 0]);
    assert_eq!(set("accept_http_10: true").unwrap(), [""; 0]);
    assert!(set("enable_trailer: true").unwrap_err().to_string().contains("did you mean \"enable_trailers\"?"));

    let cache = |fields: &str| {
        let kind = format!(
            "lb_policy: CLUSTER_PROVIDED\n    cluster_type: {{ name: d, typed_config: {{ \"@type\": \
             a/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, dns_cache_config: {{ name: d, {fields} }} }} }}"
        );
        let (base, _) = BASE.split_once("    type: STATIC").unwrap();
        parse(&format!("{base}    {kind}\n"), "envoy.yaml", false).map(|loaded| shown(&loaded.warnings))
    };
    assert_eq!(cache("dns_lookup_family: V4_ONLY, host_ttl: 60s").unwrap(), [""; 0]);
    let warnings = cache("max_hosts: 10").unwrap();
    assert!(warnings.concat().contains("dns_cache_config.max_hosts: not honoured"), "{warnings:?}");
    let refused = cache("max_host: 10").unwrap_err().to_string();
    assert!(refused.contains("dns_cache_config.max_host: Envoy 1.40's DnsCacheConfig has no field"), "{refused}");
}
