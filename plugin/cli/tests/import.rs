//! Runs the command `import-tyk` as a user does.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A copy of a customer's files. Dropping this removes it.
struct Customer(PathBuf);

impl Customer {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tollbell-import-{}-{name}", std::process::id()));
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tyk"), &folder);
        Customer(folder)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tollbell")).args(arguments).current_dir(&self.0).output().unwrap()
    }
}

impl Drop for Customer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &target) } else { fs::copy(&entry, &target).map(|_| ()).unwrap() }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_documented_command_imports_a_customers_files() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/leaving-tyk.md")).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix("$ tollbell import-tyk ")).expect("a command");
    let customer = Customer::new("documented");
    let words: Vec<&str> = std::iter::once("import-tyk").chain(line.split_whitespace()).collect();
    let output = customer.run(&words);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("envoy.yaml was written"), "{}", said(&output));
    assert!(fs::read_to_string(customer.0.join("envoy.yaml")).unwrap().contains("unmatched: refuse"));
}

#[test]
fn errors_stop_it_and_can_be_left_out() {
    let customer = Customer::new("broken");
    fs::write(customer.0.join("apps/broken.json"), "{").unwrap();
    fs::copy(customer.0.join("apps/orders.json"), customer.0.join("apps/orders copy.json")).unwrap();
    let words = ["import-tyk", "--conf", "tyk.conf", "--apps", "apps", "--out", "envoy.yaml"];
    let output = customer.run(&words);
    let errors = said(&output);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("error: apps/broken.json:1: is not JSON") && errors.contains("its api_id"), "{errors}");
    assert!(
        errors.contains("with --keep-going, the files, policies and keys that have an error are left out"),
        "{errors}"
    );
    assert!(!customer.0.join("envoy.yaml").exists());
    let output = customer.run(&[&words[..], &["--keep-going"]].concat());
    let report = said(&output);
    assert_eq!(output.status.code(), Some(3), "{report}");
    assert!(report.starts_with("left out, because of errors in it:\n  "), "{report}");
    assert!(report.contains("2 items were left out because of errors"), "{report}");
    assert!(customer.0.join("envoy.yaml").exists());
    fs::write(customer.0.join("tyk.conf"), "{").unwrap();
    let output = customer.run(&[&words[..], &["--keep-going"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(!said(&output).contains("with --keep-going"), "{}", said(&output));
}
