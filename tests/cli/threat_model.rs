//! docs/threat-model.md and SECURITY.md: each test that they name exists.

use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: [&str; 2] = ["SECURITY.md", "docs/threat-model.md"];

/// The folder of the sources of a test binary, as nextest names it.
fn sources(binary: &str) -> Option<&'static str> {
    match binary {
        "ssh-eic" => Some("src"),
        "ssh-eic::cli" => Some("tests/cli"),
        "domain" => Some("domain/src"),
        "repository" => Some("tests/repository/src"),
        _ => None,
    }
}

/// A named test: its binary, and its path.
struct Named<'a> {
    binary: &'a str,
    path: &'a str,
}

/// Everything in backquotes that is the name of a binary, a space and a path.
fn named(text: &str) -> Vec<Named<'_>> {
    let quoted = text.split('`').skip(1).step_by(2);
    let named = quoted.filter_map(|quoted| {
        let (binary, path) = quoted.split_once(' ')?;
        let is_path = path.contains("::") && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
        is_path.then_some(Named { binary, path })
    });
    named.collect()
}

/// Whether the file of the module has a function of this name. A module `tests` is a file or inside of its parent's.
fn exists(root: &Path, test: &Named<'_>) -> bool {
    let Some(folder) = sources(test.binary) else { return false };
    let Some((module, name)) = test.path.rsplit_once("::") else { return false };
    let inner = module.strip_suffix("::tests").map(str::to_owned);
    let files = [Some(module.to_owned()), inner].into_iter().flatten().flat_map(|module| {
        let path = PathBuf::from(folder).join(module.replace("::", "/"));
        [path.with_extension("rs"), path.join("mod.rs")]
    });
    let declaration = format!("fn {name}(");
    files
        .map(|file| fs::read_to_string(root.join(file)).unwrap_or_default())
        .any(|text| text.lines().any(|line| line.trim_start().starts_with(&declaration)))
}

#[test]
fn every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).expect(document);
        for test in named(&text) {
            count += 1;
            if !exists(root, &test) {
                missing.push(format!("{document}: {} {}", test.binary, test.path));
            }
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
    assert!(count > 50, "only {count} tests were found in the documents");
}

#[test]
fn each_section_about_a_person_says_what_is_not_done() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md")).unwrap();
    for who in
        ["can tag instances", "shares the laptop", "controls an instance", "is on the network", "runs the CI job"]
    {
        let (_, section) =
            text.split_once(&format!("\n## Who {who}\n")).unwrap_or_else(|| panic!("no section on who {who}"));
        let section = section.split("\n## ").next().unwrap();
        assert!(section.contains("\nWe do:\n") && section.contains("\nWe do not:\n"), "who {who}");
    }
}
