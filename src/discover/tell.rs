//! What a sync has to say: what was left out, which names moved or could not be given, what of the user's own config
//! has no effect any more or has one on our hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use similar::TextDiff;

use crate::discover::proof::Remarks;
use crate::discover::query::record;
use crate::discover::survey::Found;
use crate::domain::fleet::Host;
use crate::domain::names::Shared;
use crate::domain::render;
use crate::domain::text;
use crate::store::paths::Paths;
use crate::store::reach::{Block, Reach};
use crate::sys::ssh_client;
use crate::ui;

/// Names that a line shows before it says how many more there are.
const SHOWN: usize = 3;

/// About the instances. `shift` is by how many lines the user's own config has moved down.
pub fn fleet(found: &Found, reach: &Reach, shift: i64) {
    let fleet = &found.fleet;
    for why in &fleet.skipped {
        ui::warning(&format!("left out {why}"));
    }
    for note in &found.notes {
        ui::warning(note);
    }
    names(found, reach, shift);
    if fleet.windows > 0 {
        ui::note(&format!("left out {}", counted(fleet.windows, "Windows instance")));
    }
    if fleet.nameless > 0 {
        ui::note(&format!("reachable by id only, without a name: {}", counted(fleet.nameless, "instance")));
    }
    let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
    for host in &fleet.hosts {
        let record = record(&found.records, &host.source);
        *by_source.entry(record.map_or(host.source.as_str(), |record| record.of.as_str())).or_default() += 1;
    }
    for (source, hosts) in by_source {
        ui::note(&format!("{} from {source}", counted(hosts, "host")));
    }
}

fn names(found: &Found, reach: &Reach, shift: i64) {
    let names = &found.fleet.names;
    for (id, told) in &found.untold {
        for one in told {
            ui::note(&format!("{}: {} ({}) -> {id}, in the background", one.name, one.was.id, one.was.account));
        }
    }
    for one in &names.moves {
        let (from, to) = (&one.from, &one.to);
        ui::note(&format!("{}: {} ({}) -> {to} ({})", one.name, from.id, from.account, one.account));
    }
    let mut by_cause: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, name, why) in &names.refused {
        by_cause.entry(why).or_default().insert(name);
    }
    for (why, wanted) in by_cause {
        let verb = if wanted.len() == 1 { "has" } else { "have" };
        let block = reach.blocks.iter().find(|block| block.place() == why);
        let why = block.map_or_else(|| why.to_owned(), |block| reach.place_after(block, shift));
        ui::note(&format!("{} {verb} an id suffix: {why} leads there already", text::first_names(wanted, SHOWN)));
    }
    for (name, holder, newcomer) in &names.stayed {
        ui::note(&format!("{name} stays with {holder}, although {newcomer} of an earlier source is called so, too"));
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
                    "{name} was {} ({}) and is not given to {wants} ({account}) of another account",
                    was.id, was.account
                ));
            }
        }
    }
    if !shared.is_empty() {
        ui::note(&format!("shared by several instances, each with an id suffix: {}", text::first_names(shared, SHOWN)));
    }
    if waits || !names.stayed.is_empty() {
        ui::hint("ssh-eic sync --accept-moves gives the names to them");
    }
}

/// About the user's own config, where it is new to us.
pub fn ssh_config(reach: &Reach, hosts: &[Host], remarks: &Remarks, shift: i64) {
    if !remarks.overridden.is_empty() {
        let names = text::first_names(&remarks.overridden, SHOWN);
        ui::warning(&format!(
            "another ProxyCommand or ProxyJump in your ssh config wins for {names} and their like; the hook pushes for them"
        ));
    }
    for (leak, alias) in &remarks.leaks {
        ui::warning(&format!("your ssh config gives {alias} and its like {leak}"));
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
            .map(|(keyword, value)| format!("{} {value}", spelled(keyword)))
            .collect();
        if !without_effect.is_empty() {
            let names = text::first_names(
                about.iter().filter_map(|host| host.alias.as_deref()).collect::<BTreeSet<_>>(),
                SHOWN,
            );
            let verb = if without_effect.len() == 1 { "has" } else { "have" };
            let place = reach.place_after(block, shift);
            ui::warning(&format!("{place}: {} {verb} no effect for {names}", without_effect.join(", ")));
            any = true;
        }
    }
    if any {
        ui::hint("user, port and options such as IdentityFile win in a [[host]] of config.toml");
    }
}

/// Options of the user's that ours win over, in their usual spelling.
const WITHOUT_EFFECT: [(&str, &str); 6] = [
    ("user", "User"),
    ("port", "Port"),
    ("identityfile", "IdentityFile"),
    ("proxycommand", "ProxyCommand"),
    ("proxyjump", "ProxyJump"),
    ("proxyusefdpass", "ProxyUseFdpass"),
];

fn spelled(keyword: &str) -> &str {
    WITHOUT_EFFECT.iter().find(|(lower, _)| *lower == keyword).map_or(keyword, |(_, usual)| *usual)
}

fn differs(block: &Block, keyword: &str, value: &str, host: &Host) -> bool {
    match keyword {
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

/// Where ssh will not find what was written by itself.
pub fn which_config(paths: &Paths) {
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if let Some(read) =
        ssh_client::defaults().ok().and_then(|defaults| defaults.config).filter(|read| !same(read, &paths.ssh_config))
    {
        let (read, own) = (read.display(), paths.ssh_config.display());
        ui::warning(&format!("ssh reads {read}, by the user database, and not {own}"));
        ui::hint(&format!("ssh -F {own} NAME"));
    }
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
