//! Who gets which name: one alias for each instance, stable while it exists, and nothing for those who only claim it.
//!
//! A name stays with the instance that had it at the last sync while that exists. A free one goes to the only claimant
//! of the earliest source that wants it; several claimants, and members of Auto Scaling groups, get the name with a
//! suffix of their id, and the bare name is [`Shared`]. A name never crosses from one account to another by itself, and
//! one that the user reaches already is not taken. Whoever may tag an instance can thus gain a suffixed name, but not
//! somebody else's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::alias::{LONGEST, cut, reads_as_something_else};
use crate::ids::InstanceId;

mod suffix;
#[cfg(test)]
mod tests;

use suffix::{make_distinct, suffix_length, with_suffix};

/// How long a name of an instance that is gone is remembered, in milliseconds: 30 days.
const MEMORY: u64 = 30 * 24 * 60 * 60 * 1000;

/// Names of instances that are not listed that are remembered at most.
const MOST: usize = 20_000;

/// One that wants a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The instance.
    pub id: InstanceId,
    /// Its account.
    pub account: String,
    /// The name it wants, in its own spelling.
    pub name: Option<String>,
    /// It has an id suffix even if nobody else wants the name: a member of an Auto Scaling group.
    pub always_suffixed: bool,
    /// Position of its source; earlier ones win.
    pub rank: usize,
    /// A bare name that several share connects to the newest.
    pub newest: bool,
    /// When it was launched, seconds since 1970.
    pub launched: i64,
    /// In a state that the config lists. Others keep the names that they have and gain none.
    pub listed: bool,
}

/// Who had a name at the last sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The instance.
    pub id: InstanceId,
    /// Its account.
    pub account: String,
    /// When it was last seen with it, milliseconds since 1970.
    pub seen: u64,
}

/// Names in lower case and who had them, also those of instances that are gone or not listed.
pub type Past = BTreeMap<String, Holder>;

/// The names that one instance got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Lower case.
    pub alias: String,
    /// Further ones: the tag's own spelling, a suffixed name that it had before.
    pub others: Vec<String>,
}

/// A bare name that connects to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// Several instances, or a group, want it: their ids.
    By(Vec<InstanceId>),
    /// It belonged to an instance of another account, and nobody has accepted the move yet.
    Waits {
        /// Who had it.
        was: Holder,
        /// Who wants it.
        wants: InstanceId,
        /// The account of that one.
        account: String,
    },
}

/// A name that leads to another instance than at the last sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// In lower case.
    pub name: String,
    /// Who had it.
    pub from: Holder,
    /// Who has it.
    pub to: InstanceId,
    /// The account of that one.
    pub account: String,
}

/// What came of all wishes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Each instance that has a name.
    pub names: BTreeMap<InstanceId, Names>,
    /// Bare names that connect to nobody, each in all its spellings.
    pub shared: BTreeMap<String, (Vec<String>, Shared)>,
    /// Names that moved.
    pub moves: Vec<Move>,
    /// Wanted names that were not given because of what the user reaches already, and why, in words.
    pub refused: Vec<(InstanceId, String, String)>,
    /// Names that stayed with an instance of a later source although one of an earlier source wants them.
    pub stayed: Vec<(String, InstanceId, InstanceId)>,
}

/// What stands in the way of a name, in words. `held`: an instance has the name already, so that a pattern that happens
/// to match it does not take it away.
pub type Taken<'a> = dyn Fn(&str, bool) -> Option<String> + 'a;

