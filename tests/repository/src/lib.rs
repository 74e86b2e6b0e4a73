//! The files of the repository, for tests: sources, man pages, units, packages and workflows.
//!
//! The tests in here run no ssh-eic and link no AWS SDK: they build within seconds. Tests that also run the program are
//! in `tests/cli`, which uses the readers in here.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

#[cfg(test)]
mod layers;
#[cfg(test)]
mod man;
#[cfg(test)]
mod packaging;
#[cfg(test)]
mod workflows;

/// The folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let member = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    member.ancestors().nth(2).expect("a workspace").to_owned()
}

/// The text of a file.
#[must_use]
pub fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Both streams of a command that has to succeed. `None`: the program is missing, which is an error under CI.
pub fn output(command: &mut Command) -> Option<String> {
    match command.output() {
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "{command:?}: {error}");
            None
        }
        Ok(output) => {
            let text =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{command:?}: {text}");
            Some(text)
        }
    }
}

/// The value of `key=` in a systemd unit.
#[must_use]
pub fn unit_value<'a>(unit: &'a str, key: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix('=');
    unit.lines().find_map(value).unwrap_or_else(|| panic!("no {key}= in\n{unit}"))
}

/// A YAML file, every scalar a string. `None`: Python cannot read YAML, which is an error under CI.
#[must_use]
pub fn yaml(file: &str) -> Option<Value> {
    let script = "import json, sys, yaml; print(json.dumps(yaml.load(open(sys.argv[1]), yaml.BaseLoader)))";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(root().join(file))
        // The system's Python first: the packages are for that one.
        .env("PATH", format!("/usr/bin:/bin:{}", std::env::var("PATH").unwrap_or_default()))
        .output()
        .expect("python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("No module named 'yaml'") && std::env::var_os("CI").is_none() {
        return None;
    }
    assert!(output.status.success(), "{file}: {errors}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// The names and scripts of the steps of a GitHub job.
#[must_use]
pub fn scripts(job: &Value) -> Vec<(String, String)> {
    let text = |step: &Value, key: &str| step[key].as_str().map(str::to_owned);
    let steps = job["steps"].as_array().expect("steps");
    steps.iter().filter_map(|step| Some((text(step, "name").unwrap_or_default(), text(step, "run")?))).collect()
}
