//! From what was seen to the hosts of the config: who is left out and why, who belongs to which source, names.
//!
//! Pure: values in, values out. It is not in `core` because it reads the checked config.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::core::alias::{self, Place, Wish};
use crate::core::fleet::{Host, Instance, Sighting, TAG_IGNORE, TAG_PORT, TAG_USER};
use crate::core::ids::{InstanceId, OsUser};
use crate::core::pattern;
use crate::store::config::{AddressKind, Source};

/// The hosts, and what the user should know about those that are not among them.
#[derive(Debug, Default, PartialEq)]
pub struct Fleet {
    /// In the order of their aliases, those without one last.
    pub hosts: Vec<Host>,
    /// Instances skipped for what their tags say, in words.
    pub skipped: Vec<String>,
    /// Windows instances left out.
    pub windows: usize,
    /// Instances without a name, reachable by id only.
    pub nameless: usize,
}

/// Builds the fleet from all configured `sources`. `kept` are hosts of the last index whose source could not be asked this time.
#[must_use]
pub fn build(sources: &[Source], sightings: Vec<Sighting>, kept: Vec<Host>) -> Fleet {
    let mut fleet = Fleet::default();
    let mut wishes: Vec<Wish> = Vec::new();
    let mut hosts: BTreeMap<InstanceId, Host> = BTreeMap::new();
    let mut sightings = sightings;
    // An instance seen by two sources belongs to the first.
    sightings.sort_by(|a, b| (a.source, &a.instance.id).cmp(&(b.source, &b.instance.id)));
    let position = |name: &str| sources.iter().position(|source| source.name == name).unwrap_or(usize::MAX);
    for sighting in sightings {
        let source = &sources[sighting.source];
        let kept_before =
            kept.iter().any(|host| host.id == sighting.instance.id && position(&host.source) < sighting.source);
        if kept_before || hosts.contains_key(&sighting.instance.id) || ignored(source, &sighting.instance) {
            continue;
        }
        if sighting.instance.windows {
            fleet.windows += 1;
            continue;
        }
        match host(source, &sighting) {
            Ok(host) => {
                let place = Place { source: &source.name, region: &sighting.region, account: &sighting.account };
                wishes.push(Wish::of(&sighting.instance, &source.alias, place));
                hosts.insert(host.id.clone(), host);
            }
            Err(why) => fleet.skipped.push(why),
        }
    }
    for host in kept {
        if !hosts.contains_key(&host.id) {
            let name = host.names.first().or(host.alias.as_ref()).cloned();
            wishes.push(Wish { id: host.id.clone(), name, always_suffixed: false });
            hosts.insert(host.id.clone(), host);
        }
    }
    let names = alias::assign(&wishes, |_| false);
    let aliases: BTreeSet<&str> = names.values().map(|names| names.alias.as_str()).collect();
    for (id, host) in &mut hosts {
        host.alias = names.get(id).map(|names| names.alias.clone());
        let spelling = names.get(id).and_then(|names| names.spelling.clone());
        host.names = spelling.into_iter().filter(|name| !aliases.contains(name.as_str())).collect();
    }
    fleet.nameless = hosts.values().filter(|host| host.alias.is_none()).count();
    fleet.hosts = hosts.into_values().collect();
    fleet.hosts.sort_by(|a, b| (a.alias.is_none(), &a.alias, &a.id).cmp(&(b.alias.is_none(), &b.alias, &b.id)));
    fleet
}

fn ignored(source: &Source, instance: &Instance) -> bool {
    let excluded = !source.exclude.is_empty()
        && source.exclude.iter().all(|(key, patterns)| {
            instance.tags.get(key).is_some_and(|value| patterns.iter().any(|one| pattern::matches(one, value)))
        });
    excluded || instance.tags.contains_key(TAG_IGNORE)
}

