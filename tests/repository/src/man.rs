//! The man pages, as committed; `tests/cli/generate.rs` compares them with those of the program.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::{root, text};

#[test]
fn mandoc_reports_no_errors_in_the_man_pages() {
    for page in ["man/ssh-eic.1", "man/ssh-eic-config.5"] {
        let mut command = Command::new("mandoc");
        let Ok(output) = command.args(["-Tlint", "-Wall"]).arg(root().join(page)).output() else {
            assert!(std::env::var_os("CI").is_none(), "tests/run installs mandoc");
            return;
        };
        let report = String::from_utf8_lossy(&output.stdout);
        // The other page does not have to be installed.
        let errors: Vec<&str> = report.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert!(errors.is_empty(), "{page}: {errors:#?}");
    }
}

#[test]
fn the_man_page_has_all_sections() {
    let page = text("man/ssh-eic.1");
    for section in ["NAME", "SYNOPSIS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "DIAGNOSTICS"] {
        assert!(page.contains(&format!(".SH {section}\n")), "{section}");
    }
    assert!(page.contains("\n.SS push\n") && !page.contains("worker") && !page.contains("\\-\\-detached"));
}

/// Tests of doctor assert on a cause with `.problem("the-cause", …)` or `.note("the-cause", …)`.
#[test]
fn every_cause_in_the_man_page_has_a_test() {
    let page = text("man/ssh-eic.1");
    let section = page.split(".SH CAUSES").nth(1).expect("a section of causes").split("\n.SH ").next().expect("text");
    let listed = section.lines().filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR"));
    let listed: BTreeSet<String> = listed.map(|id| id.replace('\\', "")).collect();
    let files =
        fs::read_dir(root().join("tests/cli/doctor")).expect("tests").map(|entry| entry.expect("a file").path());
    let texts: String = files.map(|path| fs::read_to_string(path).expect("a test")).collect();
    let mut tested = BTreeSet::new();
    for method in ["problem", "note"] {
        let call = format!(".{method}(");
        let asserted = texts.split(&call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        tested.extend(asserted.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    assert_eq!(tested, listed);
    assert!(listed.len() > 20, "{listed:?}");
}
