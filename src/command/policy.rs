//! `ssh-eic policy`: the least-privilege IAM policy for what the config asks for.
//!
//! Filters and the like come from the config; accounts, regions and OS users from what the last sync found out about each
//! of its sources. What the policy allows beyond that is said on stderr.

use std::collections::BTreeSet;

use crate::cli;
use crate::command::{Context, Exit, print};
use crate::core::fleet::{Host, TAG_USER};
use crate::core::policy::{self, Ask, LIMIT, Origin, TooLong};
use crate::error::{Error, Kind, Result};
use crate::store::config::{Config, Regions, Source};
use crate::store::index::{Index, Known, SourceRecord};
use crate::ui;

/// Runs it.
///
/// # Errors
///
/// [`Kind::NoHost`] if no source has been asked yet, [`Kind::Usage`] for what one policy cannot say.
pub fn run(context: &Context, args: &cli::Policy) -> Result<Exit> {
    let config = Config::load(&context.paths.config, &context.paths.machine_config)?;
    let origin = Origin::new(&args.source_ip, &args.source_vpce).map_err(|network| {
        Error::new(
            Kind::Usage,
            format!("{network} is a private network, which AWS sees through an interface endpoint only"),
        )
        .hint("add --source-vpce, or name the public addresses that requests to AWS leave from")
    })?;
    let mut asks = asks(context, &config)?;
    if !args.accounts.is_empty() {
        asks.retain(|ask| args.accounts.contains(&ask.account));
    }
    if asks.is_empty() {
        let whose = if args.accounts.is_empty() { "no source" } else { "no source of that account" };
        return Err(Error::new(Kind::NoHost, format!("{whose} has been asked yet")).hint("ssh-eic sync"));
    }
    let document = policy::document(&asks, &origin).map_err(|long| too_long(&long, &asks))?;
    for note in &document.notes {
        ui::warning(&format!("the policy allows more than the config asks for: {note}"));
    }
    let text = serde_json::to_string_pretty(&document.policy)
        .map_err(|error| Error::new(Kind::Bug, "cannot write JSON").because(error))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::default())
}

fn too_long(TooLong { length }: &TooLong, asks: &[Ask]) -> Error {
    let accounts: BTreeSet<&str> = asks.iter().map(|ask| ask.account.as_str()).collect();
    let error = Error::new(
        Kind::Usage,
        format!("the policy would have {length} characters, and IAM takes no more than {LIMIT}"),
    );
    match accounts.first() {
        Some(account) if accounts.len() > 1 => {
            error.hint(format!("print one for each account: ssh-eic policy --account {account}"))
        }
        _ => error.hint("use fewer sources with tags of their own, or fewer OS users"),
    }
}

fn asks(context: &Context, config: &Config) -> Result<Vec<Ask>> {
    let Some(index) = Index::open(&context.paths.index())? else { return Ok(Vec::new()) };
    let hosts = index.hosts()?;
    let mut records = index.content::<Known>()?.sources;
    records.sort_by_key(|record| record.rank);
    if index.header.made_from != config.digest {
        ui::warning("the config has changed since the last complete sync: run ssh-eic sync first");
    }
    for source in &config.sources {
        if !records.iter().any(|record| record.of == source.name) {
            ui::warning(&format!("source {:?} has not been asked yet and is not in the policy", source.name));
        }
    }
    let mut asks = Vec::new();
    for record in &records {
        let Some(source) = config.source(&record.of) else { continue };
        match (&record.identity.account, record.regions.is_empty()) {
            (Some(account), false) => asks.push(ask(source, record, account, &hosts)),
            _ => ui::warning(&format!("source {:?} has never answered and is not in the policy", record.name)),
        }
    }
    Ok(asks)
}

fn ask(source: &Source, record: &SourceRecord, account: &str, hosts: &[Host]) -> Ask {
    let own = || hosts.iter().filter(|host| host.source == record.name);
    let is_tagged = |host: &&Host| host.tags.get(TAG_USER).is_some_and(|tag| tag == host.user.as_str());
    let name = |host: &Host| host.user.to_string();
    let mut users: BTreeSet<String> = own().filter(|host| !is_tagged(host)).map(name).collect();
    users.extend(source.user.as_ref().map(ToString::to_string));
    let tagged_users: BTreeSet<String> = own().filter(is_tagged).map(name).collect();
    if users.is_empty() && tagged_users.is_empty() {
        ui::warning(&format!("source {:?} has no hosts yet: its OS user is taken to be ec2-user", record.name));
        users.insert("ec2-user".to_owned());
    }
    Ask {
        account: account.to_owned(),
        regions: record.regions.iter().cloned().collect(),
        every_region: source.regions == Regions::All,
        users,
        tagged_users,
        tags: source.tags.clone(),
        exclude: source.exclude.clone(),
        // Routes through endpoints and host keys from the console are refused by the config so far.
        tunnel_ports: BTreeSet::new(),
        console: false,
    }
}