/// Gives every wish its names; the outcome does not depend on the order of the wishes.
#[must_use]
pub fn assign(wishes: &[Wish], past: &Past, taken: &Taken<'_>, accept_moves: bool) -> Outcome {
    let holders: HashSet<&InstanceId> = past.values().map(|holder| &holder.id).collect();
    let mut groups: BTreeMap<String, Vec<&Wish>> = BTreeMap::new();
    for wish in wishes.iter().filter(|wish| wish.listed || holders.contains(&wish.id)) {
        if let Some(name) = &wish.name {
            groups.entry(cut(name, LONGEST).to_ascii_lowercase()).or_default().push(wish);
        }
    }
    for group in groups.values_mut() {
        group.sort_by(|a, b| (a.rank, &a.id).cmp(&(b.rank, &b.id)));
    }
    let bases: HashMap<&InstanceId, &str> =
        groups.iter().flat_map(|(base, group)| group.iter().map(move |wish| (&wish.id, base.as_str()))).collect();
    let mut outcome = Outcome::default();
    let mut owners: BTreeMap<&str, &Wish> = BTreeMap::new();
    for (base, group) in &groups {
        if reads_as_something_else(base) || is_suffixed_name_of_another(base, past, &bases) {
            continue;
        }
        let held = past.get(base).is_some_and(|holder| group.iter().any(|wish| wish.id == holder.id));
        if let Some(why) = taken(base, held) {
            outcome.refused.extend(group.iter().map(|wish| (wish.id.clone(), base.clone(), why.clone())));
            continue;
        }
        let claim = claim(base, group, past, accept_moves);
        if let Some(owner) = claim.owner {
            owners.insert(base, owner);
        }
        if let Some(newcomer) = claim.stayed {
            let before = past.get(base).map_or(&newcomer.id, |holder| &holder.id);
            let holder = claim.owner.map_or(before, |owner| &owner.id);
            outcome.stayed.push((base.clone(), holder.clone(), newcomer.id.clone()));
        }
        if let Some(shared) = claim.shared {
            outcome.shared.insert(base.clone(), (spellings(group, taken), shared));
        }
    }
    let suffixed = make_distinct(&groups, &bases, &mut owners, past);
    let had = suffixed_before(past, &bases);
    for (base, group) in &groups {
        for wish in group {
            outcome.names.insert(wish.id.clone(), names_of(wish, base, &owners, &suffixed, had.get(&wish.id), taken));
        }
    }
    give_to_newest(&mut outcome, &groups, past, accept_moves);
    outcome.shared.retain(|base, _| !owners.contains_key(base.as_str()));
    drop_contested(&mut outcome);
    outcome.moves = moves(&outcome.names, wishes, past);
    outcome
}

/// Whether the name is a suffixed one that another instance had and goes on having: whoever wants to be called so is not
/// it.
fn is_suffixed_name_of_another(name: &str, past: &Past, bases: &HashMap<&InstanceId, &str>) -> bool {
    let holder = past.get(name).and_then(|holder| bases.get(&holder.id).map(|base| (&holder.id, *base)));
    holder.is_some_and(|(id, base)| base != name && suffix_length(name, base, id).is_some())
}

struct Claim<'a> {
    owner: Option<&'a Wish>,
    /// Of an earlier source, and without the name that it wants.
    stayed: Option<&'a Wish>,
    shared: Option<Shared>,
}

