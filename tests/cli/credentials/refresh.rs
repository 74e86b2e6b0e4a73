//! Refreshing an SSO access token: once for all processes, and without losing the sign-in.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sandbox::{Account, Fail, Instance, SignIn, Switches};

use super::forget;
use crate::sources::{append_aws_config, calls_of, configure, sign_in};
use crate::world::{World, finish, spawn};

const ACCOUNTS: usize = 10;

fn account(number: usize) -> String {
    format!("{:012}", 200_000_000_000 + number)
}

/// Ten accounts of one session with an instance each, synced, with an expired token that can be refreshed.
fn ten_accounts(switches: Switches) -> World {
    let world = World::bare();
    sign_in(&world, &[]);
    for number in 0..ACCOUNTS {
        let instance = Instance::new(&format!("host-{number}")).account(account(number));
        world.sandbox.add(instance.address(format!("10.8.0.{number}"))).unwrap();
    }
    let profile = |number| {
        format!(
            "[profile p{number}]\nregion = eu-west-1\nsso_session = corp\nsso_account_id = {}\n\
             sso_role_name = SshUser\n",
            account(number)
        )
    };
    let source = |number| format!("[[source]]\nprofile = \"p{number}\"\n");
    let config = (0..ACCOUNTS).map(profile).collect::<Vec<_>>().concat();
    let sources = (0..ACCOUNTS).map(source).collect::<Vec<_>>().concat();
    append_aws_config(&world, &config);
    configure(&world, &sources);
    token(&world, "valid", 3600);
    world.eic(&["sync"]).ok();
    forget(&world);
    token(&world, "old", -5);
    world.sandbox.clear_calls().unwrap();
    world.switch(switches);
    world
}

fn token(world: &World, access_token: &str, seconds: i64) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let accounts = (0..ACCOUNTS).map(|number| Account {
        id: account(number),
        name: format!("account-{number}"),
        roles: vec!["SshUser".to_owned()],
    });
    let sign_in = SignIn {
        access_token: access_token.to_owned(),
        refresh_token: format!("refresh-{access_token}"),
        expires: Some(now + seconds),
        accounts: accounts.collect(),
    };
    world.sandbox.sign_in("corp", sign_in).unwrap();
}

fn token_file(world: &World) -> PathBuf {
    let files = fs::read_dir(world.home().join(".aws/sso/cache")).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "json")).unwrap()
}

fn slow_refresh() -> Switches {
    Switches {
        latency_ms: [("CreateToken".to_owned(), 1500)].into(),
        rotate_refresh_tokens: Some(true),
        ..Switches::default()
    }
}

/// Polls instead of sleeping, with a generous limit.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_mins(1), "waited for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn ten_accounts_at_once_refresh_the_token_once() {
    let world = ten_accounts(slow_refresh());
    let start = Instant::now();
    let hosts: Vec<String> = (0..ACCOUNTS).map(|number| format!("host-{number}")).collect();
    let children: Vec<_> = hosts.iter().map(|host| spawn(&mut world.ssh_command(&[host, "true"]))).collect();
    for (child, host) in children.into_iter().zip(&hosts) {
        finish(child, format!("ssh {host} true"), start).ok();
    }
    assert_eq!(calls_of(&world, "CreateToken").len(), 1);
    assert_eq!(world.pushes().len(), ACCOUNTS);
}

#[test]
fn the_refreshed_token_is_written_and_other_fields_of_its_file_are_kept() {
    let world = ten_accounts(Switches { rotate_refresh_tokens: Some(true), ..Switches::default() });
    let path = token_file(&world);
    let mut old: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    old["scopes"] = serde_json::json!(["sso:account:access"]);
    fs::write(&path, old.to_string()).unwrap();
    world.ssh(&["host-0", "true"]).ok();
    let new: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_ne!(new["accessToken"], old["accessToken"]);
    assert_ne!(new["refreshToken"], old["refreshToken"]);
    for key in ["clientId", "clientSecret", "registrationExpiresAt", "region", "startUrl", "scopes"] {
        assert_eq!(new[key], old[key], "{key}");
    }
    // The format of the AWS CLI: 2026-01-31T12:00:00Z.
    let end = new["expiresAt"].as_str().unwrap();
    assert!(end.len() == 20 && end.ends_with('Z'), "{end}");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    world.eic(&["remove"]).ok();
    let left = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(left.collect::<Vec<_>>(), [path], "the token alone");
}

