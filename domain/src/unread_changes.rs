//! What syncs in the background changed since a user last read about it: instances without their hosts, renamed hosts, and
//! names that mean another instance. Several syncs add up, so that a host which comes back is no change.
//!
//! Not here: the file (`store::unread_changes`) and when it is read and printed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::fleet::{Host, PreviousHost};
use crate::ids::InstanceId;
use crate::names::Move;
use crate::text::first_names;

/// Names and hosts that one line shows.
const SHOWN: usize = 5;

/// The changes of all background syncs that no user has read about.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadChanges {
    hosts: BTreeMap<InstanceId, HostChange>,
    names: BTreeMap<String, NameChange>,
}

/// A host that was added, renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HostChange {
    /// Its name before the first of the syncs; none if it did not exist.
    before: Option<String>,
    /// Its name now; none if it was removed.
    after: Option<String>,
    /// When it changed last, milliseconds since 1970.
    at: u64,
}

/// A name that means another instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NameChange {
    before: InstanceId,
    after: InstanceId,
}

impl UnreadChanges {
    /// Adds the changes from the hosts of the index to those of a sync at `now`, in milliseconds since 1970.
    pub fn add(&mut self, old: &[PreviousHost], new: &[Host], moves: &[Move], now: u64) {
        let label = |host: &PreviousHost| host.alias.clone().unwrap_or_else(|| host.id.as_str().to_owned());
        let before: HashMap<&InstanceId, &PreviousHost> = old.iter().map(|host| (&host.id, host)).collect();
        let current: HashSet<&InstanceId> = new.iter().map(|host| &host.id).collect();
        for host in new {
            match before.get(&host.id) {
                None => self.change(&host.id, None, Some(host.label().to_owned()), now),
                Some(previous) if previous.alias != host.alias => {
                    self.change(&host.id, Some(label(previous)), Some(host.label().to_owned()), now);
                }
                Some(_) => {}
            }
        }
        for host in old.iter().filter(|host| !current.contains(&host.id)) {
            self.change(&host.id, Some(label(host)), None, now);
        }
        for one in moves {
            let change = NameChange { before: one.from.id.clone(), after: one.to.clone() };
            self.names.entry(one.name.clone()).or_insert(change).after = one.to.clone();
        }
        self.hosts.retain(|_, change| change.after != change.before);
        self.names.retain(|_, change| change.after != change.before);
    }

