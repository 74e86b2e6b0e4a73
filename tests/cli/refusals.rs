//! Servers that refuse a client or break the protocol: what the user reads, and how often the proxy tries again.

use std::time::Duration;

use sandbox::{Instance, Network, needs_namespaces};

use crate::world::{World, can_have_namespaces};

/// A server's NEWKEYS directly behind its version line.
const EARLY_NEWKEYS: &str = "SSH-2.0-early\r\n\0\0\0\u{c}\u{a}\u{15}\0\0\0\0\0\0\0\0\0\0";

#[test]
fn the_line_of_an_sshd_that_refuses_the_client_is_quoted_with_its_cause() {
    let world = World::new();
    for (name, line, cause) in [
        ("penalty", "Not allowed at this time", "(PerSourcePenalties)"),
        ("full", "Exceeded MaxStartups", "(MaxStartups, PerSourceMaxStartups)"),
        ("other", "Too busy", "are you on the VPN"),
    ] {
        world.add(Instance::new(name).greeting(format!("{line}\r\n")));
        let output = world.ssh(&[name, "true"]);
        output.fails_with(255).says(&format!("refused the connection: {line:?}")).says(cause);
        // Without our stderr as well.
        let persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=5", name, "true"];
        world.ssh(&persist).fails_with(255).says(&format!(": {line:?}; hint: ")).says(cause);
    }
}

#[test]
fn for_a_server_that_closes_without_a_line_a_limit_is_suggested() {
    let world = World::new();
    world.add(Instance::new("closes").greeting("\r\n"));
    let output = world.ssh(&["closes", "true"]);
    output.fails_with(255).says("closed the connection before it sent a version").says("MaxStartups");
}

#[test]
fn a_refused_connection_is_tried_again_as_often_as_the_command_line_says() {
    let world = World::new();
    world.add(Instance::new("boots").refuse_first(2));
    let output = world.ssh(&["-o", "ConnectionAttempts=2", "boots", "true"]);
    output.fails_with(255).says("(2 attempts)");
    world.add(Instance::new("boots-soon").refuse_first(2));
    let output = world.ssh(&["-o", "ConnectionAttempts=3", "boots-soon", "echo $SSH_EIC_INSTANCE"]);
    assert!(output.ok().starts_with("i-"), "{output}");
    assert!(output.took >= Duration::from_secs(2), "OpenSSH waits a second between two attempts\n{output}");
}

#[needs_namespaces]
#[test]
fn a_closed_port_is_tried_again_as_often_as_the_configuration_says() {
    let world = World::new();
    world.write(".ssh/config", &format!("{}Host *\n    ConnectionAttempts 3\n", world.read(".ssh/config")));
    world.eic(&["sync"]).ok();
    let output = world.ssh(&["-p", "2999", "prod-web-1", "true"]);
    output.fails_with(255).says("10.0.3.7 port 2999: connection refused (3 attempts)");
    let output = world.ssh(&["-o", "ConnectionAttempts=1", "-p", "2999", "prod-web-1", "true"]);
    output.fails_with(255).says("10.0.3.7 port 2999: connection refused\n");
}

#[needs_namespaces]
#[test]
fn attempts_end_before_the_connect_timeout_of_ssh() {
    let world = World::new();
    let options = ["-o", "ConnectionAttempts=100", "-o", "ConnectTimeout=4", "-p", "2999"];
    let output = world.ssh(&[&options[..], &["prod-web-1", "true"]].concat());
    output.fails_with(255).says("connection refused (").within(Duration::from_secs(10));
}

#[test]
fn the_disconnect_has_the_reason_that_other_clients_show() {
    let world = World::new();
    world.add(Instance::new("penalty").greeting("Not allowed at this time\r\n"));
    let persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=5", "penalty", "true"];
    world.ssh(&persist).fails_with(255).says("Received disconnect from UNKNOWN port 65535:7: ssh-eic: penalty (i-");
}

#[test]
fn with_a_quiet_ssh_nothing_is_printed() {
    let world = World::new();
    world.add(Instance::new("penalty").greeting("Not allowed at this time\r\n"));
    let silent = |args: &[&str]| {
        let output = world.ssh(args);
        assert_eq!(output.fails_with(255).stderr, "", "{output}");
    };
    silent(&["-q", "penalty", "true"]);
    silent(&["-o", "LogLevel=QUIET", "penalty", "true"]);
    // The hook as well.
    silent(&["-q", "-o", "ProxyCommand=false", "-l", "a b", "penalty", "true"]);
    world.ssh(&["-o", "LogLevel=ERROR", "penalty", "true"]).fails_with(255).says("ssh-eic: error: ");
    world.write(".ssh/config", &format!("{}Host *\n    LogLevel QUIET\n", world.read(".ssh/config")));
    world.eic(&["sync"]).ok();
    silent(&["penalty", "true"]);
    world.ssh(&["-o", "LogLevel=ERROR", "penalty", "true"]).fails_with(255).says("ssh-eic: error: ");
}

#[test]
fn newkeys_before_the_key_exchange_ends_the_connection() {
    let world = World::new();
    world.add(Instance::new("early").network(Network::Deaf).greeting(EARLY_NEWKEYS));
    let ssh = if can_have_namespaces() { "ssh" } else { "ssh -F ~/.ssh/config" };
    let output = world.sh(&format!("timeout 30 {ssh} early true"));
    output.fails_with(255).says("early (i-").says("sent NEWKEYS before the key exchange");
}
