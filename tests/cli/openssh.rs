//! What depends on the version of the OpenSSH client or server. `contrib/openssh-matrix` runs this file, and others that
//! it lists, with clients and servers of each release; otherwise the installed ones are used.

use std::path::Path;

use sandbox::{Change, Instance, needs_namespaces};

use crate::host_keys::{forget, update, world_with};
use crate::world::{World, run};

/// Key exchanges that every sshd from 8.7 has, but not by default in every version.
const EARLIER_KEY_EXCHANGES: &str = "KexAlgorithms +sntrup761x25519-sha512@openssh.com,diffie-hellman-group14-sha1,\
    diffie-hellman-group14-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
    diffie-hellman-group-exchange-sha1,diffie-hellman-group-exchange-sha256";

/// The algorithms of a kind that the client has (`ssh -Q`).
fn supported(world: &World, kind: &str) -> Vec<String> {
    world.ssh(&["-Q", kind]).ok().lines().map(str::to_owned).collect()
}

#[needs_namespaces]
#[test]
fn the_host_key_is_checked_in_every_key_exchange() {
    let world = world_with("require-console");
    let id = world.add(Instance::new("every-kex").address("10.0.3.70").sshd_options(EARLIER_KEY_EXCHANGES));
    let log_in = |kex: &str| {
        let option = format!("KexAlgorithms={kex}");
        world.ssh(&["-o", &option, "-o", "StrictHostKeyChecking=no", "every-kex", "echo $SSH_EIC_INSTANCE"])
    };
    let (common, other): (Vec<String>, Vec<String>) =
        supported(&world, "kex").into_iter().partition(|kex| log_in(kex).code == Some(0));
    for kex in &other {
        log_in(kex).fails_with(255).says("no matching key exchange method found");
    }
    for kex in ["curve25519-sha256", "ecdh-sha2-nistp521", "diffie-hellman-group18-sha512"] {
        assert!(common.iter().any(|one| one == kex), "{kex} is not in {common:?}");
    }
    for kex in ["diffie-hellman-group-exchange-sha256", "sntrup761x25519-sha512@openssh.com"] {
        assert!(common.iter().any(|one| one == kex), "{kex} is not in {common:?}");
    }
    update(&world, &id, Change { new_host_key: true, ..Change::default() });
    for kex in &common {
        log_in(kex).fails_with(255).says("host identification has changed");
    }
}

#[needs_namespaces]
#[test]
fn every_host_key_type_is_compared_with_the_console() {
    let world = world_with("require-console");
    let server = supported_by_server(&world);
    for (n, key_type) in ["ed25519", "ecdsa", "rsa", "mldsa44-ed25519"].into_iter().enumerate() {
        let name = format!("type-{key_type}");
        let algorithms: Vec<String> = supported(&world, "HostKeyAlgorithms")
            .into_iter()
            .filter(|name| server.contains(name) && !name.contains("-cert-"))
            .filter(|name| match key_type {
                "rsa" => name.starts_with("rsa-sha2-"),
                "ecdsa" => name == "ecdsa-sha2-nistp256",
                "ed25519" => name == "ssh-ed25519",
                other => name.contains(other),
            })
            .collect();
        assert!(!algorithms.is_empty() || key_type == "mldsa44-ed25519", "{key_type}");
        if algorithms.is_empty() {
            continue;
        }
        let address = format!("10.0.3.{}", 80 + n);
        let options = format!("HostKeyAlgorithms +{}", algorithms.join(","));
        let id =
            world.add(Instance::new(&name).address(address).host_key_types(&[key_type]).sshd_options(options.as_str()));
        for algorithm in &algorithms {
            let option = format!("HostKeyAlgorithms={algorithm}");
            let output = world.ssh(&["-o", &option, &name, "echo $SSH_EIC_INSTANCE"]);
            assert_eq!(output.ok(), format!("{id}\n"), "{algorithm}");
            assert!(!output.stderr.contains("Permanently added"), "{output}");
        }
        update(&world, &id, Change { new_host_key: true, ..Change::default() });
        forget(&world, &id);
        let option = format!("HostKeyAlgorithms={}", algorithms[0]);
        let output = world.ssh(&["-o", &option, "-o", "StrictHostKeyChecking=no", &name, "true"]);
        output.fails_with(255).says("host identification has changed");
    }
}

