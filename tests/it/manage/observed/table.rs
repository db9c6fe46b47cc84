//! Compares exchanges with the table of fields that the core publishes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tollbell_core::Brings;
use tollbell_core::Preset;
use tollbell_core::TABLE;

use super::exchange::Exchange;

/// The method, path and event of a row. Each method of an operation counts separately.
type Row = (&'static str, &'static str, String);

/// The fields of a preset, by row. A question mark marks those that an exchange may lack.
fn promises(preset: Preset) -> BTreeMap<Row, &'static [&'static str]> {
    let rows = TABLE.iter().filter(|row| row.preset == preset).flat_map(|row| {
        let (methods, path) = row.operation.rsplit_once(' ').expect("methods and a path");
        methods.split(", ").map(move |method| ((method, path, event(row)), row.fields))
    });
    rows.collect()
}

fn event(row: &Brings) -> String {
    row.action.map_or_else(|| row.kind.to_string(), |action| format!("{}.{}", row.kind, action.name()))
}

/// True if a path matches a template.
fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let alike = |(template, path): (&&str, &&str)| template == path || template.starts_with('{') && !path.is_empty();
    template.len() == path.len() && template.iter().zip(&path).all(alike)
}

/// The names of a payload's members. A member whose own members are in the table is replaced by these.
fn members(payload: &Value, promised: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (name, member) in payload.as_object().expect("an object") {
        let is_divided = promised.iter().any(|field| field.starts_with(&format!("{name}.")));
        match member.as_object().filter(|_| is_divided) {
            Some(below) => names.extend(below.keys().map(|below| format!("{name}.{below}"))),
            None => {
                names.insert(name.clone());
            }
        }
    }
    names
}

/// Compares the exchanges of a preset, whose paths are below a prefix, with the table: each row has an exchange, no
/// payload has another field, none lacks a required field, and each optional field is present at least once.
pub(super) fn check(preset: Preset, prefix: &str, exchanges: &[Exchange]) {
    let promises = promises(preset);
    assert!(!promises.is_empty(), "{preset:?} promises nothing");
    let mut seen: BTreeMap<&Row, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for Exchange { method, target, expected, .. } in exchanges {
        let path = target.split('?').next().and_then(|path| path.strip_prefix(prefix)).expect(prefix);
        let path = path.strip_suffix('/').unwrap_or(path);
        for (event, payload) in expected {
            let candidates =
                promises.iter().filter(|((known, template, _), _)| known == method && fits(template, path));
            // As in the presets, an exact path comes before one with a place for any name.
            let most_exact = candidates.clone().map(|((_, template, _), _)| template.matches('{').count()).min();
            let found = candidates
                .filter(|((_, template, _), _)| Some(template.matches('{').count()) == most_exact)
                .find(|((_, _, known), _)| known == event);
            let Some((row, promised)) = found else {
                wrong.push(format!("{method} {target} promises no {event}"));
                continue;
            };
            let members = members(payload, promised);
            let all: BTreeSet<String> = promised.iter().map(|field| field.trim_end_matches('?').to_owned()).collect();
            let always = promised.iter().filter(|field| !field.ends_with('?'));
            wrong.extend(members.difference(&all).map(|field| format!("{row:?} does not promise {field}")));
            wrong.extend(always.filter(|field| !members.contains(**field)).map(|field| format!("{row:?}: no {field}")));
            seen.entry(row).or_default().extend(members);
        }
    }
    for (row, promised) in &promises {
        let Some(fields) = seen.get(row) else {
            wrong.push(format!("no exchange for {row:?}"));
            continue;
        };
        let never = promised.iter().map(|field| field.trim_end_matches('?')).filter(|field| !fields.contains(*field));
        wrong.extend(never.map(|field| format!("no exchange for {row:?} has {field}")));
    }
    assert!(wrong.is_empty(), "{preset:?}:\n{}", wrong.join("\n"));
}
