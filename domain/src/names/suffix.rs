//! Suffixes of instance ids: the number of digits with which all names differ.

use std::collections::{BTreeMap, HashMap};

use super::{AliasRequest, NameHistory};
use crate::alias::{LONGEST, cut};
use crate::ids::InstanceId;

/// Minimum number of digits in a suffix.
const MIN_DIGITS: usize = 6;

/// The number of digits in the suffix of each instance without a bare name, so that all names differ. An owner whose bare
/// name equals the suffixed name of another instance loses it.
pub(super) fn make_distinct<'a>(
    groups: &'a BTreeMap<String, Vec<&'a AliasRequest>>,
    bases: &HashMap<&'a InstanceId, &'a str>,
    owners: &mut BTreeMap<&'a str, &'a AliasRequest>,
    history: &NameHistory,
) -> HashMap<&'a InstanceId, usize> {
    let mut digits: HashMap<&InstanceId, usize> = HashMap::new();
    for (base, group) in groups {
        for request in
            group.iter().filter(|request| owners.get(base.as_str()).is_none_or(|owner| owner.id != request.id))
        {
            digits.insert(&request.id, usable(base, &request.id, MIN_DIGITS));
        }
    }
    // A longer suffix stays: a name does not become shorter when another instance is terminated.
    for (name, holder) in history {
        if let (Some(now), Some(base)) = (digits.get_mut(&holder.id), bases.get(&holder.id)) {
            *now = (*now).max(suffix_length(name, base, &holder.id).unwrap_or(0));
        }
    }
    loop {
        let mut claims: HashMap<String, Vec<(&'a AliasRequest, &'a str)>> = HashMap::new();
        for (base, group) in groups {
            for request in group {
                let name = digits.get(&request.id).map_or_else(|| base.clone(), |n| with_suffix(base, &request.id, *n));
                claims.entry(name).or_default().push((request, base));
            }
        }
        let mut changed = false;
        for (name, claimants) in claims.into_iter().filter(|(_, claimants)| claimants.len() > 1) {
            let holder = history.get(&name).map(|holder| &holder.id);
            let held = claimants.iter().any(|(request, _)| Some(&request.id) == holder);
            let alone = claimants.iter().filter(|(request, _)| digits.contains_key(&request.id)).count() == 1;
            for (request, base) in claimants {
                let keeps = if held { Some(&request.id) == holder } else { alone && digits.contains_key(&request.id) };
                if keeps {
                    continue;
                }
                let before = digits.get(&request.id).copied();
                let more = before.map_or(MIN_DIGITS, |digits| digits + 1).min(request.id.digits().len());
                let now = usable(base, &request.id, more);
                if owners.get(base).is_some_and(|owner| owner.id == request.id) {
                    owners.remove(base);
                }
                changed |= before != Some(now);
                digits.insert(&request.id, now);
            }
        }
        if !changed {
            return digits;
        }
    }
}

/// `digits`, or one more if the name has the form of an instance id.
fn usable(base: &str, id: &InstanceId, digits: usize) -> usize {
    let name = with_suffix(base, id, digits);
    if InstanceId::parse(&name).is_some() { (digits + 1).min(id.digits().len()) } else { digits }
}

/// The name with this many digits of the id.
pub(super) fn with_suffix(name: &str, id: &InstanceId, digits: usize) -> String {
    let digits = &id.digits()[..digits.min(id.digits().len())];
    format!("{}-{digits}", cut(name, LONGEST - 1 - digits.len()))
}

/// The number of digits of `id` in `name`, if it is `base` with a suffix of `id`.
pub(super) fn suffix_length(name: &str, base: &str, id: &InstanceId) -> Option<usize> {
    let digits = name.rsplit_once('-')?.1.len();
    let right = (MIN_DIGITS..=id.digits().len()).contains(&digits) && with_suffix(base, id, digits) == name;
    right.then_some(digits)
}
