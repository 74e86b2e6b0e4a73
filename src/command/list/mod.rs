//! `ssh-eic list`: the managed hosts, from the index or from AWS.
//!
//! Data is written to stdout. The number of hosts, the age of the index and failed sources are written to stderr.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use serde::Serialize;

use crate::cli::{self, Column};
use crate::command::{Context, Exit, print, print_json};
use crate::discover::discovery::{self, DiscoveryRequest};
use crate::discover::failures;
use crate::domain::fleet::Host;
use crate::domain::ids::InstanceId;
use crate::domain::source::{HostKeys, Route};
use crate::domain::{duration, pattern, text};
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::host_keys::{Overview, Trust};
use crate::store::index::{Header, Index};
use crate::store::reach::Reach;
use crate::store::ssh_config;
use crate::sys::clock;
use crate::ui;

mod details;
mod table;

/// A host in the output of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    alias: Option<&'a str>,
    names: &'a [String],
    id: &'a str,
    address: Option<&'a str>,
    port: u16,
    user: &'a str,
    state: &'a str,
    source: &'a str,
    account: &'a str,
    region: &'a str,
    az: &'a str,
    vpc: &'a str,
    dns: &'a str,
    image: &'a str,
    subnet: &'a str,
    route: &'a Route,
    host_keys: HostKeys,
    /// `verified`, `first-use` or `unknown`.
    host_key: &'static str,
    /// What lists a verified key.
    host_key_source: Option<String>,
    tags: &'a BTreeMap<String, String>,
    /// Only with `--live`: false if AWS could not be queried for this host, so that the values are from the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<bool>,
}

/// The hosts to choose from.
struct Listing {
    hosts: Vec<Host>,
    /// Hosts whose values are from the index although `--live` was given.
    not_live: HashSet<InstanceId>,
    /// One error for each cause; only with `--live`.
    failures: Vec<Error>,
    /// Only without `--live`.
    header: Option<Header>,
}

/// Prints the hosts.
///
/// # Errors
///
/// [`Kind::NoHost`] if there is no index or no host matches, [`Kind::Usage`] for an unknown source; with `--live` also
/// errors of the config.
pub fn run(context: &Context, args: &cli::List) -> Result<Exit> {
    let Listing { mut hosts, not_live, failures, header } =
        if args.live { query(context)? } else { read_index(context)? };
    let total = hosts.len();
    let sources: BTreeSet<String> = hosts.iter().map(|host| host.source.clone()).collect();
    hosts.retain(|host| matches_filters(host, args));
    let mut is_exact = false;
    if let Some(wanted) = &args.pattern {
        is_exact = hosts.iter().any(|host| is_named(host, wanted));
        hosts.retain(|host| if is_exact { is_named(host, wanted) } else { matches(host, wanted) });
    }
    let is_filtered = args.pattern.is_some() || !args.states.is_empty() || !args.tags.is_empty();
    if hosts.is_empty() && failures.is_empty() && (is_filtered || !args.sources.is_empty()) {
        return Err(nothing_matches(args, &sources));
    }
    hosts.sort_by(|a, b| {
        let key = |host: &Host| (host.alias.is_none(), host.label().to_owned());
        let ((a_unnamed, a_label), (b_unnamed, b_label)) = (key(a), key(b));
        a_unnamed.cmp(&b_unnamed).then_with(|| text::natural_order(&a_label, &b_label)).then_with(|| a.id.cmp(&b.id))
    });
    if args.json {
        let host_keys = Overview::read(&context.paths);
        print_json(&hosts.iter().map(|host| row(host, &host_keys, args.live, &not_live)).collect::<Vec<_>>())?;
    } else if args.names {
        print(&hosts.iter().flat_map(Host::all_names).fold(String::new(), |text, name| text + name + "\n"))?;
    } else if let ([host], true, true) = (hosts.as_slice(), is_exact, args.columns.is_empty()) {
        print(&details::text(&context.paths, host, !not_live.contains(&host.id), clock::now()))?;
    } else {
        print(&render(&hosts, &Overview::read(&context.paths), &not_live, &args.columns))?;
        ui::note(&count(hosts.len(), total, header.as_ref(), clock::now()));
    }
    if let Some(failed) = header.map(|header| header.failed).filter(|failed| !failed.is_empty()) {
        ui::warning(&format!(
            "the last sync could not query {}; the hosts from there may be out of date",
            text::first_names(&failed, 5)
        ));
        ui::hint("ssh-eic sync");
    }
    Ok(Exit::of_sources(&failures))
}

