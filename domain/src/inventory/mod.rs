//! The Ansible inventory: groups and variables of hosts.
//!
//! Users who can tag instances are not trusted. A tag only ever creates a group with a prefix, and Ansible never evaluates
//! a tag as a template: values are marked as unsafe. Keys cannot be marked, so a tag with special characters in its key has
//! a group but no variable. Ansible connects to host names, which ssh resolves; addresses are only variables.
//!
//! Formats: "Developing dynamic inventory" of Ansible's documentation for `--list` and `_meta`; `AnsibleJSONDecoder`
//! (parsing/ajson.py) for `__ansible_unsafe`; `constants.INVALID_VARIABLE_NAMES` and the `constructed` plugin for what
//! `aws_ec2` makes of tags.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::fleet::Host;
use crate::text::shell_word;

/// Prefix of all variables, so that none collides with a variable of Ansible or of a playbook.
const PREFIX: &str = "ssh_eic_";
/// Names with a special meaning in an inventory.
const RESERVED: [&str; 4] = ["all", "ungrouped", "_meta", "localhost"];
/// Prefix of the keys of Ansible's JSON encoding; such a key would replace the object that contains it.
const ENCODING: &str = "__ansible";

/// A host and its groups.
#[derive(Debug)]
struct Entry<'a> {
    host: &'a Host,
    groups: BTreeSet<String>,
}

/// Hosts by their names in the inventory.
#[derive(Debug)]
pub struct Inventory<'a>(BTreeMap<&'a str, Entry<'a>>);

/// Options of an OpenSSH client, keyword and value as in `ssh_config`.
pub type Options = Vec<(String, String)>;

impl<'a> Inventory<'a> {
    /// Builds the inventory. `named` returns whether the ssh config has the alias of a host; it always has the id.
    #[must_use]
    pub fn new(hosts: impl Iterator<Item = &'a Host>, named: &dyn Fn(&Host) -> bool) -> Self {
        let entries: Vec<Entry<'_>> = hosts.map(|host| Entry { host, groups: groups(host) }).collect();
        let taken: BTreeSet<String> = entries.iter().flat_map(|entry| entry.groups.iter().cloned()).collect();
        let name = |host: &'a Host| match &host.alias {
            // With an alias equal to a group name, Ansible would use the group. The host then has its id as its name,
            // which cannot be a group name because of the dash.
            Some(alias) if named(host) && !taken.contains(alias) && !RESERVED.contains(&alias.as_str()) => alias,
            _ => host.id.as_str(),
        };
        Self(entries.into_iter().map(|entry| (name(entry.host), entry)).collect())
    }

    /// The output of `--list`. `connection` returns the ssh options of a host for a client without a config, if required.
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

/// A group name with `_` for every character other than ASCII letters and digits. It starts with `kind`, so that a tag
/// cannot create a group of another kind.
fn group(kind: &str, text: impl Display) -> String {
    format!("{kind}_{text}").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The variables of a host. `connection` has the ssh options for a client without a config.
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
    // Keys cannot be marked as unsafe, and Ansible would evaluate a key such as "{{ x }}" in a loop over the tags.
    let tags = host.tags.iter().filter(|(key, _)| is_plain(key) && !key.starts_with(ENCODING));
    put("tags", tags.map(|(key, value)| (key.clone(), text(value))).collect::<Map<_, _>>().into());
    if let Some(options) = connection {
        let ansible_variables: [(&str, Value); 3] = [
            ("ansible_user", text(host.user.as_str())),
            ("ansible_port", host.port.into()),
            ("ansible_ssh_common_args", text(&arguments(options))),
        ];
        vars.extend(ansible_variables.map(|(name, value)| (name.to_owned(), value)));
    }
    Value::Object(vars)
}

fn written(address: Option<impl Display>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// A string that Ansible does not evaluate: marked as unsafe unless it is plain.
fn text(value: &str) -> Value {
    if is_plain(value) { value.into() } else { json!({ "__ansible_unsafe": value }) }
}

/// Whether the text has no character that any version of Ansible could evaluate.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b" -_./:@+=,".contains(&b))
}

/// Options as command-line arguments for a client that reads no config file.
///
/// Ansible splits them with Python's shlex, and rsync (module `synchronize`) with its own rules. The only quoting that both
/// read alike is one kind of quote around text that contains only the other kind.
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

/// The options of a host for Ansible, without those that Ansible sets itself: user and port (a `synchronize` as another
/// user must not have the user of the host on its command line), and ControlPath if the path would be too long for a
/// socket, because Ansible then has a shorter default.
#[must_use]
pub fn for_ansible(block: Options, has_room_for_sockets: bool) -> Options {
    let is_needed = |keyword: &str| match keyword {
        "User" | "Port" => false,
        "ControlPath" => has_room_for_sockets,
        _ => true,
    };
    block.into_iter().filter(|(keyword, _)| is_needed(keyword)).collect()
}

#[cfg(test)]
mod tests;
