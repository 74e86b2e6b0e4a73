//! The Ansible inventory: groups and variables of hosts.
//!
//! Whoever may tag an instance is not trusted: no tag makes a name that Ansible reads otherwise than as a group or a
//! host of ours, and none is ever evaluated as a template: values are marked as unsafe, which keys cannot be, so that a tag
//! whose key is not plain is no variable (its group is there all the same). Addresses are variables and never where Ansible connects to:
//! that is ssh's matter, by the name of the host.
//!
//! Formats: "Developing dynamic inventory" of Ansible's documentation for `--list` and `_meta`; `AnsibleJSONDecoder`
//! (parsing/ajson.py) for `__ansible_unsafe`; `constants.INVALID_VARIABLE_NAMES` and the `constructed` plugin for what
//! `aws_ec2` makes of tags.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::fleet::Host;
use crate::text::shell_word;

/// What the names of all variables begin with, so that none is one of Ansible's or of a playbook's.
const PREFIX: &str = "ssh_eic_";
/// Names with a meaning of their own: Ansible's groups, what its scripts put beside groups, the machine that it runs on.
const RESERVED: [&str; 4] = ["all", "ungrouped", "_meta", "localhost"];
/// Keys that begin so are Ansible's own encoding and would stand for the whole of what they are in.
const ENCODING: &str = "__ansible";

/// A host and its groups.
#[derive(Debug)]
struct Entry<'a> {
    host: &'a Host,
    groups: BTreeSet<String>,
}

/// Hosts by the names that Ansible calls them by.
#[derive(Debug)]
pub struct Inventory<'a>(BTreeMap<&'a str, Entry<'a>>);

/// Options of an OpenSSH client, keyword and value as in `ssh_config`.
pub type Options = Vec<(String, String)>;

impl<'a> Inventory<'a> {
    /// Of these hosts. `named` says which ones ssh knows by their alias; it knows every one by its id.
    #[must_use]
    pub fn of(hosts: impl Iterator<Item = &'a Host>, named: &dyn Fn(&Host) -> bool) -> Self {
        let entries: Vec<Entry<'_>> = hosts.map(|host| Entry { host, groups: groups(host) }).collect();
        let taken: BTreeSet<String> = entries.iter().flat_map(|entry| entry.groups.iter().cloned()).collect();
        let name = |host: &'a Host| match &host.alias {
            // Ansible would mean the group. Playbooks name groups, so that it is the host that gives way: an id has a
            // dash, which no group has.
            Some(alias) if named(host) && !taken.contains(alias) && !RESERVED.contains(&alias.as_str()) => alias,
            _ => host.id.as_str(),
        };
        Self(entries.into_iter().map(|entry| (name(entry.host), entry)).collect())
    }

    /// What `--list` prints. `connection` has the options for a client without any config, if they are wanted.
    #[must_use]
    pub fn list(&self, connection: &dyn Fn(&Host) -> Option<Options>) -> Value {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, entry) in &self.0 {
            for group in &entry.groups {
                groups.entry(group).or_default().push(name);
            }
        }
        let vars: Map<String, Value> = self
            .0
            .iter()
            .map(|(name, entry)| ((*name).to_owned(), vars(entry.host, connection(entry.host).as_ref())))
            .collect();
        let mut list = Map::new();
        list.insert("_meta".to_owned(), json!({ "hostvars": vars }));
        list.extend(groups.into_iter().map(|(group, hosts)| (group.to_owned(), json!({ "hosts": hosts }))));
        Value::Object(list)
    }
}

/// The groups of a host.
fn groups(host: &Host) -> BTreeSet<String> {
    let vpc = host.vpc.strip_prefix("vpc-").unwrap_or(&host.vpc);
    let facts = [
        ("source", host.source.as_str()),
        ("account", &host.account),
        ("region", &host.region),
        ("az", &host.az),
        ("vpc", vpc),
        ("state", &host.state),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty()).map(|(kind, value)| group(kind, value));
    facts.chain(host.tags.iter().map(|(key, value)| group("tag", format!("{key}_{value}")))).collect()
}

