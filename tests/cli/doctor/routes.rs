//! Faults of routes: endpoints, Session Manager, jump hosts.

use sandbox::{Change, Endpoint, Instance, Network, Rule, SecurityGroup, SsmSwitches, Switches, needs_namespaces};

use super::{Diagnosis, doctor, world};
use crate::sources::configure;
use crate::world::World;

const ENDPOINT_GROUP: &str = "sg-0eeeeffff00001111";

/// Every host has this route, and a fault costs 2 s.
fn use_route(world: &World, lines: &str) {
    configure(
        world,
        &format!("[[source]]\nname = \"prod\"\nprofile = \"prod\"\n{lines}\n[limits]\nconnect_timeout = \"2s\"\n"),
    );
    world.eic(&["sync"]).ok();
}

/// The finding of a check, which is ok.
#[track_caller]
fn ok<'d>(found: &'d Diagnosis, check: &str) -> &'d str {
    let finding = found.findings.iter().find(|finding| finding["check"] == check);
    let finding = finding.unwrap_or_else(|| panic!("no check {check}\n{}", found.json));
    assert_eq!(finding["status"], "ok", "{}", found.json);
    finding["what"].as_str().expect("a text")
}

/// Replaces the security group of all instances.
fn allow(world: &World, rule: Rule) {
    world.sandbox.add_security_group(SecurityGroup { rules: vec![rule], ..SecurityGroup::default() }).unwrap();
}

#[needs_namespaces]
#[test]
fn an_endpoint_that_is_absent_unusable_or_of_another_address_type_is_named() {
    let world = world();
    use_route(&world, "route = \"endpoint\"");
    doctor(&world, &["prod-web-1"]).problem(
        "endpoint-missing",
        &[
            "no EC2 Instance Connect Endpoint in vpc-0aaaabbbbccccdddd",
            "create-instance-connect-endpoint --subnet-id subnet-0aaaabbbbccccdddd",
        ],
    );
    let deleted = Endpoint { state: "delete-in-progress".to_owned(), ..Endpoint::default() };
    world.sandbox.add_endpoint(deleted).unwrap();
    doctor(&world, &["prod-web-1"])
        .problem("endpoint-state", &["eice-0aaaabbbbccccdddd is in state delete-in-progress"]);
    let usable = Endpoint { id: "eice-0ffff00001111aaaa".to_owned(), ..Endpoint::default() };
    world.sandbox.add_endpoint(usable).unwrap();
    let found = doctor(&world, &["prod-web-1"]);
    let text = ok(&found, "endpoint");
    let wanted = "eice-0ffff00001111aaaa in subnet-0aaaabbbbccccdddd (ipv4); sg-0aaaabbbbccccdddd allows port 22 from";
    assert!(text.starts_with(wanted), "{text}");
    let deny = Some(vec!["DescribeInstanceConnectEndpoints".to_owned()]);
    world.sandbox.switches(Switches { deny, ..Switches::default() }).unwrap();
    doctor(&world, &["prod-web-1"])
        .problem("permission-denied", &["ec2:DescribeInstanceConnectEndpoints", "ssh-eic policy"]);
    world.sandbox.switches(Switches { deny: Some(Vec::new()), ..Switches::default() }).unwrap();
    use_route(&world, "route = \"endpoint\"\naddress = \"ipv6\"");
    let six = Change { ipv6: Some("fd00::7".to_owned()), ..Change::default() };
    world.sandbox.update(&world.web1, six).unwrap();
    world.eic(&["sync"]).ok();
    doctor(&world, &["prod-web-1"]).problem(
        "endpoint-address-type",
        &["eice-0ffff00001111aaaa reaches IPv4 only, and the instance's address is fd00::7", "dualstack"],
    );
    use_route(&world, "route = \"endpoint\"\nport = 2222");
    doctor(&world, &["prod-web-1"]).problem("endpoint-port", &["port 2222", "reaches port 22 only"]);
}

#[needs_namespaces]
#[test]
fn a_security_group_that_does_not_allow_the_endpoint_is_named() {
    let world = world();
    use_route(&world, "route = \"endpoint\"");
    world.sandbox.add_endpoint(Endpoint::default()).unwrap();
    let from_group = |group: &str| Rule {
        protocol: "tcp".to_owned(),
        ports: Some((22, 22)),
        groups: vec![group.to_owned()],
        ..Rule::default()
    };
    allow(&world, from_group("sg-0bastion"));
    doctor(&world, &["prod-web-1"]).problem(
        "endpoint-security-group",
        &[
            "no inbound rule of sg-0aaaabbbbccccdddd allows port 22 from sg-0eeeeffff00001111",
            "--group-id sg-0aaaabbbbccccdddd --protocol tcp --port 22 --source-group sg-0eeeeffff00001111",
        ],
    );
    allow(&world, from_group(ENDPOINT_GROUP));
    let found = doctor(&world, &["prod-web-1"]);
    ok(&found, "endpoint");
    assert_eq!(ok(&found, "tunnel"), "eice-0aaaabbbbccccdddd opened a tunnel, which was closed at once");
    world.deny("OpenTunnel");
    let arn = "arn:aws:ec2:eu-west-1:111122223333:instance-connect-endpoint/eice-0aaaabbbbccccdddd";
    let found = doctor(&world, &["prod-web-1"]);
    ok(&found, "endpoint");
    found.problem(
        "permission-denied",
        &[
            "eice-0aaaabbbbccccdddd refused the tunnel to prod-web-1",
            &format!("allow ec2-instance-connect:OpenTunnel on {arn}; ssh-eic policy prints the policy"),
        ],
    );
    world.sandbox.reset_switches().unwrap();
    // Then the instance sees the client, which is in no security group.
    let preserving = Endpoint { id: "eice-0000".to_owned(), preserve_client_ip: true, ..Endpoint::default() };
    world.sandbox.add_endpoint(preserving).unwrap();
    doctor(&world, &["prod-web-1"])
        .problem("endpoint-security-group", &["client addresses, which eice-0000 preserves", "--cidr YOUR-NETWORK"]);
    let deny = Some(vec!["DescribeSecurityGroups".to_owned()]);
    world.sandbox.switches(Switches { deny, ..Switches::default() }).unwrap();
    let found = doctor(&world, &["prod-web-1"]);
    ok(&found, "endpoint");
    found.note("security-group-unread", &["AWS denies ec2:DescribeSecurityGroups"]);
}