/// The host key algorithms that a server of the sandbox offers or could offer: what `ssh -Q` says of the client that
/// belongs to it, or of the installed one.
fn supported_by_server(world: &World) -> Vec<String> {
    let folder =
        std::env::var("SANDBOX_SSHD").ok().and_then(|sshd| Some(Path::new(&sshd).parent()?.parent()?.join("bin")));
    let program = folder.map_or_else(|| "/usr/bin/ssh".into(), |bin| bin.join("ssh"));
    let output = world.run(&program.display().to_string(), &["-Q", "HostKeyAlgorithms"]);
    output.ok().lines().map(str::to_owned).collect()
}

#[needs_namespaces]
#[test]
fn a_connection_is_rekeyed_under_console_mode() {
    let world = world_with("require-console");
    let output = world.sh("ssh -o RekeyLimit=1M prod-web-1 'head -c 5000000 /dev/zero' | wc -c");
    assert_eq!(output.ok().trim(), "5000000", "{output}");
}

#[needs_namespaces]
#[test]
fn proxyjump_none_on_the_command_line_logs_in() {
    let world = World::new();
    world.write("file", "content");
    world.ssh(&["prod-web-1", "git init -q --bare repo.git"]).ok();
    for (n, script) in [
        "ssh -o ProxyJump=none HOST 'echo $SSH_EIC_NAME'",
        "ssh -oProxyJump=none HOST 'echo $SSH_EIC_NAME'",
        "ssh -J none HOST 'echo $SSH_EIC_NAME'",
        "scp -q -o ProxyJump=none file HOST:/dev/null && echo HOST",
        "scp -q -J none file HOST:/dev/null && echo HOST",
        "echo 'ls /dev/null' | sftp -q -o ProxyJump=none -b - HOST >/dev/null && echo HOST",
        "GIT_SSH_COMMAND='ssh -o ProxyJump=none' git ls-remote ssh://HOST/~/repo.git && echo HOST",
    ]
    .into_iter()
    .enumerate()
    {
        // An instance of its own, to which nothing has been pushed.
        let name = format!("none-{n}");
        world.add(Instance::new(&name).address(format!("10.0.3.{}", 90 + n)));
        let output = world.sh(&script.replace("HOST", &name));
        assert_eq!(output.ok(), format!("{name}\n"), "{output}");
        assert_eq!(world.pushes().len(), 1, "{output}");
    }
}

#[needs_namespaces]
#[test]
fn proxyjump_none_ahead_of_our_include_logs_in() {
    let world = World::new();
    // Up to 10.2 ssh then uses no ProxyCommand; from 10.3 it uses ours.
    let config = world.read(".ssh/config");
    world.write(".ssh/config", &format!("ProxyJump none\n{config}"));
    world.eic(&["sync"]).ok();
    for (name, id) in [("prod-web-1", &world.web1), ("prod-web-2", &world.web2)] {
        assert_eq!(world.ssh(&[name, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    }
    assert_eq!(world.pushes().len(), 2);
}

#[needs_namespaces]
#[test]
fn a_newline_in_a_user_name_runs_no_command_in_any_shell() {
    let world = World::new();
    let mark = world.home().join("pwned");
    for shell in ["/bin/sh", "/bin/bash", "/usr/bin/tcsh", "/usr/bin/fish", "/usr/bin/zsh"] {
        if !Path::new(shell).exists() {
            continue;
        }
        for host in ["prod-web-1", world.web1.as_str()] {
            let name = format!("a\ntouch {}\nb", mark.display());
            let mut ssh = world.ssh_command(&["-o", "BatchMode=yes", "-l", &name, host, "true"]);
            ssh.env("SHELL", shell);
            let output = run(ssh);
            assert_ne!(output.code, Some(0), "{output}");
            let url = format!("ssh://a%0Atouch%20{}%0Ab@{host}/r", mark.display());
            let mut git = world.sandbox.command("git");
            git.args(["clone", "-q", &url, "clone"]).env("SHELL", shell).env("GIT_TERMINAL_PROMPT", "0");
            let output = run(git);
            assert_ne!(output.code, Some(0), "{output}");
            assert!(!mark.exists(), "{shell} ran a command in the user name\n{output}");
        }
    }
    assert_eq!(world.pushes().len(), 0);
}

#[needs_namespaces]
#[test]
fn the_option_p_is_read_as_this_client_reads_it() {
    let world = World::new();
    // Before 9.4 `-P` has no value: prod-web-2 through prod-web-1. From 9.4 `-J` is a tag: prod-web-1, and the name of
    // a command that does not exist.
    let output = world.ssh(&["-P", "-J", "prod-web-1", "prod-web-2", "true"]);
    assert!(matches!(output.code, Some(0 | 127)), "{output}");
    assert_eq!(world.pushes().len(), if output.code == Some(0) { 2 } else { 1 }, "{output}");
}
