//! From the sources of the config file to those that are asked: a pattern of profiles becomes one for each, an SSO
//! session one for each account in which the person holds a role.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws::accounts::{self, Held, Offer};
use crate::aws::profiles::Profiles;
use crate::domain::alias;
use crate::domain::pattern;
use crate::domain::source::{Accounts, Source, Who};
use crate::domain::suggestion::nearest;
use crate::domain::text;
use crate::error::{Error, Kind, Result};
use crate::store::index::SourceRecord;

/// What a source of the config file stands for.
#[derive(Debug, Default)]
pub struct Expanded {
    /// To be asked.
    pub sources: Vec<Source>,
    /// Accounts that did not tell what the person holds in them, and why.
    pub failed: Vec<(String, Error)>,
}

/// The sources that one of `all` of the config file stands for.
///
/// # Errors
///
/// [`Kind::Config`] for a pattern that nothing matches, else what the SSO session says.
pub async fn expand(source: &Source, all: &[Source]) -> Result<Expanded> {
    let whole = |sources| Expanded { sources, failed: Vec::new() };
    match &source.who {
        Who::Ambient | Who::Profile(_) | Who::Sso(_) => Ok(whole(vec![source.clone()])),
        Who::Profiles(wanted) => of_profiles(source, wanted, &Profiles::load().await?.names(), all).map(whole),
        Who::Accounts(wanted) => {
            let Offer { held, failed, roles } = accounts::offer(wanted).await?;
            if held.is_empty() && failed.is_empty() {
                return Err(no_such_role(wanted, &roles));
            }
            let own: BTreeSet<&str> = all.iter().map(|source| source.name.as_str()).collect();
            Ok(Expanded { sources: of_accounts(source, held, &own), failed })
        }
    }
}

/// The error for roles that no account offers, with the nearest role and those that there are.
fn no_such_role(wanted: &Accounts, offered: &BTreeMap<String, usize>) -> Error {
    let offered = || offered.keys().map(String::as_str);
    let near = wanted.roles.iter().find_map(|role| nearest(role, offered()));
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let list = text::first_names(offered(), 8);
    let list = if list.is_empty() { list } else { format!(" (roles: {list})") };
    let (session, roles) = (&wanted.session, wanted.roles.join(", "));
    Error::new(Kind::Denied, format!("no account of the SSO session {session:?} offers you a role {roles}{near}{list}"))
        .hint("correct role and accounts of the source, or ask the administrator of Identity Center")
}

/// The name and the profile of a source that stands for itself.
fn names_and_profile(source: &Source) -> Vec<&str> {
    match &source.who {
        Who::Profile(profile) => vec![&source.name, profile],
        Who::Ambient | Who::Sso(_) => vec![&source.name],
        Who::Profiles(_) | Who::Accounts(_) => Vec::new(),
    }
}

/// Whether a source is what a person holds in that account.
#[must_use]
pub fn is_in_account(source: &Source, account: &str) -> bool {
    matches!(&source.who, Who::Sso(role) if role.account == account)
}

/// A source for each profile that matches and that no other source of `all` names.
///
/// # Errors
///
/// [`Kind::Config`] if no profile matches.
pub fn of_profiles(source: &Source, wanted: &str, profiles: &[String], all: &[Source]) -> Result<Vec<Source>> {
    let own: BTreeSet<&str> = all.iter().flat_map(names_and_profile).collect();
    let matching: Vec<&String> = profiles.iter().filter(|profile| pattern::matches(wanted, profile)).collect();
    if matching.is_empty() {
        return Err(Error::new(Kind::Config, format!("no AWS profile matches {wanted:?}"))
            .hint(format!("~/.aws/config has: {}", some(profiles))));
    }
    let own_name = source.name != wanted;
    let one = |profile: &String| Source {
        name: if own_name { format!("{}/{profile}", source.name) } else { profile.clone() },
        who: Who::Profile(profile.clone()),
        ..source.clone()
    };
    let usable = |source: &Source| {
        let is_taken = names_and_profile(source).into_iter().any(|name| own.contains(name));
        !is_taken && crate::domain::ssh_config::render::check_word(&source.name).is_ok()
    };
    Ok(matching.into_iter().map(one).filter(usable).collect())
}

