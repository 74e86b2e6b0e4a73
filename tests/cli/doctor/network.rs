//! Faults between here and the instance.

use sandbox::{Change, Endpoint, Instance, Network, Rule, SecurityGroup, needs_namespaces};

use super::{doctor, world};
use crate::world::World;

/// A short patience, so that an address that never answers costs little.
fn impatient(world: &World) {
    let config = world.read(".config/ssh-eic/config.toml") + "\n[limits]\nconnect_timeout = \"2s\"\n";
    world.write(".config/ssh-eic/config.toml", &config);
}

fn behaves(world: &World, network: Network) {
    world.sandbox.update(&world.web1, Change { network: Some(network), ..Change::default() }).unwrap();
}

#[needs_namespaces]
#[test]
fn an_address_that_does_not_answer_is_named_with_its_security_groups() {
    let world = world();
    impatient(&world);
    world.add(Instance::new("shut-off").address("10.0.7.9").network(Network::Blackhole).security_group("sg-0closed"));
    behaves(&world, Network::Blackhole);
    let silent =
        ["10.0.3.7 port 22: no answer within 2 s", "sg-0aaaabbbbccccdddd allows port 22 from 10.0.0.0/8", "VPN"];
    doctor(&world, &["prod-web-1"]).problem("address-silent", &silent);
    world.sandbox.add_endpoint(Endpoint::default()).unwrap();
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("address-silent", &[]);
    found.note(
        "endpoint-available",
        &["eice-0aaaabbbbccccdddd in its VPC could carry the connection", "set route = \"endpoint\" or \"auto\""],
    );
    let rules =
        vec![Rule::tcp(443, "0.0.0.0/0"), Rule { protocol: "udp".into(), ports: Some((1, 99)), ..Rule::default() }];
    let closed = SecurityGroup { id: "sg-0closed".to_owned(), rules, ..SecurityGroup::default() };
    world.sandbox.add_security_group(closed).unwrap();
    let closed =
        ["no inbound rule of sg-0closed allows port 22", "authorize-security-group-ingress --group-id sg-0closed"];
    doctor(&world, &["shut-off"]).problem("security-group", &closed);
    world.deny("DescribeSecurityGroups");
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("address-silent", &["10.0.3.7 port 22"]);
    found.note("security-group-unread", &["AWS denies ec2:DescribeSecurityGroups", "allow ec2:Describe"]);
    behaves(&world, Network::Silent);
    doctor(&world, &["prod-web-1"]).problem("address-silent", &["accepts the connection and says nothing for 2 s"]);
}

#[needs_namespaces]
#[test]
fn an_address_that_refuses_or_does_not_speak_ssh_is_named() {
    let world = world();
    impatient(&world);
    behaves(&world, Network::Refuse);
    doctor(&world, &["prod-web-1"]).problem("address-refused", &["10.0.3.7 port 22: ", "check that sshd runs"]);
    world.add(Instance::new("closed").address("10.0.7.2").port(2222).network(Network::Refuse));
    doctor(&world, &["closed"]).problem("address-refused", &["10.0.7.2 port 2222: connection refused", "port 2222"]);
    for (name, line, words) in [
        ("penalty", "Not allowed at this time\r\n", "PerSourcePenalties"),
        ("full", "Exceeded MaxStartups\r\n", "MaxStartups"),
        ("closes", "\r\n", "MaxStartups"),
    ] {
        world.add(Instance::new(name).greeting(line));
        doctor(&world, &[name]).problem("server-refuses", &["port 22 ", words]);
    }
    let hostile = "HTTP/1.1 400 \u{1b}[2J\u{7}Bad\r\nok       login       yes\r\n";
    world.add(Instance::new("web").address("10.0.7.3").greeting(hostile));
    let found = doctor(&world, &["web"]);
    found.problem("not-ssh", &["10.0.7.3 port 22 does not speak SSH", "HTTP/1.1 400 ?[2J?Bad", "ssh-eic:port"]);
    assert!(
        !found.human.stdout.contains('\u{1b}') && !found.human.stdout.contains("\nok       login "),
        "{}",
        found.human
    );
}

#[needs_namespaces]
#[test]
fn a_changed_address_is_a_problem_only_if_another_instance_has_it() {
    let world = world();
    let moved = |id: &str, to: &str| {
        world.sandbox.update(id, Change { address: Some(to.to_owned()), ..Change::default() }).unwrap();
    };
    moved(&world.web1, "10.0.3.77");
    let found = doctor(&world, &["prod-web-1"]);
    found.healthy().note("address-changed", &["had 10.0.3.7 at the last sync and has 10.0.3.77", "ssh-eic sync"]);
    moved(&world.web2, "10.0.3.78");
    world.sandbox.add(Instance::new("stranger").address("10.0.3.8")).unwrap();
    let found = doctor(&world, &["prod-web-2"]);
    found.problem("address-changed", &["another machine responds at 10.0.3.8", "ssh-eic sync"]);
}

#[needs_namespaces]
#[test]
fn an_instance_without_such_an_address_is_named() {
    let world = world();
    crate::sources::configure(&world, "[[source]]\nprofile = \"prod\"\naddress = \"public\"\n");
    world.eic(&["sync"]).ok();
    doctor(&world, &["prod-web-1"]).problem("no-address", &["has no public address", "set address in config.toml"]);
}
