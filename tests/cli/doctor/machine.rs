//! Faults of this machine: the client, our own files, and the user's ssh config.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sandbox::needs_namespaces;

use super::{doctor, doctor_in, world};
use crate::layouts::{INLINE, configure};
use crate::world::{World, binary};

/// A program of that name, ahead of all others on PATH.
fn program(world: &World, name: &str, script: &str) {
    world.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
    chmod(world, &format!("bin/{name}"), 0o755);
}

fn chmod(world: &World, path: &str, mode: u32) {
    fs::set_permissions(world.home().join(path), fs::Permissions::from_mode(mode)).unwrap();
}

const OWN_BIN: &str = "PATH=$HOME/bin:$PATH";

#[needs_namespaces]
#[test]
fn a_client_that_is_absent_or_old_is_named() {
    let world = world();
    let nowhere = format!("PATH={}", binary().parent().unwrap().display());
    doctor_in(&world, &nowhere, &["prod-web-1"]).problem("no-ssh", &["install the OpenSSH client"]);
    program(&world, "ssh", "echo 'OpenSSH_8.2p1 Ubuntu-4, OpenSSL' >&2");
    doctor_in(&world, OWN_BIN, &[]).problem("client-too-old", &["OpenSSH 8.2", "install a newer OpenSSH client"]);
    program(&world, "ssh", "echo 'Dropbear v2022.83' >&2");
    doctor_in(&world, OWN_BIN, &[]).problem("client-unknown", &["Dropbear", "8.7 or newer"]);
    doctor_in(&world, "SHELL=/bin/nosuch", &[]).problem("shell-unusable", &["/bin/nosuch", "set SHELL"]);
}

#[needs_namespaces]
#[test]
fn a_config_that_is_wrong_is_named() {
    let world = world();
    let config = ".config/ssh-eic/config.toml";
    let good = world.read(config);
    world.write(config, "[[source]]\nprofil = \"x\"\n");
    doctor(&world, &["prod-web-1"]).problem("config-invalid", &["config.toml:2: unknown key \"profil\"", "profile"]);
    world.write(config, &(good.clone() + "# another\n"));
    doctor(&world, &[]).healthy().note("config-newer", &["has changed since", "ssh-eic sync"]);
    chmod(&world, config, 0o666);
    doctor(&world, &[]).problem("file-writable", &["config.toml", "chmod go-w"]);
    fs::remove_file(world.home().join(config)).unwrap();
    fs::create_dir(world.home().join(config)).unwrap();
    doctor(&world, &[]).problem("file-trouble", &["config.toml: is a directory"]);
}

#[needs_namespaces]
#[test]
fn an_index_that_is_absent_damaged_or_old_is_named() {
    let world = world();
    let index = ".local/state/ssh-eic/index";
    let good = world.read(index);
    let synced = good.split("\"synced\":").nth(1).unwrap().split(',').next().unwrap();
    let then: u64 = synced.parse::<u64>().unwrap() - 3 * 24 * 3_600_000;
    world.write(index, &good.replacen(synced, &then.to_string(), 1));
    doctor(&world, &["prod-web-1"]).healthy().note("index-old", &["3 days ago", "ssh-eic sync"]);
    world.write(index, &good.replacen("\t{", "\t?", 1));
    doctor(&world, &["prod-web-1"]).problem("index-damaged", &["cannot be read", "ssh-eic sync"]);
    fs::remove_file(world.home().join(index)).unwrap();
    doctor(&world, &["prod-web-1"]).problem("no-index", &["no index", "ssh-eic sync"]);
}

#[needs_namespaces]
#[test]
fn a_missing_or_different_program_in_the_config_is_named() {
    let world = world();
    world.sh(&format!("mkdir bin && cp {} bin/ssh-eic && bin/ssh-eic sync", binary().display())).ok();
    doctor(&world, &["prod-web-1"]).all_ok();
    program(
        &world,
        "ssh-eic",
        &format!("test \"$1\" = --version && echo 'ssh-eic 0.0.9' || exec {} \"$@\"", binary().display()),
    );
    doctor(&world, &[]).healthy().note("program-other", &["ssh-eic 0.0.9", "ssh-eic sync"]);
    fs::remove_file(world.home().join("bin/ssh-eic")).unwrap();
    doctor(&world, &["prod-web-1"]).problem("program-gone", &["bin/ssh-eic", "ssh-eic sync"]);
}

