//! The report of a sync: what was left out, which names moved or were not assigned, which options of the user's ssh
//! config have no effect or apply to managed hosts, and what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use similar::TextDiff;

use crate::discover::discovery::Discovery;
use crate::discover::failures::Failed;
use crate::discover::proof::Remarks;
use crate::discover::query::record;
use crate::domain::duration::rounded;
use crate::domain::fleet::{Host, PreviousHost};
use crate::domain::ids::InstanceId;
use crate::domain::names::{Conflict, RefusedName, Shared};
use crate::domain::ssh_config::options;
use crate::domain::ssh_config::render;
use crate::domain::text::first_names;
use crate::store::paths::Paths;
use crate::store::reach::{Block, BlockKind, Reach};
use crate::sys::{clock, ssh_client};
use crate::ui;

/// Names that a line shows before it gives the number of the others.
const SHOWN: usize = 3;
/// Removed and renamed hosts that are shown.
const CHANGES_SHOWN: usize = 5;

/// Reports on the instances and their names. `shift`: the number of lines by which the user's own config has moved down.
pub fn fleet(discovery: &Discovery, reach: &Reach, shift: i64) {
    let fleet = &discovery.fleet;
    for rejection in &fleet.rejected {
        ui::warning(&format!("skipped {rejection}"));
    }
    for note in &discovery.notes {
        ui::warning(note);
    }
    for (source, fields) in &fleet.unfilled {
        for field in fields {
            ui::warning(&format!("{source}: no instance has the tag {field}, which alias uses"));
        }
    }
    for patterns in &fleet.unused_rules {
        ui::warning(&format!("[[host]] match {patterns} matches no host"));
    }
    names(discovery, reach, shift);
    if fleet.windows > 0 {
        ui::note(&format!("skipped {}", counted(fleet.windows, "Windows instance")));
    }
    if fleet.nameless > 0 {
        ui::note(&format!("reachable by id only, without a name: {}", counted(fleet.nameless, "instance")));
    }
}

/// Reports what the sync changed, failed sources, and the number of hosts, which is the last line of a sync.
pub fn summary(discovery: &Discovery) {
    let hosts = &discovery.fleet.hosts;
    let changes = Changes::between(&discovery.old, hosts);
    if !changes.removed.is_empty() {
        ui::note(&format!("removed {}", first_names(&changes.removed, CHANGES_SHOWN)));
    }
    if !changes.renamed.is_empty() {
        let renamed: Vec<String> = changes.renamed.iter().map(|(old, new)| format!("{old} -> {new}")).collect();
        ui::note(&format!("renamed {}", first_names(&renamed, CHANGES_SHOWN)));
    }
    failed_sources(discovery);
    let failed: BTreeSet<String> =
        discovery.failed.iter().map(|one| config_source(discovery, &one.source).to_owned()).collect();
    let sources: BTreeSet<&str> = discovery.records.iter().map(|record| record.of.as_str()).collect();
    let succeeded: Vec<&str> = sources.into_iter().filter(|source| !failed.contains(*source)).collect();
    if !succeeded.is_empty() {
        let of_succeeded = |host: &&Host| !failed.contains(config_source(discovery, &host.source));
        let count = if failed.is_empty() { hosts.len() } else { hosts.iter().filter(of_succeeded).count() };
        let (count, from) = (counted(count, "host"), first_names(&succeeded, SHOWN));
        ui::note(&format!("{count}{} from {from}", changes.counts()));
    }
}

/// The source of config.toml that an effective source stands for.
fn config_source<'d>(discovery: &'d Discovery, source: &'d str) -> &'d str {
    record(&discovery.records, source).map_or(source, |record| record.of.as_str())
}

/// Reports the sources that failed and still have hosts from an earlier sync.
pub fn failed_sources(discovery: &Discovery) {
    let hosts = &discovery.fleet.hosts;
    let mut failed: BTreeMap<&str, Vec<&Failed>> = BTreeMap::new();
    for one in &discovery.failed {
        failed.entry(config_source(discovery, &one.source)).or_default().push(one);
    }
    for (source, failures) in &failed {
        let is_kept = |host: &&Host| failures.iter().any(|one| one.has(&host.source, source, &host.region));
        let kept = hosts.iter().filter(is_kept).count();
        if let (Some(synced), true) = (discovery.synced, kept > 0) {
            let age = rounded(clock::now().saturating_sub(synced) / 1000);
            let (message, kept) = (&failures[0].error.message, counted(kept, "host"));
            ui::note(&format!("{source}: FAILED ({message}); keeping {kept} from {age} ago"));
        }
    }
}

/// What differs between the hosts of the last index and those of this sync.
#[derive(Default)]
struct Changes<'a> {
    added: usize,
    removed: Vec<&'a str>,
    renamed: Vec<(&'a str, &'a str)>,
}

