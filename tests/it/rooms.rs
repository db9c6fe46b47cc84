//! The allowed imports between crates, and between the rooms of the core and of the shim, checked in their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::Regex;

use tollbell_tests::project_root;

/// The rooms of the core. Each imports only from those before it.
const CORE: [&str; 11] =
    ["base", "host", "event", "store", "access", "observe", "delivery", "notify", "admin", "config", "engine"];

/// The rooms of the shim, in the same order.
const SHIM: [&str; 14] = [
    "base", "state", "config", "traffic", "router", "guest", "worker", "gateway", "feed", "server", "probe", "check",
    "story", "command",
];

/// The maximum number of modules that a file imports from its crate. A room counts as one module; a file's own parts
/// and its own room's façade do not count.
const MOST_IMPORTS: usize = 8;

/// The crates of the workspace that a crate may depend on.
const CRATES: [(&str, &[&str]); 7] = [
    ("plugin/go-template", &[]),
    ("plugin/core", &["go-template"]),
    ("plugin/filter", &["tollbell-core"]),
    ("plugin/import-tyk", &["tollbell-core"]),
    ("host-shim", &[]),
    ("plugin/cli", &["tollbell-core", "import-tyk", "host-shim", "go-template"]),
    ("tests", &["tollbell-core", "host-shim", "import-tyk", "go-template", "tollbell-cli"]),
];

/// A file of a crate: its module path, and the paths of its crate that it names, without test code.
struct Module {
    path: Vec<String>,
    named: Vec<Vec<String>>,
}

#[test]
fn rooms_of_the_core_import_downwards() -> Result<()> {
    ensure_downwards("plugin/core/src", &CORE)
}

#[test]
fn rooms_of_the_shim_import_downwards() -> Result<()> {
    ensure_downwards("host-shim/src", &SHIM)
}

