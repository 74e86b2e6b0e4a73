//! From discovered instances to hosts, with sources and rules as config.toml has them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::domain::config::Config;
use crate::domain::discovery::{self, Fleet, FleetRequest};
use crate::domain::fleet::{DiscoveredInstance, Host, Instance, PreviousHost, TAG_IGNORE, TAG_PORT, TAG_USER};
use crate::domain::ids::InstanceId;
use crate::domain::image::Image;
use crate::domain::names::NameHistory;
use crate::domain::source::HostKeys;
use crate::store::config;
use crate::store::images::Images;

fn config(text: &str) -> Config {
    config::parse(text, Path::new("config.toml")).unwrap()
}

fn discovered(source: usize, id: &str, tags: &[(&str, &str)]) -> DiscoveredInstance {
    let instance = Instance {
        id: InstanceId::parse(id).unwrap(),
        state: "running".to_owned(),
        state_reason: String::new(),
        private_ip: Some("10.0.3.7".to_owned()),
        ipv6: None,
        public_ip: None,
        az: String::new(),
        vpc: String::new(),
        subnet: String::new(),
        image: "ami-1".to_owned(),
        windows: false,
        launched: 0,
        dns: String::new(),
        tags: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    };
    DiscoveredInstance { source, region: "eu-west-1".to_owned(), account: "1".to_owned(), instance }
}

fn previous(hosts: &[Host]) -> Vec<PreviousHost> {
    hosts.iter().map(PreviousHost::of).collect()
}

fn built(config: &Config, images: &Images, old: &[Host], seen: Vec<DiscoveredInstance>, kept: Vec<Host>) -> Fleet {
    let request = FleetRequest {
        sources: &config.sources,
        rules: &config.hosts,
        image: &|id| images.get(id),
        previous: &previous(old),
        history: discovery::name_history(&previous(old), NameHistory::new(), 1),
        conflict_of: &|_, _| None,
        accept_moves: false,
        now: 2,
    };
    discovery::build(&request, seen, kept)
}

fn fleet(text: &str, seen: Vec<DiscoveredInstance>, kept: Vec<Host>) -> Fleet {
    built(&config(text), &Images::default(), &kept.clone(), seen, kept)
}

#[test]
fn tags_decide_user_and_port_and_bad_ones_leave_the_instance_out() {
    let seen = vec![
        discovered(0, "i-00000001", &[("Name", "a"), (TAG_USER, "ubuntu"), (TAG_PORT, "2222")]),
        discovered(0, "i-00000002", &[("Name", "b"), (TAG_USER, "x'; rm -rf ~; '")]),
        discovered(0, "i-00000003", &[("Name", "c"), (TAG_PORT, "0")]),
        discovered(0, "i-00000004", &[("Name", "d"), (TAG_IGNORE, "")]),
    ];
    let fleet = fleet("", seen, Vec::new());
    assert_eq!(fleet.hosts.len(), 1);
    assert_eq!((fleet.hosts[0].user.as_str(), fleet.hosts[0].port), ("ubuntu", 2222));
    assert_eq!(fleet.rejected.len(), 2, "{:?}", fleet.rejected);
    let rejected: Vec<String> = fleet.rejected.iter().map(ToString::to_string).collect();
    let user = "i-00000002: tag ssh-eic:user is not a user name that EC2 Instance Connect accepts";
    assert_eq!(rejected, [user, "i-00000003: tag ssh-eic:port is not a port number"]);
}

#[test]
fn an_instance_belongs_to_the_first_of_two_sources_even_while_that_source_fails() {
    let two = "[[source]]\nname = \"a\"\nuser = \"one\"\n[[source]]\nname = \"b\"\nuser = \"two\"\n";
    let seen = vec![discovered(1, "i-00000001", &[("Name", "x")]), discovered(0, "i-00000001", &[("Name", "x")])];
    let before = fleet(two, seen, Vec::new());
    assert_eq!(before.hosts.iter().map(|host| host.source.as_str()).collect::<Vec<_>>(), ["a"]);
    let after = fleet(two, vec![discovered(1, "i-00000001", &[("Name", "x")])], before.hosts.clone());
    assert_eq!(after.hosts, before.hosts);
    let again = fleet(two, Vec::new(), before.hosts.clone());
    assert_eq!(again.hosts, before.hosts);
}

