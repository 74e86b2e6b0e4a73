//! Assigns aliases: one for each instance, stable while the instance exists.
//!
//! An instance keeps the name that it had at the last sync. A free name goes to the only instance of the earliest source
//! that requests it; several requests of one source, and members of Auto Scaling groups, get the name with a suffix of
//! their id, and the bare name is [`Shared`]. A name never moves to another account without `--accept-moves`, and a
//! name that the user's ssh resolves already is not assigned. A person who may tag instances can thus obtain a suffixed
//! name, but not the name of another instance.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::alias::{LONGEST, cut, reads_as_something_else};
use crate::ids::InstanceId;

mod suffix;
#[cfg(test)]
mod tests;

use suffix::{make_distinct, suffix_length, with_suffix};

/// How long the name of a terminated instance is kept, in milliseconds: 30 days.
const RETENTION: u64 = 30 * 24 * 60 * 60 * 1000;

/// The maximum number of kept names of instances that are not listed.
const MAX_KEPT: usize = 20_000;

/// An instance that needs an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRequest {
    /// The instance.
    pub id: InstanceId,
    /// Its account.
    pub account: String,
    /// The name from the template, in the spelling of its tags; `None` if the tags are empty.
    pub name: Option<String>,
    /// Always gets an id suffix: a member of an Auto Scaling group.
    pub always_suffixed: bool,
    /// Position of its source; earlier ones win.
    pub rank: usize,
    /// `duplicates = "newest"`: a shared bare name connects to the newest instance.
    pub newest: bool,
    /// When it was launched, seconds since 1970.
    pub launched: i64,
    /// In a state that the config lists. Instances in other states keep their names and get no new ones.
    pub listed: bool,
}

/// The instance that had a name at the last sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The instance.
    pub id: InstanceId,
    /// Its account.
    pub account: String,
    /// When it was last seen with the name, milliseconds since 1970.
    pub seen: u64,
}

/// Names in lower case and the instances that had them, including instances that are terminated or not listed.
pub type NameHistory = BTreeMap<String, Holder>;

/// The names assigned to one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Lower case.
    pub alias: String,
    /// Further names: the spelling of the tag, a suffixed name that it had before.
    pub others: Vec<String>,
}

/// A bare name that connects to no instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// Several instances, or an Auto Scaling group, request it: their ids.
    By(Vec<InstanceId>),
    /// It belonged to an instance of another account, and the move has not been accepted.
    Waits {
        /// The instance that had it.
        was: Holder,
        /// The instance that requests it.
        wants: InstanceId,
        /// The account of that instance.
        account: String,
    },
}

/// A name that belongs to another instance than at the last sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// In lower case.
    pub name: String,
    /// The instance that had it.
    pub from: Holder,
    /// The instance that has it now.
    pub to: InstanceId,
    /// The account of that instance.
    pub account: String,
}

/// The result of all requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The names of each instance that has one.
    pub names: BTreeMap<InstanceId, Names>,
    /// Bare names that connect to no instance, each in all its spellings.
    pub shared: BTreeMap<String, (Vec<String>, Shared)>,
    /// Names that moved.
    pub moves: Vec<Move>,
    /// Requested names that the user's ssh resolves already.
    pub refused: Vec<RefusedName>,
    /// Names that stayed with an instance of a later source although one of an earlier source requests them:
    /// the name, its instance, the requesting instance.
    pub stayed: Vec<(String, InstanceId, InstanceId)>,
}

/// What resolves a name already, outside of the managed hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conflict {
    /// A block of the user's or the system's ssh config, by its position among all blocks.
    Block(usize),
    /// A line of `/etc/hosts` or a `known_hosts` file, counted from 1.
    Line(PathBuf, usize),
    /// There are too many hashed lines of `known_hosts` to compare the name with.
    NotCompared,
}

/// A requested name that was not assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedName {
    /// The instance that requested it.
    pub id: InstanceId,
    /// The name in lower case.
    pub name: String,
    /// What resolves it already.
    pub conflict: Conflict,
}

/// Returns the conflict of a name. `true`: an instance already has the name, so that a pattern of the user's config that
/// matches it is no conflict.
pub type Conflicts<'a> = dyn Fn(&str, bool) -> Option<Conflict> + 'a;

