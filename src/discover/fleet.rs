//! From what was seen to the hosts of the config: who is left out and why, who belongs to which source, names.
//!
//! Pure: values in, values out. It is not in `core` because it reads the checked config.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::str::FromStr;

use crate::domain::alias::Subject;
use crate::domain::config::HostRule;
use crate::domain::fleet::{Addresses, Host, Instance, Sighting, TAG_AUTO_SCALING, TAG_IGNORE, TAG_PORT, TAG_USER};
use crate::domain::ids::{InstanceId, OsUser};
use crate::domain::image;
use crate::domain::names::{self, Holder, Outcome, Past, Shared, Wish};
use crate::domain::pattern;
use crate::domain::source::{AddressKind, Duplicates, Source};
use crate::store::images::Images;
use crate::store::index::Known;

/// The hosts, and what the user should know about those that are not among them.
#[derive(Debug, Default, PartialEq)]
pub struct Fleet {
    /// In the order of their aliases, those without one last.
    pub hosts: Vec<Host>,
    /// Bare names that connect to nobody, in all their spellings.
    pub shared: BTreeMap<String, Shared>,
    /// Names to remember besides those of the hosts.
    pub memory: Past,
    /// What became of the wished names.
    pub names: Outcome,
    /// Instances skipped for what their tags say, in words.
    pub skipped: Vec<String>,
    /// Windows instances left out.
    pub windows: usize,
    /// Instances without a name, reachable by id only.
    pub nameless: usize,
}

/// What a fleet is built from.
pub struct Plan<'a> {
    /// All effective sources in their order, asked or not.
    pub sources: &'a [Source],
    /// What single hosts have otherwise.
    pub rules: &'a [HostRule],
    /// Names and owners of images.
    pub images: &'a Images,
    /// The hosts of the last index, for users of images that could not be asked for.
    pub old: &'a [Known],
    /// Who had which name.
    pub past: Past,
    /// What stands in the way of a name.
    pub taken: &'a names::Taken<'a>,
    /// Names may move to other accounts and earlier sources.
    pub accept_moves: bool,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// Who had which name at the last sync.
#[must_use]
pub fn past(hosts: &[Known], memory: Past, synced: u64) -> Past {
    let mut past = memory;
    for host in hosts {
        for name in host.alias.iter().chain(&host.names) {
            let holder = Holder { id: host.id.clone(), account: host.account.clone(), seen: synced };
            past.insert(name.to_ascii_lowercase(), holder);
        }
    }
    past
}

/// Builds the fleet. `kept` are hosts of the last index whose source could not be asked this time.
#[must_use]
pub fn build(plan: &Plan<'_>, sightings: Vec<Sighting>, kept: Vec<Host>) -> Fleet {
    let mut fleet = Fleet::default();
    let mut sightings = sightings;
    // An instance seen by two sources belongs to the first. They come in this order mostly.
    if !sightings.is_sorted_by_key(|sighting| sighting.source) {
        sightings.sort_by_key(|sighting| sighting.source);
    }
    let position: HashMap<&str, usize> =
        plan.sources.iter().enumerate().map(|(at, source)| (source.name.as_str(), at)).collect();
    let kept_at: HashMap<InstanceId, usize> = kept
        .iter()
        .map(|host| (host.id.clone(), position.get(host.source.as_str()).copied().unwrap_or(usize::MAX)))
        .collect();
    let old: HashMap<&InstanceId, &Known> = plan.old.iter().map(|host| (&host.id, host)).collect();
    let mut wishes: Vec<Wish> = Vec::new();
    let mut hosts: Vec<Host> = Vec::with_capacity(sightings.len());
    let mut seen: HashSet<InstanceId> = HashSet::with_capacity(sightings.len());
    for sighting in sightings {
        let (at, instance) = (sighting.source, &sighting.instance);
        let source = &plan.sources[at];
        let kept_before = kept_at.get(&instance.id).is_some_and(|before| *before < at);
        if kept_before || seen.contains(&instance.id) || ignored(source, instance) {
            continue;
        }
        let listed = source.states.contains(&instance.state);
        seen.insert(instance.id.clone());
        if instance.windows {
            fleet.windows += usize::from(listed);
            continue;
        }
        let before = old.get(&instance.id).copied();
        match host(plan, source, sighting, before) {
            Ok(host) => {
                wishes.push(wish(source, at, &host, listed));
                if listed {
                    hosts.push(host);
                }
            }
            Err(why) if listed => fleet.skipped.push(why),
            Err(_) => {}
        }
    }
    for host in kept {
        let Some(&at) = position.get(host.source.as_str()) else { continue };
        if seen.insert(host.id.clone()) {
            let source = &plan.sources[at];
            wishes.push(wish(source, at, &host, true));
            // As configured now: these do not depend on an answer of AWS.
            hosts.push(Host {
                route: source.route.clone(),
                max_tunnel_duration: source.max_tunnel_duration,
                host_keys: source.host_keys,
                ..host
            });
        }
    }
    give_names(plan, &mut fleet, &wishes, &mut hosts);
    fleet.nameless = hosts.iter().filter(|host| host.alias.is_none()).count();
    fleet.hosts = hosts;
    for host in &mut fleet.hosts {
        apply_rules(plan.rules, host);
    }
    fleet.hosts.sort_by_cached_key(Host::place);
    fleet.skipped.sort();
    fleet
}

