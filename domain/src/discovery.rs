//! From discovered instances to hosts: which are left out and why, to which source each belongs, names and rules.
//!
//! The stages: [`DiscoveredInstance`], then [`Candidate`] (checked), then names, then [`Host`], which is built once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::candidate::{Candidate, Rejection};
use crate::config::HostRule;
use crate::fleet::{DiscoveredInstance, Host, Instance, PreviousHost, TAG_IGNORE};
use crate::ids::InstanceId;
use crate::image::Image;
use crate::names::{self, AliasRequest, Assignment, Conflicts, Holder, NameHistory, Shared};
use crate::pattern;
use crate::source::Source;

/// The hosts, and what was left out.
#[derive(Debug, Default, PartialEq)]
pub struct Fleet {
    /// In the order of their aliases, those without one last.
    pub hosts: Vec<Host>,
    /// Bare names that connect to no instance, in all their spellings.
    pub shared: BTreeMap<String, Shared>,
    /// Names to remember besides those of the hosts.
    pub memory: NameHistory,
    /// Moves and refusals of names. The names of the hosts are in the hosts; the rest is of instances not listed.
    pub names: Assignment,
    /// Instances left out because of their tags or addresses.
    pub rejected: Vec<Rejection>,
    /// Windows instances left out.
    pub windows: usize,
    /// Instances without a name, reachable by id only.
    pub nameless: usize,
    /// Patterns of the `[[host]]` rules that match no alias.
    pub unused_rules: Vec<String>,
    /// By the name of a source, placeholders of its alias template that are empty for all its instances.
    pub unfilled: BTreeMap<String, BTreeSet<String>>,
}

/// What a fleet is built from.
pub struct FleetRequest<'a> {
    /// All effective sources in their order, asked or not.
    pub sources: &'a [Source],
    /// The `[[host]]` tables.
    pub rules: &'a [HostRule],
    /// Looks up an image by its id.
    pub image: &'a dyn Fn(&str) -> Option<&'a Image>,
    /// The hosts of the last index, for users of images that are not known.
    pub previous: &'a [PreviousHost],
    /// Names at the last sync.
    pub history: NameHistory,
    /// What resolves a name already.
    pub conflict_of: &'a Conflicts<'a>,
    /// Names may move to other accounts and earlier sources.
    pub accept_moves: bool,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// The names of the hosts of the last index, which was written at `synced`, and those that it remembers.
#[must_use]
pub fn name_history(hosts: &[PreviousHost], memory: NameHistory, synced: u64) -> NameHistory {
    let mut history = memory;
    for host in hosts {
        for name in host.alias.iter().chain(&host.names) {
            let holder = Holder { id: host.id.clone(), account: host.account.clone(), seen: synced };
            history.insert(name.to_ascii_lowercase(), holder);
        }
    }
    history
}

/// Builds the fleet. `kept` are hosts of the last index whose source failed or was not asked.
#[must_use]
pub fn build(request: &FleetRequest<'_>, discovered: Vec<DiscoveredInstance>, kept: Vec<Host>) -> Fleet {
    let mut fleet = Fleet::default();
    let candidates = candidates(request, &mut fleet, discovered, kept);
    fleet.unfilled = unfilled(request.sources, &candidates);
    let mut names = {
        let requests: Vec<&AliasRequest> = candidates.iter().map(|candidate| &candidate.request).collect();
        let names = names::assign(&requests, &request.history, request.conflict_of, request.accept_moves);
        let listed = listed_names(&requests, &names);
        fleet.memory = names::memory(&names, &requests, &|name| listed.contains(name), &request.history, request.now);
        names
    };
    for (spellings, shared) in names.shared.values() {
        fleet.shared.extend(spellings.iter().map(|name| (name.clone(), shared.clone())));
    }
    let mut is_used = vec![false; request.rules.len()];
    let mut hosts = Vec::with_capacity(candidates.len());
    for candidate in candidates.into_iter().filter(|candidate| candidate.request.listed) {
        let names = names.names.remove(&candidate.request.id);
        let matches =
            |rule: &HostRule, alias: &str| pattern::matches_list(rule.patterns.iter().map(String::as_str), alias);
        let rule = names.as_ref().and_then(|names| {
            let at = request.rules.iter().position(|rule| matches(rule, &names.alias))?;
            is_used[at] = true;
            Some(&request.rules[at])
        });
        fleet.nameless += usize::from(names.is_none());
        hosts.push(Host::new(candidate, names, rule));
    }
    hosts.sort_unstable_by(Host::order);
    if !(names.moves.is_empty() && names.refused.is_empty()) {
        let ids: HashSet<&InstanceId> = hosts.iter().map(|host| &host.id).collect();
        names.moves.retain(|one| ids.contains(&one.to));
        names.refused.retain(|one| ids.contains(&one.id));
    }
    let unused = request.rules.iter().zip(is_used).filter(|(_, is_used)| !is_used);
    // A rule that matches only aliases of an earlier rule is not a typing error.
    let is_shadowed = |rule: &HostRule| {
        hosts
            .iter()
            .filter_map(|host| host.alias.as_deref())
            .any(|alias| pattern::matches_list(rule.patterns.iter().map(String::as_str), alias))
    };
    fleet.unused_rules =
        unused.filter(|(rule, _)| !is_shadowed(rule)).map(|(rule, _)| rule.patterns.join(", ")).collect();
    fleet.hosts = hosts;
    fleet.names = names;
    fleet.rejected.sort();
    fleet
}

