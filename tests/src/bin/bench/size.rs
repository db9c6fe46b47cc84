//! The size of the module, and the crates that its code comes from.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use tollbell_tests::project_root;
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// Smaller crates are shown as one sum.
const SHOWN_BYTES: usize = 10_000;

pub(crate) fn table() -> Result<String> {
    let module = fs::metadata(project_root().join("dist/tollbell.wasm")).context("run `make bench`")?.len();
    let named = fs::read(project_root().join("dist/bench/tollbell-named.wasm")).context("run `make bench`")?;
    let crates = by_crate(&named)?;
    let code: usize = crates.values().sum();
    let mut rows: Vec<(String, usize)> = Vec::new();
    let mut others = 0;
    for (name, bytes) in crates {
        if bytes < SHOWN_BYTES {
            others += bytes;
        } else {
            rows.push((name, bytes));
        }
    }
    rows.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    rows.push(("others".to_owned(), others));
    let mut out = format!(
        "dist/tollbell.wasm has {module} bytes. Of the {code} bytes of code before wasm-opt, by the crate of each function \
         (generics count where they are instantiated from):\n\n| crate | bytes |\n|---|---:|\n"
    );
    for (name, bytes) in rows {
        out += &format!("| {name} | {bytes} |\n");
    }
    Ok(out)
}

/// The bytes of code by crate, for a module with names.
fn by_crate(module: &[u8]) -> Result<BTreeMap<String, usize>> {
    let mut imported = 0_u32;
    let mut sizes = Vec::new();
    let mut names = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => sizes.push(usize::try_from(body.range().end - body.range().start)?),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(section) = section.as_known() else { continue };
                for subsection in section {
                    let Name::Function(functions) = subsection? else { continue };
                    for function in functions {
                        let function = function?;
                        names.insert(function.index, crate_of(function.name));
                    }
                }
            }
            _ => {}
        }
    }
    let mut crates = BTreeMap::new();
    for (index, bytes) in (imported..).zip(sizes) {
        let name = names.get(&index).cloned().unwrap_or_else(|| "unknown".to_owned());
        *crates.entry(name).or_default() += bytes;
    }
    Ok(crates)
}

/// The first crate in a symbol: `<alloc::vec::Vec<T> as core::fmt::Debug>::fmt` belongs to `alloc`.
fn crate_of(symbol: &str) -> String {
    let demangled = format!("{:#}", rustc_demangle::demangle(symbol));
    let path = demangled.trim_start_matches(['<', '&', '(', '[', '*']);
    let path = ["mut ", "const ", "dyn "].iter().fold(path, |path, word| path.strip_prefix(word).unwrap_or(path));
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    if rest.starts_with("::") { name.to_owned() } else { "compiler-builtins and others".to_owned() }
}
