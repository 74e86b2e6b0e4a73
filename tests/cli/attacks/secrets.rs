//! Secrets are where they belong and nowhere else: not in output, files, command lines or core dumps.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use crate::sources::{TOKEN, configure, sign_in};
use crate::world::{World, finish, run, spawn, wait_until};

const CONFIG: &str = "[[source]]
name = \"corp\"
sso_session = \"corp\"
accounts = [\"*\"]
role = [\"SshUser\"]
regions = [\"eu-west-1\"]
";

/// A world whose credentials come from an SSO session.
fn signed_in() -> World {
    let world = World::bare();
    sign_in(&world, &[("111122223333", "prod", &["SshUser"])]);
    configure(&world, CONFIG);
    world.eic(&["sync"]).ok();
    world
}

/// The secret keys and session tokens in the cache, and the token of the sign-in.
fn secrets(world: &World) -> Vec<String> {
    let mut secrets = vec![TOKEN.to_owned()];
    let folder = world.home().join(".cache/ssh-eic/credentials");
    for entry in fs::read_dir(folder).expect("the cache").flatten() {
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&fs::read(entry.path()).unwrap()) else { continue };
        for key in ["secret_key", "session_token"] {
            secrets.extend(value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned));
        }
    }
    assert!(secrets.len() >= 3, "nothing is in the cache: {secrets:?}");
    secrets
}

/// Files below the home that may not have a secret: all but the AWS CLI's, the cache of credentials and the keys.
fn other_files(world: &World) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![world.home().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_expected = [".aws", ".cache/ssh-eic/credentials", ".ssh/eic/keys"]
                .iter()
                .any(|expected| path == world.home().join(expected));
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() && !is_expected {
                folders.push(path);
            } else if metadata.is_file() {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn no_secret_is_shown_or_kept_where_it_does_not_belong() {
    let world = signed_in();
    world.hold("SendSSHPublicKey");
    let mut command = world.ssh_command(&["-vvv", "prod-web-1", "true"]);
    command.env("SSH_EIC_LOG", "debug").stdin(Stdio::null());
    let start = Instant::now();
    let child = spawn(&mut command);
    wait_until("nothing was pushed", || world.sandbox.has_arrived("SendSSHPublicKey"));
    let command_lines = world.survivors().join("\n");
    world.release_held();
    let mut shown = vec![command_lines];
    let output = finish(child, "ssh -vvv".to_owned(), start);
    output.ok();
    shown.push(output.to_string());
    for args in [
        &["-vv", "sync"][..],
        &["-vv", "push", "prod-web-1"],
        &["-vv", "doctor", "prod-web-1"],
        &["list", "--json"],
        &["-vv", "policy"],
    ] {
        let mut command = world.sandbox.command("ssh-eic");
        command.args(args).env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace");
        shown.push(run(command).to_string());
    }
    // A failure shows more than a success.
    world.deny("SendSSHPublicKey");
    shown.push(world.eic(&["-vv", "push", "prod-web-1"]).to_string());
    let shown = shown.join("\n");
    let secrets = secrets(&world);
    for secret in secrets.iter().map(String::as_str).chain(["PRIVATE KEY", "AWS4-HMAC-SHA256"]) {
        let context = shown.find(secret).map(|at| &shown[at.saturating_sub(200)..at]);
        assert_eq!(context, None, "a secret is shown");
        for path in other_files(&world) {
            let bytes = fs::read(&path).unwrap_or_default();
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{} has a secret", path.display());
        }
    }
}

#[test]
fn processes_with_credentials_write_no_core_dump() {
    let world = World::new();
    world.hold("SendSSHPublicKey");
    let ssh = if world.sandbox.form() == sandbox::Form::Namespaces { "ssh" } else { "ssh -F ~/.ssh/config" };
    let mut command = world.sandbox.command("bash");
    command.args(["-c", &format!("ulimit -c unlimited; exec {ssh} prod-web-1 true")]).stdin(Stdio::null());
    let start = Instant::now();
    let child = spawn(&mut command);
    wait_until("nothing was pushed", || world.sandbox.has_arrived("SendSSHPublicKey"));
    let workers: Vec<PathBuf> = world
        .processes()
        .into_iter()
        .filter(|(_, line)| line.trim_end().ends_with(" worker"))
        .map(|(path, _)| path)
        .collect();
    assert!(!workers.is_empty(), "{:?}", world.survivors());
    for worker in workers {
        let limits = fs::read_to_string(worker.join("limits")).unwrap_or_default();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
        assert_eq!(core.split_whitespace().next(), Some("0"), "{limits}");
    }
    world.release_held();
    finish(child, "ssh".to_owned(), start).ok();
}