/// The candidates, one for each instance: an instance of two sources belongs to the first.
fn candidates(
    request: &FleetRequest<'_>,
    fleet: &mut Fleet,
    mut discovered: Vec<DiscoveredInstance>,
    kept: Vec<Host>,
) -> Vec<Candidate> {
    // They come in this order mostly.
    if !discovered.is_sorted_by_key(|one| one.source) {
        discovered.sort_by_key(|one| one.source);
    }
    let rank_of: HashMap<&str, usize> =
        request.sources.iter().enumerate().map(|(rank, source)| (source.name.as_str(), rank)).collect();
    let kept_rank: HashMap<InstanceId, usize> = kept
        .iter()
        .map(|host| (host.id.clone(), rank_of.get(host.source.as_str()).copied().unwrap_or(usize::MAX)))
        .collect();
    let previous: HashMap<&InstanceId, &PreviousHost> = request.previous.iter().map(|host| (&host.id, host)).collect();
    let mut candidates = Vec::with_capacity(discovered.len() + kept.len());
    let mut seen: HashSet<InstanceId> = HashSet::with_capacity(discovered.len());
    for one in discovered {
        let source = &request.sources[one.source];
        let instance = &one.instance;
        let is_of_earlier = kept_rank.get(&instance.id).is_some_and(|rank| *rank < one.source);
        if is_of_earlier || seen.contains(&instance.id) || is_excluded(source, instance) {
            continue;
        }
        let is_listed = source.states.contains(&instance.state);
        seen.insert(instance.id.clone());
        if instance.windows {
            fleet.windows += usize::from(is_listed);
            continue;
        }
        let (image, before) = ((request.image)(&instance.image), previous.get(&instance.id).copied());
        match Candidate::new(source, one, image, before) {
            Ok(candidate) => candidates.push(candidate),
            Err(rejection) if is_listed => fleet.rejected.push(rejection),
            Err(_) => {}
        }
    }
    for host in kept {
        let Some(&rank) = rank_of.get(host.source.as_str()) else { continue };
        if seen.insert(host.id.clone()) {
            candidates.push(Candidate::from_host(&request.sources[rank], rank, host));
        }
    }
    candidates
}

/// The names that listed instances have now, in lower case.
fn listed_names(requests: &[&AliasRequest], assignment: &Assignment) -> HashSet<String> {
    let listed = requests.iter().filter(|request| request.listed);
    let names = listed.filter_map(|request| assignment.names.get(&request.id));
    names
        .flat_map(|names| std::iter::once(&names.alias).chain(&names.others))
        .map(|name| name.to_ascii_lowercase())
        .collect()
}

/// Placeholders that no listed instance of a source fills, for sources that have instances.
fn unfilled(sources: &[Source], candidates: &[Candidate]) -> BTreeMap<String, BTreeSet<String>> {
    let mut open: Vec<Option<BTreeSet<&str>>> = vec![None; sources.len()];
    for candidate in candidates.iter().filter(|candidate| candidate.request.listed) {
        let rank = candidate.request.rank;
        let fields = open[rank].get_or_insert_with(|| sources[rank].alias.tags().collect());
        fields.retain(|field| candidate.tags.get(*field).is_none_or(|value| crate::alias::sanitize(value).is_empty()));
    }
    let mut unfilled: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (source, fields) in sources.iter().zip(open) {
        let fields = fields.into_iter().flatten().map(str::to_owned);
        unfilled.entry(source.of.clone()).or_default().extend(fields);
    }
    unfilled.retain(|_, fields| !fields.is_empty());
    unfilled
}

fn is_excluded(source: &Source, instance: &Instance) -> bool {
    let excluded = !source.exclude.is_empty()
        && source.exclude.iter().all(|(key, patterns)| {
            instance.tags.get(key).is_some_and(|value| patterns.iter().any(|one| pattern::matches(one, value)))
        });
    excluded || instance.tags.contains_key(TAG_IGNORE)
}