fn wish(source: &Source, rank: usize, host: &Host, listed: bool) -> Wish {
    let subject = Subject {
        id: &host.id,
        az: &host.az,
        vpc: &host.vpc,
        source: &source.name,
        region: &host.region,
        account: &host.account,
        account_name: &source.account_name,
        tags: &host.tags,
    };
    Wish {
        id: host.id.clone(),
        account: host.account.clone(),
        name: source.alias.expand(&subject),
        always_suffixed: host.tags.contains_key(TAG_AUTO_SCALING),
        rank,
        newest: source.duplicates == Duplicates::Newest,
        launched: host.launched,
        listed,
    }
}

fn give_names(plan: &Plan<'_>, fleet: &mut Fleet, wishes: &[Wish], hosts: &mut [Host]) {
    let mut outcome = names::assign(wishes, &plan.past, plan.taken, plan.accept_moves);
    for host in hosts.iter_mut() {
        let (alias, others) = match outcome.names.get(&host.id) {
            Some(names) => (Some(names.alias.clone()), names.others.clone()),
            None => (None, Vec::new()),
        };
        (host.alias, host.names) = (alias, others);
    }
    let listed: HashSet<String> = hosts.iter().flat_map(Host::all_names).map(str::to_ascii_lowercase).collect();
    fleet.memory = names::memory(&outcome, wishes, &|name| listed.contains(name), &plan.past, plan.now);
    for (spellings, shared) in outcome.shared.values() {
        fleet.shared.extend(spellings.iter().map(|name| (name.clone(), shared.clone())));
    }
    if !(outcome.moves.is_empty() && outcome.refused.is_empty()) {
        let ids: HashSet<&InstanceId> = hosts.iter().map(|host| &host.id).collect();
        outcome.moves.retain(|one| ids.contains(&one.to));
        outcome.refused.retain(|(id, ..)| ids.contains(id));
    }
    fleet.names = outcome;
}

fn apply_rules(rules: &[HostRule], host: &mut Host) {
    let Some(alias) = host.alias.clone() else { return };
    let is_meant = |rule: &&HostRule| pattern::matches_list(rule.patterns.iter().map(String::as_str), &alias);
    host.options.clear();
    if let Some(rule) = rules.iter().find(is_meant) {
        host.user = rule.user.clone().unwrap_or_else(|| host.user.clone());
        host.port = rule.port.unwrap_or(host.port);
        host.route = rule.route.clone().unwrap_or_else(|| host.route.clone());
        host.host_keys = rule.host_keys.unwrap_or(host.host_keys);
        host.options.clone_from(&rule.options);
    }
}

fn ignored(source: &Source, instance: &Instance) -> bool {
    let excluded = !source.exclude.is_empty()
        && source.exclude.iter().all(|(key, patterns)| {
            instance.tags.get(key).is_some_and(|value| patterns.iter().any(|one| pattern::matches(one, value)))
        });
    excluded || instance.tags.contains_key(TAG_IGNORE)
}