fn read_index(context: &Context) -> Result<Listing> {
    let index = Index::open_existing(&context.paths.index())?;
    let hosts = index.hosts()?;
    Ok(Listing { hosts, not_live: HashSet::new(), failures: Vec::new(), header: Some(index.header) })
}

/// Queries AWS. The hosts have the names that a sync would give them; no index or config is written.
fn query(context: &Context) -> Result<Listing> {
    let paths = &context.paths;
    let config = config::load(&paths.config, &paths.machine_config)?;
    let index = Index::open(&paths.index())?;
    let found = discovery::discover(&DiscoveryRequest {
        paths,
        config: &config,
        only: None,
        accept_moves: false,
        keep: false,
        reach: &Reach::read(paths, &ssh_config::include_line(paths)?),
        index: index.as_ref(),
    })?;
    for note in &found.notes {
        ui::warning(note);
    }
    Ok(Listing {
        hosts: found.fleet.hosts,
        not_live: found.not_seen,
        failures: failures::by_cause(found.failed),
        header: None,
    })
}

/// Names and values by which a host can be given exactly.
fn is_named(host: &Host, wanted: &str) -> bool {
    let dns = (!host.dns.is_empty()).then_some(host.dns.as_str());
    let mut names = host.all_names().chain([host.id.as_str()]).chain(host.address.as_deref()).chain(dns);
    names.any(|name| name == wanted)
}

/// A pattern with wildcards matches a whole name, id, address or DNS name. Text without wildcards matches a part of one of
/// these or of a tag value, in any case.
fn matches(host: &Host, wanted: &str) -> bool {
    let mut values = host.all_names().chain([host.id.as_str()]).chain(host.address.as_deref()).chain([&*host.dns]);
    if wanted.contains(['*', '?']) {
        return values.any(|value| !value.is_empty() && pattern::matches(wanted, value));
    }
    let wanted = wanted.to_lowercase();
    values.chain(host.tags.values().map(String::as_str)).any(|value| value.to_lowercase().contains(&wanted))
}