/// Assigns names to all requests; the assignment does not depend on their order.
#[must_use]
pub fn assign(
    requests: &[&AliasRequest],
    history: &NameHistory,
    conflict_of: &Conflicts<'_>,
    accept_moves: bool,
) -> Assignment {
    let holders: HashSet<&InstanceId> = history.values().map(|holder| &holder.id).collect();
    let mut groups: BTreeMap<String, Vec<&AliasRequest>> = BTreeMap::new();
    for &request in requests.iter().filter(|request| request.listed || holders.contains(&request.id)) {
        if let Some(name) = &request.name {
            groups.entry(cut(name, LONGEST).to_ascii_lowercase()).or_default().push(request);
        }
    }
    for group in groups.values_mut() {
        group.sort_by(|a, b| (a.rank, &a.id).cmp(&(b.rank, &b.id)));
    }
    let bases: HashMap<&InstanceId, &str> =
        groups.iter().flat_map(|(base, group)| group.iter().map(move |request| (&request.id, base.as_str()))).collect();
    let mut assignment = Assignment::default();
    let mut owners: BTreeMap<&str, &AliasRequest> = BTreeMap::new();
    for (base, group) in &groups {
        if reads_as_something_else(base) || is_suffixed_name_of_another(base, history, &bases) {
            continue;
        }
        let held = history.get(base).is_some_and(|holder| group.iter().any(|request| request.id == holder.id));
        if let Some(conflict) = conflict_of(base, held) {
            assignment.refused.extend(group.iter().map(|request| RefusedName {
                id: request.id.clone(),
                name: base.clone(),
                conflict: conflict.clone(),
            }));
            continue;
        }
        let ownership = ownership(base, group, history, accept_moves);
        if let Some(owner) = ownership.owner {
            owners.insert(base, owner);
        }
        if let Some(newcomer) = ownership.stayed {
            let before = history.get(base).map_or(&newcomer.id, |holder| &holder.id);
            let holder = ownership.owner.map_or(before, |owner| &owner.id);
            assignment.stayed.push((base.clone(), holder.clone(), newcomer.id.clone()));
        }
        if let Some(shared) = ownership.shared {
            assignment.shared.insert(base.clone(), (spellings(group, conflict_of), shared));
        }
    }
    let suffixed = make_distinct(&groups, &bases, &mut owners, history);
    let had = suffixed_before(history, &bases);
    for (base, group) in &groups {
        for request in group {
            assignment.names.insert(
                request.id.clone(),
                names_of(request, base, &owners, &suffixed, had.get(&request.id), conflict_of),
            );
        }
    }
    assign_shared_to_newest(&mut assignment, &groups, history, accept_moves);
    assignment.shared.retain(|base, _| !owners.contains_key(base.as_str()));
    remove_duplicates(&mut assignment);
    assignment.moves = moves(&assignment.names, requests, history);
    assignment
}

/// Whether the name is a suffixed name that another instance had and keeps.
fn is_suffixed_name_of_another(name: &str, history: &NameHistory, bases: &HashMap<&InstanceId, &str>) -> bool {
    let holder = history.get(name).and_then(|holder| bases.get(&holder.id).map(|base| (&holder.id, *base)));
    holder.is_some_and(|(id, base)| base != name && suffix_length(name, base, id).is_some())
}

struct Ownership<'a> {
    owner: Option<&'a AliasRequest>,
    /// An instance of an earlier source that does not get the requested name.
    stayed: Option<&'a AliasRequest>,
    shared: Option<Shared>,
}

