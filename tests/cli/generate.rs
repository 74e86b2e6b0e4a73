//! `ssh-eic generate`: what is committed is what the binary generates, and the real readers take it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::binary;

fn generated(args: &[&str]) -> String {
    let output = Command::new(binary()).arg("generate").args(args).output().expect("ssh-eic generate");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Whether a program is there; a test that needs it is skipped elsewhere, never under CI.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status();
    let found = found.expect("sh").success();
    assert!(found || std::env::var_os("CI").is_none(), "tests/run installs {program}");
    found
}

#[test]
fn the_committed_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (args, file) in [
        (&["man"][..], "man/ssh-eic.1"),
        (&["man", "ssh-eic-config"], "man/ssh-eic-config.5"),
        (&["completions", "bash"], "contrib/completions/ssh-eic.bash"),
        (&["completions", "zsh"], "contrib/completions/_ssh-eic"),
        (&["completions", "fish"], "contrib/completions/ssh-eic.fish"),
    ] {
        let committed = fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(committed == generated(args), "{file} is old: ssh-eic generate {} > {file}", args.join(" "));
    }
}

#[test]
fn bash_completes_commands_and_flags() {
    let script = format!(
        "{}\nCOMP_WORDS=(ssh-eic sync --sou) COMP_CWORD=2; $(complete -p ssh-eic | sed 's/.*-F \\([^ ]*\\).*/\\1/') ssh-eic --sou sync; echo \"${{COMPREPLY[@]}}\"",
        generated(&["completions", "bash"])
    );
    let output = Command::new("bash").args(["--norc", "-c", &script]).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--source", "{output:?}");
}
