//! Paths in a JSON document, as error messages show them.

/// `path.name`, or `path["na.me"]` if the name is not a plain word.
pub fn member(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (path, plain) {
        ("", true) => name.to_owned(),
        (_, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}[{name:?}]"),
    }
}

/// `path[index]`.
pub fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// ` (did you mean "x"?)` with the closest of `known`, or an empty text if none is close.
pub fn hint<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(name, &mut known.into_iter())
}

/// The part that is compiled once for all types of lists.
fn nearest(name: &str, known: &mut dyn Iterator<Item = &str>) -> String {
    let distance = |candidate: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
    let nearest = known.map(|candidate| (distance(candidate), candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= (name.len() / 3).max(2) => format!(" (did you mean {candidate:?}?)"),
        _ => String::new(),
    }
}