/// By the account's name where that is plain, nobody else's and no id, else by its id.
fn of_accounts(source: &Source, held: Vec<Held>, own: &BTreeSet<&str>) -> Vec<Source> {
    let plain = |one: &Held| {
        let name = alias::sanitize(&one.account_name);
        let is_id = name.bytes().all(|b| b.is_ascii_digit());
        let is_taken = own.contains(format!("{}/{name}", source.name).as_str());
        (!is_id && !is_taken && name == one.account_name).then_some(name)
    };
    let names: Vec<Option<String>> = held.iter().map(plain).collect();
    let is_alone = |name: &String| names.iter().flatten().filter(|other| *other == name).count() == 1;
    let chosen: Vec<String> = names
        .iter()
        .zip(&held)
        .map(|(name, one)| name.clone().filter(is_alone).unwrap_or_else(|| one.role.account.clone()))
        .collect();
    held.into_iter()
        .zip(chosen)
        .map(|(Held { role, account_name }, name)| Source {
            name: format!("{}/{name}", source.name),
            // A role on top may be one of another account.
            account: source.account.clone().or_else(|| source.role.is_none().then(|| role.account.clone())),
            who: Who::Sso(role),
            account_name,
            ..source.clone()
        })
        .collect()
}

/// The sources as they were at the last sync, for one that cannot be expanded now.
#[must_use]
pub fn as_recorded(source: &Source, records: &[SourceRecord]) -> Vec<Source> {
    let mut of_it: Vec<&SourceRecord> = records.iter().filter(|record| record.of == source.name).collect();
    // As they were, and not by their names: another order would give names to others.
    of_it.sort_by_key(|record| record.rank);
    of_it.into_iter().map(|record| restored(source, record)).collect()
}

/// A source made of a config's and what the last sync found.
#[must_use]
pub fn restored(source: &Source, record: &SourceRecord) -> Source {
    let who = match (&record.identity.profile, &record.identity.sso) {
        (Some(profile), _) => Who::Profile(profile.clone()),
        (None, Some(role)) => Who::Sso(role.clone()),
        (None, None) => Who::Ambient,
    };
    Source {
        name: record.name.clone(),
        who,
        account: record.identity.account.clone(),
        account_name: record.account_name.clone(),
        ..source.clone()
    }
}

fn some(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => text::first_names(names, 8),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::identity::SsoRole;
    use crate::store::config;

    fn source(text: &str) -> Source {
        config::parse(text, Path::new("c")).unwrap().sources.remove(0)
    }

    #[test]
    fn a_pattern_becomes_a_source_for_each_profile_that_has_none_of_its_own() {
        let profiles = ["corp-a", "corp-b", "corp-c", "other", "corp-'x"].map(str::to_owned);
        let names = |text: &str| {
            let source = source(text);
            let own = self::source("[[source]]\nname = \"corp-b\"");
            let expanded = of_profiles(&source, "corp-*", &profiles, &[own]).unwrap();
            assert!(expanded.iter().all(|one| one.of == source.name && matches!(one.who, Who::Profile(_))));
            expanded.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        assert_eq!(names("[[source]]\nprofile = \"corp-*\""), ["corp-a", "corp-c"]);
        assert_eq!(names("[[source]]\nname = \"x\"\nprofile = \"corp-*\""), ["x/corp-a", "x/corp-c"]);
        assert!(of_profiles(&source("[[source]]\nprofile = \"z*\""), "z*", &profiles, &[]).is_err());
    }

    #[test]
    fn accounts_are_named_by_what_is_plain_and_unique() {
        let held = [("1", "prod"), ("2", "twice"), ("3", "twice"), ("4", "Bad name!"), ("5", "4"), ("6", "own")].map(
            |(account, name)| Held {
                role: SsoRole { session: "corp".to_owned(), account: account.to_owned(), role: "r".to_owned() },
                account_name: name.to_owned(),
            },
        );
        let source = source("[[source]]\nsso_session = \"corp\"\nrole = \"r\"");
        let own = BTreeSet::from(["corp/own"]);
        let names: Vec<String> = of_accounts(&source, held.to_vec(), &own).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["corp/prod", "corp/2", "corp/3", "corp/4", "corp/5", "corp/6"]);
    }
}
