//! The names that Envoy knows: the fields of each message, and the messages of each extension point.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The release of Envoy that has these names.
pub(super) const ENVOY: &str = "Envoy 1.40";

/// Returns the fields of a message in the order of its `.proto`.
pub(super) fn fields(message: &str) -> &'static [&'static str] {
    table().get(message).map_or(&[], Vec::as_slice)
}

/// Returns the full names of all messages of an extension point such as `envoy.extensions.filters.http`.
pub(super) fn extensions(point: &str) -> impl Iterator<Item = String> {
    fields(point).iter().map(move |name| format!("{point}.{name}"))
}

/// Returns the JSON name of a field: `statPrefix` for `stat_prefix`.
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
