//! Faults of the name, and of the options that ssh takes for it.

use sandbox::{Instance, needs_namespaces};

use super::{doctor, world};

#[needs_namespaces]
#[test]
fn an_unknown_or_shared_name_is_named() {
    let world = world();
    doctor(&world, &["prod-wep-1"])
        .problem("no-such-host", &["\"prod-wep-1\"", "did you mean prod-web-1?", "ssh-eic list"]);
    doctor(&world, &["\u{1b}[2Jx"]).problem("no-such-host", &["\\u{1b}[2Jx"]);
    for _ in 0..2 {
        world.sandbox.add(Instance::new("twin")).unwrap();
    }
    world.eic(&["sync"]).ok();
    doctor(&world, &["twin"])
        .problem("name-shared", &["twin is the name of several instances", "use one of these names"]);
}

#[needs_namespaces]
#[test]
fn a_shared_address_selects_no_instance() {
    let world = world();
    world.add(Instance::new("double").address("10.0.3.8"));
    let found = doctor(&world, &["10.0.3.8"]);
    found.problem("name-shared", &["10.0.3.8 is the address of several instances", "prod-web-2", "double"]);
    assert!(world.pushes().is_empty(), "a key was pushed to one of them\n{}", found.json);
    // By their names they are told apart as before.
    doctor(&world, &["10.0.3.7"]).all_ok();
}

#[needs_namespaces]
#[test]
fn a_name_that_the_config_excludes_is_named() {
    let world = world();
    let config = world.read(".config/ssh-eic/config.toml").replacen("[ssh]\n", "[ssh]\nhosts = [\"*-2\"]\n", 1);
    world.write(".config/ssh-eic/config.toml", &config);
    world.eic(&["sync"]).ok();
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("name-left-out", &["gives prod-web-1 no Host block", &format!("ssh {}", world.web1)]);
    doctor(&world, &[&world.web1]).all_ok();
}

#[needs_namespaces]
#[test]
fn a_user_option_that_overrides_a_generated_one_is_named_with_its_line() {
    let world = world();
    let good = world.read(".ssh/config");
    world.write(".ssh/config", &format!("Include first\n{good}"));
    for (option, told) in [
        ("Port 2222", "ssh takes Port 2222"),
        ("HostName 10.9.9.9", "ssh takes HostName 10.9.9.9"),
        ("User bob", "ssh takes User bob"),
        ("HostKeyAlias other", "ssh takes HostKeyAlias other"),
        ("PubkeyAuthentication no", "ssh takes PubkeyAuthentication "),
        ("PreferredAuthentications password", "ssh takes PreferredAuthentications password"),
        ("ControlPath /tmp/%C", "ssh takes ControlPath /tmp/"),
    ] {
        world.write(
            ".ssh/first",
            &format!("Host other\n  Port 9\n# mine\nHost prod-*\n  Compression yes\n  {option}\n"),
        );
        let found = doctor(&world, &["prod-web-1"]);
        found.problem("option-shadowed", &[told, "/.ssh/first line 6", "move it below the Include line of ssh-eic"]);
    }
    world.write(".ssh/first", "Host prod-*\n  IdentitiesOnly no\n");
    doctor(&world, &["prod-web-1"])
        .healthy()
        .note("option-shadowed", &["ssh takes IdentitiesOnly no (", "first line 2"]);
}

#[needs_namespaces]
#[test]
fn another_proxy_command_is_named_unless_the_hook_pushes_for_it() {
    let world = world();
    let good = world.read(".ssh/config");
    world.write(".ssh/first", "Host prod-*\n  ProxyJump prod-web-2.example\n");
    world.write(".ssh/config", &format!("Include first\n{good}"));
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("proxy-shadowed", &["ssh takes ProxyJump prod-web-2.example", "first line 2", "no key is pushed"]);
    world.write(".ssh/first", &format!("Host prod-*\n  ProxyCommand {}\n", crate::world::OTHER_PROXY));
    doctor(&world, &["prod-web-1"]).problem("proxy-shadowed", &["ssh takes ProxyCommand perl"]);
    world.eic(&["sync"]).ok();
    let found = doctor(&world, &["prod-web-1"]);
    found.healthy().note("proxy-shadowed", &["so that the hook pushes"]);
    assert!(found.human.stdout.contains("skipped  address     the connection goes by perl"), "{}", found.human);
    assert!(found.human.stdout.contains("ok       login "), "{}", found.human);
}

#[needs_namespaces]
#[test]
fn a_similar_proxycommand_is_reported_without_its_password() {
    let world = world();
    let good = world.read(".ssh/config");
    let other = format!("{} -x u:secret@proxy proxy 1080", crate::world::OTHER_PROXY);
    world.write(".ssh/first", &format!("Host prod-*\n  ProxyCommand {other}\n"));
    world.write(".ssh/config", &format!("Include first\n{good}"));
    let before = doctor(&world, &["prod-web-1"]);
    before.problem("proxy-shadowed", &["ssh takes ProxyCommand perl (", "first line 2"]);
    world.eic(&["sync"]).ok();
    // Nothing is listened to at an address that the connection does not go to.
    let found = doctor(&world, &["prod-web-1"]);
    found.healthy().note("proxy-shadowed", &["ssh takes ProxyCommand perl ("]);
    assert!(found.human.stdout.contains("skipped  address     the connection goes by perl\n"), "{}", found.human);
    world.write(".ssh/config", &format!("ProxyCommand {other}\n{good}"));
    let ahead = doctor(&world, &["prod-web-1"]);
    ahead.problem("include-not-first", &["line 1: proxycommand perl stands before"]);
    for output in [before, found, ahead].iter().flat_map(|found| [&found.json, &found.human]) {
        assert!(!output.stdout.contains("secret") && !output.stderr.contains("secret"), "{output}");
    }
}

#[needs_namespaces]
#[test]
fn user_options_that_also_apply_to_managed_hosts_are_named() {
    let world = world();
    let good = world.read(".ssh/config");
    world.write(".ssh/config", &format!("{good}Host *\n  RemoteCommand tmux new\n"));
    let found = doctor(&world, &["prod-web-1"]);
    found.healthy().note("option-leaks", &["ssh takes RemoteCommand tmux new", "config line 4", "scp"]);
    world.write(".ssh/config", &format!("{good}Host *\n  PubkeyAcceptedAlgorithms rsa-sha2-512\n"));
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("key-type-refused", &["config line 4", "excludes the type of the key of ssh-eic", "add ssh-ed25519"]);
}
