//! How often an instance's sshd looks a key up for one login (`AuthorizedKeysCommand`), and what depends on it: the encoding
//! of private keys, and a change of the ssh client.
//!
//! `SSH_EIC_TEST_SSH` names a folder with an OpenSSH client of 9.8 or newer, built with OpenSSL. Without it the tests that
//! need such a client use the installed one, or are skipped with a message if it is older.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use sandbox::{Switches, needs_namespaces};

use crate::inventory::{ansible, has};
use crate::world::World;

const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----\n";

/// The sshd of every instance runs an `AuthorizedKeysCommand` from now on.
fn look_keys_up_by_command(world: &World) {
    world.switch(Switches { key_command_ms: Some(20), ..Switches::default() });
}

fn use_rsa_keys(world: &World) {
    let path = ".config/ssh-eic/config.toml";
    let config = world.read(path).replace("\n[[source]]\n", "\n[[source]]\nkey_type = \"rsa\"\n");
    assert!(config.contains("rsa"), "{config}");
    world.write(path, &config);
    world.eic(&["sync"]).ok();
    world.sandbox.clear_calls().unwrap();
}

fn forget_keys(world: &World) {
    world.sh("rm -f ~/.ssh/eic/keys/*").ok();
}

/// The client on PATH, as the last sync has checked it.
fn reads_pkcs8(world: &World) -> bool {
    let index = world.read(".local/state/ssh-eic/index");
    let header: serde_json::Value = serde_json::from_str(index.lines().next().unwrap()).unwrap();
    header["client"]["reads_pkcs8"].as_bool().expect("a checked client")
}

/// The folder of a client that reads Ed25519 keys in PKCS#8, and a world that uses it.
fn newer_client(test: &str) -> Option<(PathBuf, World)> {
    if let Some(folder) = std::env::var_os("SSH_EIC_TEST_SSH").map(PathBuf::from) {
        let world = World::with_client(&folder);
        assert!(reads_pkcs8(&world), "the client in {} does not read PKCS#8", folder.display());
        return Some((folder, world));
    }
    let world = World::new();
    if reads_pkcs8(&world) {
        return Some((PathBuf::from(world.sh("dirname $(command -v ssh)").ok().trim()), world));
    }
    eprintln!("SKIPPED {test}: the installed ssh does not read PKCS#8, and SSH_EIC_TEST_SSH names no other one");
    None
}

/// The logins of an instance so far, and how often its sshd has looked a key up.
fn logins_and_lookups(world: &World, id: &str) -> (usize, usize) {
    let log = world.sandbox.sshd_log(id);
    (log.matches("Accepted publickey for").count(), world.sandbox.key_lookups(id))
}

/// Logs in to both hosts in every way that is available here: one lookup for each login.
fn assert_one_lookup_per_login(world: &World) {
    look_keys_up_by_command(world);
    let (web1, web2) = (&world.web1, &world.web2);
    let is = |id: &str, logins: usize, what: &str| {
        assert_eq!(logins_and_lookups(world, id), (logins, logins), "{what}\n{}", world.sandbox.sshd_log(id));
    };
    world.ssh(&["prod-web-1", "true"]).ok();
    is(web1, 1, "cold");
    world.ssh(&["prod-web-1", "true"]).ok();
    is(web1, 2, "warm");
    for (round, what) in [(1, "the hook pushes a new key"), (2, "the hook pushes nothing")] {
        world.ssh(&["-J", "prod-web-1", "prod-web-2", "true"]).ok();
        is(web1, 2 + round, what);
        is(web2, round, what);
    }
    let mut logins = 2;
    if has(world, &["mosh", "script"]) {
        let session = "stty rows 24 cols 80; mosh prod-web-2 -- sh -c 'echo; sleep 1'";
        let script = format!("export TERM=xterm LC_ALL=C.UTF-8; script -qec \"{session}\" typescript");
        for what in ["warm, by mosh", "cold, by mosh"] {
            world.sh(&script).ok();
            logins += 1;
            is(web2, logins, what);
            forget_keys(world);
        }
    }
    if has(world, &["ansible"]) {
        world.eic(&["inventory", "--list"]).ok();
        let before = [web1, web2].map(|id| logins_and_lookups(world, id).0);
        let ping = ansible(world, "ansible", &["all", "-m", "ping"]);
        assert_eq!(ping.ok().matches("\"ping\": \"pong\"").count(), 2, "{ping}");
        for (id, before) in [web1, web2].into_iter().zip(before) {
            let (logins, lookups) = logins_and_lookups(world, id);
            assert!(logins > before && lookups == logins, "Ansible: {lookups} lookups, {logins} logins");
        }
    }
}

