//! A profile's `credential_process`: what it is given, what it leaves behind, and what of it is shown.

use std::fs;
use std::time::{Duration, Instant};

use crate::sources::{append_aws_config, calls_of, configure};
use crate::world::{CommandOutput, World, run};

/// A synced world whose profile `program` has this script as its helper; `$KEYS` is a file with the answer.
fn with_helper(script: &str) -> World {
    let world = World::bare();
    let key = world.sandbox.credential("prod").unwrap().clone();
    let json = serde_json::json!({
        "Version": 1, "AccessKeyId": key.access_key_id, "SecretAccessKey": key.secret_access_key,
        "SessionToken": key.session_token, "Expiration": "2099-01-01T00:00:00Z",
    });
    world.write("mine/keys.json", &json.to_string());
    helper(&world, "cat mine/keys.json");
    let path = world.home().join("mine/helper");
    append_aws_config(
        &world,
        &format!("[profile program]\nregion = eu-west-1\ncredential_process = sh '{}'\n", path.display()),
    );
    configure(&world, "[[source]]\nprofile = \"program\"\n");
    world.eic(&["sync"]).ok();
    helper(&world, script);
    world
}

fn helper(world: &World, script: &str) {
    world.write("mine/helper", &format!("cd '{}'\n{script}\n", world.home().display()));
}

fn push(world: &World) -> CommandOutput {
    world.eic(&["push", "prod-web-1"])
}

/// Whether a process with this id is still there.
fn lives(pid: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn a_helper_that_reads_its_stdin_gets_nothing_and_does_not_hang() {
    let world = with_helper("read line; echo \"$?$line\" > mine/read; cat mine/keys.json");
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(world.read("mine/read").trim(), "1");
    push(&world).ok();
}

#[test]
fn a_helper_ends_with_the_process_that_started_it() {
    let world = with_helper("echo $$ > mine/pid; sleep 300 & echo $! > mine/child; wait");
    for signal in ["TERM", "KILL", "INT"] {
        let script = format!(
            "rm -f mine/child; set -m; ssh-eic push prod-web-1 & for i in $(seq 300); do \
             [ -s mine/child ] && break; sleep 0.1; done; kill -{signal} -- -$!; wait; true"
        );
        world.sh(&script).ok();
        let start = Instant::now();
        for file in ["mine/pid", "mine/child"] {
            let pid = world.read(file);
            while lives(pid.trim()) {
                assert!(start.elapsed() < Duration::from_secs(30), "{file} {pid} outlived SIG{signal}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn the_stderr_of_a_helper_is_not_printed() {
    let world = with_helper("echo 'wrong password hunter2' >&2; exit 3");
    for args in [vec!["-vv", "push", "prod-web-1"], vec!["-vv", "sync"]] {
        let output = world.eic(&args);
        output.says("profile \"program\"").says("status 3").says("aws sts get-caller-identity --profile program");
        assert!(!output.stderr.contains("hunter2"), "{output}");
    }
    let output = world.ssh(&["-v", "prod-web-1", "true"]);
    assert!(!output.stderr.contains("hunter2"), "{output}");
}

#[test]
fn invalid_output_of_a_helper_is_reported_without_its_content() {
    for (output, says) in [
        ("hunter2", "not JSON"),
        (r#"{"Version":2,"AccessKeyId":"A","SecretAccessKey":"hunter2"}"#, "Version"),
        (r#"{"Version":1,"SecretAccessKey":"hunter2"}"#, "AccessKeyId"),
        (r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"hunter2","Expiration":"soon"}"#, "Expiration"),
    ] {
        let world = with_helper(&format!("echo '{output}'"));
        let output = world.eic(&["-vv", "push", "prod-web-1"]);
        output.says("credential_process").says(says);
        assert!(output.code != Some(0) && !output.stderr.contains("hunter2"), "{output}");
    }
}

#[test]
fn a_helper_whose_output_does_not_end_is_stopped() {
    let world = with_helper("echo $$ > mine/pid; exec yes");
    push(&world).says("credential_process");
    let (pid, start) = (world.read("mine/pid"), Instant::now());
    while lives(pid.trim()) {
        assert!(start.elapsed() < Duration::from_secs(30), "{pid} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_helper_that_hangs_is_ended_at_the_timeout() {
    let world = with_helper("echo $$ > mine/pid; sleep 300 & echo $! > mine/child; wait");
    push(&world).says("returned no credentials within 20 s");
    let start = Instant::now();
    for file in ["mine/pid", "mine/child"] {
        let pid = world.read(file);
        while lives(pid.trim()) {
            assert!(start.elapsed() < Duration::from_secs(30), "{file} {pid} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_helper_is_the_base_of_roles_and_of_the_profile_that_the_environment_selects() {
    let world = with_helper("echo run >> mine/runs; cat mine/keys.json");
    append_aws_config(
        &world,
        "[profile role]\nregion = eu-west-1\nrole_arn = arn:aws:iam::111122223333:role/ssh\n\
         source_profile = program\nrole_session_name = alice\n",
    );
    configure(&world, "[[source]]\nprofile = \"role\"\n");
    world.eic(&["sync"]).ok();
    let assumed = calls_of(&world, "AssumeRole");
    assert_eq!(assumed.len(), 1);
    assert_eq!(assumed[0].access_key_id, world.access_key("prod"));
    assert_eq!(assumed[0].params["RoleSessionName"], "alice");

    let runs = || world.read("mine/runs").lines().count();
    configure(&world, "[[source]]\nregions = [\"eu-west-1\"]\n");
    let sync = |keys: bool| {
        let mut command = world.sandbox.command("ssh-eic");
        command.arg("sync").env("AWS_PROFILE", "program");
        let key = world.sandbox.credential("prod").unwrap();
        if keys {
            command.env("AWS_ACCESS_KEY_ID", &key.access_key_id);
            command.env("AWS_SECRET_ACCESS_KEY", &key.secret_access_key);
        }
        run(command).ok();
    };
    let before = runs();
    sync(false);
    assert_eq!(runs(), before + 1);
    // Exported keys come before the profile.
    sync(true);
    assert_eq!(runs(), before + 1);
}
