//! Temporary credentials between connections: kept so that a connection costs one call, and dead as soon as what they
//! come from is another thing.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sandbox::{ACCOUNT, Credential, Fail, Instance, Switches};

use crate::sources::{append_aws_config, calls_of, configure, sign_in};
use crate::world::{World, finish, run, spawn};

mod bounds;
mod helper;
mod refresh;
mod sso;
mod web_identity;

const SSO_PROFILE: &str = "[profile signed]\nregion = eu-west-1\nsso_session = corp\n\
    sso_account_id = 111122223333\nsso_role_name = SshUser\n";
const SESSION: &str =
    "[[source]]\nname = \"corp\"\nsso_session = \"corp\"\nrole = \"SshUser\"\nregions = [\"eu-west-1\"]\n";
const ROLE: &str = "[[source]]\nprofile = \"prod\"\nrole_arn = \"arn:aws:iam::111122223333:role/ssh\"\n";

fn folder(world: &World) -> PathBuf {
    world.home().join(".cache/ssh-eic/credentials")
}

/// The files in which credentials are kept.
fn entries(world: &World) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(world)).into_iter().flatten().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

/// The only one.
fn entry(world: &World) -> PathBuf {
    let entries = entries(world);
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries[0].clone()
}

fn forget(world: &World) {
    let _ = fs::remove_dir_all(folder(world));
}

/// A sync has been and nothing is kept: the next connection is a cold one.
fn cold(source: &str, aws_config: &str) -> World {
    let world = World::bare();
    sign_in(&world, &[(ACCOUNT, "prod", &["SshUser", "Other"])]);
    append_aws_config(&world, aws_config);
    configure(&world, source);
    world.eic(&["sync"]).ok();
    forget(&world);
    world.sandbox.clear_calls().unwrap();
    world
}

fn signed() -> World {
    cold("[[source]]\nprofile = \"signed\"\n", SSO_PROFILE)
}

/// Logs in, and says which calls that took.
fn calls(world: &World, host: &str) -> Vec<String> {
    world.sandbox.clear_calls().unwrap();
    world.ssh(&[host, "true"]).ok();
    world.sandbox.calls().unwrap().into_iter().map(|call| call.action).collect()
}

/// The key that signed the last push.
fn signer(world: &World) -> String {
    world.pushes().pop().expect("a push").access_key_id
}

const PUSH: &str = "SendSSHPublicKey";
const FETCH: &str = "GetRoleCredentials";

#[test]
fn the_second_connection_costs_one_call() {
    for (source, aws_config, first) in [
        ("[[source]]\nprofile = \"signed\"\n", SSO_PROFILE, [FETCH, PUSH]),
        (SESSION, "", [FETCH, PUSH]),
        (ROLE, "", ["AssumeRole", PUSH]),
    ] {
        let world = cold(source, aws_config);
        assert_eq!(calls(&world, "prod-web-1"), first, "{source}");
        assert_eq!(calls(&world, "prod-web-2"), [PUSH], "{source}");
    }
}

#[test]
fn the_second_connection_costs_one_call_also_for_a_role_of_the_aws_config() {
    for (base, first) in [("prod", vec!["AssumeRole", PUSH]), ("signed", vec![FETCH, "AssumeRole", PUSH])] {
        let role = format!(
            "{SSO_PROFILE}[profile role]\nregion = eu-west-1\n\
             role_arn = arn:aws:iam::111122223333:role/ssh\nsource_profile = {base}\n"
        );
        let world = cold("[[source]]\nprofile = \"role\"\n", &role);
        assert_eq!(calls(&world, "prod-web-1"), first, "on top of {base}");
        assert_eq!(calls(&world, "prod-web-2"), [PUSH], "on top of {base}");
    }
}

#[test]
fn a_sync_caches_the_credentials_for_the_first_connection() {
    for (source, aws_config) in [("[[source]]\nprofile = \"signed\"\n", SSO_PROFILE), (SESSION, ""), (ROLE, "")] {
        let world = cold(source, aws_config);
        world.eic(&["sync"]).ok();
        assert_eq!(calls(&world, "prod-web-1"), [PUSH], "{source}");
    }
}

#[test]
fn cached_credentials_are_readable_by_their_owner_only() {
    for source in [SESSION, ROLE] {
        let world = cold(source, "");
        world.ssh(&["prod-web-1", "true"]).ok();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder(&world)), 0o700);
        for file in fs::read_dir(folder(&world)).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
        assert!(!entries(&world).is_empty(), "{source}");
    }
}