#[needs_namespaces]
#[test]
fn without_a_direct_path_or_an_endpoint_auto_needs_the_agent() {
    let world = world();
    // With a known host key `auto` connects to the address.
    world.ssh(&["prod-web-1", "true"]).ok();
    use_route(&world, "route = \"auto\"");
    let found = doctor(&world, &["prod-web-1"]);
    found.all_ok();
    ok(&found, "address");
    let silent = Change { network: Some(Network::Blackhole), ..Change::default() };
    world.sandbox.update(&world.web1, silent).unwrap();
    let found = doctor(&world, &["prod-web-1"]);
    found.note("address-silent", &["10.0.3.7 port 22: no answer within 2 s"]);
    found.note("endpoint-missing", &["no EC2 Instance Connect Endpoint in vpc-0aaaabbbbccccdddd"]);
    ok(&found, "agent");
    let profile = "arn:aws:iam::111122223333:instance-profile/web";
    let with_profile = Instance::new("with-profile").address("10.0.7.9").network(Network::Blackhole);
    let with_profile = world.add(with_profile.instance_profile(profile));
    let not_connected = vec![world.web1.clone(), with_profile];
    let ssm = Some(SsmSwitches { not_connected, ..SsmSwitches::default() });
    world.sandbox.switches(Switches { ssm, ..Switches::default() }).unwrap();
    doctor(&world, &["prod-web-1"])
        .problem("no-instance-profile", &["is not connected, and the instance has no instance profile"]);
    doctor(&world, &["with-profile"])
        .problem("agent-not-connected", &["is not connected", "the instance profile web has AmazonSSMManaged"]);
    // A usable endpoint is used, and its fault is the cause.
    world.sandbox.add_endpoint(Endpoint::default()).unwrap();
    ok(&doctor(&world, &["prod-web-1"]), "endpoint");
    allow(&world, Rule::tcp(443, "0.0.0.0/0"));
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("endpoint-security-group", &[ENDPOINT_GROUP]).note("security-group", &["port 22"]);
}

#[needs_namespaces]
#[test]
fn a_jump_host_in_a_loop_or_without_an_answer_is_named() {
    let world = world();
    use_route(&world, "route = \"jump:ops@bastion\"");
    let ssh_config = world.read(".ssh/config");
    let bastion = |lines: &str| world.write(".ssh/config", &format!("{ssh_config}\nHost bastion\n    {lines}\n"));
    bastion("HostName 10.0.3.8");
    let found = doctor(&world, &["prod-web-1"]);
    let text = ok(&found, "jump");
    assert!(text.starts_with("through ops@bastion: 10.0.3.8 port 22, which says SSH-2.0-"), "{text}");
    bastion("HostName nowhere.invalid");
    doctor(&world, &["prod-web-1"])
        .problem("jump-host-unreachable", &["the jump host ops@bastion cannot be resolved: nowhere.invalid"]);
    world.sandbox.update(&world.web2, Change { network: Some(Network::Refuse), ..Change::default() }).unwrap();
    bastion("HostName 10.0.3.8");
    doctor(&world, &["prod-web-1"])
        .problem("jump-host-unreachable", &["the jump host ops@bastion: 10.0.3.8 port 22: "]);
    bastion("HostName 10.0.3.8\n    ProxyJump prod-web-1");
    doctor(&world, &["prod-web-1"]).problem("jump-loop", &["jumps through itself: bastion -> prod-web-1"]);
    bastion("HostName 10.0.3.8\n    ProxyJump gate");
    let found = doctor(&world, &["prod-web-1"]);
    assert!(ok(&found, "jump").ends_with("itself reached through a proxy"), "{}", found.json);
    use_route(&world, "route = \"jump:prod-web-2\"");
    doctor(&world, &["prod-web-1"])
        .problem("jump-loop", &["jumps through itself: prod-web-2 -> prod-web-2", "set another route"]);
    let host = "[[host]]\nmatch = \"prod-web-2\"\nroute = \"direct\"\n";
    use_route(&world, &format!("route = \"jump:prod-web-2\"\n{host}"));
    let found = doctor(&world, &["prod-web-1"]);
    assert_eq!(ok(&found, "jump"), "through prod-web-2, a managed host: see ssh-eic doctor prod-web-2");
}