/// A host, or why its tags or address forbid it. Every text that goes on is checked or one of ours.
fn host(source: &Source, sighting: &Sighting) -> Result<Host, String> {
    let Sighting { instance, region, account, .. } = sighting;
    let id = &instance.id;
    let user = match instance.tags.get(TAG_USER) {
        Some(tag) => OsUser::parse(tag)
            .ok_or_else(|| format!("{id}: its tag {TAG_USER} is no user name that EC2 Instance Connect takes"))?,
        None => source.user.clone().unwrap_or_else(OsUser::ec2_user),
    };
    let port = match instance.tags.get(TAG_PORT) {
        Some(tag) => {
            tag.parse().ok().filter(|&port| port != 0).ok_or_else(|| format!("{id}: its tag {TAG_PORT} is no port"))?
        }
        None => source.port,
    };
    let address = match source.address {
        AddressKind::Private => &instance.private_ip,
        AddressKind::Ipv6 => &instance.ipv6,
        AddressKind::Public => &instance.public_ip,
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
        id: id.clone(),
        address,
        port,
        user,
        source: source.name.clone(),
        region: region.clone(),
        account: account.clone(),
        state: instance.state.clone(),
        hook_pushes: false,
        connect_timeout: None,
        az: instance.az.clone(),
        vpc: instance.vpc.clone(),
        tags: instance.tags.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::config::Config;

    fn sources(text: &str) -> Vec<Source> {
        Config::parse(text, Path::new("config.toml")).unwrap().sources
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
            image: String::new(),
            windows: false,
            tags: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        Sighting { source, region: "eu-west-1".to_owned(), account: "1".to_owned(), instance }
    }

    #[test]
    fn tags_decide_user_and_port_and_bad_ones_leave_the_instance_out() {
        let seen = vec![
            sighting(0, "i-00000001", &[("Name", "a"), (TAG_USER, "ubuntu"), (TAG_PORT, "2222")]),
            sighting(0, "i-00000002", &[("Name", "b"), (TAG_USER, "x'; rm -rf ~; '")]),
            sighting(0, "i-00000003", &[("Name", "c"), (TAG_PORT, "0")]),
            sighting(0, "i-00000004", &[("Name", "d"), (TAG_IGNORE, "")]),
        ];
        let fleet = build(&sources(""), seen, Vec::new());
        assert_eq!(fleet.hosts.len(), 1);
        assert_eq!((fleet.hosts[0].user.as_str(), fleet.hosts[0].port), ("ubuntu", 2222));
        assert_eq!(fleet.skipped.len(), 2, "{:?}", fleet.skipped);
        assert!(fleet.skipped.iter().all(|line| !line.contains("rm -rf")), "{:?}", fleet.skipped);
    }

    #[test]
    fn the_first_of_two_sources_has_the_instance() {
        let two = sources("[[source]]\nname = \"a\"\nuser = \"one\"\n[[source]]\nname = \"b\"\nuser = \"two\"\n");
        let seen = vec![sighting(1, "i-00000001", &[("Name", "x")]), sighting(0, "i-00000001", &[("Name", "x")])];
        let fleet = build(&two, seen, Vec::new());
        assert_eq!(fleet.hosts.iter().map(|host| host.source.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn an_instance_stays_with_the_first_source_while_that_cannot_be_asked() {
        let two = sources("[[source]]\nname = \"a\"\n[[source]]\nname = \"b\"\n");
        let before = build(&two, vec![sighting(0, "i-00000001", &[("Name", "x")])], Vec::new());
        let after = build(&two, vec![sighting(1, "i-00000001", &[("Name", "x")])], before.hosts.clone());
        assert_eq!(after.hosts, before.hosts);
    }

    #[test]
    fn excluded_means_all_keys_match_as_in_ec2_filters() {
        let source = &sources("[[source]]\nexclude = { Name = [\"*-fw\", \"x?\"], Env = \"prod\" }\n")[0];
        let is = |name: &str, env: &str| {
            ignored(source, &sighting(0, "i-00000001", &[("Name", name), ("Env", env)]).instance)
        };
        assert!(is("edge-fw", "prod") && is("x1", "prod"));
        assert!(!is("edge-fw", "dev") && !is("edge-fw2", "prod") && !is("x", "prod") && !is("EDGE-FW", "prod"));
    }

    #[test]
    fn hosts_of_a_source_that_failed_stay_as_they_were() {
        let one = build(&sources(""), vec![sighting(0, "i-00000001", &[("Name", "Web")])], Vec::new());
        let again = build(&sources(""), Vec::new(), one.hosts.clone());
        assert_eq!(again.hosts, one.hosts);
    }
}