/// The owner of the bare name of a group, which is sorted by rank.
fn ownership<'a>(base: &str, group: &[&'a AliasRequest], history: &NameHistory, accept_moves: bool) -> Ownership<'a> {
    let before = history.get(base);
    // If the newest instance gets the bare name, its previous owner is irrelevant.
    let keeps = |request: &AliasRequest| !request.always_suffixed && !request.newest;
    let holder = before.and_then(|held| group.iter().find(|request| request.id == held.id && keeps(request))).copied();
    let newest = before.and_then(|held| group.iter().find(|request| request.id == held.id && request.newest)).copied();
    let first_of = |wanted: &dyn Fn(&AliasRequest) -> bool| -> Vec<&'a AliasRequest> {
        let rank = group.iter().find(|request| request.listed && wanted(request)).map(|request| request.rank);
        group
            .iter()
            .filter(|request| request.listed && wanted(request) && Some(request.rank) == rank)
            .copied()
            .collect()
    };
    if let Some(holder) = newest.filter(|_| !accept_moves) {
        // The newest instance of a source competes with instances of the same source only, as long as there is one.
        let is_rival = |request: &AliasRequest| request.listed && request.always_suffixed == holder.always_suffixed;
        let earlier = group.iter().find(|request| is_rival(request) && request.rank < holder.rank).copied();
        if earlier.is_some() {
            let own: Vec<&AliasRequest> =
                group.iter().filter(|request| is_rival(request) && request.rank == holder.rank).copied().collect();
            if own.len() == 1 && !holder.always_suffixed {
                return Ownership { owner: Some(holder), stayed: earlier, shared: None };
            }
            let ids = own.into_iter().map(|request| request.id.clone()).collect();
            return Ownership { owner: None, stayed: earlier, shared: Some(Shared::By(ids)) };
        }
    }
    let mut first = first_of(&|request| !request.always_suffixed);
    if let Some(holder) = holder {
        let earlier = first.first().filter(|request| request.rank < holder.rank).copied();
        if earlier.is_none() || !accept_moves || first.len() > 1 {
            return Ownership { owner: Some(holder), stayed: earlier, shared: None };
        }
    }
    if let ([only], Some(before)) = (first.as_slice(), before)
        && before.account != only.account
        && !accept_moves
    {
        let shared = Shared::Waits { was: before.clone(), wants: only.id.clone(), account: only.account.clone() };
        return Ownership { owner: None, stayed: None, shared: Some(shared) };
    }
    if let [only] = first.as_slice() {
        return Ownership { owner: Some(only), stayed: None, shared: None };
    }
    if first.is_empty() {
        first = first_of(&|_| true);
    }
    let ids: Vec<InstanceId> = first.iter().map(|request| request.id.clone()).collect();
    Ownership { owner: None, stayed: None, shared: (!ids.is_empty()).then_some(Shared::By(ids)) }
}

/// All spellings of a group's bare name, the lower case first.
fn spellings(group: &[&AliasRequest], conflict_of: &Conflicts<'_>) -> Vec<String> {
    let own: BTreeSet<&str> =
        group.iter().filter_map(|request| request.name.as_deref()).map(|n| cut(n, LONGEST)).collect();
    let lower = own.iter().next().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    let free = |name: &&str| **name != lower && conflict_of(name, false).is_none();
    let others: Vec<String> = own.into_iter().filter(free).map(str::to_owned).collect();
    std::iter::once(lower).chain(others).collect()
}

/// The suffixed names that instances had for the base that they request now.
fn suffixed_before<'a>(
    history: &'a NameHistory,
    bases: &HashMap<&InstanceId, &str>,
) -> HashMap<&'a InstanceId, Vec<&'a str>> {
    let mut had: HashMap<&InstanceId, Vec<&str>> = HashMap::new();
    for (name, holder) in history {
        if bases.get(&holder.id).is_some_and(|base| suffix_length(name, base, &holder.id).is_some()) {
            had.entry(&holder.id).or_default().push(name);
        }
    }
    had
}

fn names_of(
    request: &AliasRequest,
    base: &str,
    owners: &BTreeMap<&str, &AliasRequest>,
    digits: &HashMap<&InstanceId, usize>,
    had: Option<&Vec<&str>>,
    conflict_of: &Conflicts<'_>,
) -> Names {
    let own = request.name.as_deref().unwrap_or(base);
    let is_owner = owners.get(base).is_some_and(|owner| owner.id == request.id);
    let (alias, spelling) = match digits.get(&request.id) {
        Some(&digits) if !is_owner => (with_suffix(base, &request.id, digits), with_suffix(own, &request.id, digits)),
        _ => (base.to_owned(), cut(own, LONGEST).to_owned()),
    };
    let mut others = Vec::new();
    if spelling != alias && conflict_of(&spelling, false).is_none() {
        others.push(spelling);
    }
    others.extend(had.into_iter().flatten().filter(|name| **name != alias).map(|name| (*name).to_owned()));
    Names { alias, others }
}

