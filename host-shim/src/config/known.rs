//! What Envoy knows: the fields of messages, and the messages that stand in extension points.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The release whose names these are.
pub(super) const ENVOY: &str = "Envoy 1.40";

/// The fields of a message, in their order, as in its `.proto`.
pub(super) fn fields(message: &str) -> &'static [&'static str] {
    table().get(message).map_or(&[], Vec::as_slice)
}

/// Every message of an extension point such as `envoy.extensions.filters.http`, with its full name.
pub(super) fn extensions(point: &str) -> impl Iterator<Item = String> {
    fields(point).iter().map(move |name| format!("{point}.{name}"))
}

/// The JSON name of a field: `stat_prefix` is `statPrefix` too.
pub(super) fn lower_camel(field: &str) -> String {
    let mut words = field.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

fn table() -> &'static HashMap<&'static str, Vec<&'static str>> {
    static TABLE: OnceLock<HashMap<&str, Vec<&str>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut name = "";
        for line in include_str!("envoy-1.40.txt").lines().filter(|line| !line.starts_with('#')) {
            let names = match line.split_once(':') {
                Some((message, names)) => {
                    name = message;
                    names
                }
                None => line,
            };
            table.entry(name).or_default().extend(names.split_whitespace());
        }
        table
    })
}
