//! The order of the layers: a layer uses those below it, never those above; commands never use each other, and modules
//! of one folder have no cycles. Also: `domain` has no outside effects, and only `main` exits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{root, text};

/// From the top down, as in the table of src/lib.rs. Modules in one row do not use each other.
const LAYERS: [&[&str]; 12] = [
    &["run"],
    &["command"],
    &["doctor"],
    &["connect"],
    &["discover"],
    &["cli"],
    &["aws"],
    &["net", "store"],
    &["sys"],
    &["ui"],
    &["error"],
    &["domain"],
];

fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("src"), root().join("domain/src")];
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
    let below = path.strip_prefix(root()).expect("in the repository");
    let below = below.strip_prefix("src").unwrap_or(below);
    below.components().next().expect("a name").as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
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
fn no_layer_uses_a_higher_one_or_its_neighbour() {
    let mut seen = 0;
    for (path, text) in sources() {
        assert!(!text.contains("crate::{"), "{} groups uses, which this test does not read", path.display());
        let own = module(&path);
        let Some(own_layer) = layer(&own) else { continue };
        for (other, _) in used(&text) {
            let Some(other_layer) = layer(other) else { continue };
            let is_allowed = other == own || other_layer > own_layer;
            assert!(is_allowed, "{} uses crate::{other}, which is not below {own}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} uses were seen: does this test still read them?");
}

#[test]
fn the_table_in_lib_rs_has_this_order() {
    let map = text("src/lib.rs");
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | ")?.split_once(" | "));
    let names = |cell: &str| cell.split(", ").map(|name| name.trim_matches(['[', '`', ']']).to_owned()).collect();
    let table: Vec<Vec<String>> = rows.filter(|(cell, _)| cell.contains('`')).map(|(cell, _)| names(cell)).collect();
    let layers: Vec<Vec<String>> = LAYERS.iter().map(|row| row.iter().map(|&name| name.to_owned()).collect()).collect();
    assert_eq!(table, layers);
}

/// The modules of one folder that each module of it uses: `aws/push.rs` with `use crate::aws::failure` gives
/// `push -> failure`. A module with files of its own is one module.
fn uses_within(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let root = root().join("src").join(folder);
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let Some(below) = path.strip_prefix(&root).ok().and_then(|below| below.components().next()) else { continue };
        let own = below.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
        // mod.rs declares the modules; unit tests use what they like.
        if own == "mod" || own == "tests" {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let prefix = format!("crate::{folder}::");
        let others = code.split(&prefix).skip(1).flat_map(|rest| {
            let names = match rest.strip_prefix('{') {
                Some(list) => top_level(list),
                None => vec![rest],
            };
            names.into_iter().map(first_word).map(str::to_owned).collect::<Vec<_>>()
        });
        graph.entry(own.clone()).or_default().extend(others.filter(|other| *other != own));
    }
    graph
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// The items of a list in braces, without those in braces inside it.
fn top_level(list: &str) -> Vec<&str> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

/// A cycle of the graph, as `a -> b -> a`.
fn cycle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    fn visit<'g>(
        graph: &'g BTreeMap<String, BTreeSet<String>>,
        module: &'g str,
        path: &mut Vec<&'g str>,
        finished: &mut BTreeSet<&'g str>,
    ) -> Option<String> {
        if let Some(start) = path.iter().position(|&one| one == module) {
            return Some([&path[start..], &[module]].concat().join(" -> "));
        }
        if finished.contains(module) {
            return None;
        }
        path.push(module);
        let found =
            graph.get(module).and_then(|others| others.iter().find_map(|other| visit(graph, other, path, finished)));
        path.pop();
        finished.insert(module);
        found
    }
    let mut finished = BTreeSet::new();
    graph.keys().find_map(|module| visit(graph, module, &mut Vec::new(), &mut finished))
}

#[test]
fn modules_of_a_folder_have_no_cycle() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(cycle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).as_deref(), Some("b -> c -> b"));
    for folder in ["aws", "net", "store", "sys", "doctor", "connect", "discover"] {
        let graph = uses_within(folder);
        assert!(graph.len() > 4, "{folder}: {graph:?}");
        assert_eq!(cycle(&graph), None, "in src/{folder}");
    }
}

#[test]
fn commands_never_use_each_other() {
    for (path, text) in sources().into_iter().filter(|(path, _)| module(path) == "command") {
        for (other, below) in used(&text) {
            let is_shared = matches!(below, "Context" | "Exit" | "");
            assert!(other != "command" || is_shared, "{} uses crate::command::{below}", path.display());
        }
        // A subcommand with a folder of its own is one module for this rule.
        let is_part = path.parent().is_some_and(|folder| !folder.ends_with("command"));
        assert!(
            !text.contains("super::") || is_part || !text.split("mod tests").next().unwrap_or("").contains("super::"),
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
fn only_main_exits_and_standard_output_is_written_in_one_place() {
    for (path, text) in sources() {
        for call in ["process::exit", "println!", "print!(", "eprintln!", "std::process::abort"] {
            assert!(!text.contains(call), "{} has {call}", path.display());
        }
    }
    assert!(text("src/main.rs").lines().count() < 40);
}
