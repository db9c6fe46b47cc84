//! Keys in headers, parameters and cookies: what is found, and that nothing is left once it is taken out.

use tollbell_core::fuzzing;
use tollbell_core::host::HeaderChange;

use super::input::{pairs, parts};

const NAMES: [&str; 3] = ["authorization", "api_key", "session"];

/// Takes any bytes.
pub fn run(bytes: &[u8]) {
    let [headers] = parts(bytes);
    let headers = pairs(headers);
    let found = fuzzing::find_key(NAMES, &headers);
    let mut kept: Vec<(Vec<u8>, Vec<u8>)> =
        headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    for change in fuzzing::strip_key(NAMES, &headers) {
        match change {
            // Envoy compares names without regard to case.
            HeaderChange::Remove(name) => kept.retain(|(known, _)| !is_named(known, &name)),
            HeaderChange::Replace(name, value) => match kept.iter_mut().find(|(known, _)| is_named(known, &name)) {
                Some((_, known)) => *known = value,
                None => kept.push((name.into_bytes(), value)),
            },
        }
    }
    let kept: Vec<(&[u8], &[u8])> = kept.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    let left = fuzzing::find_key(NAMES, &kept);
    assert_eq!(left, None, "of {found:?} in {headers:?} is left {kept:?}");
}

fn is_named(known: &[u8], name: &str) -> bool {
    known.eq_ignore_ascii_case(name.as_bytes())
}
