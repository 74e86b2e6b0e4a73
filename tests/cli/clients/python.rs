//! paramiko and asyncssh, the SSH stacks of Python programs, on the one file of `sync --output`.
//!
//! Both read the key and resolve the options by themselves: paramiko knows `%h %p %r` only and no Include, asyncssh
//! reads the key before it starts a proxy.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{is_skipped, starts};
use crate::match_hook::watched;
use crate::world::{CommandOutput, World, run};

pub(crate) const PARAMIKO: &str = include_str!("with_paramiko.py");
pub(crate) const ASYNCSSH: &str = include_str!("with_asyncssh.py");

/// The Python that has the module: Debian's first, since its packages are what tests/run installs.
pub(crate) fn python_with(module: &str) -> Option<&'static str> {
    let has = |python: &&str| {
        Command::new(python)
            .args(["-W", "ignore", "-c", &format!("import {module}")])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(has);
    (!is_skipped(found.is_some(), module)).then_some(found).flatten()
}

/// A world with nothing of ours in its home but the file `only.conf`.
fn with_one_file() -> World {
    let world = watched();
    world.eic(&["sync", "--output", "only.conf"]).ok();
    world.eic(&["remove", "--all"]).ok();
    world.write("starts", "");
    assert!(!world.home().join(".ssh").exists());
    world
}

pub(crate) fn python(world: &World, python: &str, script: &str, args: &[&str]) -> CommandOutput {
    world.write("client.py", script);
    let mut command = world.sandbox.command(python);
    command.args(["-W", "ignore", "client.py"]).args(args);
    run(command)
}

#[sandbox::needs_namespaces]
#[test]
fn paramiko_logs_in_and_copies_a_file_through_the_proxy_without_the_hook() {
    let Some(python3) = python_with("paramiko") else { return };
    let world = with_one_file();
    for host in ["prod-web-1", &world.web1] {
        let output = python(&world, python3, PARAMIKO, &["only.conf", host]);
        assert_eq!(output.ok(), format!("{}\nthere and back\n", world.web1), "{host}");
    }
    let started = starts(&world);
    assert!(started.contains(&"proxy".to_owned()) && !started.contains(&"match".to_owned()), "{started:?}");
    assert_eq!(world.pushes().len(), 1);
}

#[sandbox::needs_namespaces]
#[test]
fn paramiko_receives_the_reason_of_a_failed_login() {
    let Some(python3) = python_with("paramiko") else { return };
    let world = with_one_file();
    deny(&world);
    let output = python(&world, python3, PARAMIKO, &["only.conf", "prod-web-1"]);
    output.fails_with(1).says("AWS denies").within(Duration::from_secs(30));
}

#[sandbox::needs_namespaces]
#[test]
fn asyncssh_finds_its_key_before_the_proxy_starts() {
    let Some(python3) = python_with("asyncssh") else { return };
    let world = with_one_file();
    for (host, user) in [("prod-web-1", None), (world.web1.as_str(), None), ("prod-web-1", Some("ubuntu"))] {
        let args: Vec<&str> = ["only.conf", host].into_iter().chain(user).collect();
        let output = python(&world, python3, ASYNCSSH, &args);
        assert_eq!(output.ok(), format!("{}\nthere and back\n", world.web1), "{host} {user:?}");
    }
    let users: Vec<String> =
        world.pushes().iter().map(|push| push.params["InstanceOSUser"].as_str().unwrap().to_owned()).collect();
    assert_eq!(users, ["ec2-user", "ubuntu"], "one for each user");
}

#[sandbox::needs_namespaces]
#[test]
fn asyncssh_checks_the_host_key_that_ssh_recorded() {
    let Some(python3) = python_with("asyncssh") else { return };
    let world = with_one_file();
    let strict = || python(&world, python3, ASYNCSSH, &["only.conf", "prod-web-1", "strict"]);
    strict().fails_with(1).says("Host key is not trusted");
    world.run("ssh", &["-F", "only.conf", "prod-web-1", "true"]).ok();
    assert_eq!(strict().ok(), format!("{}\nthere and back\n", world.web1));
}

