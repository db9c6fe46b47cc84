//! Tyk's files, read from where they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::source::{Errors, File};

/// The definitions of a folder, in the order of their names; those of which nothing can be read are an error each.
/// Without any, `fatal` has one.
pub(super) fn definitions(folder: &Path, fatal: &Errors, errors: &Errors) -> Vec<File> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            fatal.add(format!("{}: the folder of API definitions cannot be read: {error}", folder.display()));
            return Vec::new();
        }
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_json = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let mut paths: Vec<PathBuf> = paths.filter(is_json).collect();
    paths.sort();
    if paths.is_empty() {
        fatal.add(format!("{}: there is no *.json in it", folder.display()));
    }
    let all = paths.clone();
    // Of a pair, Tyk's own file repeats what the OAS file says.
    let is_repeated = |path: &PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        all.contains(&path.with_file_name(format!("{stem}-oas.json")))
    };
    paths.retain(|path| !is_repeated(path));
    paths.iter().filter_map(|path| definition(path, errors)).collect()
}

fn definition(path: &Path, errors: &Errors) -> Option<File> {
    let mut root = object(path, errors)?;
    // As the dashboard exports it.
    if let Some(inner) = root.get_mut("api_definition").filter(|inner| inner.is_object()) {
        root = inner.take();
    }
    let is_definition = ["x-tyk-api-gateway", "proxy", "api_id"].into_iter().any(|part| root.get(part).is_some());
    if !is_definition {
        errors.add(format!("{}: neither a classic API definition nor an OAS one of Tyk's", path.display()));
        return None;
    }
    // Its errors are its own, since it can be left out as a whole.
    Some(File::new(path.display().to_string(), root, &Errors::default()))
}

/// Policies by id, as the gateway's file and the dashboard's answers have them, and the ids that stand twice.
pub(super) fn policies(path: &Path, allows_explicit_ids: bool, errors: &Errors) -> (Value, BTreeSet<String>) {
    let root = json(path, errors).unwrap_or_default();
    let listed =
        ["Data", "Message"].into_iter().find_map(|name| root.get(name).filter(|list| list.is_array()).cloned());
    let list = match listed.unwrap_or(root) {
        Value::Array(list) => list,
        object @ (Value::Object(_) | Value::Null) => return (object, BTreeSet::new()),
        _ => {
            errors.add(format!("{}: must be an object of policies by id, or a list", path.display()));
            return (Value::Null, BTreeSet::new());
        }
    };
    let (mut policies, mut twice) = (Map::new(), BTreeSet::new());
    for (index, policy) in list.into_iter().enumerate() {
        let id = |name: &str| policy.get(name).and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
        let (own, stored) = (id("id"), id("_id"));
        let id = if allows_explicit_ids { own.or(stored) } else { stored.or(own) };
        match id {
            Some(id) if policies.contains_key(&id) => {
                errors.add(format!("{}: [{index}]: another policy of the file has the id {id:?}, too", path.display()));
                twice.insert(id);
            }
            Some(id) => {
                policies.insert(id, policy);
            }
            None => errors.add(format!("{}: [{index}]: has neither id nor _id", path.display())),
        }
    }
    (Value::Object(policies), twice)
}

/// A file that is a JSON object.
pub(super) fn object(path: &Path, errors: &Errors) -> Option<Value> {
    let value = json(path, errors)?;
    if !value.is_object() {
        errors.add(format!("{}: must be a JSON object", path.display()));
    }
    Some(value).filter(Value::is_object)
}

/// A file that is JSON.
pub(super) fn json(path: &Path, errors: &Errors) -> Option<Value> {
    let name = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            errors.add(format!("{name}: cannot be read: {error}"));
            return None;
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            errors.add(format!("{name}:{line}: is not JSON: column {column}: {}", mistake(text, &error)));
            None
        }
    }
}

/// What the usual mistake is where a text is not JSON. The text is not shown: it can have a secret.
fn mistake(text: &str, error: &serde_json::Error) -> &'static str {
    let line = text.split('\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    match rest.chars().next() {
        _ if error.is_eof() => "the text ends too early: a bracket or a quote is not closed",
        Some('}' | ']') => "there is an extra comma before this bracket, or a value is missing",
        Some(',' | ':') => "a value is missing before this, or this is too many",
        Some('\'') => "texts need double quotes",
        Some('/' | '#') => "JSON has no comments",
        Some('"' | '{' | '[') => "a comma or a colon is missing before this character",
        Some(c) if c.is_control() => "control characters in texts are written as \\n, \\t or \\u0000",
        _ => "expected a text in double quotes, a number, true, false, null, or a comma before it",
    }
}