/// Who has the bare name of a group. `group` in the order of ranks.
fn claim<'a>(base: &str, group: &[&'a Wish], past: &Past, accept_moves: bool) -> Claim<'a> {
    let before = past.get(base);
    // Where the newest has the bare name, who had it before does not matter.
    let keeps = |wish: &Wish| !wish.always_suffixed && !wish.newest;
    let holder = before.and_then(|held| group.iter().find(|wish| wish.id == held.id && keeps(wish))).copied();
    let newest = before.and_then(|held| group.iter().find(|wish| wish.id == held.id && wish.newest)).copied();
    let first_of = |wanted: &dyn Fn(&Wish) -> bool| -> Vec<&'a Wish> {
        let rank = group.iter().find(|wish| wish.listed && wanted(wish)).map(|wish| wish.rank);
        group.iter().filter(|wish| wish.listed && wanted(wish) && Some(wish.rank) == rank).copied().collect()
    };
    if let Some(holder) = newest.filter(|_| !accept_moves) {
        // The newest of a source competes with those of its own source only, while there is one.
        let is_rival = |wish: &Wish| wish.listed && wish.always_suffixed == holder.always_suffixed;
        let earlier = group.iter().find(|wish| is_rival(wish) && wish.rank < holder.rank).copied();
        if earlier.is_some() {
            let own: Vec<&Wish> =
                group.iter().filter(|wish| is_rival(wish) && wish.rank == holder.rank).copied().collect();
            if own.len() == 1 && !holder.always_suffixed {
                return Claim { owner: Some(holder), stayed: earlier, shared: None };
            }
            let ids = own.into_iter().map(|wish| wish.id.clone()).collect();
            return Claim { owner: None, stayed: earlier, shared: Some(Shared::By(ids)) };
        }
    }
    let mut first = first_of(&|wish| !wish.always_suffixed);
    if let Some(holder) = holder {
        let earlier = first.first().filter(|wish| wish.rank < holder.rank).copied();
        if earlier.is_none() || !accept_moves || first.len() > 1 {
            return Claim { owner: Some(holder), stayed: earlier, shared: None };
        }
    }
    if let ([only], Some(before)) = (first.as_slice(), before)
        && before.account != only.account
        && !accept_moves
    {
        let shared = Shared::Waits { was: before.clone(), wants: only.id.clone(), account: only.account.clone() };
        return Claim { owner: None, stayed: None, shared: Some(shared) };
    }
    if let [only] = first.as_slice() {
        return Claim { owner: Some(only), stayed: None, shared: None };
    }
    if first.is_empty() {
        first = first_of(&|_| true);
    }
    let ids: Vec<InstanceId> = first.iter().map(|wish| wish.id.clone()).collect();
    Claim { owner: None, stayed: None, shared: (!ids.is_empty()).then_some(Shared::By(ids)) }
}

/// All spellings of a group's bare name, the lower case first.
fn spellings(group: &[&Wish], taken: &Taken<'_>) -> Vec<String> {
    let own: BTreeSet<&str> = group.iter().filter_map(|wish| wish.name.as_deref()).map(|n| cut(n, LONGEST)).collect();
    let lower = own.iter().next().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
    let free = |name: &&str| **name != lower && taken(name, false).is_none();
    let others: Vec<String> = own.into_iter().filter(free).map(str::to_owned).collect();
    std::iter::once(lower).chain(others).collect()
}

/// The suffixed names that instances had, for the base that they want now.
fn suffixed_before<'a>(past: &'a Past, bases: &HashMap<&InstanceId, &str>) -> HashMap<&'a InstanceId, Vec<&'a str>> {
    let mut had: HashMap<&InstanceId, Vec<&str>> = HashMap::new();
    for (name, holder) in past {
        if bases.get(&holder.id).is_some_and(|base| suffix_length(name, base, &holder.id).is_some()) {
            had.entry(&holder.id).or_default().push(name);
        }
    }
    had
}

fn names_of(
    wish: &Wish,
    base: &str,
    owners: &BTreeMap<&str, &Wish>,
    digits: &HashMap<&InstanceId, usize>,
    had: Option<&Vec<&str>>,
    taken: &Taken<'_>,
) -> Names {
    let own = wish.name.as_deref().unwrap_or(base);
    let is_owner = owners.get(base).is_some_and(|owner| owner.id == wish.id);
    let (alias, spelling) = match digits.get(&wish.id) {
        Some(&digits) if !is_owner => (with_suffix(base, &wish.id, digits), with_suffix(own, &wish.id, digits)),
        _ => (base.to_owned(), cut(own, LONGEST).to_owned()),
    };
    let mut others = Vec::new();
    if spelling != alias && taken(&spelling, false).is_none() {
        others.push(spelling);
    }
    others.extend(had.into_iter().flatten().filter(|name| **name != alias).map(|name| (*name).to_owned()));
    Names { alias, others }
}

