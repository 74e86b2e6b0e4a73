//! Checks the config without querying AWS: the values that name something outside of config.toml.
//!
//! Not here: keys and the form of values (`store::config`).

use std::collections::BTreeSet;

use crate::aws::client;
use crate::aws::failure::no_such_region;
use crate::aws::profiles::Profiles;
use crate::discover::expand;
use crate::discover::failures::{self, Failed};
use crate::discover::proof;
use crate::domain::config::Config;
use crate::domain::source::{Regions, Source, Who};
use crate::domain::suggestion::nearest_region;
use crate::error::{Error, Result};
use crate::store::files;
use crate::store::paths::Paths;

/// The problems of a config that could be read, as `sync` reports them: options that ssh rejects, profiles and SSO
/// sessions that do not exist, misspelt regions.
///
/// # Errors
///
/// If the AWS config files cannot be read or ssh cannot be run.
pub fn check(paths: &Paths, config: &Config) -> Result<Vec<Error>> {
    let mut failed = Vec::new();
    let profiles = client::run(Profiles::load())?;
    for source in &config.sources {
        let of_source = |error| Failed { source: source.name.clone(), region: None, error };
        failed.extend(identity(source, &config.sources, &profiles).err().map(of_source));
        failed.extend(misspelt_regions(source, &profiles).into_iter().map(of_source));
    }
    let mut problems = failures::by_cause(failed);
    let options: BTreeSet<(&String, &String)> =
        config.options.iter().chain(config.hosts.iter().flat_map(|rule| &rule.options)).collect();
    let trial = files::trial_folder(&std::env::temp_dir())?;
    problems.extend(proof::check_options(paths, &options, trial.path()).err());
    Ok(problems)
}

fn identity(source: &Source, all: &[Source], profiles: &Profiles) -> Result<()> {
    let exists = |profile: &str| profiles.settings(Some(profile)).exists;
    match &source.who {
        Who::Profile(profile) if !exists(profile) => Err(profiles.no_such_profile(profile)),
        Who::Ambient if profiles.selected() != "default" && !exists(profiles.selected()) => {
            Err(profiles.no_such_profile(profiles.selected()))
        }
        Who::Profiles(pattern) => expand::of_profiles(source, pattern, &profiles.names(), all).map(drop),
        Who::Accounts(accounts) => profiles.sso_session(&accounts.session).map(drop),
        Who::Ambient | Who::Profile(_) | Who::Sso(_) => Ok(()),
    }
}

fn misspelt_regions(source: &Source, profiles: &Profiles) -> Vec<Error> {
    let of_profile = match &source.who {
        Who::Profile(profile) => profiles.value(profile, "region"),
        _ => None,
    };
    let named: Vec<&str> = match &source.regions {
        Regions::Named(regions) => regions.iter().map(String::as_str).collect(),
        Regions::OfProfile => of_profile.into_iter().collect(),
        Regions::All => Vec::new(),
    };
    named.into_iter().filter_map(|region| nearest_region(region).map(|near| no_such_region(region, near))).collect()
}
