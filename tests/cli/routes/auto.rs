//! `route = "auto"`: the address where that is safe, the endpoint elsewhere.

use std::time::Duration;

use sandbox::{Change, Instance, Network, SsmSwitches, Switches, TunnelSwitches};

use super::{switch, tunnels, world};
use crate::world::World;

fn network(world: &World, id: &str, network: Network) {
    world.sandbox.update(id, Change { network: Some(network), ..Change::default() }).unwrap();
}

fn login(world: &World) {
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
}

/// Direct connections that the instance has accepted.
fn direct_connections(world: &World) -> usize {
    world.sandbox.sshd_log(&world.web1).matches("Accepted publickey").count() - tunnels(world).len()
}

#[sandbox::needs_namespaces]
#[test]
fn a_first_connection_uses_the_endpoint_and_the_next_one_the_address() {
    let world = world("auto");
    login(&world);
    assert_eq!((tunnels(&world).len(), direct_connections(&world)), (1, 0), "the host key is not known yet");
    world.sh("rm -f $HOME/.cache/ssh-eic/routes.json").ok();
    login(&world);
    assert_eq!((tunnels(&world).len(), direct_connections(&world)), (1, 1));
}

#[sandbox::needs_namespaces]
#[test]
fn after_a_second_without_an_answer_another_route_starts_and_the_next_connection_skips_the_address() {
    let world = world("auto");
    login(&world);
    world.sh("rm -f $HOME/.cache/ssh-eic/routes.json").ok();
    network(&world, &world.web1, Network::Blackhole);
    login(&world);
    assert_eq!(tunnels(&world).len(), 2);
    let routes = world.read(".cache/ssh-eic/routes.json");
    assert!(routes.contains("specific"), "{routes}");
    let output = world.ssh(&["prod-web-1", "true"]);
    output.within(Duration::from_secs(1)).ok();
    assert_eq!(tunnels(&world).len(), 3);
}

#[sandbox::needs_namespaces]
#[test]
fn another_route_starts_immediately_after_a_refused_connection() {
    let world = world("auto");
    login(&world);
    world.sh("rm -f $HOME/.cache/ssh-eic/routes.json").ok();
    network(&world, &world.web1, Network::Refuse);
    login(&world);
    assert_eq!(tunnels(&world).len(), 2);
}

#[sandbox::needs_namespaces]
#[test]
fn without_an_endpoint_and_an_agent_the_address_is_used() {
    let world = world("auto");
    let alone = world.add(Instance::new("alone").address("10.0.3.70").vpc("vpc-9"));
    let ssm = SsmSwitches { not_connected: vec![alone], ..SsmSwitches::default() };
    world.sandbox.switches(Switches { ssm: Some(ssm), ..Switches::default() }).unwrap();
    world.ssh(&["alone", "true"]).ok();
    world.ssh(&["alone", "true"]).ok();
    assert!(tunnels(&world).is_empty());
    // A host key that has changed is then ssh's to judge.
    login(&world);
    let script = "cd $HOME/.ssh/eic; other=$(grep '$WEB1 ssh-ed25519' known_hosts | cut -d' ' -f3); [ \"$other\" ] &&
        sed -i \"/$WEB1/!s|ssh-ed25519 .*|ssh-ed25519 $other|\" known_hosts";
    world.sh(&script.replace("$WEB1", &world.web1)).ok();
    let output = world.ssh(&["alone", "true"]);
    output.fails_with(255).says("another machine on this network").says("run the command again");
    world.ssh(&["alone", "true"]).fails_with(255).says("REMOTE HOST IDENTIFICATION HAS CHANGED");
}

#[sandbox::needs_namespaces]
#[test]
fn a_known_host_is_reached_where_the_endpoint_s_name_does_not_resolve() {
    let world = world("auto");
    login(&world);
    world.sh("rm -rf $HOME/.cache/ssh-eic/routes.json $HOME/.cache/ssh-eic/endpoints").ok();
    switch(&world, TunnelSwitches { unresolved: true, ..TunnelSwitches::default() });
    login(&world);
    assert_eq!((tunnels(&world).len(), direct_connections(&world)), (1, 1));
    // Also with the endpoint as the route that worked last.
    switch(&world, TunnelSwitches::default());
    world.sh("sed -i s/direct/specific/ $HOME/.cache/ssh-eic/routes.json").ok();
    switch(&world, TunnelSwitches { unresolved: true, ..TunnelSwitches::default() });
    login(&world);
}

#[sandbox::needs_namespaces]
#[test]
fn a_connection_to_another_machine_at_the_address_ends_at_its_host_key() {
    let world = world("auto");
    login(&world);
    world.sh("rm -f $HOME/.cache/ssh-eic/routes.json").ok();
    network(&world, &world.web1, Network::Away);
    let stranger = world.sandbox.add(Instance::new("stranger").address("10.0.3.7").vpc("vpc-other")).unwrap();
    let output = world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{}\n", world.web1));
    assert!(!output.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{output}");
    let warning =
        "ssh-eic: warning: 10.0.3.7 is another machine on this network: its host key is not the key of prod-web-1";
    output.says(warning);
    assert!(!world.ssh(&["prod-web-1", "true"]).stderr.contains("another machine"), "known by now");
    // Also on a network where the address was the instance's before.
    world.write(
        ".cache/ssh-eic/routes.json",
        &world.read(".cache/ssh-eic/routes.json").replace("specific", "direct").replace(" stranger", "x"),
    );
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says("10.0.3.7 is another machine on this network").says("run the command again");
    assert!(!output.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{output}");
    login(&world);
    assert!(!world.sandbox.sshd_log(&stranger).contains("Accepted"), "{}", world.sandbox.sshd_log(&stranger));
}

#[test]
fn a_version_line_alone_is_no_route_that_worked() {
    let world = world("auto");
    login(&world);
    world.sh("rm -f $HOME/.cache/ssh-eic/routes.json").ok();
    login(&world);
    assert_eq!(direct_connections(&world), 1);
    // Old enough to be kept anew, and not yet expired.
    let path = ".cache/ssh-eic/routes.json";
    let mut routes: serde_json::Value = serde_json::from_str(&world.read(path)).unwrap();
    for record in routes.as_object_mut().unwrap().values_mut() {
        assert_eq!(record["worked"], "direct");
        record["at"] = (record["at"].as_u64().unwrap() - 13 * 60 * 60 * 1000).into();
    }
    world.write(path, &routes.to_string());
    network(&world, &world.web1, Network::Away);
    let deaf = Instance::new("deaf").address("10.0.3.7").vpc("vpc-other").network(Network::Deaf);
    world.sandbox.add(Instance { greeting: "SSH-2.0-deaf\r\n".into(), ..deaf }).unwrap();
    let script = "cd $HOME; ssh -v prod-web-1 true 2>log & until grep -q 'software version deaf' log; do sleep 0.1; done; kill $!; wait";
    world.sh(script);
    assert_eq!(world.read(path), routes.to_string());
}