#[needs_namespaces]
#[test]
fn a_home_that_ssh_does_not_use_is_named() {
    let world = world();
    world.sh("mkdir other && cp -r .ssh .config .local .aws other/").ok();
    let found = doctor_in(&world, "HOME=$HOME/other", &["prod-web-1"]);
    found.problem("home-differs", &["$HOME differs from your home in the user database: ssh reads /", "ssh -F "]);
}

#[needs_namespaces]
#[test]
fn files_that_others_own_or_can_change_are_named() {
    let world = world();
    for (path, mode) in [(".ssh/config", 0o600), (".ssh/eic/hosts", 0o600), (".ssh/eic/keys", 0o700)] {
        chmod(&world, path, mode | 0o020);
        doctor(&world, &["prod-web-1"]).problem("file-writable", &[path, "chmod go-w"]);
        chmod(&world, path, mode);
    }
    world.sh("chown deploy .local/state/ssh-eic").ok();
    doctor(&world, &["prod-web-1"]).problem("not-yours", &["belongs to user id", "without sudo"]);
}

#[needs_namespaces]
#[test]
fn an_include_that_is_absent_misplaced_or_changed_is_named() {
    let world = world();
    let good = world.read(".ssh/config");
    let written = |text: &str| {
        world.write(".ssh/config", text);
        doctor(&world, &["prod-web-1"])
    };
    written("Host github.com\n").problem("include-missing", &[".ssh/config has no Include", "ssh-eic sync"]);
    written(&format!("Host x\n  User y\n{good}"))
        .problem("include-misplaced", &["config:4: ", "block of line 1", "delete line 4 and run ssh-eic sync"]);
    written(&good.replace("eic/main", "eic/main /tmp/other"))
        .problem("include-edited", &["config:2: other files", "Include line of their own"]);
    let ahead = format!("# mine\nServerAliveInterval 9\nUser bob\n{good}");
    written(&ahead)
        .problem("include-not-first", &["config line 3: user bob stands before our Include (line 5)", "move it"]);
    written(&format!("{good}Bogus yes\n"))
        .problem("ssh-config-broken", &["Bad configuration option: bogus", "correct the line"]);
    written(&format!("\u{feff}{good}")).problem("ssh-config-broken", &["byte-order mark", "sed -i"]);
}

#[needs_namespaces]
#[test]
fn an_inline_block_that_is_changed_or_misplaced_is_named() {
    let world = world();
    configure(&world, INLINE);
    world.eic(&["sync"]).ok();
    let good = world.read(".ssh/config");
    doctor(&world, &["prod-web-1"]).all_ok();
    world.write(".ssh/config", &good.replacen("User ec2-user", "User bob", 1));
    doctor(&world, &["prod-web-1"]).problem("include-edited", &["was edited by hand", "[[host]]"]);
    world.write(".ssh/config", &format!("Host x\n{good}"));
    doctor(&world, &["prod-web-1"]).problem("include-misplaced", &["config:2: "]);
}

#[needs_namespaces]
#[test]
fn generated_files_that_are_absent_or_changed_are_named() {
    let world = world();
    world.write(".ssh/eic/hosts", &world.read(".ssh/eic/hosts").replacen("10.0.3.7", "10.0.3.70", 1));
    doctor(&world, &["prod-web-1"]).problem("generated-edited", &["not what the last sync wrote", "ssh-eic sync"]);
    world.eic(&["sync"]).ok();
    doctor(&world, &[]).all_ok();
    fs::remove_file(world.home().join(".ssh/eic/guard")).unwrap();
    doctor(&world, &["prod-web-1"]).problem("generated-missing", &["eic/guard is not there", "ssh-eic sync"]);
}

#[needs_namespaces]
#[test]
fn an_editor_that_reads_another_config_is_noted() {
    let world = world();
    world.write(".config/Code/User/settings.json", "{ // mine\n  \"remote.SSH.configFile\": \"~/.ssh/vscode\",\n}\n");
    let found = doctor(&world, &["prod-web-1"]);
    found.healthy().note("editor-config", &["to ~/.ssh/vscode", "put this at the top of ~/.ssh/vscode: Include "]);
    // One that knows us is nothing to tell.
    world.write(".ssh/vscode", &world.read(".ssh/config"));
    doctor(&world, &["prod-web-1"]).all_ok();
}
