//! Sessions through an EC2 Instance Connect Endpoint.

use std::time::{Duration, Instant};

use sandbox::{Endpoint, Instance, TunnelSwitches, Upgrade};

use super::{actions, set_route, switch, tunnels, world};
use crate::world::wait_until;

#[sandbox::needs_namespaces]
#[test]
fn a_login_goes_through_the_endpoint_and_the_next_one_asks_aws_for_nothing_but_the_tunnel() {
    let world = world("endpoint");
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(actions(&world), ["DescribeInstanceConnectEndpoints", "OpenTunnel", "SendSSHPublicKey"]);
    let tunnel = tunnels(&world).pop().unwrap();
    assert_eq!((tunnel.instance.as_str(), tunnel.address.as_str()), (world.web1.as_str(), "10.0.3.7"));
    assert_eq!((tunnel.port, tunnel.max_duration), (22, 3600));
    world.sandbox.clear_calls().unwrap();
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(actions(&world), ["OpenTunnel"]);
    world.nothing_lingers(Duration::from_secs(5));
}

#[sandbox::needs_namespaces]
#[test]
fn an_id_that_no_sync_has_seen_is_reached_through_its_endpoint() {
    let world = world("endpoint");
    let id = world.sandbox.add(Instance::new("new").address("10.0.3.99")).unwrap();
    assert_eq!(world.ssh(&[&format!("ec2-user@{id}"), "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    assert_eq!(tunnels(&world).len(), 1);
}

#[sandbox::needs_namespaces]
#[test]
fn the_endpoint_is_found_on_the_last_page_in_the_subnet_of_the_instance() {
    let world = world("endpoint");
    let endpoint = |id: &str, subnet: &str, state: &str| Endpoint {
        id: id.into(),
        subnet: subnet.into(),
        state: state.into(),
        ..Endpoint::default()
    };
    for new in [
        endpoint("eice-01", "subnet-1", "create-failed"),
        endpoint("eice-02", "subnet-1", "create-complete"),
        endpoint("eice-03", "subnet-9", "update-failed"),
    ] {
        world.sandbox.add_endpoint(new).unwrap();
    }
    world.add(Instance::new("far").address("10.0.3.50").subnet("subnet-9"));
    world.sandbox.switches(sandbox::Switches { endpoint_page: Some(1), ..sandbox::Switches::default() }).unwrap();
    world.ssh(&["far", "true"]).ok();
    assert_eq!(tunnels(&world).pop().unwrap().endpoint, "eice-03");
}

#[sandbox::needs_namespaces]
#[test]
fn files_arrive_whole_in_both_directions_however_the_endpoint_sends_them() {
    let world = world("endpoint");
    let script = "set -e; cd $HOME; head -c 104857600 /dev/urandom > big; sum() { sha256sum < $1; }
        scp -q big prod-web-1:copy; [ \"$(ssh prod-web-1 sha256sum '<' copy)\" = \"$(sum big)\" ]
        scp -q prod-web-1:copy back; [ \"$(sum back)\" = \"$(sum big)\" ]; echo whole";
    assert_eq!(world.sh(script).ok(), "whole\n");
    switch(
        &world,
        TunnelSwitches {
            upgrade: Upgrade::WithFirstFrame,
            frame_size: 1 << 20,
            empty_frames: true,
            ..TunnelSwitches::default()
        },
    );
    let rsync = "set -e; cd $HOME; command -v rsync >/dev/null || { echo whole; exit; }
        rsync -a big prod-web-1:synced; rsync -a prod-web-1:synced again; cmp big again; echo whole";
    assert_eq!(world.sh(rsync).ok(), "whole\n");
    switch(&world, TunnelSwitches { upgrade: Upgrade::Bytewise, fragment: 3, ..TunnelSwitches::default() });
    world.ssh(&["prod-web-2", "true"]).ok();
}

#[sandbox::needs_namespaces]
#[test]
fn a_master_shares_one_tunnel_and_pongs() {
    let world = world("endpoint");
    let control = "-o ControlMaster=auto -o ControlPersist=60 -o ControlPath=~/.ssh/cm-%C";
    world
        .sh(&format!("ssh {control} prod-web-1 true; for i in 1 2 3; do ssh {control} prod-web-1 true || exit; done"))
        .ok();
    assert_eq!(tunnels(&world).len(), 1);
    world.sandbox.ping_tunnels().unwrap();
    wait_until("the ping was not answered", || tunnels(&world)[0].pongs > 0);
    world.sh(&format!("ssh {control} -O exit prod-web-1")).ok();
    wait_until("the tunnel stayed open", || tunnels(&world)[0].closed.is_some());
}

#[sandbox::needs_namespaces]
#[test]
fn an_endpoint_host_is_a_jump_host() {
    let world = world("endpoint");
    let output = world.ssh(&["-J", "prod-web-2", "prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{}\n", world.web1));
    assert_eq!(tunnels(&world)[0].instance, world.web2);
}

#[sandbox::needs_namespaces]
#[test]
fn a_tunnel_that_breaks_ends_ssh_with_a_message() {
    let world = world("endpoint");
    switch(&world, TunnelSwitches { cut_after: Some(200_000), ..TunnelSwitches::default() });
    let script = "cd $HOME; ssh prod-web-1 'head -c 400000 /dev/zero; sleep 300' >/dev/null 2>err; echo $?; cat err";
    let start = Instant::now();
    let output = world.sh(script);
    assert!(output.ok().starts_with("255\n"), "{output}");
    let message = "ssh-eic: error: the tunnel through eice-0aaaabbbbccccdddd closed unexpectedly";
    assert!(output.stdout.contains(message), "{output}");
    assert!(!crate::world::is_over(start, Duration::from_secs(4)), "{output}");
}

#[sandbox::needs_namespaces]
#[test]
fn the_end_of_a_tunnel_is_reported_where_stderr_is_captured_and_ssh_in_the_background_does_not_hold_it() {
    let world = world("endpoint");
    switch(&world, TunnelSwitches { cut_after: Some(200_000), ..TunnelSwitches::default() });
    let script =
        "errors=$(ssh prod-web-1 'head -c 400000 /dev/zero; sleep 300' 2>&1 >/dev/null); echo $?; echo \"$errors\"";
    let output = world.sh(script);
    assert!(output.ok().starts_with("255\n"), "{output}");
    let message = "ssh-eic: error: the tunnel through eice-0aaaabbbbccccdddd closed unexpectedly";
    assert!(output.stdout.contains(message), "{output}");
    world.sandbox.reset_switches().unwrap();
    let start = Instant::now();
    world.sh("cd $HOME; x=$(ssh -f -N -M -S cm prod-web-1 2>&1)").ok();
    assert!(!crate::world::is_over(start, Duration::from_secs(20)), "the caller waited for the session");
    world.sh("cd $HOME; ssh -S cm -O exit prod-web-1").ok();
    world.nothing_lingers(Duration::from_secs(10));
}

#[test]
fn the_end_of_the_tunnel_s_time_is_reported() {
    let world = world("endpoint");
    set_route(&world, "endpoint", "max_tunnel_duration = \"3s\"");
    let output = world.sh("cd $HOME; ssh prod-web-1 'sleep 300' 2>err; echo $?; cat err");
    assert!(output.ok().starts_with("255\n"), "{output}");
    assert!(output.stdout.contains("ssh-eic: error: the endpoint ends a connection after 3 s\n"), "{output}");
    assert_eq!(tunnels(&world)[0].max_duration, 3);
}

#[sandbox::needs_namespaces]
#[test]
fn ipv6_addresses_go_through_an_endpoint_for_ipv6() {
    let world = world("endpoint");
    world.sandbox.add(Instance::new("six").address("10.0.3.60").ipv6("fd00:1::7")).unwrap();
    let ipv6 = Endpoint { id: "eice-06".into(), address_type: "dualstack".into(), ..Endpoint::default() };
    world.sandbox.add_endpoint(ipv6).unwrap();
    set_route(&world, "endpoint", "address = \"ipv6\"");
    world.ssh(&["six", "true"]).ok();
    let tunnel = tunnels(&world).pop().unwrap();
    assert_eq!((tunnel.endpoint.as_str(), tunnel.address.as_str()), ("eice-06", "fd00:1::7"));
}

#[sandbox::needs_namespaces]
#[test]
fn the_signed_url_is_neither_logged_nor_written_nor_an_argument() {
    let world = world("endpoint");
    let script = "cd $HOME; SSH_EIC_LOG=trace ssh -vvv prod-web-1 'for p in /proc/[0-9]*/cmdline; do tr \"\\\\0\" \" \" < $p; done 2>/dev/null' > out 2>&1
        grep -c 'ssh-eic' out; grep -rlE 'X-Am[z]-Signature|X-Am[z]-Credential|openTunne[l]' . ; true";
    let output = world.sh(script);
    let lines: Vec<&str> = output.ok().lines().collect();
    assert!(lines.len() == 1 && lines[0] != "0", "{output}");
}

#[sandbox::needs_namespaces]
#[test]
fn an_idle_tunnel_is_small_and_uses_no_processor_time() {
    let world = world("endpoint");
    let script = "ssh prod-web-1 'head -c 20971520 /dev/zero; sleep 60' | head -c 20971520 > /dev/null & sleep 60";
    let mut session = world.sandbox.command("bash");
    let mut child = crate::world::spawn(session.args(["-c", script]));
    wait_until("the bytes did not arrive", || tunnels(&world).iter().any(|tunnel| tunnel.sent > 20_971_520));
    let is_proxy = |line: &str| line.contains("ssh-eic") && line.contains(" proxy ") && !line.starts_with("ssh ");
    let (process, _) = world.processes().into_iter().find(|(_, line)| is_proxy(line)).expect("a proxy");
    let read = |file: &str| std::fs::read_to_string(process.join(file)).unwrap_or_default();
    let ticks =
        || -> u64 { read("stat").split_whitespace().skip(13).take(2).filter_map(|n| n.parse::<u64>().ok()).sum() };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks() <= before + 10, "it spins");
    let anonymous = read("smaps_rollup").lines().find_map(|line| {
        line.strip_prefix("Anonymous:").and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
    });
    // The budget is 1 MiB for a release build (contrib/bench); this one has debug information and checks.
    assert!(anonymous.expect("smaps_rollup") <= 2048, "{anonymous:?} KiB");
    child.kill().unwrap();
    let _ = child.wait();
}