/// The name of a group: letters and digits of ASCII, and an underscore for each other character. `kind` is one of ours,
/// so that the first is a letter and no tag makes a group of another kind.
fn group(kind: &str, text: impl Display) -> String {
    format!("{kind}_{text}").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The variables of a host, with the options for a client without any config if there are any.
#[must_use]
pub fn vars(host: &Host, connection: Option<&Options>) -> Value {
    let mut vars = Map::new();
    let mut put = |name: &str, value: Value| vars.insert(format!("{PREFIX}{name}"), value);
    let addresses = host.addresses;
    for (name, value) in [
        ("id", host.id.as_str()),
        ("alias", host.alias.as_deref().unwrap_or_default()),
        ("address", host.address.as_deref().unwrap_or_default()),
        ("private_ip", &written(addresses.private)),
        ("public_ip", &written(addresses.public)),
        ("ipv6", &written(addresses.ipv6)),
        ("dns", &host.dns),
        ("user", host.user.as_str()),
        ("source", &host.source),
        ("account", &host.account),
        ("region", &host.region),
        ("az", &host.az),
        ("vpc", &host.vpc),
        ("state", &host.state),
        ("image", &host.image),
    ] {
        if !value.is_empty() {
            put(name, text(value));
        }
    }
    put("port", host.port.into());
    put("launched", host.launched.into());
    put("names", host.names.iter().map(|name| text(name)).collect());
    // No key can be marked, and `item.key` of a loop over the tags is a template if it looks like one.
    let tags = host.tags.iter().filter(|(key, _)| is_plain(key) && !key.starts_with(ENCODING));
    put("tags", tags.map(|(key, value)| (key.clone(), text(value))).collect::<Map<_, _>>().into());
    if let Some(options) = connection {
        let of_ansible: [(&str, Value); 3] = [
            ("ansible_user", text(host.user.as_str())),
            ("ansible_port", host.port.into()),
            ("ansible_ssh_common_args", text(&arguments(options))),
        ];
        vars.extend(of_ansible.map(|(name, value)| (name.to_owned(), value)));
    }
    Value::Object(vars)
}

fn written(address: Option<impl Display>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// A text that Ansible takes as it is: marked as unsafe unless it is plain.
fn text(value: &str) -> Value {
    if is_plain(value) { value.into() } else { json!({ "__ansible_unsafe": value }) }
}

/// Whether it has nothing that any version of Ansible could evaluate.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b" -_./:@+=,".contains(&b))
}

/// Options as arguments of a command, for a client that shall read no config.
///
/// Ansible takes them apart with Python's shlex; rsync, to which `synchronize` hands them, with rules of its own. Both
/// agree on quotes of one kind around what has only the other kind in it, and on nothing else.
fn arguments(options: &Options) -> String {
    let mut arguments = "-F /dev/null".to_owned();
    for (keyword, value) in options {
        let option = format!("{keyword}={value}");
        let word = match (option.contains('\''), option.contains(['"', '\\'])) {
            (true, false) => format!("\"{option}\""),
            _ => shell_word(&option),
        };
        arguments.push_str(" -o ");
        arguments.push_str(&word);
    }
    arguments
}

/// What is left to Ansible of the options of a host's block: it names user and port itself, and a `synchronize` as another
/// user must not find ours on its command line. Where ssh could bind no socket, Ansible has a shorter path of its own.
#[must_use]
pub fn for_ansible(block: Options, has_room_for_sockets: bool) -> Options {
    let is_ours = |keyword: &str| match keyword {
        "User" | "Port" => false,
        "ControlPath" => has_room_for_sockets,
        _ => true,
    };
    block.into_iter().filter(|(keyword, _)| is_ours(keyword)).collect()
}

#[cfg(test)]
mod tests;
