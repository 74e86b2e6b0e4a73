//! ssh under strace: which programs it and its children were, and which system calls each made.

use std::fs;
use std::path::Path;

use super::{can_run, with};
use crate::world::{World, run};

/// One program from its start to its end, or to the next one that its process became.
#[derive(Debug)]
pub(super) struct Program {
    /// `execve("/path", ["argument", …], …) = 0`; empty for a thread or a child that became no program.
    started: String,
    calls: Vec<String>,
}

impl Program {
    /// Its system calls, one a line, as strace writes them.
    pub(super) fn calls(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().map(String::as_str)
    }

    /// The subcommand, if it is ours.
    pub(super) fn verb(&self) -> Option<&'static str> {
        let arguments = self.started.split_once(", [")?.1.split_once("], ")?.0;
        let is_ours = self.started.starts_with("execve(\"") && self.started.split('"').nth(1)?.ends_with("/ssh-eic");
        let verbs = ["match", "proxy", "worker", "sync"];
        verbs.into_iter().find(|verb| is_ours && arguments.contains(&format!("\"{verb}\"")))
    }
}

/// Whether ssh can be traced; under CI it has to be.
pub(super) fn possible(world: &World) -> bool {
    can_run(world, &["strace", "-o", "/dev/null", "true"])
}

/// Our subcommands that ran, sorted.
pub(super) fn verbs(programs: &[Program]) -> Vec<&'static str> {
    let mut verbs: Vec<_> = programs.iter().filter_map(Program::verb).collect();
    verbs.sort_unstable();
    verbs
}

/// Runs ssh under strace, well, and returns every program that ran. `calls` is what strace's `-e trace=` takes.
pub(super) fn ssh(world: &World, environment: &[(&str, &str)], calls: &str, args: &[&str]) -> Vec<Program> {
    let folder = world.home().join("trace");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("a folder");
    let mut command = world.sandbox.command("strace");
    command.args(["-ff", "-qq", "-s", "512", "-e", "signal=none", "-e", &format!("trace={calls}"), "-o"]);
    command.arg(folder.join("of")).arg("ssh").args(args);
    run(with(command, environment)).ok();
    fs::read_dir(&folder).expect("the traces").flatten().flat_map(|file| programs(&file.path())).collect()
}

/// The programs of one process.
fn programs(file: &Path) -> Vec<Program> {
    let text = fs::read_to_string(file).expect("a trace");
    let mut programs = vec![Program { started: String::new(), calls: Vec::new() }];
    for line in text.lines() {
        if line.starts_with("execve(") && line.ends_with(" = 0") {
            programs.push(Program { started: line.to_owned(), calls: Vec::new() });
        } else if !line.starts_with(['+', '-']) {
            programs.last_mut().expect("one").calls.push(line.to_owned());
        }
    }
    programs.retain(|program| !program.started.is_empty() || !program.calls.is_empty());
    programs
}