#[sandbox::needs_namespaces]
#[test]
fn asyncssh_receives_the_reason_of_a_failed_login() {
    let Some(python3) = python_with("asyncssh") else { return };
    let world = with_one_file();
    deny(&world);
    // It takes what a proxy writes on stderr for the server's words, so that the outcome depended on which came first.
    for _ in 0..3 {
        let output = python(&world, python3, ASYNCSSH, &["only.conf", "prod-web-1"]);
        output.fails_with(1).says("AWS denies").within(Duration::from_secs(30));
    }
    let output = world.run("ssh", &["-F", "only.conf", "prod-web-1", "true"]);
    output.fails_with(255).says("ssh-eic: error: AWS denies").says("ssh-eic: hint: ");
}

fn deny(world: &World) {
    world.deny("SendSSHPublicKey");
}

#[test]
fn with_the_file_for_asyncssh_ssh_leaves_the_push_to_the_proxy() {
    let world = with_one_file();
    let ssh = |args: &[&str]| world.run("ssh", &[&["-F", "only.conf"], args].concat());
    ssh(&["-G", "prod-web-1"]).ok();
    assert!(!world.eic_folder().join("keys").join(&world.web1).exists(), "reading the config makes no key");
    assert_eq!(ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(starts(&world), ["match", "match", "proxy", "worker"]);
    assert!(!world.eic_folder().join("known_hosts.console").exists());
}

#[sandbox::needs_namespaces]
#[test]
fn asyncssh_treats_no_unmanaged_host_as_managed() {
    let Some(python3) = python_with("asyncssh") else { return };
    let world = World::new();
    // asyncssh reads it unasked. It cuts a pattern at some characters, and what is left must not be a `*`.
    let script = "import asyncssh\nfor host in ['example.com', 'mine', 'i-am-no-instance', '10.0.3.7']:\n    options = asyncssh.SSHClientConnectionOptions(host=host, config=['.ssh/config'])\n    print(host, options.proxy_command, options.config.get('User'), options.config.get('IdentitiesOnly'))\n";
    let output = python(&world, python3, script, &[]);
    let expected = ["example.com", "mine", "i-am-no-instance", "10.0.3.7"].map(|host| format!("{host} None None None"));
    assert_eq!(output.ok().lines().collect::<Vec<_>>(), expected);
}

#[sandbox::needs_namespaces]
#[test]
fn other_hosts_of_the_user_s_config_work_in_paramiko_and_asyncssh() {
    let pythons = [("paramiko", PARAMIKO), ("asyncssh", ASYNCSSH)];
    let pythons = pythons.map(|(module, script)| (python_with(module), script));
    let world = World::new();
    world.sh("ssh-keygen -q -t ed25519 -N '' -f own").ok();
    world.sandbox.accept_key(&world.web2, "ubuntu", &world.read("own.pub"), Duration::from_mins(5)).unwrap();
    // The paramiko script has a ProxyCommand in every host.
    world.write("relay", "#!/bin/bash\nexec 3<>/dev/tcp/$1/$2; cat <&3 & cat >&3; kill $! 2>/dev/null\n");
    world.sh("chmod +x relay").ok();
    let mine = format!(
        "\nHost mine\n    HostName 10.0.3.8\n    User ubuntu\n    Port 22\n    IdentityFile {home}/own\n    ProxyCommand {home}/relay 10.0.3.8 22\n",
        home = world.home().display(),
    );
    fs::write(world.home().join(".ssh/config"), world.read(".ssh/config") + &mine).unwrap();
    for (python3, script) in pythons.into_iter().filter_map(|(python3, script)| Some((python3?, script))) {
        let output = python(&world, python3, script, &[".ssh/config", "mine"]);
        assert_eq!(output.ok(), format!("{}\nthere and back\n", world.web2));
    }
    assert_eq!(world.pushes().len(), 0);
}
