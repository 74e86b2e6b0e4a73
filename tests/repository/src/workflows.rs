//! The workflows of CI and releases, and the examples for users' workflows.

use std::fs;
use std::process::Command;

use crate::{output, scripts, text, yaml};

const OWN_WORKFLOWS: [&str; 4] = [
    ".github/workflows/ci.yml",
    ".github/workflows/openssh.yml",
    ".github/workflows/release.yml",
    ".github/workflows/weekly.yml",
];

#[test]
fn scripts_of_workflows_and_examples_pass_shellcheck() {
    let mut seen = 0;
    for file in [&OWN_WORKFLOWS[..], &["contrib/ci/github-actions.yml"]].concat() {
        let Some(workflow) = yaml(file) else { return };
        for (job, what) in workflow["jobs"].as_object().expect("jobs") {
            for (name, script) in scripts(what) {
                assert!(!script.contains("${{"), "{file}: {job}: {name}: values come by the environment");
                seen += 1;
                let dir = tempfile::tempdir().unwrap();
                let step = dir.path().join("step.sh");
                fs::write(&step, &script).unwrap();
                output(Command::new("bash").arg("-n").arg(&step));
                output(Command::new("shellcheck").args(["--shell=bash", "--severity=style"]).arg(&step));
            }
        }
    }
    assert!(seen > 15, "only {seen} steps were seen");
}

#[test]
fn actions_of_the_project_s_workflows_are_pinned_and_read_only() {
    for file in OWN_WORKFLOWS {
        let Some(workflow) = yaml(file) else { return };
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{file}");
        for line in text(file).lines().filter(|line| line.trim_start().starts_with("- uses:")) {
            let (_, revision) = line.split_once('@').expect(line);
            let (hash, version) = revision.split_once(" # v").unwrap_or_else(|| panic!("{file}: {line}"));
            assert!(hash.len() == 40 && hash.bytes().all(|b| b.is_ascii_hexdigit()) && !version.is_empty(), "{line}");
        }
    }
}