impl<'a> Changes<'a> {
    /// Nothing counts as a change where there was no index.
    fn between(old: &'a [PreviousHost], new: &'a [Host]) -> Self {
        if old.is_empty() {
            return Self::default();
        }
        let label = |host: &'a PreviousHost| host.alias.as_deref().unwrap_or(host.id.as_str());
        let before: HashMap<&InstanceId, &PreviousHost> = old.iter().map(|host| (&host.id, host)).collect();
        let now: HashSet<&InstanceId> = new.iter().map(|host| &host.id).collect();
        let mut changes = Self::default();
        for host in new {
            match before.get(&host.id) {
                None => changes.added += 1,
                Some(before) if before.alias != host.alias => changes.renamed.push((label(before), host.label())),
                Some(_) => {}
            }
        }
        changes.removed = old.iter().filter(|host| !now.contains(&host.id)).map(label).collect();
        changes.removed.sort_unstable();
        changes
    }

    /// ` (+3 -2573, 1 renamed)`, or nothing.
    fn counts(&self) -> String {
        let signed = [('+', self.added), ('-', self.removed.len())];
        let signed = signed.iter().filter(|(_, count)| *count > 0).map(|(sign, count)| format!("{sign}{count}"));
        let mut parts = vec![signed.collect::<Vec<_>>().join(" ")];
        if !self.renamed.is_empty() {
            parts.push(format!("{} renamed", self.renamed.len()));
        }
        parts.retain(|part| !part.is_empty());
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }
}

fn names(discovery: &Discovery, reach: &Reach, shift: i64) {
    let names = &discovery.fleet.names;
    for one in &names.moves {
        let (from, to) = (&one.from, &one.to);
        if from.account == one.account {
            ui::note(&format!("{} now means {to} (was {})", one.name, from.id));
        } else {
            let (old, new) = (&from.account, &one.account);
            ui::note(&format!("{} now means {to} of account {new} (was {} of {old})", one.name, from.id));
        }
    }
    let mut by_conflict: BTreeMap<&Conflict, Vec<&RefusedName>> = BTreeMap::new();
    for refused in &names.refused {
        by_conflict.entry(&refused.conflict).or_default().push(refused);
    }
    let ids: HashSet<&InstanceId> = names.refused.iter().map(|refused| &refused.id).collect();
    let aliases: HashMap<&InstanceId, &str> = discovery
        .fleet
        .hosts
        .iter()
        .filter(|host| ids.contains(&host.id))
        .map(|host| (&host.id, host.label()))
        .collect();
    for (conflict, refused) in by_conflict {
        let wanted: BTreeSet<&str> = refused.iter().map(|one| one.name.as_str()).collect();
        let assigned: BTreeSet<&str> = refused.iter().filter_map(|one| aliases.get(&one.id).copied()).collect();
        let instances = if assigned.len() == 1 { "the instance is" } else { "the instances are" };
        let cause = conflict_message(conflict, &wanted, reach, shift);
        ui::note(&format!("{} {cause}; {instances} {}", first_names(wanted, SHOWN), first_names(assigned, SHOWN)));
    }
    for (name, holder, newcomer) in &names.stayed {
        ui::note(&format!("{name} stays with {holder}, although {newcomer} of an earlier source has the same name"));
    }
    let mut waits = false;
    let mut shared: BTreeSet<&str> = BTreeSet::new();
    for (name, (_, what)) in &names.shared {
        match what {
            Shared::By(_) => {
                shared.insert(name);
            }
            Shared::Waits { was, wants, account } => {
                waits = true;
                ui::warning(&format!(
                    "{name} was {} in account {} and is now the name of {wants} in account {account}; connections to {name} fail",
                    was.id, was.account
                ));
            }
        }
    }
    if !shared.is_empty() {
        ui::note(&format!("shared by several instances, each with an id suffix: {}", first_names(shared, SHOWN)));
    }
    if waits || !names.stayed.is_empty() {
        ui::hint("if this is expected, run ssh-eic sync --accept-moves");
    }
}

/// Why these names were not assigned, as the rest of a sentence that begins with the names.
fn conflict_message(conflict: &Conflict, names: &BTreeSet<&str>, reach: &Reach, shift: i64) -> String {
    let (is, matches) = if names.len() == 1 { ("is", "matches") } else { ("are", "match") };
    match conflict {
        Conflict::Block(at) => {
            let block = &reach.blocks[*at];
            let location = reach.location(block, shift);
            let owner = if block.file.starts_with("/etc/ssh") { "the system's" } else { "your own" };
            let is_exact = |name: &&str| block.arguments.split(' ').any(|argument| argument == *name);
            if block.kind == BlockKind::Host && names.iter().all(is_exact) {
                format!("{is} {owner} Host ({location})")
            } else {
                format!("{matches} {owner} {} ({location})", block.title())
            }
        }
        Conflict::Line(file, line) => format!("{is} in {}:{line}", reach.shown(file)),
        Conflict::NotCompared => {
            format!("{is} not compared with the hashed lines of known_hosts, which are too many")
        }
    }
}

