//! The difference between the hosts of the last sync and those of a new one, for `sync --diff`.
//!
//! Not here: the text of the files (`discover::report`).

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::fleet::Host;
use crate::ids::InstanceId;
use crate::text::natural_order;

/// One changed host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostChange {
    /// A new name or instance.
    Added(String),
    /// A host that is no longer written.
    Removed(String),
    /// The same instance under another name: the old and the new one.
    Renamed(String, String),
    /// The same name with other settings, each as `address 10.0.3.7 -> 10.0.3.8`.
    Changed(String, Vec<String>),
}

impl fmt::Display for HostChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(host) => write!(f, "+ {host}"),
            Self::Removed(host) => write!(f, "- {host}"),
            Self::Renamed(old, new) => write!(f, "{old} -> {new}"),
            Self::Changed(host, settings) => write!(f, "{host}: {}", settings.join(", ")),
        }
    }
}

/// All changed hosts: added, removed, renamed, then changed ones, each group in natural order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDiff {
    /// The changes.
    pub changes: Vec<HostChange>,
    /// Number of hosts after the sync.
    pub total: usize,
}

impl HostDiff {
    /// Compares two fleets. A host is identified by its instance id; one of the remaining old and new hosts with the same
    /// alias is a changed host with another instance. A host can be both renamed and changed.
    #[must_use]
    pub fn between(old: &[Host], new: &[Host]) -> Self {
        let by_id: HashMap<&InstanceId, &Host> = old.iter().map(|host| (&host.id, host)).collect();
        let ids: HashSet<&InstanceId> = new.iter().map(|host| &host.id).collect();
        let gone = |host: &&Host| !ids.contains(&host.id);
        let mut replaced: BTreeMap<&str, &Host> =
            old.iter().filter(gone).filter_map(|host| Some((host.alias.as_deref()?, host))).collect();
        let mut changes = Vec::new();
        let mut matched: HashSet<&InstanceId> = HashSet::new();
        for host in new {
            let same_name = || host.alias.as_deref().and_then(|alias| replaced.remove(alias));
            let Some(before) = by_id.get(&host.id).copied().or_else(same_name) else {
                changes.push(HostChange::Added(host.label().to_owned()));
                continue;
            };
            matched.insert(&before.id);
            if before.alias != host.alias {
                changes.push(HostChange::Renamed(before.label().to_owned(), host.label().to_owned()));
            }
            let settings = changed_settings(before, host);
            if !settings.is_empty() {
                changes.push(HostChange::Changed(host.label().to_owned(), settings));
            }
        }
        let removed = old.iter().filter(gone).filter(|host| !matched.contains(&host.id));
        changes.extend(removed.map(|host| HostChange::Removed(host.label().to_owned())));
        changes.sort_by(|a, b| {
            let ((a_group, a_name), (b_group, b_name)) = (key(a), key(b));
            a_group.cmp(&b_group).then_with(|| natural_order(a_name, b_name))
        });
        Self { changes, total: new.len() }
    }

    /// `427 hosts (+3 -2573, 1 renamed, 2 changed)`.
    #[must_use]
    pub fn totals(&self) -> String {
        let count = |group: u8| self.changes.iter().filter(|change| key(change).0 == group).count();
        let [added, removed, renamed, changed] = [0, 1, 2, 3].map(count);
        let signed = [("+", added), ("-", removed)];
        let signed = signed.iter().filter(|(_, count)| *count > 0).map(|(sign, count)| format!("{sign}{count}"));
        let mut parts = vec![signed.collect::<Vec<_>>().join(" ")];
        let words = [(renamed, "renamed"), (changed, "changed")];
        parts.extend(words.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")));
        parts.retain(|part| !part.is_empty());
        let plural = if self.total == 1 { "" } else { "s" };
        format!("{} host{plural} ({})", self.total, parts.join(", "))
    }
}

/// The group of a change and the name by which it is sorted.
fn key(change: &HostChange) -> (u8, &str) {
    match change {
        HostChange::Added(host) => (0, host),
        HostChange::Removed(host) => (1, host),
        HostChange::Renamed(old, _) => (2, old),
        HostChange::Changed(host, _) => (3, host),
    }
}

/// The settings that decide how ssh reaches the host, where they differ.
fn changed_settings(old: &Host, new: &Host) -> Vec<String> {
    let address = |host: &Host| host.address.clone().unwrap_or_else(|| "none".to_owned());
    let names = |host: &Host| if host.names.is_empty() { "none".to_owned() } else { host.names.join(" ") };
    let mut settings = Vec::new();
    let mut compare = |name: &str, old: &str, new: &str| {
        if old != new {
            settings.push(format!("{name} {old} -> {new}"));
        }
    };
    compare("instance", old.id.as_str(), new.id.as_str());
    compare("address", &address(old), &address(new));
    compare("port", &old.port.to_string(), &new.port.to_string());
    compare("user", old.user.as_str(), new.user.as_str());
    compare("route", &old.route.to_string(), &new.route.to_string());
    let tunnel = |host: &Host| format!("{}s", host.max_tunnel_duration);
    compare("max_tunnel_duration", &tunnel(old), &tunnel(new));
    compare("source", &old.source, &new.source);
    compare("other names", &names(old), &names(new));
    compare("host_keys", &old.host_keys.to_string(), &new.host_keys.to_string());
    let keywords: BTreeSet<&String> = old.options.keys().chain(new.options.keys()).collect();
    for keyword in keywords {
        let value = |host: &Host| host.options.get(keyword).cloned().unwrap_or_else(|| "none".to_owned());
        compare(keyword, &value(old), &value(new));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples::host;

    #[test]
    fn hosts_are_compared_by_instance_then_by_alias() {
        let old = [
            host(Some("same"), "i-0abc1200", "u"),
            host(Some("jump"), "i-0abc1201", "u"),
            host(Some("web-1"), "i-0abc1202", "u"),
            host(Some("db"), "i-0abc1203", "u"),
            host(None, "i-0abc1204", "u"),
        ];
        let mut new = [
            host(Some("same"), "i-0abc1200", "u"),
            host(Some("web-renamed"), "i-0abc1202", "root"),
            host(Some("db"), "i-0abc1213", "u"),
            host(Some("web-10"), "i-0abc1220", "u"),
            host(Some("web-9"), "i-0abc1221", "u"),
        ];
        new[2].address = None;
        new[2].max_tunnel_duration = 1800;
        new[2].options.insert("ForwardAgent".to_owned(), "yes".to_owned());
        let diff = HostDiff::between(&old, &new);
        let lines: Vec<String> = diff.changes.iter().map(ToString::to_string).collect();
        let expected = [
            "+ web-9",
            "+ web-10",
            "- i-0abc1204",
            "- jump",
            "web-1 -> web-renamed",
            "db: instance i-0abc1203 -> i-0abc1213, address 10.0.3.7 -> none, max_tunnel_duration 3600s -> 1800s, \
             ForwardAgent none -> yes",
            "web-renamed: user u -> root",
        ];
        assert_eq!(lines, expected);
        assert_eq!(diff.totals(), "5 hosts (+2 -2, 1 renamed, 2 changed)");
    }

    #[test]
    fn equal_fleets_have_no_changes_and_a_new_fleet_is_all_added() {
        let hosts = [host(Some("web"), "i-0abc1200", "u")];
        assert_eq!(HostDiff::between(&hosts, &hosts).changes, []);
        let diff = HostDiff::between(&[], &hosts);
        assert_eq!(
            (diff.changes.as_slice(), diff.totals().as_str()),
            (&[HostChange::Added("web".to_owned())][..], "1 host (+1)")
        );
    }
}