#[needs_namespaces]
#[test]
fn an_rsa_key_is_looked_up_once_for_each_login() {
    let world = World::new();
    use_rsa_keys(&world);
    assert_one_lookup_per_login(&world);
    let key = world.read(&format!(".ssh/eic/keys/{}", world.web2));
    assert!(key.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"), "{key}");
}

#[cfg(not(feature = "fips"))]
#[needs_namespaces]
#[test]
fn an_ed25519_key_is_looked_up_once_for_each_login_of_a_newer_client() {
    let Some((_, world)) = newer_client("an_ed25519_key_is_looked_up_once_for_each_login_of_a_newer_client") else {
        return;
    };
    assert_one_lookup_per_login(&world);
    let key = world.read(&format!(".ssh/eic/keys/{}", world.web2));
    assert!(key.starts_with(PKCS8), "{key}");
}

/// Older clients load the public half from the same bytes as the private key: there is no file that has only
/// the private key for them.
#[cfg(not(feature = "fips"))]
#[test]
fn an_older_client_looks_an_ed25519_key_up_twice_when_it_is_warm() {
    let world = World::new();
    if reads_pkcs8(&world) {
        eprintln!("SKIPPED: the installed ssh reads PKCS#8");
        return;
    }
    look_keys_up_by_command(&world);
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(logins_and_lookups(&world, &world.web1), (1, 1), "cold");
    assert!(world.read(&format!(".ssh/eic/keys/{}", world.web1)).starts_with(OPENSSH));
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(logins_and_lookups(&world, &world.web1), (2, 3), "warm");
}

#[cfg(not(feature = "fips"))]
#[test]
fn a_client_that_rejects_pkcs8_gets_openssh_s_format_and_is_checked_once() {
    let mut world = World::bare();
    // As on macOS: new enough, and its libcrypto has no Ed25519.
    let version = "if [ \"$1\" = -V ]; then echo OpenSSH_9.9p2, LibreSSL 3.3.6 >&2; exit; fi";
    world.write("bin/ssh", &format!("#!/bin/sh\n{version}\nexec \"$(command -pv ssh)\" \"$@\"\n"));
    world.write(
        "bin/ssh-keygen",
        "#!/bin/sh\necho \"$*\" >>\"$HOME/checks\"\necho 'Load key \"x\": invalid format' >&2\nexit 255\n",
    );
    world.sh("chmod +x bin/*").ok();
    let folder = world.home().join("bin");
    world.sandbox.path_with(&folder);
    world.eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
    assert!(!reads_pkcs8(&world));
    world.eic(&["sync"]).ok();
    let checks = world.read("checks");
    assert_eq!(checks.lines().count(), 1, "{checks}");
    assert!(checks.starts_with("-y -P  -f "), "{checks}");
    world.ssh(&["prod-web-1", "true"]).ok();
    assert!(world.read(&format!(".ssh/eic/keys/{}", world.web1)).starts_with(OPENSSH));
    // Another build at the same path is another client.
    let replaced = world.read("bin/ssh") + "\n";
    world.write("bin/ssh", &replaced);
    world.eic(&["sync"]).ok();
    assert_eq!(world.read("checks").lines().count(), 2);
}

/// RFC 8410, section 10.3.
#[cfg(not(feature = "fips"))]
const RFC_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
#[cfg(not(feature = "fips"))]
const RFC_PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBm/RAlphM3+hUG6wWfcO5bIUIaqMLa2ywxcOK1wMWbh";

#[cfg(not(feature = "fips"))]
#[test]
fn a_key_of_a_newer_client_is_rewritten_as_the_same_key_for_an_older_one() {
    let world = World::new();
    if reads_pkcs8(&world) {
        eprintln!("SKIPPED: the installed ssh reads PKCS#8");
        return;
    }
    let path = format!(".ssh/eic/keys/{}", world.web1);
    world.write(&path, RFC_KEY);
    fs::set_permissions(world.home().join(&path), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert!(world.read(&path).starts_with(OPENSSH), "{}", world.read(&path));
    let pushes = world.pushes();
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0].params["SSHPublicKey"], RFC_PUBLIC);
}

#[cfg(not(feature = "fips"))]
#[needs_namespaces]
#[test]
fn an_older_and_a_newer_client_use_one_key_at_the_same_time() {
    let Some((newer, world)) = newer_client("an_older_and_a_newer_client_use_one_key_at_the_same_time") else { return };
    if reads_pkcs8(&World::new()) {
        eprintln!("SKIPPED: the installed ssh is no older client");
        return;
    }
    let key = format!(".ssh/eic/keys/{}", world.web1);
    let newer = newer.join("ssh").display().to_string();
    let run = |program: &str| {
        let output = world.run(program, &["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
        assert_eq!(output.ok(), format!("{}\n", world.web1), "{program}");
    };
    run(&newer);
    assert!(world.read(&key).starts_with(PKCS8));
    run("/usr/bin/ssh");
    assert!(world.read(&key).starts_with(OPENSSH));
    run(&newer);
    assert!(world.read(&key).starts_with(OPENSSH), "an older client may be about to read it");
    assert_eq!(world.pushes().len(), 1, "it was the same key all the time");
    world.without_hurry();
    for round in 1..=3 {
        forget_keys(&world);
        world.sandbox.clear_calls().unwrap();
        let script = format!(
            "for n in 1 2 3 4; do for ssh in {newer} /usr/bin/ssh; do $ssh prod-web-1 echo in || echo failed & done; done; wait"
        );
        assert_eq!(world.sh(&script).ok(), "in\n".repeat(8), "round {round}");
        let mut keys: Vec<String> = world.pushes().iter().map(|push| push.params["SSHPublicKey"].to_string()).collect();
        keys.dedup();
        assert_eq!(keys.len(), 1, "round {round}: {keys:?}");
    }
}