/// Reports on the user's own ssh config, where it has changed since the last sync.
pub fn ssh_config(reach: &Reach, hosts: &[Host], remarks: &Remarks, shift: i64) {
    if !remarks.overridden.is_empty() {
        let names = first_names(&remarks.overridden, SHOWN);
        ui::warning(&format!(
            "another ProxyCommand or ProxyJump in your ssh config applies to {names} and similar hosts; the hook pushes their keys"
        ));
    }
    for (leak, alias) in &remarks.leaks {
        ui::warning(&format!("for {alias} and similar hosts your ssh config sets {leak}"));
    }
    if !remarks.new_surroundings {
        return;
    }
    let mut any = false;
    for block in reach.blocks.iter().filter(|block| !block.file.starts_with("/etc/ssh")) {
        let about: Vec<&Host> = hosts.iter().filter(|host| host.all_names().any(|name| block.is_about(name))).collect();
        let without_effect: Vec<String> = block
            .settings
            .iter()
            .filter(|(keyword, value)| about.iter().any(|host| differs(block, keyword, value, host)))
            .map(|(keyword, value)| {
                format!("{} {value}", options::find(keyword).map_or(keyword.as_str(), |option| option.keyword))
            })
            .collect();
        if !without_effect.is_empty() {
            let names =
                first_names(about.iter().filter_map(|host| host.alias.as_deref()).collect::<BTreeSet<_>>(), SHOWN);
            let verb = if without_effect.len() == 1 { "has" } else { "have" };
            let place = format!("{} ({})", block.title(), reach.location(block, shift));
            ui::warning(&format!("{place}: {} {verb} no effect for {names}", without_effect.join(", ")));
            any = true;
        }
    }
    if any {
        ui::hint("to override these, set them in a [[host]] of config.toml");
    }
}

/// Whether an option of the user's config is overridden for the host, so that it has no effect.
fn differs(block: &Block, keyword: &str, value: &str, host: &Host) -> bool {
    options::find(keyword).is_some_and(|option| option.reports_override)
        && match keyword {
            "user" => value != host.user.as_str(),
            "port" => value != host.port.to_string(),
            // What is for all hosts is not meant for ours in particular: ssh offers it after our key.
            "identityfile" => !block.is_general(),
            // Where another one wins, that has been said.
            "proxycommand" | "proxyjump" => value != "none" && !host.hook_pushes,
            "proxyusefdpass" => value == "yes" && !host.hook_pushes,
            _ => false,
        }
}

/// A local user name with which every connection to a managed host is refused until it names another user: ssh assumes it
/// while it reads the config, and nothing can be written there that excepts it.
pub fn local_user(name: &str) {
    if !name.is_empty() && !render::guard::is_writable(name) {
        ui::warning(&format!("the local user name {name:?} cannot be written into ssh_config"));
        ui::hint("name the user in each command, as in ssh ec2-user@NAME");
    }
}

/// Reports that ssh reads another config than the one that was written, if so. Returns whether it reads this one.
#[must_use]
pub fn which_config(paths: &Paths) -> bool {
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if let Some(read) =
        ssh_client::defaults().ok().and_then(|defaults| defaults.config).filter(|read| !same(read, &paths.ssh_config))
    {
        let (read, own) = (read.display(), paths.ssh_config.display());
        ui::warning(&format!("$HOME differs from your home in the user database: ssh reads {read}, not {own}"));
        ui::hint(&format!("ssh -F {own} NAME"));
        return false;
    }
    true
}

/// A unified diff of one file; empty where nothing changes. Absence reads as /dev/null, as diff(1) writes it.
#[must_use]
pub fn unified(path: &Path, before: Option<&[u8]>, after: Option<&[u8]>) -> Vec<u8> {
    if before == after {
        return Vec::new();
    }
    let name = |content: Option<&[u8]>| content.map_or("/dev/null".to_owned(), |_| path.display().to_string());
    let (old, new) = (before.unwrap_or_default(), after.unwrap_or_default());
    let diff = TextDiff::from_lines(old, new);
    let mut text = format!("--- {}\n+++ {}\n", name(before), name(after)).into_bytes();
    // By hunks: as a whole, similar 3.2 writes what is not UTF-8 as something else. Into memory, which does not fail.
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        let _ = hunk.to_writer(&mut text);
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