/// A host, or why its tags or address forbid it. Every text that goes on is checked or one of ours.
fn host(plan: &Plan<'_>, source: &Source, sighting: Sighting, before: Option<&Known>) -> Result<Host, String> {
    let Sighting { instance, region, account, .. } = sighting;
    let id = instance.id;
    let user = match (instance.tags.get(TAG_USER), &source.user) {
        (Some(tag), _) => OsUser::parse(tag)
            .ok_or_else(|| format!("{id}: its tag {TAG_USER} is no user name that EC2 Instance Connect takes"))?,
        (None, Some(user)) => user.clone(),
        (None, None) => of_image(plan.images, &instance.image, before),
    };
    let port = match instance.tags.get(TAG_PORT) {
        Some(tag) => {
            tag.parse().ok().filter(|&port| port != 0).ok_or_else(|| format!("{id}: its tag {TAG_PORT} is no port"))?
        }
        None => source.port,
    };
    let addresses = Addresses {
        private: parsed(instance.private_ip.as_deref()),
        public: parsed(instance.public_ip.as_deref()),
        ipv6: parsed(instance.ipv6.as_deref()),
    };
    let address = match source.address {
        AddressKind::Private => instance.private_ip,
        AddressKind::Ipv6 => instance.ipv6,
        AddressKind::Public => instance.public_ip,
    };
    let address = match address {
        Some(text) => {
            let ip: IpAddr =
                text.parse().map_err(|_| format!("{id}: AWS gave no address for it that could be read"))?;
            Some(ip.to_string())
        }
        None => None,
    };
    Ok(Host {
        alias: None,
        names: Vec::new(),
        id,
        address,
        port,
        user,
        source: source.name.clone(),
        region,
        account,
        state: instance.state,
        hook_pushes: false,
        connect_timeout: None,
        connection_attempts: None,
        quiet: false,
        az: instance.az,
        vpc: instance.vpc,
        subnet: instance.subnet,
        route: source.route.clone(),
        max_tunnel_duration: source.max_tunnel_duration,
        host_keys: source.host_keys,
        image: instance.image,
        dns: instance.dns,
        launched: instance.launched,
        addresses,
        options: BTreeMap::new(),
        tags: instance.tags,
    })
}

fn parsed<T: FromStr>(address: Option<&str>) -> Option<T> {
    address.and_then(|text| text.parse().ok())
}

