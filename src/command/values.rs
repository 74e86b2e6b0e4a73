//! `ssh-eic values`: the values that the shell completions offer for an option. Reads files only, and sends no request.

use std::collections::BTreeSet;

use crate::aws::client;
use crate::aws::profiles::Profiles;
use crate::cli::{self, ValueSet};
use crate::command::{Context, Exit, print};
use crate::domain::fleet::PreviousHost;
use crate::domain::suggestion::REGIONS;
use crate::error::Result;
use crate::store::config;
use crate::store::index::{Content, Index};

/// Prints the values, sorted, one a line.
///
/// # Errors
///
/// If a file cannot be read or is invalid.
pub fn run(context: &Context, args: &cli::Values) -> Result<Exit> {
    let values: BTreeSet<String> = match args.of {
        ValueSet::Profiles => client::run(Profiles::load())?.names().into_iter().collect(),
        ValueSet::SsoSessions => client::run(Profiles::load())?.sso_sessions().into_iter().collect(),
        ValueSet::Regions => REGIONS.into_iter().chain(["all"]).map(str::to_owned).collect(),
        ValueSet::Sources => sources(context)?,
        ValueSet::Accounts => accounts(context)?,
    };
    // A value with a line end would be two.
    let lines = values.iter().filter(|value| !value.contains(char::is_control));
    print(&lines.fold(String::new(), |text, value| text + value + "\n"))?;
    Ok(Exit::default())
}

fn sources(context: &Context) -> Result<BTreeSet<String>> {
    let config = config::load(&context.paths.config, &context.paths.machine_config)?;
    let configured = config.sources.into_iter().map(|source| source.name);
    let indexed = index(context)?.sources.into_iter().map(|record| record.name);
    Ok(configured.chain(indexed).collect())
}

fn accounts(context: &Context) -> Result<BTreeSet<String>> {
    let Content { hosts, sources, .. } = index(context)?;
    let of_sources = sources.into_iter().filter_map(|record| record.identity.account);
    Ok(of_sources.chain(hosts.into_iter().map(|host| host.account)).collect())
}

fn index(context: &Context) -> Result<Content<PreviousHost>> {
    Ok(Index::open(&context.paths.index())?.map(|index| index.content()).transpose()?.unwrap_or_default())
}
