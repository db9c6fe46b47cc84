//! Statistics in the text format of Prometheus, with the names and labels of Envoy.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use regex::Regex;

use crate::base::MetricType;
use crate::config::model::StatsTag;
use crate::state::metrics::{BUCKETS, Histogram, Stat};

/// The rules that extract labels from names.
pub(super) struct Tags(Vec<(String, Regex)>);

impl Tags {
    /// Makes the rules: the tags of the configuration, then Envoy's default tags.
    ///
    /// # Errors
    /// A regular expression is not valid, which would be a bug in this crate.
    pub(super) fn new(own: &[StatsTag]) -> Result<Self, regex::Error> {
        let mut tags: Vec<_> = own.iter().map(|tag| (tag.name.clone(), tag.regex.clone())).collect();
        for (name, regex) in [
            ("envoy_response_code_class", r"_rq(_(\d)xx)$"),
            ("envoy_response_code", r"_rq(_(\d{3}))$"),
            ("envoy_http_conn_manager_prefix", r"^http\.(([^.]+)\.)"),
            ("envoy_cluster_name", r"^cluster\.(([^.]+)\.)"),
        ] {
            tags.push((name.to_owned(), Regex::new(regex)?));
        }
        Ok(Tags(tags))
    }

    /// Splits a name into the name without labels, and the labels.
    fn split(&self, name: &str) -> (String, BTreeMap<String, String>) {
        let mut cuts = Vec::new();
        let mut labels = BTreeMap::new();
        for (tag, regex) in &self.0 {
            let Some(found) = regex.captures(name) else { continue };
            let Some(cut) = found.get(1) else { continue };
            let value = found.get(2).unwrap_or(cut);
            cuts.push(cut.range());
            labels.entry(sanitized(tag)).or_insert_with(|| value.as_str().to_owned());
        }
        let kept = name.char_indices().filter(|(at, _)| !cuts.iter().any(|cut| cut.contains(at))).map(|(_, char)| char);
        let mut rest: String = kept.collect();
        // Envoy's tag for the class of a status keeps the letters: downstream_rq_xx.
        if labels.contains_key("envoy_response_code_class") {
            rest.push_str("_xx");
        }
        (rest, labels)
    }
}

/// Writes all statistics, grouped by name.
pub(super) fn render(stats: &[(String, Arc<Stat>)], tags: &Tags) -> String {
    let mut families: BTreeMap<(String, &str), Vec<(BTreeMap<String, String>, &Stat)>> = BTreeMap::new();
    for (name, stat) in stats {
        let (rest, labels) = tags.split(name);
        let Some(exposed) = exposed(&rest) else { continue };
        let kind = match stat.kind {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
        };
        families.entry((exposed, kind)).or_default().push((labels, stat));
    }
    let mut text = String::new();
    for ((name, kind), samples) in families {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for (labels, stat) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            let labels = labels.join(",");
            if stat.kind == MetricType::Histogram {
                histogram(&mut text, &name, &labels, &stat.histogram());
            } else {
                let _ = writeln!(text, "{name}{{{labels}}} {}", stat.value());
            }
        }
        text.push('\n');
    }
    text
}

fn histogram(text: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let comma = if labels.is_empty() { "" } else { "," };
    for (bucket, count) in BUCKETS.iter().zip(histogram.buckets) {
        let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{bucket}\"}} {count}");
    }
    let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", histogram.count);
    let _ = writeln!(text, "{name}_sum{{{labels}}} {}", histogram.sum);
    let _ = writeln!(text, "{name}_count{{{labels}}} {}", histogram.count);
}

/// Removes the namespace of a module's statistic. A name that then begins with a digit is left out.
fn exposed(name: &str) -> Option<String> {
    match name.strip_prefix("wasmcustom.") {
        Some(custom) => Some(sanitized(custom)).filter(|custom| !custom.starts_with(|c: char| c.is_ascii_digit())),
        None => Some(format!("envoy_{}", sanitized(name))),
    }
}

fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::metrics::Metrics;

    #[test]
    fn names_and_labels_are_the_same_as_in_envoy() {
        let metrics = Metrics::default();
        metrics.counter("wasmcustom.filter_requests.outcome=admitted").add(3);
        metrics.counter("wasmcustom.filter_suppressed").add(1);
        metrics.counter("wasmcustom.1digit").add(1);
        metrics.counter("http.gateway.downstream_rq_2xx").add(2);
        metrics.counter("cluster.up.upstream_rq_200").add(2);
        metrics.counter("cluster.up.upstream_rq_total").add(2);
        let own = StatsTag {
            name: "outcome".to_owned(),
            regex: Regex::new(r"^wasmcustom\.filter_requests(\.outcome=([a-z_]+))$").unwrap(),
        };
        let text = render(&metrics.all(), &Tags::new(&[own]).unwrap());
        let samples: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"envoy_cluster_upstream_rq{envoy_cluster_name="up",envoy_response_code="200"} 2"#,
                r#"envoy_cluster_upstream_rq_total{envoy_cluster_name="up"} 2"#,
                r#"envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix="gateway",envoy_response_code_class="2"} 2"#,
                r#"filter_requests{outcome="admitted"} 3"#,
                r#"filter_suppressed{} 1"#,
            ]
        );
    }
}
