//! The systemd unit and the launchd agent: their commands, run by hand.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use repository::{output, root, text, unit_value};

use crate::world::{World, binary};

const SERVICE: &str = "contrib/systemd/ssh-eic-sync.service";

/// The program where `install.sh` puts it.
fn installed(world: &World) -> PathBuf {
    let program = world.home().join(".local/bin/ssh-eic");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    symlink(binary(), &program).unwrap();
    program
}

fn configured() -> World {
    let world = World::bare();
    let config = world.home().join(".config/ssh-eic/config.toml");
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\n");
    fs::set_permissions(config, fs::Permissions::from_mode(0o600)).unwrap();
    world
}

fn calls(world: &World) -> usize {
    world.sandbox.calls().unwrap().len()
}

#[test]
fn the_service_syncs_with_the_system_calls_of_its_unit() {
    let world = configured();
    let (unit, program) = (text(SERVICE), installed(&world));
    let command = unit_value(&unit, "ExecStart").replace("/usr/bin/ssh-eic", &program.display().to_string());
    let trace = if cfg!(target_os = "linux") { "strace -f -qq -c -U name,errors -o calls " } else { "" };
    let has_strace = output(Command::new("strace").arg("-V")).is_some();
    world.sh(&format!("{}{command}", if has_strace { trace } else { "" })).ok();
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert!(world.read(".ssh/eic/hosts").contains(&program.display().to_string()));
    world.sandbox.clear_calls().unwrap();
    world.sh(&command).ok();
    assert_eq!(calls(&world), 0, "younger than 10 minutes");
    if !has_strace {
        return;
    }
    let mut allowed = Command::new("systemd-analyze");
    let Some(allowed) = output(allowed.args(["syscall-filter", unit_value(&unit, "SystemCallFilter")])) else { return };
    let allowed = all_of(&allowed);
    // The first program of the service is started by systemd itself, and what ends it is never asked for.
    for call in world.read("calls").lines().skip(2).filter_map(|line| line.split_whitespace().next()) {
        let is_summary = matches!(call, "total") || call.starts_with('-');
        assert!(is_summary || allowed.iter().any(|one| one == call), "{call} is not in the unit's SystemCallFilter");
    }
}

/// The system calls of a set, those of sets in it included.
fn all_of(listing: &str) -> Vec<String> {
    let mut all = Vec::new();
    for word in listing.lines().skip(1).map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#')) {
        if word.starts_with('@') {
            let inner = output(Command::new("systemd-analyze").args(["syscall-filter", word])).unwrap_or_default();
            all.extend(all_of(&inner));
        } else {
            all.push(word.to_owned());
        }
    }
    all
}

#[test]
fn an_expired_sign_in_or_a_missing_network_does_not_fail_the_service() {
    let unit = text(SERVICE);
    let fine: Vec<&str> = unit_value(&unit, "SuccessExitStatus").split(' ').collect();
    let world = configured();
    world.write(".aws/credentials", "");
    let signed_out = world.eic(&["--quiet", "sync", "--if-older-than", "10m"]);
    signed_out.fails_with(5);
    let world = configured();
    let off = world.sh("AWS_ENDPOINT_URL=http://127.0.0.1:9 ssh-eic --quiet sync --if-older-than 10m");
    off.fails_with(7);
    for output in [signed_out, off] {
        assert!(fine.contains(&output.code.unwrap().to_string().as_str()) && !output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn the_agent_for_launchd_is_a_plist_whose_command_syncs() {
    let file = root().join("contrib/launchd/ssh-eic.sync.plist");
    let script = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let Some(plist) = output(Command::new("python3").args(["-c", script]).arg(&file)) else { return };
    let plist: serde_json::Value = serde_json::from_str(&plist).unwrap();
    let label = plist["Label"].as_str().unwrap();
    assert_eq!(file.file_name().unwrap().to_str().unwrap(), format!("{label}.plist"), "launchctl looks for it so");
    let command: Vec<&str> = plist["ProgramArguments"].as_array().unwrap().iter().filter_map(|a| a.as_str()).collect();
    let bare = World::bare();
    bare.run(command[0], &command[1..]).ok();
    assert_eq!(calls(&bare), 0, "nobody has set it up");
    let world = configured();
    let program = installed(&world);
    fs::create_dir_all(world.home().join("Library/Logs")).unwrap();
    world.run(command[0], &command[1..]).ok();
    assert!(world.read(".ssh/eic/hosts").contains(&program.display().to_string()));
    assert_eq!(world.read("Library/Logs/ssh-eic.log"), "");
}