    fn change(&mut self, id: &InstanceId, before: Option<String>, after: Option<String>, at: u64) {
        let change = self.hosts.entry(id.clone()).or_insert(HostChange { before, after: None, at });
        (change.after, change.at) = (after, at);
    }

    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.names.is_empty()
    }

    /// The changes as messages. `clock` is the text of a time in milliseconds since 1970.
    #[must_use]
    pub fn lines(&self, clock: &dyn Fn(u64) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, NameChange { before, after }) in self.names.iter().take(SHOWN) {
            lines.push(format!("{name} now means {after} (was {before}, changed by a background sync)"));
        }
        match self.names.len().saturating_sub(SHOWN) {
            0 => {}
            1 => lines.push("1 more name means another instance (changed by a background sync)".to_owned()),
            more => lines.push(format!("{more} more names mean other instances (changed by a background sync)")),
        }
        let renamed: Vec<String> = self
            .hosts
            .values()
            .filter_map(|change| Some(format!("{} -> {}", change.before.as_ref()?, change.after.as_ref()?)))
            .collect();
        if !renamed.is_empty() {
            let count =
                if renamed.len() == 1 { "1 host was".to_owned() } else { format!("{} hosts were", renamed.len()) };
            lines.push(format!("{count} renamed by a background sync: {}", first_names(&renamed, SHOWN)));
        }
        // A name that another instance has is not gone.
        let gone: Vec<(&str, u64)> = self
            .hosts
            .values()
            .filter(|change| change.after.is_none())
            .filter_map(|change| Some((change.before.as_deref()?, change.at)))
            .filter(|(name, _)| !self.names.contains_key(&name.to_ascii_lowercase()))
            .collect();
        if let Some(since) = gone.iter().map(|(_, at)| *at).min() {
            let count = if gone.len() == 1 { "1 host is".to_owned() } else { format!("{} hosts are", gone.len()) };
            let names: BTreeSet<&str> = gone.iter().map(|(name, _)| *name).collect();
            let names = first_names(names, SHOWN);
            lines.push(format!("{count} gone since {} (background sync): {names}", clock(since)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::samples;
    use crate::names::Holder;

    fn id(number: u32) -> InstanceId {
        InstanceId::parse(&format!("i-{number:017x}")).unwrap()
    }

    fn hosts(names: &[(u32, &str)]) -> Vec<Host> {
        let host = |(number, name): &(u32, &str)| samples::host(Some(name), id(*number).as_str(), "ec2-user");
        names.iter().map(host).collect()
    }

    /// The changes of syncs after which these instances have these names.
    fn changes(syncs: &[&[(u32, &str)]]) -> UnreadChanges {
        let mut changes = UnreadChanges::default();
        for (at, pair) in syncs.windows(2).enumerate() {
            let old: Vec<PreviousHost> = hosts(pair[0]).iter().map(PreviousHost::of).collect();
            changes.add(&old, &hosts(pair[1]), &[], at as u64);
        }
        changes
    }

    fn lines(changes: &UnreadChanges) -> Vec<String> {
        changes.lines(&|time| format!("T{time}"))
    }

    #[test]
    fn changes_of_several_syncs_add_up() {
        let removed = changes(&[&[(1, "web-1"), (2, "web-2"), (3, "db")], &[(2, "web-2"), (3, "db")], &[(3, "db")]]);
        assert_eq!(lines(&removed), ["2 hosts are gone since T0 (background sync): web-1, web-2"]);
        let renamed = changes(&[&[(1, "a")], &[(1, "b")], &[(1, "c"), (2, "new")]]);
        assert_eq!(lines(&renamed), ["1 host was renamed by a background sync: a -> c"]);
        let removed_later = changes(&[&[(1, "a"), (2, "x")], &[(1, "b"), (2, "x")], &[(2, "x")]]);
        assert_eq!(lines(&removed_later), ["1 host is gone since T1 (background sync): a"]);
    }

    #[test]
    fn a_host_that_comes_back_with_its_name_and_one_that_came_and_went_are_no_changes() {
        assert!(changes(&[&[(1, "a")], &[(1, "a"), (2, "b")], &[(1, "a")]]).is_empty());
        assert!(changes(&[&[(1, "a"), (2, "b")], &[(1, "a")], &[(1, "a"), (2, "b")]]).is_empty());
        assert!(changes(&[&[(1, "a")], &[(1, "b")], &[(1, "a")]]).is_empty());
        let other = changes(&[&[(1, "a"), (2, "b")], &[(1, "a")], &[(1, "a"), (2, "c")]]);
        assert_eq!(lines(&other), ["1 host was renamed by a background sync: b -> c"]);
    }

    #[test]
    fn a_name_that_another_instance_has_is_not_gone() {
        let mut changes = UnreadChanges::default();
        let moved = |from: u32, to: u32| Move {
            name: "web-2".to_owned(),
            from: Holder { id: id(from), account: "1".to_owned(), seen: 0 },
            to: id(to),
            account: "1".to_owned(),
        };
        let old: Vec<PreviousHost> = hosts(&[(1, "Web-2")]).iter().map(PreviousHost::of).collect();
        changes.add(&old, &hosts(&[(2, "Web-2")]), &[moved(1, 2)], 0);
        let (one, two) = (id(1), id(2));
        let expected = format!("web-2 now means {two} (was {one}, changed by a background sync)");
        assert_eq!(lines(&changes), [expected]);
        let old: Vec<PreviousHost> = hosts(&[(2, "Web-2")]).iter().map(PreviousHost::of).collect();
        changes.add(&old, &hosts(&[(1, "Web-2")]), &[moved(2, 1)], 0);
        assert_eq!(lines(&changes), Vec::<String>::new());
    }

    #[test]
    fn only_the_first_names_are_shown() {
        let names: Vec<String> = (0..7).map(|number| format!("h{number}")).collect();
        let all: Vec<(u32, &str)> = (0..7).zip(names.iter().map(String::as_str)).collect();
        let removed = changes(&[&all, &[]]);
        assert_eq!(lines(&removed), ["7 hosts are gone since T0 (background sync): h0, h1, h2, h3, h4 and 2 more"]);
    }
}