/// The user of an image; while AWS does not tell its name, the one that the instance had with the same image.
fn of_image(images: &Images, id: &str, before: Option<&Known>) -> OsUser {
    match images.get(id) {
        Some(known) => image::os_user(known),
        None => before.filter(|host| host.image == id).map(|host| host.user.clone()),
    }
    .unwrap_or_else(OsUser::ec2_user)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::config::Config;
    use crate::domain::image::Image;
    use crate::domain::source::HostKeys;
    use crate::store::config;

    fn config(text: &str) -> Config {
        config::parse(text, Path::new("config.toml")).unwrap()
    }

    fn sighting(source: usize, id: &str, tags: &[(&str, &str)]) -> Sighting {
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
        Sighting { source, region: "eu-west-1".to_owned(), account: "1".to_owned(), instance }
    }

    fn known(hosts: &[Host]) -> Vec<Known> {
        hosts.iter().map(Known::of).collect()
    }

    fn built(config: &Config, images: &Images, old: &[Host], seen: Vec<Sighting>, kept: Vec<Host>) -> Fleet {
        let plan = Plan {
            sources: &config.sources,
            rules: &config.hosts,
            images,
            old: &known(old),
            past: past(&known(old), Past::new(), 1),
            taken: &|_, _| None,
            accept_moves: false,
            now: 2,
        };
        build(&plan, seen, kept)
    }

    fn fleet(text: &str, seen: Vec<Sighting>, kept: Vec<Host>) -> Fleet {
        built(&config(text), &Images::default(), &kept.clone(), seen, kept)
    }

    #[test]
    fn tags_decide_user_and_port_and_bad_ones_leave_the_instance_out() {
        let seen = vec![
            sighting(0, "i-00000001", &[("Name", "a"), (TAG_USER, "ubuntu"), (TAG_PORT, "2222")]),
            sighting(0, "i-00000002", &[("Name", "b"), (TAG_USER, "x'; rm -rf ~; '")]),
            sighting(0, "i-00000003", &[("Name", "c"), (TAG_PORT, "0")]),
            sighting(0, "i-00000004", &[("Name", "d"), (TAG_IGNORE, "")]),
        ];
        let fleet = fleet("", seen, Vec::new());
        assert_eq!(fleet.hosts.len(), 1);
        assert_eq!((fleet.hosts[0].user.as_str(), fleet.hosts[0].port), ("ubuntu", 2222));
        assert_eq!(fleet.skipped.len(), 2, "{:?}", fleet.skipped);
        assert!(fleet.skipped.iter().all(|line| !line.contains("rm -rf")), "{:?}", fleet.skipped);
    }

    #[test]
    fn the_first_of_two_sources_has_the_instance_also_while_it_cannot_be_asked() {
        let two = "[[source]]\nname = \"a\"\nuser = \"one\"\n[[source]]\nname = \"b\"\nuser = \"two\"\n";
        let seen = vec![sighting(1, "i-00000001", &[("Name", "x")]), sighting(0, "i-00000001", &[("Name", "x")])];
        let before = fleet(two, seen, Vec::new());
        assert_eq!(before.hosts.iter().map(|host| host.source.as_str()).collect::<Vec<_>>(), ["a"]);
        let after = fleet(two, vec![sighting(1, "i-00000001", &[("Name", "x")])], before.hosts.clone());
        assert_eq!(after.hosts, before.hosts);
        let again = fleet(two, Vec::new(), before.hosts.clone());
        assert_eq!(again.hosts, before.hosts);
    }

    #[test]
    fn excluded_means_all_keys_match_as_in_ec2_filters() {
        let source = &config("[[source]]\nexclude = { Name = [\"*-fw\", \"x?\"], Env = \"prod\" }\n").sources[0];
        let is = |name: &str, env: &str| {
            ignored(source, &sighting(0, "i-00000001", &[("Name", name), ("Env", env)]).instance)
        };
        assert!(is("edge-fw", "prod") && is("x1", "prod"));
        assert!(!is("edge-fw", "dev") && !is("edge-fw2", "prod") && !is("x", "prod") && !is("EDGE-FW", "prod"));
    }

    #[test]
    fn the_image_tells_the_user_and_what_was_known_stays_while_it_cannot_be_asked() {
        let config = config("");
        let seen = || vec![sighting(0, "i-00000001", &[("Name", "x")])];
        let mut images = Images::default();
        let image = Image { name: "debian-12-amd64".to_owned(), owner: String::new() };
        images.learn(&[], BTreeMap::from([("ami-1".to_owned(), image)]), 1);
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
        let seen = seen.map(|(name, n)| sighting(0, &format!("i-0000000{n}"), &[("Name", name)])).collect();
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
        let seen = vec![sighting(0, "i-00000001", &[("Name", "db")]), sighting(0, "i-00000002", &[("Name", "web")])];
        let first = fleet(&(source.to_owned() + rule), seen, Vec::new());
        let tunnel = || ("endpoint".to_owned(), 1800, HostKeys::AcceptNew);
        assert_eq!(options(&first), [("jump:bastion".to_owned(), 1800, HostKeys::Console), tunnel()]);
        let kept = fleet(source, Vec::new(), first.hosts.clone());
        assert_eq!(options(&kept), [tunnel(), tunnel()], "without an answer of AWS");
    }

    #[test]
    fn states_that_are_not_listed_are_not_but_keep_their_name() {
        let text = "[[source]]\nstates = [\"running\"]\n";
        let first = fleet(text, vec![sighting(0, "i-00000001", &[("Name", "x")])], Vec::new());
        let mut stopped = sighting(0, "i-00000001", &[("Name", "x")]);
        stopped.instance.state = "stopped".to_owned();
        let seen = vec![stopped, sighting(0, "i-00000002", &[("Name", "x")])];
        let second = built(&config(text), &Images::default(), &first.hosts, seen, Vec::new());
        let names: Vec<_> = second.hosts.iter().map(|host| host.alias.as_deref().unwrap()).collect();
        assert_eq!(names, ["x-000000"]);
        assert_eq!(second.memory["x"].id.as_str(), "i-00000001");
    }
}
