//! `ssh-eic policy`: the least-privilege IAM policy for the configured sources.
//!
//! Tag filters come from the config; accounts, regions and OS users come from the last sync. A warning on stderr names each
//! permission that is wider than the config needs. The policy allows `root` only if the config or a tag names it, never
//! because of an image name: the owner of an image can choose any name.

use std::collections::BTreeSet;

use crate::cli;
use crate::command::{Context, Exit, print_json};
use crate::domain::config::{Config, HostRule};
use crate::domain::fleet::{Host, TAG_USER};
use crate::domain::pattern;
use crate::domain::policy::{self, Access, LIMIT, Origin, PolicyError};
use crate::domain::source::{HostKeys, Regions, Route, Source};
use crate::domain::text;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::{Index, Known, SourceRecord};
use crate::ui;

/// The OS user that is allowed only if the config or a tag names it.
const ROOT: &str = "root";

/// Prints the policy.
///
/// # Errors
///
/// [`Kind::NoHost`] if no selected source has been synced, [`Kind::Usage`] if IAM cannot express the policy.
pub fn run(context: &Context, args: &cli::Policy) -> Result<Exit> {
    let config = config::load(&context.paths.config, &context.paths.machine_config)?;
    let origin = Origin::new(&args.source_ip, &args.source_vpce).map_err(|network| {
        Error::new(
            Kind::Usage,
            format!("--source-ip {network} is a private network: AWS sees it only through an interface endpoint"),
        )
        .hint("add --source-vpce, or use the public addresses from which requests reach AWS")
    })?;
    let (accesses, mut notes) = accesses(context, &config, &args.accounts)?;
    if accesses.is_empty() {
        let message = match args.accounts.as_slice() {
            [] => "no source has been synced yet".to_owned(),
            accounts => format!("no source in account {} has been synced yet", accounts.join(" or ")),
        };
        return Err(Error::new(Kind::NoHost, message).hint("ssh-eic sync"));
    }
    let document = policy::document(&accesses, &origin).map_err(|error| explain(&error, &accesses))?;
    notes.extend(document.notes);
    if ui::is_quiet() {
        // These warnings are part of the result, so -q does not hide them.
        ui::set_level(false, 0, None);
    }
    for note in &notes {
        ui::warning(&format!("the policy allows more than the config needs: {note}"));
    }
    print_json(&document.policy)?;
    Ok(Exit::default())
}

fn explain(error: &PolicyError, accesses: &[Access]) -> Error {
    let length = match error {
        PolicyError::TooLong { length } => length,
        PolicyError::Unfiltered { reason } => {
            let message = format!(
                "IAM cannot express the tag filters of a source, so the policy would allow every instance: {reason}"
            );
            return Error::new(Kind::Usage, message).hint("add a tag filter that IAM can express to that source");
        }
    };
    let accounts: BTreeSet<&str> = accesses.iter().map(|access| access.account.as_str()).collect();
    let error = Error::new(
        Kind::Usage,
        format!("the policy would have {length} characters; the limit of IAM is {LIMIT} characters"),
    );
    match accounts.first() {
        Some(account) if accounts.len() > 1 => {
            error.hint(format!("print one policy for each account: ssh-eic policy --account {account}"))
        }
        _ => error.hint("use fewer sources with different tag filters, or fewer OS users"),
    }
}

/// The access that each source of these accounts needs (no account: of every account), and a note for each permission that
/// will be wider.
fn accesses(context: &Context, config: &Config, accounts: &[String]) -> Result<(Vec<Access>, BTreeSet<String>)> {
    let (mut accesses, mut notes) = (Vec::new(), BTreeSet::new());
    let Some(index) = Index::open(&context.paths.index())? else { return Ok((accesses, notes)) };
    let hosts = index.hosts()?;
    let mut records = index.content::<Known>()?.sources;
    records.sort_by_key(|record| record.rank);
    if index.header.made_from != config.digest {
        ui::warning("config.toml has changed since the last complete sync: run ssh-eic sync first");
    }
    for source in &config.sources {
        if !records.iter().any(|record| record.of == source.name) {
            ui::warning(&format!("source {:?} has not been synced yet and is not in the policy", source.name));
        }
    }
    for record in &records {
        let Some(source) = config.source(&record.of) else { continue };
        match (&record.identity.account, record.regions.is_empty()) {
            (Some(account), false) if !accounts.is_empty() && !accounts.contains(account) => {}
            (Some(account), false) => {
                let users = Users::collect(source, record, &config.hosts, &hosts, &mut notes);
                let own: Vec<&Host> = hosts.iter().filter(|host| host.source == record.name).collect();
                accesses.push(access(source, record, account, users, &own));
            }
            _ => ui::warning(&format!(
                "source {:?} has never been synced successfully and is not in the policy",
                record.name
            )),
        }
    }
    Ok((accesses, notes))
}