/// The options `--state`, `--source` and `--tag`: any value of each, and all keys of `--tag`.
fn matches_filters(host: &Host, args: &cli::List) -> bool {
    let is_of = |name: &String| {
        host.source == *name || host.source.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    let has_tag = |(key, _): &(String, String)| {
        let mut patterns = args.tags.iter().filter(|(other, _)| other == key).map(|(_, pattern)| pattern);
        host.tags.get(key).is_some_and(|value| patterns.any(|pattern| pattern::matches(pattern, value)))
    };
    (args.states.is_empty() || args.states.contains(&host.state))
        && (args.sources.is_empty() || args.sources.iter().any(is_of))
        && args.tags.iter().all(has_tag)
}

fn nothing_matches(args: &cli::List, sources: &BTreeSet<String>) -> Error {
    let is_unknown =
        |name: &&String| !sources.iter().any(|source| source.split('/').next() == Some(name) || source == *name);
    if let Some(name) = args.sources.iter().find(is_unknown) {
        return Error::new(Kind::NoHost, format!("there is no host from a source {name:?}"))
            .hint(format!("sources with hosts: {}", text::first_names(sources, 10)));
    }
    let mut conditions: Vec<String> = args.pattern.iter().map(|pattern| format!("{pattern:?}")).collect();
    conditions.extend(args.states.iter().map(|state| format!("--state {state}")));
    conditions
        .extend(args.tags.iter().map(|(key, value)| format!("--tag {}", text::shell_word(&format!("{key}={value}")))));
    conditions.extend(args.sources.iter().map(|source| format!("--source {}", text::shell_word(source))));
    let error = Error::new(Kind::NoHost, format!("no managed host matches {}", conditions.join(" ")));
    if args.live { error.hint("ssh-eic list --live") } else { error.hint("if the instance is new, run ssh-eic sync") }
}

/// `2 of 40 hosts, synced 5 min ago`.
fn count(shown: usize, total: usize, header: Option<&Header>, now: u64) -> String {
    let plural = if total == 1 { "" } else { "s" };
    let number =
        if shown == total { format!("{total} host{plural}") } else { format!("{shown} of {total} host{plural}") };
    let Some(header) = header else { return number };
    match now.checked_sub(header.synced) {
        _ if header.synced == 0 => format!("{number}, never synced completely"),
        Some(age) => format!("{number}, synced {} ago", duration::rounded(age / 1000)),
        None => format!("{number}, synced at a time in the future"),
    }
}

fn row<'a>(host: &'a Host, host_keys: &Overview, is_live: bool, not_live: &HashSet<InstanceId>) -> Row<'a> {
    Row {
        alias: host.alias.as_deref(),
        names: &host.names,
        id: host.id.as_str(),
        address: host.address.as_deref(),
        port: host.port,
        user: host.user.as_str(),
        state: &host.state,
        source: &host.source,
        account: &host.account,
        region: &host.region,
        az: &host.az,
        vpc: &host.vpc,
        dns: &host.dns,
        image: &host.image,
        subnet: &host.subnet,
        route: &host.route,
        host_keys: host.host_keys,
        host_key: table::trust(&host_keys.of(&host.id)),
        host_key_source: match host_keys.of(&host.id) {
            Trust::Verified(source) => Some(source),
            Trust::FirstUse | Trust::Unknown => None,
        },
        tags: &host.tags,
        live: is_live.then(|| !not_live.contains(&host.id)),
    }
}

/// The default columns fit the width of the terminal; columns from `--columns` are printed in full.
fn render(hosts: &[Host], host_keys: &Overview, not_live: &HashSet<InstanceId>, columns: &[Column]) -> String {
    let paint = |state: &str, cell: &str| ui::coloured(&io::stdout(), cell, table::colour(state));
    let is_live = |host: &Host| !not_live.contains(&host.id);
    if columns.is_empty() {
        let mut columns = Column::DEFAULT.to_vec();
        if hosts.iter().any(|host| host.route != Route::Direct) {
            columns.insert(5, Column::Route);
        }
        if hosts.iter().any(|host| host.host_keys != HostKeys::AcceptNew) {
            columns.push(Column::HostKey);
        }
        table::render(hosts, &columns, ui::width_of(&io::stdout()), host_keys, &is_live, &paint)
    } else {
        table::render(hosts, columns, None, host_keys, &is_live, &paint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::config::PushMode;
    use crate::domain::fleet::samples;

    #[test]
    fn text_without_wildcards_matches_a_part_of_any_value_in_any_case() {
        let mut host = samples::host(Some("prod-web-1"), "i-0abc12de", "u");
        host.tags.insert("Team".to_owned(), "Payments".to_owned());
        for wanted in ["web", "WEB", "0abc", "10.0.3", "payments", "prod-*", "i-*", "10.0.3.?"] {
            assert!(matches(&host, wanted), "{wanted}");
        }
        for wanted in ["db", "PROD-*", "web-*", "Pay*"] {
            assert!(!matches(&host, wanted), "{wanted}");
        }
    }

    #[test]
    fn the_count_names_the_total_and_the_age() {
        let header = |synced| Header::new(synced, PushMode::Hook, None, String::new());
        assert_eq!(count(1, 1, Some(&header(1)), 300_001), "1 host, synced 5 min ago");
        assert_eq!(count(2, 40, Some(&header(1)), 5_001), "2 of 40 hosts, synced 5 s ago");
        assert_eq!(count(2, 2, Some(&header(0)), 1), "2 hosts, never synced completely");
        assert_eq!(count(2, 2, Some(&header(9)), 1), "2 hosts, synced at a time in the future");
        assert_eq!(count(2, 2, None, 1), "2 hosts");
    }
}