/// Files below the home that hold the secret, but for those of AWS and the test.
fn files_with(world: &World, secret: &str) -> String {
    world.sh(&format!("grep -rlF --exclude-dir=.aws --exclude-dir=mine -e '{secret}' . || :")).ok().to_owned()
}

#[test]
fn long_lived_keys_and_those_of_the_environment_are_never_written() {
    let world = World::new();
    let secret = world.sandbox.credential("prod").unwrap().secret_access_key.clone();
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(files_with(&world, &secret), "");
    assert!(entries(&world).is_empty());

    let world = World::bare();
    let session = Credential {
        session_token: Some("token-of-the-environment".to_owned()),
        ..Credential::long_lived("ASIAENVIRONMENT0TEST", ACCOUNT, "alice")
    };
    world.sandbox.add_credential(session.clone()).unwrap();
    configure(&world, "[[source]]\nregions = [\"eu-west-1\"]\n");
    let exported = |mut command: Command| {
        command.envs([
            ("AWS_ACCESS_KEY_ID", session.access_key_id.as_str()),
            ("AWS_SECRET_ACCESS_KEY", &session.secret_access_key),
            ("AWS_SESSION_TOKEN", "token-of-the-environment"),
        ]);
        run(command)
    };
    let mut sync = world.sandbox.command("ssh-eic");
    sync.arg("sync");
    exported(sync).ok();
    exported(world.ssh_command(&["prod-web-1", "true"])).ok();
    assert_eq!(signer(&world), session.access_key_id);
    for secret in [session.secret_access_key.as_str(), "token-of-the-environment"] {
        assert_eq!(files_with(&world, secret), "");
    }
}

#[test]
fn credentials_of_a_program_are_never_written() {
    let world = World::bare();
    let given = Credential {
        session_token: Some("token-of-a-program".to_owned()),
        ..Credential::long_lived("ASIAPROGRAM000000TST", ACCOUNT, "alice")
    };
    world.sandbox.add_credential(given.clone()).unwrap();
    let json = serde_json::json!({
        "Version": 1, "AccessKeyId": given.access_key_id, "SecretAccessKey": given.secret_access_key,
        "SessionToken": given.session_token, "Expiration": "2099-01-01T00:00:00Z",
    });
    world.write("mine/given.json", &json.to_string());
    let program = format!("cat {}", world.home().join("mine/given.json").display());
    append_aws_config(&world, &format!("[profile program]\nregion = eu-west-1\ncredential_process = {program}\n"));
    configure(&world, "[[source]]\nprofile = \"program\"\n");
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(signer(&world), given.access_key_id);
    for secret in [given.secret_access_key.as_str(), "token-of-a-program"] {
        assert_eq!(files_with(&world, secret), "");
    }
}

#[test]
fn nothing_is_cached_if_the_cache_is_disabled() {
    let world = cold(&format!("{SESSION}[limits]\ncredential_cache = false\n"), "");
    for host in ["prod-web-1", "prod-web-2"] {
        assert_eq!(calls(&world, host), [FETCH, PUSH]);
    }
    world.eic(&["sync"]).ok();
    assert!(!folder(&world).exists(), "{:?}", entries(&world));
    assert_eq!(files_with(&world, "session-of-"), "");
}

#[test]
fn a_changed_role_in_the_aws_config_does_not_use_the_cached_credentials() {
    let world = signed();
    world.ssh(&["prod-web-1", "true"]).ok();
    let first = signer(&world);
    let changed = world.read(".aws/config").replace("sso_role_name = SshUser", "sso_role_name = Other");
    world.write(".aws/config", &changed);
    assert_eq!(calls(&world, "prod-web-2"), [FETCH, PUSH]);
    assert_ne!(signer(&world), first);
    assert_eq!(calls_of(&world, FETCH)[0].params["role_name"].as_str(), Some("Other"));

    let role = |name: &str| ROLE.replace("role/ssh", &format!("role/{name}"));
    let world = cold(&role("one"), "");
    world.ssh(&["prod-web-1", "true"]).ok();
    configure(&world, &role("two"));
    assert_eq!(calls(&world, "prod-web-2"), ["AssumeRole", PUSH]);
}

