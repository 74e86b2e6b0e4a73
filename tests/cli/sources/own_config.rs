//! What sync says of the person's own ssh config.

use sandbox::needs_namespaces;

use crate::sources::configure;
use crate::world::{CommandOutput, OTHER_PROXY, World};

/// A world in which the person's own config, behind our line, is this.
fn own(text: &str) -> World {
    let world = World::new();
    world.write(".ssh/config", &format!("{}{text}", world.read(".ssh/config")));
    world
}

/// The warnings of a sync, without their prefix; in the loopback form ssh reads another file, which is told, too.
fn warnings(output: &CommandOutput) -> Vec<&str> {
    output.ok();
    let all = output.stderr.lines().filter_map(|line| line.strip_prefix("ssh-eic: warning: "));
    all.filter(|warning| !warning.starts_with("$HOME differs ")).collect()
}

#[test]
fn options_without_effect_are_named_with_file_and_line() {
    let block = "Host *\n    Compression yes\n\nHost prod-*\n    User deploy\n    Port 2222\n\
                 \x20   IdentityFile ~/.ssh/prod\n    ProxyJump bastion\n    ForwardAgent yes\n";
    let world = own(block);
    let output = world.eic(&["sync"]);
    let place = "~/.ssh/config:6";
    let [warning] = warnings(&output)[..] else { panic!("one warning\n{output}") };
    for words in [place, "User deploy", "Port 2222", "IdentityFile", "ProxyJump bastion", "have no effect"] {
        assert!(warning.contains(words), "it should name {words}\n{output}");
    }
    assert!(!warning.contains("ForwardAgent"), "that one has its effect\n{output}");
    output.says("hint: to override these, set them in a [[host]] of config.toml\n");
}

#[needs_namespaces]
#[test]
fn a_block_with_the_generated_values_is_not_reported() {
    let world = own("Host prod-*\n    User ec2-user\n    Port 22\n    ProxyJump none\n");
    let output = world.eic(&["sync"]);
    assert_eq!(warnings(&output), Vec::<&str>::new(), "{output}");
}

// "An alias stays with its instance while that exists" (section 5 of the contract).
#[test]
fn a_host_block_written_for_managed_hosts_takes_no_name_away_from_them() {
    let world = own("Host prod-*\n    ForwardAgent yes\n");
    let output = world.eic(&["sync"]);
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n", "{output}");
    let resolved = world.ssh(&["-G", "prod-web-1"]);
    assert!(resolved.ok().contains("forwardagent yes\n"), "{resolved}");
}

#[test]
fn user_options_that_break_managed_hosts_are_named() {
    for (text, words) in [
        ("Host *\n    RemoteCommand tmux attach\n    RequestTTY yes\n", "RemoteCommand tmux attach"),
        ("Host *\n    PubkeyAcceptedAlgorithms rsa-sha2-512\n", "PubkeyAcceptedAlgorithms without ssh-ed25519"),
        ("Match all\n    SessionType none\n", "SessionType none"),
    ] {
        let world = own(text);
        let output = world.eic(&["sync"]);
        let [warning] = warnings(&output)[..] else { panic!("one warning for all hosts\n{output}") };
        assert!(warning.contains(words) && warning.contains("prod-web-"), "{output}");
    }
}

#[test]
fn options_set_in_config_toml_are_not_reported_as_leaking() {
    let world = World::bare();
    configure(&world, "[[source]]\nprofile = \"prod\"\n[ssh]\noptions = { RemoteCommand = \"uptime\" }\n");
    let output = world.eic(&["sync"]);
    assert_eq!(warnings(&output), Vec::<&str>::new(), "{output}");
}

#[test]
fn an_overriding_proxy_command_is_named_and_the_hook_pushes() {
    let world = World::new();
    world.write(".ssh/config", &format!("ProxyCommand {OTHER_PROXY}\n{}", world.read(".ssh/config")));
    let output = world.eic(&["sync"]);
    output.says("another ProxyCommand or ProxyJump in your ssh config applies to prod-web-1").ok();
    world.sandbox.clear_calls().unwrap();
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(world.pushes().len(), 1);
}
