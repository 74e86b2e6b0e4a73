//! Unusual surroundings: umask, shell, temporary folder, paths, limits.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sandbox::{Change, Form};

use super::is_handled;
use crate::world::{World, run};

fn ssh(world: &World) -> &'static str {
    if world.sandbox.form() == Form::Namespaces { "ssh" } else { "ssh -F ~/.ssh/config" }
}

/// Paths below a folder whose mode has one of these bits; links have no mode of their own.
fn with_mode(folder: &Path, bits: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            if !metadata.is_symlink() && metadata.mode() & bits != 0 {
                found.push(format!("{:o} {}", metadata.mode() & 0o7777, entry.path().display()));
            }
        }
    }
    found
}

#[test]
fn files_are_private_under_every_umask() {
    for umask in ["000", "022", "077", "777"] {
        let world = World::bare();
        let ssh = ssh(&world);
        // A umask that takes everything from the owner too is refused by the system, not by us.
        let script = format!(
            "umask {umask}; ssh-eic init --profile prod --region eu-west-1 && {ssh} prod-web-1 true && ssh-eic sync && ssh-eic list"
        );
        let output = world.sh(&script);
        if umask == "777" && output.code != Some(0) {
            is_handled(&output, umask);
            continue;
        }
        output.ok();
        for folder in [".ssh/eic", ".local/state/ssh-eic", ".cache/ssh-eic"] {
            let mut open = with_mode(&world.home().join(folder), 0o077);
            // ssh itself writes this one, for the user's umask.
            open.retain(|path| !path.ends_with("/known_hosts"));
            assert_eq!(open, Vec::<String>::new(), "umask {umask}");
        }
        for folder in [".ssh", ".local", ".cache", ".config"] {
            assert_eq!(with_mode(&world.home().join(folder), 0o022), Vec::<String>::new(), "umask {umask}");
        }
    }
}

#[test]
fn each_shell_of_the_user_runs_the_hook_and_the_proxy() {
    let world = World::new();
    for shell in ["/bin/dash", "/bin/bash", "/usr/bin/fish", "/usr/bin/zsh", "/usr/bin/tcsh"] {
        let is_there = Path::new(shell).exists();
        assert!(is_there || std::env::var_os("CI").is_none(), "CI has {shell}");
        if !is_there {
            continue;
        }
        for host in ["prod-web-1", world.web1.as_str()] {
            let mut command = world.ssh_command(&[host, "echo $SSH_EIC_INSTANCE"]);
            command.env("SHELL", shell);
            assert_eq!(run(command).ok(), format!("{}\n", world.web1), "{shell}");
        }
    }
}

#[test]
fn a_shell_that_runs_nothing_ends_with_an_error() {
    let world = World::new();
    for shell in ["/usr/sbin/nologin", "/bin/false", "/does/not/exist"] {
        let mut command = world.ssh_command(&["prod-web-1", "true"]);
        command.env("SHELL", shell);
        let output = run(command);
        assert_eq!(output.code, Some(255), "{shell}\n{output}");
        assert!(!output.stderr.trim().is_empty(), "{shell}\n{output}");
    }
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[test]
fn no_temporary_folder_is_needed() {
    let world = World::new();
    world.sandbox.update(&world.web2, Change { address: Some("10.0.3.99".to_owned()), ..Change::default() }).unwrap();
    for folder in ["/does/not/exist", "", "relative"] {
        let mut command = world.sandbox.command("ssh-eic");
        command.arg("sync").env("TMPDIR", folder);
        run(command).ok();
        let mut command = world.ssh_command(&["prod-web-1", "true"]);
        command.env("TMPDIR", folder);
        run(command).ok();
    }
    assert!(world.read(".ssh/eic/hosts").contains("10.0.3.99"));
}

#[test]
fn folders_with_unusual_names_work_or_are_refused_by_name() {
    for (name, works) in [
        ("with space", true),
        ("übung-日本", true),
        ("50%", true),
        ("tab\there", false),
        ("it's", false),
        ("a\"b", false),
        ("new\nline", false),
    ] {
        let world = World::bare();
        let folder = world.home().join(name);
        let config = folder.join("ssh_config");
        let command = |program: &str, args: &[&str]| {
            let mut command = world.sandbox.command(program);
            command.args(args).env("SSH_EIC_HOME", &folder);
            run(command)
        };
        let output = command("ssh-eic", &["init", "--profile", "prod", "--region", "eu-west-1"]);
        is_handled(&output, name);
        if output.code != Some(0) {
            assert!(!works, "{name:?}\n{output}");
            output.says("ssh-eic: error: ").says("ssh-eic: hint: ");
            continue;
        }
        let output = command("ssh", &["-F", config.to_str().unwrap(), "prod-web-1", "echo $SSH_EIC_INSTANCE"]);
        assert_eq!(output.ok(), format!("{}\n", world.web1), "{name:?}");
        command("ssh-eic", &["remove"]).ok();
    }
}

#[test]
fn a_limit_of_open_files_is_an_error_and_loses_nothing() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let before = world.read(".ssh/config");
    for files in 3..24 {
        for command in ["ssh-eic sync", "ssh-eic push prod-web-1", "ssh-eic list", "ssh-eic match prod-web-1 ec2-user"]
        {
            let output = world.sh(&format!("ulimit -n {files}; exec {command}"));
            let what = format!("{command} with {files} files");
            // With fewer the system cannot start a program at all.
            let is_started = !output.stderr.contains("error while loading shared libraries");
            if is_started && !command.contains("match") {
                is_handled(&output, &what);
            }
            assert!(!output.stderr.contains("panicked"), "{what}\n{output}");
        }
        assert_eq!(world.read(".ssh/config"), before);
    }
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
}