/// Under `duplicates = "newest"` a shared name is a further one of whoever was launched last.
fn give_to_newest(outcome: &mut Outcome, groups: &BTreeMap<String, Vec<&Wish>>, past: &Past, accept_moves: bool) {
    for (base, group) in groups {
        let Some((spellings, Shared::By(ids))) = outcome.shared.get(base) else { continue };
        let candidates = group.iter().filter(|wish| wish.newest && ids.contains(&wish.id));
        let Some(newest) = candidates.max_by(|a, b| (a.launched, &a.id).cmp(&(b.launched, &b.id))) else { continue };
        let spellings = spellings.clone();
        if let Some(was) = past.get(base).filter(|before| before.account != newest.account && !accept_moves) {
            let (wants, account) = (newest.id.clone(), newest.account.clone());
            outcome.shared.insert(base.clone(), (spellings, Shared::Waits { was: was.clone(), wants, account }));
        } else {
            outcome.shared.remove(base);
            if let Some(names) = outcome.names.get_mut(&newest.id) {
                names.others.extend(spellings);
            }
        }
    }
}

/// A second name is one only while nobody has it first, whatever the letters' case.
fn drop_contested(outcome: &mut Outcome) {
    let Outcome { names, shared, .. } = outcome;
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
    // And a shared name is one only while nobody has it at all.
    shared.retain(|base, _| !first.contains(base));
}

fn moves(names: &BTreeMap<InstanceId, Names>, wishes: &[Wish], past: &Past) -> Vec<Move> {
    let mut moves = Vec::new();
    for (id, names) in names {
        for name in std::iter::once(&names.alias).chain(&names.others) {
            if let Some(from) = past.get(name).filter(|from| from.id != *id) {
                moves.push(Move { name: name.clone(), from: from.clone(), to: id.clone(), account: String::new() });
            }
        }
    }
    if !moves.is_empty() {
        let accounts: HashMap<&InstanceId, &str> =
            wishes.iter().map(|wish| (&wish.id, wish.account.as_str())).collect();
        for one in &mut moves {
            accounts.get(&one.to).copied().unwrap_or_default().clone_into(&mut one.account);
        }
        moves.sort_by(|a, b| a.name.cmp(&b.name));
    }
    moves
}

/// What has to be remembered of names besides those of listed hosts: names of instances that are not listed now, and,
/// for a while, of those that are gone, so that nobody of another account takes them unseen. `is_listed` tells the names
/// that hosts have now.
#[must_use]
pub fn memory(outcome: &Outcome, wishes: &[Wish], is_listed: &dyn Fn(&str) -> bool, past: &Past, now: u64) -> Past {
    let mut memory = Past::new();
    for wish in wishes.iter().filter(|wish| !wish.listed) {
        let Some(names) = outcome.names.get(&wish.id) else { continue };
        for name in std::iter::once(&names.alias).chain(&names.others) {
            // Only what it had: an unlisted instance gains nothing.
            if past.get(name).is_some_and(|holder| holder.id == wish.id) {
                let holder = Holder { id: wish.id.clone(), account: wish.account.clone(), seen: now };
                memory.insert(name.clone(), holder);
            }
        }
    }
    for (name, holder) in past {
        // A time in the future counts as now, so that a wrong clock neither forgets a name nor keeps it for ever.
        let last_seen = holder.seen.min(now);
        let fresh = now - last_seen < MEMORY;
        if fresh && !is_listed(name) && !memory.contains_key(name) {
            // One that waits to be accepted is not forgotten meanwhile.
            let waits = matches!(outcome.shared.get(name), Some((_, Shared::Waits { .. })));
            let seen = if waits { now } else { last_seen };
            memory.insert(name.clone(), Holder { seen, ..holder.clone() });
        }
    }
    // Whoever renames instances all the time fills nobody's disk: the oldest go first.
    if memory.len() > MOST {
        let mut by_age: Vec<(u64, String)> = memory.iter().map(|(name, held)| (held.seen, name.clone())).collect();
        by_age.sort();
        for (_, name) in &by_age[..by_age.len() - MOST] {
            memory.remove(name);
        }
    }
    memory
}