#[test]
fn ten_connections_at_once_fetch_credentials_once() {
    let world = World::bare();
    sign_in(&world, &[(ACCOUNT, "prod", &["SshUser"])]);
    let more = (0..8).map(|n| Instance::new(&format!("prod-app-{n}")).address(format!("10.9.0.{n}"))).collect();
    world.sandbox.add_many(more).unwrap();
    configure(&world, SESSION);
    world.eic(&["sync"]).ok();
    forget(&world);
    world.sandbox.clear_calls().unwrap();
    let latency_ms = [(FETCH.to_owned(), 300)].into();
    world.switch(Switches { latency_ms, ..Switches::default() });
    let start = Instant::now();
    let names = world.eic(&["list", "--names"]).ok().to_owned();
    let children: Vec<_> = names.lines().map(|name| spawn(&mut world.ssh_command(&[name, "true"]))).collect();
    assert_eq!(children.len(), 10);
    for (child, name) in children.into_iter().zip(names.lines()) {
        finish(child, format!("ssh {name} true"), start).ok();
    }
    assert_eq!((calls_of(&world, FETCH).len(), world.pushes().len()), (1, 10));
}

/// Lets the kept credentials end in so many seconds, as far as the file says.
fn end_in(world: &World, seconds: u64) {
    let path = entry(world);
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(kept["expires"].as_u64().unwrap() > now + 600, "{kept}");
    kept["expires"] = (now + seconds).into();
    fs::write(&path, kept.to_string()).unwrap();
}

#[test]
fn credentials_are_renewed_before_they_end() {
    for seconds in [60, 200] {
        let world = signed();
        world.ssh(&["prod-web-1", "true"]).ok();
        let first = signer(&world);
        end_in(&world, seconds);
        assert_eq!(calls(&world, "prod-web-2"), [FETCH, PUSH]);
        assert_ne!(signer(&world), first);
        assert_eq!(entries(&world).len(), 1, "in the place of the old ones");
    }
}

#[test]
fn credentials_that_cannot_be_renewed_are_used_until_they_expire() {
    let world = signed();
    world.ssh(&["prod-web-1", "true"]).ok();
    let first = signer(&world);
    end_in(&world, 240);
    let fault = Fail::new(503, "Unavailable");
    let fail = [(FETCH.to_owned(), fault)].into();
    world.switch(Switches { fail, ..Switches::default() });
    world.ssh(&["prod-web-2", "true"]).ok();
    assert_eq!(signer(&world), first);
    end_in_past(&world);
    let web = Instance::new("prod-web-3").address("10.9.1.1");
    let id = world.sandbox.add(web).unwrap();
    world.ssh(&[&id, "true"]).fails_with(255);
}

fn end_in_past(world: &World) {
    let path = entry(world);
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    kept["expires"] = 1_000_000_000.into();
    fs::write(&path, kept.to_string()).unwrap();
}

#[test]
fn credentials_that_aws_rejects_are_fetched_again_immediately() {
    let world = signed();
    world.ssh(&["prod-web-1", "true"]).ok();
    let first = signer(&world);
    world.expire(&first.clone());
    assert_eq!(calls(&world, "prod-web-2"), [PUSH, FETCH, PUSH]);
    assert_ne!(signer(&world), first);
}

#[test]
fn expired_keys_behind_a_role_are_reported_as_expired() {
    let world = cold(ROLE, "");
    let expired = Some(vec![world.access_key("prod")]);
    world.switch(Switches { expired, ..Switches::default() });
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says("profile \"prod\"").says("expired");
    assert!(!output.stderr.contains("Error {"), "the library's own words\n{output}");
}

#[test]
fn an_entry_that_is_damaged_or_that_others_could_have_written_is_replaced() {
    let world = signed();
    world.ssh(&["prod-web-1", "true"]).ok();
    let path = entry(&world);
    let whole = fs::read(&path).unwrap();
    let set_mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    let damage: [(&str, &dyn Fn()); 4] = [
        ("cut short", &|| fs::write(&path, &whole[..whole.len() / 2]).unwrap()),
        ("empty", &|| fs::write(&path, "").unwrap()),
        ("not text", &|| fs::write(&path, [0xff, 0xfe, 0]).unwrap()),
        ("writable by others", &|| set_mode(0o666)),
    ];
    for (what, damage) in damage {
        damage();
        for name in fs::read_dir(world.eic_folder().join("keys")).unwrap().flatten() {
            // The push of before does not count any more.
            if name.path().extension().is_some_and(|extension| extension == "push") {
                fs::remove_file(name.path()).unwrap();
            }
        }
        assert_eq!(calls(&world, "prod-web-1"), [FETCH, PUSH], "{what}");
        assert_eq!(entry(&world), path, "{what}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{what}");
        assert_eq!(calls(&world, "prod-web-2").last().map(String::as_str), Some(PUSH), "{what}");
    }
}