#[test]
fn a_refresh_that_has_started_finishes_although_its_connection_is_killed() {
    let world = ten_accounts(slow_refresh());
    let old = fs::read(token_file(&world)).unwrap();
    let mut child = world.ssh_command(&["host-0", "true"]).stdin(Stdio::piped()).spawn().unwrap();
    wait_until("the request", || world.sandbox.has_arrived("CreateToken"));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the new token", || fs::read(token_file(&world)).unwrap() != old);
    world.ssh(&["host-1", "true"]).ok();
    assert_eq!(calls_of(&world, "CreateToken").len(), 1);
}

#[test]
fn a_refresh_that_is_interrupted_before_its_response_keeps_the_sign_in() {
    for signal in ["INT", "HUP", "KILL"] {
        let world = ten_accounts(slow_refresh());
        let old = fs::read(token_file(&world)).unwrap();
        let mut command = world.sandbox.command("bash");
        command.args(["-c", &format!("set -m; ssh-eic push host-2 & read line; kill -{signal} -- -$!; wait; true")]);
        let mut shell = command.stdin(Stdio::piped()).spawn().unwrap();
        wait_until("the request", || world.sandbox.has_arrived("CreateToken"));
        drop(shell.stdin.take());
        shell.wait().unwrap();
        wait_until("the new token", || fs::read(token_file(&world)).unwrap() != old);
        world.ssh(&["host-1", "true"]).ok();
        assert_eq!(calls_of(&world, "CreateToken").len(), 1, "after SIG{signal}");
    }
}

#[test]
fn a_token_that_another_program_has_refreshed_meanwhile_is_used() {
    // The AWS CLI does not take this lock: its refresh can come first, and this one is then refused.
    let world = ten_accounts(slow_refresh());
    let fail = Fail::new(400, "InvalidGrantException");
    world.fail("CreateToken", fail);
    let child = spawn(&mut world.ssh_command(&["host-0", "true"]));
    let start = Instant::now();
    wait_until("the request", || world.sandbox.has_arrived("CreateToken"));
    token(&world, "by-another-program", 3600);
    finish(child, "ssh host-0 true".to_owned(), start).ok();
}

#[test]
fn a_refresh_that_is_refused_is_reported_as_a_session_that_has_expired() {
    let world = ten_accounts(Switches::default());
    let fail = Fail::new(400, "InvalidGrantException");
    world.fail("CreateToken", fail);
    let output = world.ssh(&["host-0", "true"]);
    output.fails_with(255).says("the SSO session \"corp\" has expired").says("aws sso login --sso-session corp");
    let fail = Fail::new(503, "Unavailable");
    world.fail("CreateToken", fail);
    let output = world.ssh(&["host-1", "true"]);
    output.fails_with(255).says("Identity Center");
    assert!(!output.stderr.contains("aws sso login"), "{output}");
}

#[test]
fn a_token_that_is_about_to_expire_is_refreshed() {
    let world = ten_accounts(Switches::default());
    token(&world, "short", 120);
    world.ssh(&["host-0", "true"]).ok();
    world.ssh(&["host-1", "true"]).ok();
    assert_eq!(calls_of(&world, "CreateToken").len(), 1);
}

/// The AWS CLI creates its cache folder with the umask: 0775 with umask 002.
#[test]
fn a_group_writable_cache_folder_of_the_aws_cli_does_not_prevent_a_refresh() {
    let world = ten_accounts(Switches::default());
    world.sh("chmod 0775 .aws .aws/sso .aws/sso/cache").ok();
    world.ssh(&["host-0", "true"]).ok();
    assert_eq!(calls_of(&world, "CreateToken").len(), 1);
}