/// Under `duplicates = "newest"` a shared name is a further name of the instance that was launched last.
fn assign_shared_to_newest(
    assignment: &mut Assignment,
    groups: &BTreeMap<String, Vec<&AliasRequest>>,
    history: &NameHistory,
    accept_moves: bool,
) {
    for (base, group) in groups {
        let Some((spellings, Shared::By(ids))) = assignment.shared.get(base) else { continue };
        let candidates = group.iter().filter(|request| request.newest && ids.contains(&request.id));
        let Some(newest) = candidates.max_by(|a, b| (a.launched, &a.id).cmp(&(b.launched, &b.id))) else { continue };
        let spellings = spellings.clone();
        if let Some(was) = history.get(base).filter(|before| before.account != newest.account && !accept_moves) {
            let (wants, account) = (newest.id.clone(), newest.account.clone());
            assignment.shared.insert(base.clone(), (spellings, Shared::Waits { was: was.clone(), wants, account }));
        } else {
            assignment.shared.remove(base);
            if let Some(names) = assignment.names.get_mut(&newest.id) {
                names.others.extend(spellings);
            }
        }
    }
}

/// Removes second names that are the first name of another instance, ignoring case.
fn remove_duplicates(assignment: &mut Assignment) {
    let Assignment { names, shared, .. } = assignment;
    let mut first: HashSet<String> = names.values().map(|names| names.alias.clone()).collect();
    for names in names.values_mut() {
        let Names { alias, others } = names;
        let mut own: BTreeSet<String> = BTreeSet::new();
        others.retain(|name| {
            let lower = name.to_ascii_lowercase();
            let free =
                lower == *alias || own.contains(&lower) || (!shared.contains_key(&lower) && !first.contains(&lower));
            own.insert(lower);
            free && name != alias
        });
        others.sort();
        others.dedup();
        first.extend(own);
    }
    // A name that an instance has is not a shared name.
    shared.retain(|base, _| !first.contains(base));
}

fn moves(names: &BTreeMap<InstanceId, Names>, requests: &[&AliasRequest], history: &NameHistory) -> Vec<Move> {
    let mut moves = Vec::new();
    for (id, names) in names {
        for name in std::iter::once(&names.alias).chain(&names.others) {
            if let Some(from) = history.get(name).filter(|from| from.id != *id) {
                moves.push(Move { name: name.clone(), from: from.clone(), to: id.clone(), account: String::new() });
            }
        }
    }
    if !moves.is_empty() {
        let accounts: HashMap<&InstanceId, &str> =
            requests.iter().map(|request| (&request.id, request.account.as_str())).collect();
        for one in &mut moves {
            accounts.get(&one.to).copied().unwrap_or_default().clone_into(&mut one.account);
        }
        moves.sort_by(|a, b| a.name.cmp(&b.name));
    }
    moves
}

/// The names to store besides those of listed hosts: names of instances that are not listed now and, for
/// [`RETENTION`], of terminated instances, so that an instance of another account does not get them unnoticed. `is_listed`:
/// whether a host has the name now.
#[must_use]
pub fn memory(
    assignment: &Assignment,
    requests: &[&AliasRequest],
    is_listed: &dyn Fn(&str) -> bool,
    history: &NameHistory,
    now: u64,
) -> NameHistory {
    let mut memory = NameHistory::new();
    for &request in requests.iter().filter(|request| !request.listed) {
        let Some(names) = assignment.names.get(&request.id) else { continue };
        for name in std::iter::once(&names.alias).chain(&names.others) {
            // An unlisted instance gets no new name.
            if history.get(name).is_some_and(|holder| holder.id == request.id) {
                let holder = Holder { id: request.id.clone(), account: request.account.clone(), seen: now };
                memory.insert(name.clone(), holder);
            }
        }
    }
    for (name, holder) in history {
        // A time in the future counts as now, so that a wrong clock neither removes a name nor keeps it for ever.
        let last_seen = holder.seen.min(now);
        let fresh = now - last_seen < RETENTION;
        if fresh && !is_listed(name) && !memory.contains_key(name) {
            // A name whose move has not been accepted does not expire.
            let waits = matches!(assignment.shared.get(name), Some((_, Shared::Waits { .. })));
            let seen = if waits { now } else { last_seen };
            memory.insert(name.clone(), Holder { seen, ..holder.clone() });
        }
    }
    // Bounded, for instances that are renamed all the time: the oldest names are removed.
    if memory.len() > MAX_KEPT {
        let mut by_age: Vec<(u64, String)> = memory.iter().map(|(name, held)| (held.seen, name.clone())).collect();
        by_age.sort();
        for (_, name) in &by_age[..by_age.len() - MAX_KEPT] {
            memory.remove(name);
        }
    }
    memory
}
