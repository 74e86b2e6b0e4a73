//! Where the programs are that people use instead of ssh-eic: in the virtual environment that `contrib/bench/peers` makes,
//! else on PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sandbox::Sandbox;

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty()) {
        Some(target) => target.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
}

/// The first program of a name that runs inside the sandbox, or why there is none.
pub(crate) fn find(sandbox: &Sandbox, name: &str) -> Result<String, String> {
    let all = all(sandbox, name);
    let found = all.iter().find(|program| version(sandbox, program).is_some());
    let why = || match all.first() {
        Some(program) => format!("{} does not run", program.display()),
        None => format!("{name}: not installed (contrib/bench/peers does)"),
    };
    found.map(|program| program.display().to_string()).ok_or_else(why)
}

/// The AWS CLI of version 2, which is no Python package.
pub(crate) fn aws_2(sandbox: &Sandbox) -> Option<String> {
    let is_2 = |program: &PathBuf| version(sandbox, program).is_some_and(|version| version.starts_with("aws-cli/2."));
    all(sandbox, "aws").into_iter().find(is_2).map(|program| program.display().to_string())
}

/// All programs of a name, the virtual environment's first.
pub(crate) fn all(sandbox: &Sandbox, name: &str) -> Vec<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let venv = target().join("peers/bin");
    let folders =
        std::iter::once(venv.as_path()).chain(path.split(':').chain(sandbox.path().split(':')).map(Path::new));
    let found = folders.map(|folder| folder.join(name)).filter(|program| program.is_file());
    found.filter_map(|program| behind_shim(name, program)).collect()
}

/// pyenv's shim is a shell script that finds the program anew at each call: not what is to be measured.
fn behind_shim(name: &str, program: PathBuf) -> Option<PathBuf> {
    if !program.parent().is_some_and(|folder| folder.ends_with("shims")) {
        return Some(program);
    }
    let output = Command::new("pyenv").args(["which", name]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}

/// The first line of a program's version output, if it runs. mssh has no `--version`.
pub(crate) fn version(sandbox: &Sandbox, program: &Path) -> Option<String> {
    let flag = if program.ends_with("mssh") { "--help" } else { "--version" };
    let output = sandbox.command(program).arg(flag).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(text)
}
