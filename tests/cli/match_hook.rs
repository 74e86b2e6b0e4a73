//! `ssh-eic match`: when it runs, when it pushes, and what it says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use sandbox::{Instance, needs_namespaces};

use crate::world::{OTHER_PROXY, World, binary, can_have_namespaces};

/// A world whose ssh-eic is a script that notes each start and goes on as the real one.
pub(crate) fn watched() -> World {
    let mut world = World::bare();
    let folder = world.home().join("bin");
    let log = world.home().join("starts");
    let script =
        format!("#!/bin/bash\necho \"$@\" >> {}\nexec -a \"$0\" {} \"$@\"\n", log.display(), binary().display());
    world.write("bin/ssh-eic", &script);
    fs::set_permissions(folder.join("ssh-eic"), fs::Permissions::from_mode(0o755)).unwrap();
    world.sandbox.path_with(&folder);
    world.eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
    fs::write(&log, "").unwrap();
    world.sandbox.clear_calls().unwrap();
    world
}

#[test]
fn an_unmanaged_host_starts_no_process_of_ssh_eic() {
    let world = watched();
    world.ssh(&["-G", "github.com"]).ok();
    world
        .ssh(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=1", "nobody@127.0.0.1", "-p", "9", "true"])
        .fails_with(255);
    assert_eq!(world.read("starts"), "");
    world.ssh(&["prod-web-1", "true"]).ok();
    let starts = world.read("starts");
    let verbs: Vec<&str> = starts.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(verbs, ["match", "proxy", "worker"], "{starts}");
}

#[test]
fn reading_the_config_pushes_nothing_and_touches_no_key() {
    let world = watched();
    world.ssh(&["-G", "prod-web-1"]).ok();
    world.ssh(&["prod-web-1", "-G"]).ok();
    world.ssh(&["-O", "check", "prod-web-1"]).fails_with(255);
    let starts = world.read("starts");
    assert_eq!(starts.lines().filter(|line| line.starts_with("match ")).count(), 3, "the hook runs at each\n{starts}");
    assert!(world.sandbox.calls().unwrap().is_empty());
    assert_eq!(fs::read_dir(world.eic_folder().join("keys")).unwrap().count(), 0);
}

#[test]
fn the_exit_code_is_0_for_managed_hosts_only_and_stdout_is_empty() {
    let world = World::new();
    world.deny("*");
    for (args, code) in [
        (vec!["match", "github.com", "u"], 1),
        (vec!["match", "%n", "u"], 1),
        (vec!["match", "PROD-WEB-1"], 1),
        (vec!["match", "../keys/x"], 1),
        (vec!["match", ""], 1),
        (vec!["match", "prod-web-1", "ec2-user"], 0),
        (vec!["match", "prod-web-1"], 0),
        (vec!["match", "i-0123456789abcdef0", "x"], 0),
    ] {
        let output = world.eic(&args);
        output.fails_with(code);
        assert_eq!(output.stdout, "", "{output}");
    }
}

#[test]
fn an_unknown_caller_gets_its_push_from_the_hook() {
    let world = World::new();
    world.eic(&["match", "prod-web-1", "ec2-user"]).ok();
    assert_eq!(world.pushes().len(), 1);
    assert_eq!(world.sandbox.keys(&world.web1, "ec2-user").unwrap().len(), 1);
}

#[needs_namespaces]
#[test]
fn a_connection_with_another_proxy_command_gets_its_push_from_the_hook() {
    let world = World::new();
    // As mosh does it: a ProxyCommand of its own replaces ours.
    let other = format!("ProxyCommand={OTHER_PROXY}");
    assert_eq!(world.ssh(&["-o", &other, "prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(world.pushes().len(), 1);
    assert_eq!(
        world.ssh(&["-o", "ProxyJump=none", "prod-web-2", "echo $SSH_EIC_INSTANCE"]).ok(),
        format!("{}\n", world.web2)
    );
}

#[needs_namespaces]
#[test]
fn a_proxy_of_the_user_s_own_config_is_noticed_by_sync() {
    let world = World::new();
    // Ahead of our Include, in a file of its own: what comes first wins.
    let own =
        format!("ProxyCommand bash -c 'exec 3<>/dev/tcp/%%h/%%p; cat <&3 & cat >&3'\n{}", world.read(".ssh/config"))
            .replace("%%", "%");
    world.write(".ssh/config", &own);
    // Our line stays where it is, since it works there; the proof uses the order that ssh will see.
    let output = world.eic(&["sync"]);
    output.ok();
    let ssh = world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    if ssh.code == Some(0) {
        assert_eq!(ssh.stdout, format!("{}\n", world.web1));
        output.says("another ProxyCommand or ProxyJump");
    } else {
        panic!("{output}\n{ssh}");
    }
}

#[test]
fn modes_hook_and_proxy_push_in_the_process_of_that_name() {
    let world = World::new();
    let config = world.read(".config/ssh-eic/config.toml");
    world.write(".config/ssh-eic/config.toml", &config.replace("[ssh]", "[ssh]\npush = \"proxy\""));
    world.eic(&["sync"]).ok();
    world.eic(&["match", "prod-web-1", "ec2-user"]).ok();
    assert!(world.pushes().is_empty(), "proxy: never in the hook");
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(world.pushes().len(), 1);
    world.write(".config/ssh-eic/config.toml", &config.replace("[ssh]", "[ssh]\npush = \"hook\""));
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-2", "true"]).ok();
    assert_eq!(world.pushes().len(), 2);
    world.ssh(&["-G", "prod-web-1"]).ok();
    assert_eq!(world.pushes().len(), 2);
}

#[test]
fn a_hook_whose_push_fails_reports_it_and_exits_zero_in_time() {
    let world = World::new();
    world.deny("SendSSHPublicKey");
    world.eic(&["match", "prod-web-1", "ec2-user"]).says("AWS denies").within(Duration::from_secs(5)).ok();
}

#[test]
fn another_spelling_and_the_id_reach_the_same_instance() {
    let world = World::new();
    let id = world.add(Instance::new("Prod-DB").address("10.0.5.5").user("ubuntu"));
    let user = if world.sandbox.form() == sandbox::Form::Namespaces { "ubuntu\n" } else { "" };
    for name in ["prod-db", "Prod-DB", id.as_str()] {
        let output = world.ssh(&[name, "echo $SSH_EIC_INSTANCE; id -un"]);
        assert!(output.ok().starts_with(&format!("{id}\n{user}")), "{output}");
    }
    // Not indexed: found by asking all sources.
    let unknown = world.sandbox.add(Instance::new("fresh").address("10.0.5.6")).unwrap();
    if can_have_namespaces() {
        assert_eq!(world.ssh(&[&unknown, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{unknown}\n"));
        world
            .ssh(&["i-0123456789abcdef0", "true"])
            .fails_with(255)
            .says("no configured source has an instance i-0123456789abcdef0");
    }
}

#[test]
fn a_hook_that_would_wait_too_long_ends_within_35_seconds() {
    let world = World::new();
    // Everybody's queue reaches further than the hook's time: 20 pushes a second, and enough of them in front that a slow start does not matter.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = since.as_secs() * 1000;
    let sent: Vec<u64> = (0..5000).map(|n| now + n * 50).collect();
    world.write(".local/state/ssh-eic/push-rate", &format!("{{\"sent\":{sent:?},\"lowered\":null,\"slowed\":0}}"));
    let output = world.eic(&["match", "prod-web-1", "ec2-user"]);
    output.says("could not be pushed in time").within(Duration::from_secs(35)).ok();
    assert!(world.pushes().is_empty());
}
