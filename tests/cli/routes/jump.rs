//! `jump:<host>` through the user's own ssh.

use sandbox::{Change, Instance, Network};

use super::{set_route, world};
use crate::world::World;

/// prod-web-1 is reached through prod-web-2, which is reached directly.
fn with_jump(world: &World, host: &str) {
    let path = ".config/ssh-eic/config.toml";
    let config = world.read(path);
    world.write(path, &format!("{config}\n[[host]]\nmatch = \"prod-web-1\"\nroute = \"jump:{host}\"\n"));
    world.eic(&["sync"]).ok();
    world.sandbox.clear_calls().unwrap();
}

#[sandbox::needs_namespaces]
#[test]
fn a_managed_host_is_the_jump_host_and_each_key_is_pushed_once() {
    let world = world("direct");
    with_jump(&world, "prod-web-2");
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(world.pushes().len(), 2);
    let log = world.sandbox.sshd_log(&world.web2);
    assert!(log.contains("Accepted publickey for ec2-user"), "{log}");
    let script = "set -e; cd $HOME; head -c 5000000 /dev/urandom > f; scp -q f prod-web-1:; scp -q prod-web-1:f g; cmp f g; echo whole";
    assert_eq!(world.sh(script).ok(), "whole\n");
}

#[sandbox::needs_namespaces]
#[test]
fn the_last_line_of_the_jump_host_s_ssh_is_the_error() {
    let world = world("direct");
    world.write(
        ".ssh/config",
        &format!("{}\nHost bastion\n  HostName 127.0.0.1\n  Port 9\n", world.read(".ssh/config")),
    );
    with_jump(&world, "bastion");
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says("is unreachable: bastion: ssh: connect to host 127.0.0.1 port 9: Connection refused");
    let refused = Change { network: Some(Network::Refuse), ..Change::default() };
    world.sandbox.update(&world.web1, refused).unwrap();
    with_jump(&world, "prod-web-2");
}

#[sandbox::needs_namespaces]
#[test]
fn a_loop_is_reported_and_not_run() {
    let world = world("direct");
    set_route(&world, "jump:prod-web-1", "");
    let output = world.ssh(&["prod-web-2", "true"]);
    output.fails_with(255).says("is reached through itself: its route is jump:prod-web-1");
}

#[sandbox::needs_namespaces]
#[test]
fn a_login_over_ipv6_goes_through_the_jump_host() {
    let world = world("direct");
    if !std::path::Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    let six = world.sandbox.add(Instance::new("six").address("10.0.3.60").ipv6("fd00::60")).unwrap();
    world.sandbox.update(&world.web2, Change { ipv6: Some("fd00::8".to_owned()), ..Change::default() }).unwrap();
    let path = ".config/ssh-eic/config.toml";
    let hosts = "\n[[host]]\nmatch = \"six\"\nroute = \"jump:prod-web-2\"\n";
    set_route(&world, "direct", "address = \"ipv6\"");
    world.write(path, &(world.read(path) + hosts));
    world.eic(&["sync"]).ok();
    assert!(world.read(".ssh/eic/hosts").contains("HostName fd00::60\n"));
    assert_eq!(world.ssh(&["six", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{six}\n"));
    let log = world.sandbox.sshd_log(&world.web2);
    assert!(log.contains("Accepted publickey for ec2-user"), "{log}");
    // A jump host without such an address is named.
    world.sandbox.update(&world.web2, Change { ipv6: Some(String::new()), ..Change::default() }).unwrap();
    world.eic(&["sync"]).ok();
    world.ssh(&["six", "true"]).fails_with(255).says("prod-web-2: ");
}
