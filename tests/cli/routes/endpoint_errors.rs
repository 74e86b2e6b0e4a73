//! What the user reads when there is no tunnel.

use std::time::Duration;

use sandbox::{Endpoint, Instance, Refusal, Switches, TunnelSwitches};

use super::{actions, switch, tunnels, world};
use crate::network::{ConnectProxy, with};
use crate::world::run;

#[sandbox::needs_namespaces]
#[test]
fn an_endpoint_that_cannot_reach_sshd_names_the_security_group() {
    let world = world("endpoint");
    switch(&world, TunnelSwitches { unreachable: vec![world.web1.clone()], ..TunnelSwitches::default() });
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says(&format!(
        "ssh-eic: error: eice-0aaaabbbbccccdddd cannot reach prod-web-1 ({}): Unable to connect to target\n",
        world.web1
    ));
    output.says(
        "ssh-eic: hint: allow port 22 from sg-0eeeeffff00001111 in the instance's security group; is sshd running?",
    );
}

#[sandbox::needs_namespaces]
#[test]
fn a_stopped_instance_is_reported_as_stopped() {
    let world = world("endpoint");
    let change = sandbox::Change { state: Some(sandbox::State::Stopped), ..sandbox::Change::default() };
    world.sandbox.update(&world.web1, change).unwrap();
    world.ssh(&["prod-web-1", "true"]).fails_with(255).says("has been stopped since 20");
}

#[sandbox::needs_namespaces]
#[test]
fn a_denied_tunnel_names_action_resource_policy_and_request() {
    let world = world("endpoint");
    for refusal in [Refusal::Whole, Refusal::TwoRecords, Refusal::Chunked] {
        let tunnels = TunnelSwitches { refusal, ..TunnelSwitches::default() };
        let deny = Some(vec!["OpenTunnel".into()]);
        world.sandbox.switches(Switches { deny, tunnels: Some(tunnels), ..Switches::default() }).unwrap();
        let output = world.ssh(&["prod-web-1", "true"]);
        output.fails_with(255).says("eice-0aaaabbbbccccdddd refused the tunnel to prod-web-1").says("AccessDenied: ");
        output.says("(request id ").says("ssh-eic policy").says("max_tunnel_duration");
        let arn = "arn:aws:ec2:eu-west-1:111122223333:instance-connect-endpoint/eice-0aaaabbbbccccdddd";
        output.says(&format!("allow ec2-instance-connect:OpenTunnel on {arn}"));
    }
    world.sandbox.reset_switches().unwrap();
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[sandbox::needs_namespaces]
#[test]
fn a_vpc_without_a_usable_endpoint_is_named() {
    let world = world("endpoint");
    world.add(Instance::new("alone").address("10.0.3.70").vpc("vpc-9"));
    let output = world.ssh(&["alone", "true"]);
    output.fails_with(255).says("no EC2 Instance Connect Endpoint in vpc-9");
    output.says("aws ec2 create-instance-connect-endpoint --subnet-id subnet-0aaaabbbbccccdddd --region eu-west-1");
    let ipv6 =
        Endpoint { id: "eice-06".into(), vpc: "vpc-8".into(), address_type: "ipv6".into(), ..Endpoint::default() };
    world.sandbox.add_endpoint(ipv6).unwrap();
    world.add(Instance::new("four").address("10.0.3.71").vpc("vpc-8"));
    world.ssh(&["four", "true"]).fails_with(255).says("eice-06 reaches IPv6 only");
    assert!(tunnels(&world).is_empty());
}

#[sandbox::needs_namespaces]
#[test]
fn another_port_is_rejected_before_any_request() {
    let world = world("endpoint");
    world
        .ssh(&["-p", "2222", "-o", "ControlPath=none", "prod-web-1", "true"])
        .fails_with(255)
        .says("to port 22 only, not 2222");
    assert!(!actions(&world).iter().any(|action| action != "SendSSHPublicKey"), "{:?}", actions(&world));
}

#[sandbox::needs_namespaces]
#[test]
fn an_endpoint_that_was_replaced_is_found_at_the_next_connection() {
    let world = world("endpoint");
    world.ssh(&["prod-web-1", "true"]).ok();
    let cache = world.sh("ls $HOME/.cache/ssh-eic/endpoints").ok().to_owned();
    let file = format!(".cache/ssh-eic/endpoints/{}", cache.trim());
    world.write(&file, &world.read(&file).replace("eice-0aaaabbbbccccdddd\"", "eice-0bbbbbbbbbbbbbbbb\""));
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(tunnels(&world).len(), 2);
}

#[sandbox::needs_namespaces]
#[test]
fn a_proxy_on_the_way_is_used_and_its_refusal_named_without_the_password() {
    let world = world("endpoint");
    let proxy = ConnectProxy::start(&world);
    let login = |url: &str| run(with(world.ssh_command(&["prod-web-1", "true"]), &[("HTTPS_PROXY", url)]));
    world.ssh(&["prod-web-1", "true"]).ok();
    proxy.requests();
    login(&proxy.url().replace("http://", "http://alice:s3cr%40t@")).ok();
    let requests = proxy.requests();
    let name = "eice-0aaaabbbbccccdddd.0123abcd.ec2-instance-connect-endpoint.eu-west-1.amazonaws.com";
    assert!(requests.contains(&(format!("CONNECT {name}:443"), "Basic YWxpY2U6czNjckB0".to_owned())), "{requests:?}");
    let refusing = ConnectProxy::refusing(&world, 407);
    let output = login(&refusing.url().replace("http://", "http://alice:s3cr%40t@"));
    output.fails_with(255).says(&format!("proxy {} requires a user and a password (407)", refusing.address));
    assert!(!output.stderr.contains("s3cr"), "{output}");
    let refusing = ConnectProxy::refusing(&world, 403);
    login(&refusing.url()).fails_with(255).says("refused the connection to eice-0aaaabbbbccccdddd (403)");
}

#[sandbox::needs_namespaces]
#[test]
fn a_name_that_does_not_resolve_is_reported() {
    let world = world("endpoint");
    switch(&world, TunnelSwitches { unresolved: true, ..TunnelSwitches::default() });
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says("cannot resolve eice-0aaaabbbbccccdddd").within(Duration::from_mins(1));
}