/// The OS users of a source.
#[derive(Default)]
struct Users {
    /// Allowed on every instance of the source.
    everywhere: BTreeSet<String>,
    /// Allowed only on instances with a matching tag `ssh-eic:user`.
    by_tag: BTreeSet<String>,
}

impl Users {
    fn collect(
        source: &Source,
        record: &SourceRecord,
        rules: &[HostRule],
        hosts: &[Host],
        notes: &mut BTreeSet<String>,
    ) -> Self {
        let mut users = Self::default();
        users.everywhere.extend(source.user.as_ref().map(ToString::to_string));
        let mut hosts = hosts.iter().filter(|host| host.source == record.name).peekable();
        if hosts.peek().is_none() && users.everywhere.is_empty() {
            ui::warning(&format!(
                "source {:?} has no hosts: the policy allows the OS user ec2-user for it",
                record.name
            ));
            users.everywhere.insert("ec2-user".to_owned());
        }
        let mut guessed_root = Vec::new();
        for host in hosts {
            let user = host.user.to_string();
            if host.tags.get(TAG_USER) == Some(&user) {
                users.by_tag.insert(user);
            } else if source.user.as_ref() == Some(&host.user) || !is_by_rule(rules, host) {
                let is_guessed_root = user == ROOT && !users.everywhere.contains(ROOT);
                if is_guessed_root {
                    guessed_root.push(host.label());
                } else {
                    users.everywhere.insert(user);
                }
            } else {
                notes.insert(format!(
                    "OS user {user:?} of a [[host]] is allowed on all instances of source {:?}, because IAM cannot match \
                     aliases",
                    record.name
                ));
                users.everywhere.insert(user);
            }
        }
        if !guessed_root.is_empty() && !users.everywhere.contains(ROOT) {
            warn_about_root(&record.name, &guessed_root);
        }
        users
    }
}

/// Whether the user of the host comes from a `[[host]]`.
fn is_by_rule(rules: &[HostRule], host: &Host) -> bool {
    let matches =
        |alias: &String, rule: &HostRule| pattern::matches_list(rule.patterns.iter().map(String::as_str), alias);
    let rule = host.alias.as_ref().and_then(|alias| rules.iter().find(|rule| matches(alias, rule)));
    rule.is_some_and(|rule| rule.user.as_ref() == Some(&host.user))
}

fn warn_about_root(source: &str, names: &[&str]) {
    ui::warning(&format!(
        "the policy does not allow OS user {ROOT} for {}, because only the image name implies it: set \
         user = \"{ROOT}\" in source {source:?}, or tag the instance {TAG_USER} = {ROOT}",
        text::first_names(names, 5)
    ));
}

/// `hosts` are those of the source: a `[[host]]` may give them other routes and host key modes.
fn access(source: &Source, record: &SourceRecord, account: &str, users: Users, hosts: &[&Host]) -> Access {
    let has_route =
        |routes: [Route; 2]| routes.contains(&source.route) || hosts.iter().any(|host| routes.contains(&host.route));
    let reads_console = |mode: HostKeys| mode != HostKeys::AcceptNew;
    Access {
        account: account.to_owned(),
        regions: record.regions.iter().cloned().collect(),
        every_region: source.regions == Regions::All,
        users: users.everywhere,
        tagged_users: users.by_tag,
        tags: source.tags.clone(),
        exclude: source.exclude.clone(),
        tunnel_duration: has_route([Route::Endpoint, Route::Auto]).then_some(source.max_tunnel_duration),
        session_manager: has_route([Route::Ssm, Route::Auto]),
        console: reads_console(source.host_keys) || hosts.iter().any(|host| reads_console(host.host_keys)),
    }
}
