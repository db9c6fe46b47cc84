//! The host shim compared with a real Envoy, with a guest of each SDK: `tests/compare`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use tollbell_tests::compare::{Configuration, Difference, Requests, compare_twice, read_known};
use tollbell_tests::{envoy, project_root};

/// The guests of `tests/guests`, and the files of requests that they get.
const RUNS: [(&str, &str); 4] =
    [("rust", "requests.yaml"), ("go", "requests.yaml"), ("assemblyscript", "requests.yaml"), ("rust", "odd.yaml")];

/// A name and a part that differ.
type Seen = BTreeSet<(String, &'static str)>;

fn folder() -> PathBuf {
    project_root().join("tests/compare")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shim_and_envoy_differ_only_as_known() -> Result<()> {
    let _shared = crate::support::shared().await;
    let configuration = Configuration::parse(&fs::read_to_string(folder().join("guest.yaml"))?)?;
    let mut known = Vec::new();
    for list in lists()? {
        known.extend(read_known(&list)?);
    }
    let runs = RUNS.map(async |(sdk, file)| {
        let requests = Requests::read(&folder().join(file))?;
        let module = project_root().join(format!("dist/test/guest-{sdk}.wasm"));
        ensure!(module.is_file(), "{} is not built; run `make test`", module.display());
        let module = module.to_str().context("the folder's name is no text")?;
        compare_twice(&configuration, Some(module), &requests, &known).await.with_context(|| sdk.to_owned())
    });
    let [one, two, three, four] = runs;
    let (one, two, three, four) = tokio::join!(one, two, three, four);
    let mut seen = Seen::new();
    let mut new = String::new();
    for ((sdk, _), differences) in RUNS.iter().zip([one?, two?, three?, four?]) {
        seen.extend(differences.iter().map(|difference| (difference.name.clone(), difference.part.name())));
        let unknown: Vec<&Difference> = differences.iter().filter(|difference| !difference.is_known).collect();
        new.extend(unknown.iter().map(|difference| format!("{sdk} {difference}\n")));
    }
    ensure!(new.is_empty(), "these differ, and are not in tests/compare/known.yaml:\n{new}");
    lists()?.iter().try_for_each(|list| only_what_differs_is_listed(list, &seen))
}

/// The known differences from this version of Envoy: those from the newest, and those of the version.
fn lists() -> Result<Vec<PathBuf>> {
    let of_version = folder().join(format!("known-{}.yaml", envoy::version()?));
    Ok([folder().join("known.yaml"), of_version].into_iter().filter(|list| list.exists()).collect())
}

/// Removes the entries of the list that agree if SHRINK is set. Otherwise these are an error.
fn only_what_differs_is_listed(file: &Path, seen: &Seen) -> Result<()> {
    let races: BTreeSet<String> = read_known(file)?
        .into_iter()
        .filter(|known| known.sometimes)
        .flat_map(|known| known.differ.into_keys())
        .collect();
    let entry = Regex::new(r#"^    "(.*)": \[(.*)\]$"#)?;
    let (mut kept, mut gone) = (String::new(), Vec::new());
    for line in fs::read_to_string(file)?.lines() {
        let Some(found) = entry.captures(line) else {
            kept += &format!("{line}\n");
            continue;
        };
        let (agree, differ): (Vec<_>, Vec<_>) = found[2]
            .split(", ")
            .partition(|part| !races.contains(&found[1]) && !seen.contains(&(found[1].to_owned(), *part)));
        gone.extend(agree.iter().map(|part| format!("{}: {part}", &found[1])));
        if !differ.is_empty() {
            kept += &format!("    {:?}: [{}]\n", &found[1], differ.join(", "));
        }
    }
    if std::env::var_os("SHRINK").is_some() {
        let empty = Regex::new(r"(?m)^- reason: .*\n  differ:\n(- |\z)")?;
        while let Some(found) = empty.captures(&kept) {
            let (from, to) = (found.get(0).map_or(0, |all| all.start()), found.get(1).map_or(0, |next| next.start()));
            kept.replace_range(from..to, "");
        }
        return Ok(fs::write(file, kept)?);
    }
    ensure!(gone.is_empty(), "these agree now; SHRINK=1 removes them from {}: {gone:#?}", file.display());
    Ok(())
}