fn ensure_downwards(folder: &str, order: &[&str]) -> Result<()> {
    let modules = modules(folder)?;
    let place = |room: &str| order.iter().position(|known| *known == room);
    let mut wrong = Vec::new();
    for module in &modules {
        let own = place(&module.path[0]).with_context(|| format!("{:?} is in no room", module.path))?;
        for named in &module.named {
            if place(&named[0]).is_some_and(|room| room > own) {
                wrong.push(format!("{} imports {}", module.path.join("::"), named.join("::")));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let rooms: BTreeSet<&str> = modules.iter().map(|module| module.path[0].as_str()).collect();
    ensure!(order.iter().all(|room| rooms.contains(room)), "{rooms:?}");
    Ok(())
}

#[test]
fn no_file_of_the_core_imports_more_than_eight_modules() -> Result<()> {
    ensure_few_imports("plugin/core/src")
}

#[test]
fn no_file_of_the_shim_imports_more_than_eight_modules() -> Result<()> {
    ensure_few_imports("host-shim/src")
}

fn ensure_few_imports(folder: &str) -> Result<()> {
    let modules = modules(folder)?;
    let known: BTreeSet<&[String]> = modules.iter().map(|module| module.path.as_slice()).collect();
    let mut wrong = BTreeMap::new();
    for module in &modules {
        let imports: BTreeSet<String> =
            module.named.iter().filter_map(|named| imported(module, named, &known)).collect();
        if imports.len() > MOST_IMPORTS {
            wrong.insert(module.path.join("::"), imports);
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// A type that only its file sees may have any name.
#[test]
fn no_type_name_of_the_shim_stands_twice() -> Result<()> {
    let types = Regex::new(r"(?m)^\s*pub(?:\([^)]*\))? (?:struct|enum|trait|type|union) (\w+)")?;
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files(&project_root().join("host-shim/src"))? {
        let source = std::fs::read_to_string(&file)?;
        for found in types.captures_iter(without_tests(&source)) {
            places.entry(found[1].to_owned()).or_default().push(file.display().to_string());
        }
    }
    places.retain(|_, files| files.len() > 1);
    ensure!(places.is_empty(), "{places:#?}");
    Ok(())
}

/// The module that a path leads to, as it counts for a file.
fn imported(module: &Module, named: &[String], known: &BTreeSet<&[String]>) -> Option<String> {
    if named[0] != module.path[0] {
        return Some(named[0].clone());
    }
    let length = (1..=named.len()).rev().find(|length| known.contains(&named[..*length]))?;
    let target = &named[..length];
    let is_own = target.starts_with(&module.path) || module.path.starts_with(target);
    (!is_own).then(|| target.join("::"))
}

#[test]
fn crates_depend_downwards() -> Result<()> {
    let names: BTreeSet<&str> =
        ["go-template", "tollbell-core", "tollbell", "import-tyk", "host-shim", "tollbell-cli"].into();
    let dependency = Regex::new(r"(?m)^([a-z0-9-]+)(?:\.workspace)? *=")?;
    for (folder, allowed) in CRATES {
        let manifest = std::fs::read_to_string(project_root().join(folder).join("Cargo.toml"))?;
        let dependencies = manifest.split("dependencies]").nth(1).unwrap_or_default();
        for name in dependency.captures_iter(dependencies).map(|found| found[1].to_owned()) {
            ensure!(!names.contains(name.as_str()) || allowed.contains(&name.as_str()), "{folder} depends on {name}");
        }
    }
    Ok(())
}

fn modules(folder: &str) -> Result<Vec<Module>> {
    let source = project_root().join(folder);
    let mut modules = Vec::new();
    for file in files(&source)? {
        let relative = file.strip_prefix(&source)?.with_extension("");
        let mut path: Vec<String> =
            relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let is_no_room = |part: &String| matches!(part.as_str(), "tests" | "testing" | "fuzzing");
        if path.iter().any(is_no_room) || path == ["lib"] || path == ["main"] {
            continue;
        }
        if path.last().is_some_and(|name| name == "mod") {
            path.pop();
        }
        let named = named(&path, &std::fs::read_to_string(&file)?)?;
        modules.push(Module { path, named });
    }
    ensure!(modules.len() > 10, "{folder} has few files");
    Ok(modules)
}

/// The paths of its crate that a file names, in `use` and elsewhere.
fn named(own: &[String], source: &str) -> Result<Vec<Vec<String>>> {
    let source = Regex::new(r"//[^\n]*")?.replace_all(without_tests(source), "");
    let mut paths = Vec::new();
    let uses = Regex::new(r"(?:^|\n)\s*(?:pub(?:\([^)]*\))? )?use ((?:crate|super)[^;]*);")?;
    for found in uses.captures_iter(&source) {
        expand(Vec::new(), &found[1], &mut paths);
    }
    let rest = uses.replace_all(&source, "");
    for found in Regex::new(r"\b(?:crate|super)(?:::\w+)+")?.find_iter(&rest) {
        paths.push(found.as_str().split("::").map(str::to_owned).collect());
    }
    Ok(paths.into_iter().filter_map(|path| absolute(own, path)).filter(|path| !path.is_empty()).collect())
}

fn without_tests(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// A path from the root of the crate.
fn absolute(own: &[String], path: Vec<String>) -> Option<Vec<String>> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    let from = match path.first()?.as_str() {
        "crate" => Vec::new(),
        _ => own.get(..own.len().checked_sub(ups)?)?.to_vec(),
    };
    let rest = path.into_iter().filter(|part| !matches!(part.as_str(), "crate" | "super" | "self" | "*"));
    Some(from.into_iter().chain(rest).collect())
}

/// Splits `a::{b, c::d}` into its paths.
fn expand(before: Vec<String>, tree: &str, paths: &mut Vec<Vec<String>>) {
    let mut depth = 0_usize;
    let parts = tree.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let (path, inner) = part.split_once('{').map_or((part, None), |(path, inner)| (path, Some(inner)));
        let names = path.split("::").map(str::trim).filter(|name| !name.is_empty());
        let names = names.map(|name| name.split(" as ").next().unwrap_or(name).to_owned());
        let whole: Vec<String> = before.iter().cloned().chain(names).collect();
        match inner.and_then(|inner| inner.strip_suffix('}')) {
            Some(inner) => expand(whole, inner, paths),
            None => paths.push(whole),
        }
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false if path.extension().is_some_and(|ending| ending == "rs") => found.push(path),
            false => {}
        }
    }
    found.sort();
    Ok(found)
}
