//! `ssh-eic policy`: the least-privilege IAM policy for what the config asks for.
//!
//! Filters and the like come from the config; accounts, regions and OS users from what the last sync found out about each
//! of its sources. What the policy allows beyond that is said on stderr. `root` is allowed where the config or a tag names
//! it and never because of an image, whose name is whatever its owner wrote.

use std::collections::BTreeSet;

use crate::cli;
use crate::command::{Context, Exit, print};
use crate::domain::config::{Config, HostRule};
use crate::domain::fleet::{Host, TAG_USER};
use crate::domain::pattern;
use crate::domain::policy::{self, Ask, LIMIT, Origin, Refusal};
use crate::domain::source::{HostKeys, Regions, Route, Source};
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::{Index, Known, SourceRecord};
use crate::ui;

/// Whom nobody allows by accident.
const ROOT: &str = "root";

/// Runs it.
///
/// # Errors
///
/// [`Kind::NoHost`] if no source has been asked yet, [`Kind::Usage`] for what one policy cannot say.
pub fn run(context: &Context, args: &cli::Policy) -> Result<Exit> {
    let config = config::load(&context.paths.config, &context.paths.machine_config)?;
    let origin = Origin::new(&args.source_ip, &args.source_vpce).map_err(|network| {
        Error::new(
            Kind::Usage,
            format!("{network} is a private network, which AWS sees through an interface endpoint only"),
        )
        .hint("add --source-vpce, or name the public addresses that requests to AWS leave from")
    })?;
    let (asks, mut notes) = asks(context, &config, &args.accounts)?;
    if asks.is_empty() {
        let whose = if args.accounts.is_empty() { "no source" } else { "no source of that account" };
        return Err(Error::new(Kind::NoHost, format!("{whose} has been asked yet")).hint("ssh-eic sync"));
    }
    let document = policy::document(&asks, &origin).map_err(|refusal| refused(&refusal, &asks))?;
    notes.extend(document.notes);
    if ui::is_quiet() {
        // What a file allows belongs to the file: whoever redirects it has to see this even with -q.
        ui::set_level(false, 0, None);
    }
    for note in &notes {
        ui::warning(&format!("the policy allows more than the config asks for: {note}"));
    }
    let text = serde_json::to_string_pretty(&document.policy)
        .map_err(|error| Error::new(Kind::Bug, "cannot write JSON").because(error))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::default())
}

fn refused(refusal: &Refusal, asks: &[Ask]) -> Error {
    let length = match refusal {
        Refusal::TooLong { length } => length,
        Refusal::Unfiltered { why } => {
            let message =
                format!("a source's tag filters cannot be said in a policy, which would allow all else: {why}");
            return Error::new(Kind::Usage, message).hint("give that source a tag filter that IAM has words for");
        }
    };
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

/// What all sources, or those of some accounts, ask for, and what IAM will allow beyond that.
fn asks(context: &Context, config: &Config, accounts: &[String]) -> Result<(Vec<Ask>, BTreeSet<String>)> {
    let (mut asks, mut notes) = (Vec::new(), BTreeSet::new());
    let Some(index) = Index::open(&context.paths.index())? else { return Ok((asks, notes)) };
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
    for record in &records {
        let Some(source) = config.source(&record.of) else { continue };
        match (&record.identity.account, record.regions.is_empty()) {
            (Some(account), false) if !accounts.is_empty() && !accounts.contains(account) => {}
            (Some(account), false) => {
                let users = Users::of(source, record, &config.hosts, &hosts, &mut notes);
                let own: Vec<&Host> = hosts.iter().filter(|host| host.source == record.name).collect();
                asks.push(ask(source, record, account, users, &own));
            }
            _ => ui::warning(&format!("source {:?} has never answered and is not in the policy", record.name)),
        }
    }
    Ok((asks, notes))
}

/// The OS users of a source.
#[derive(Default)]
struct Users {
    everywhere: BTreeSet<String>,
    by_tag: BTreeSet<String>,
}

impl Users {
    fn of(
        source: &Source,
        record: &SourceRecord,
        rules: &[HostRule],
        hosts: &[Host],
        notes: &mut BTreeSet<String>,
    ) -> Self {
        let mut users = Self::default();
        users.everywhere.extend(source.user.as_ref().map(ToString::to_string));
        let mut own = hosts.iter().filter(|host| host.source == record.name).peekable();
        if own.peek().is_none() && users.everywhere.is_empty() {
            ui::warning(&format!("source {:?} has no hosts yet: its OS user is taken to be ec2-user", record.name));
            users.everywhere.insert("ec2-user".to_owned());
        }
        let mut guessed_root = Vec::new();
        for host in own {
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
                    "IAM knows no aliases, so that {user:?}, the user of a [[host]], is allowed on all instances of \
                     source {:?}",
                    record.name
                ));
                users.everywhere.insert(user);
            }
        }
        if !guessed_root.is_empty() && !users.everywhere.contains(ROOT) {
            warn_of_root(&record.name, &guessed_root);
        }
        users
    }
}

/// Whether a `[[host]]` has named its user.
fn is_by_rule(rules: &[HostRule], host: &Host) -> bool {
    let is_meant =
        |alias: &String, rule: &HostRule| pattern::matches_list(rule.patterns.iter().map(String::as_str), alias);
    let rule = host.alias.as_ref().and_then(|alias| rules.iter().find(|rule| is_meant(alias, rule)));
    rule.is_some_and(|rule| rule.user.as_ref() == Some(&host.user))
}

fn warn_of_root(source: &str, names: &[&str]) {
    let (shown, rest) = names.split_at(names.len().min(5));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    ui::warning(&format!(
        "only the image's name says that {ROOT} is the OS user of {}{more}, so the policy does not allow it: set \
         user = \"{ROOT}\" in source {source:?}, or tag the instance {TAG_USER} = {ROOT}",
        shown.join(", ")
    ));
}

/// `hosts` are those of the source: a `[[host]]` may give them other routes and host key modes.
fn ask(source: &Source, record: &SourceRecord, account: &str, users: Users, hosts: &[&Host]) -> Ask {
    let has_route =
        |routes: [Route; 2]| routes.contains(&source.route) || hosts.iter().any(|host| routes.contains(&host.route));
    let reads_console = |mode: HostKeys| mode != HostKeys::AcceptNew;
    Ask {
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
