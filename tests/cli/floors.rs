//! The floors of the house: an upper one may use a lower one, never the reverse, and commands never use each other.
//! Also that `domain` stays pure, and that standard output belongs to ssh where ssh listens.

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down; modules of one line may use each other, except commands.
const FLOORS: [&[&str]; 7] = [
    &["run"],
    &["command"],
    &["connect", "doctor", "discover"],
    &["cli"],
    &["aws", "net", "store", "sys"],
    &["ui", "error"],
    &["domain"],
];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("domain/src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("a source file");
                found.push((entry, text));
            }
        }
    }
    found
}

/// `command` for src/command/sync.rs, `ui` for src/ui.rs, `domain` for every file of that crate.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("in the repository");
    let below = below.strip_prefix("src").unwrap_or(below);
    below.components().next().expect("a name").as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Every `crate::x::y` of a file, in use lines and in code.
fn used(text: &str) -> Vec<(&str, &str)> {
    text.split("crate::")
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let below = rest[end..].strip_prefix("::").unwrap_or("");
            let below_end = below.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(below.len());
            (&rest[..end], &below[..below_end])
        })
        .collect()
}

#[test]
fn no_floor_uses_a_higher_one() {
    let mut seen = 0;
    for (path, text) in sources() {
        assert!(!text.contains("crate::{"), "{} groups uses, which this test does not read", path.display());
        let Some(own) = floor(&module(&path)) else { continue };
        for (other, _) in used(&text) {
            let Some(theirs) = floor(other) else { continue };
            assert!(theirs >= own, "{} uses crate::{other}, a higher floor", path.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} uses were seen: does this test still read them?");
}

#[test]
fn commands_never_use_each_other() {
    for (path, text) in sources().into_iter().filter(|(path, _)| module(path) == "command") {
        for (other, below) in used(&text) {
            let is_shared = matches!(below, "Context" | "Exit" | "");
            assert!(other != "command" || is_shared, "{} uses crate::command::{below}", path.display());
        }
        assert!(
            !text.contains("super::")
                || path.ends_with("mod.rs")
                || !text.split("mod tests").next().unwrap_or("").contains("super::"),
            "{} uses a sibling",
            path.display()
        );
    }
}

#[test]
fn domain_has_no_outside_effects() {
    for (path, text) in sources().into_iter().filter(|(path, _)| module(path) == "domain") {
        for effect in [
            "std::fs",
            "std::net",
            "std::process",
            "std::env",
            "std::io",
            "SystemTime::now",
            "Instant::now",
            "tokio",
            "rustix",
        ] {
            assert!(!text.contains(effect), "{} has {effect}", path.display());
        }
    }
}

#[test]
fn only_main_exits_and_nobody_prints_where_ssh_listens() {
    for (path, text) in sources() {
        for call in ["process::exit", "println!", "print!(", "eprintln!", "std::process::abort"] {
            assert!(!text.contains(call), "{} has {call}", path.display());
        }
    }
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    assert!(fs::read_to_string(main).expect("main.rs").lines().count() < 40);
}