#[test]
fn excluded_means_all_keys_match_as_in_ec2_filters() {
    let text = "[[source]]\nexclude = { Name = [\"*-fw\", \"x?\"], Env = \"prod\" }\n";
    let is_excluded = |name: &str, env: &str| {
        fleet(text, vec![discovered(0, "i-00000001", &[("Name", name), ("Env", env)])], Vec::new()).hosts.is_empty()
    };
    assert!(is_excluded("edge-fw", "prod") && is_excluded("x1", "prod"));
    for (name, env) in [("edge-fw", "dev"), ("edge-fw2", "prod"), ("x", "prod"), ("EDGE-FW", "prod")] {
        assert!(!is_excluded(name, env), "{name} {env}");
    }
}

#[test]
fn the_image_decides_the_user_and_the_previous_user_stays_while_it_is_unknown() {
    let config = config("");
    let seen = || vec![discovered(0, "i-00000001", &[("Name", "x")])];
    let mut images = Images::default();
    let image = Image { name: "debian-12-amd64".to_owned(), owner: String::new() };
    images.add(&[], BTreeMap::from([("ami-1".to_owned(), image)]), 1);
    let known = built(&config, &images, &[], seen(), Vec::new());
    assert_eq!(known.hosts[0].user.as_str(), "admin");
    let unknown = built(&config, &Images::default(), &known.hosts, seen(), Vec::new());
    assert_eq!(unknown.hosts[0].user.as_str(), "admin");
    assert_eq!(built(&config, &Images::default(), &[], seen(), Vec::new()).hosts[0].user.as_str(), "ec2-user");
}

#[test]
fn the_first_rule_that_matches_an_alias_counts() {
    let text = "[[host]]\nmatch = [\"db-*\", \"!db-9\"]\nuser = \"deploy\"\noptions = { ForwardAgent = \"yes\" }\n[[host]]\nmatch = \"db-*\"\nport = 2222\n";
    let seen = ["db-1", "db-9", "web"].iter().zip(1..);
    let seen = seen.map(|(name, n)| discovered(0, &format!("i-0000000{n}"), &[("Name", name)])).collect();
    let fleet = fleet(text, seen, Vec::new());
    let told: Vec<_> = fleet.hosts.iter().map(|h| (h.user.as_str(), h.port, h.options.len())).collect();
    assert_eq!(told, [("deploy", 22, 1), ("ec2-user", 2222, 0), ("ec2-user", 22, 0)]);
}

#[test]
fn route_and_host_keys_are_those_of_the_source_unless_a_rule_overrides_them() {
    let source = "[[source]]\nroute = \"endpoint\"\nmax_tunnel_duration = \"30m\"\n";
    let rule = "[[host]]\nmatch = \"db\"\nroute = \"jump:bastion\"\nhost_keys = \"console\"\n";
    let options = |fleet: &Fleet| -> Vec<(String, u16, HostKeys)> {
        fleet.hosts.iter().map(|h| (h.route.to_string(), h.max_tunnel_duration, h.host_keys)).collect()
    };
    let seen = vec![discovered(0, "i-00000001", &[("Name", "db")]), discovered(0, "i-00000002", &[("Name", "web")])];
    let first = fleet(&(source.to_owned() + rule), seen, Vec::new());
    let tunnel = || ("endpoint".to_owned(), 1800, HostKeys::AcceptNew);
    assert_eq!(options(&first), [("jump:bastion".to_owned(), 1800, HostKeys::Console), tunnel()]);
    let kept = fleet(source, Vec::new(), first.hosts.clone());
    assert_eq!(options(&kept), [tunnel(), tunnel()], "without an answer of AWS");
}

#[test]
fn an_instance_in_an_unlisted_state_is_left_out_and_keeps_its_name() {
    let text = "[[source]]\nstates = [\"running\"]\n";
    let first = fleet(text, vec![discovered(0, "i-00000001", &[("Name", "x")])], Vec::new());
    let mut stopped = discovered(0, "i-00000001", &[("Name", "x")]);
    stopped.instance.state = "stopped".to_owned();
    let seen = vec![stopped, discovered(0, "i-00000002", &[("Name", "x")])];
    let second = built(&config(text), &Images::default(), &first.hosts, seen, Vec::new());
    let names: Vec<_> = second.hosts.iter().map(|host| host.alias.as_deref().unwrap()).collect();
    assert_eq!(names, ["x-000000"]);
    assert_eq!(second.memory["x"].id.as_str(), "i-00000001");
}
