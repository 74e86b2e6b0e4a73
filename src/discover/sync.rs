//! One sync: query, build, prove, write; printed as it goes.
//!
//! Two runs at once never interleave (a lock), and nothing is written unless the real client has read it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::fleet::Host;
use crate::core::ids::OsUser;
use crate::core::render::{self, Files, Settings};
use crate::discover::fleet::{self, Fleet};
use crate::discover::proof;
use crate::discover::query::{self, Seen};
use crate::error::{Error, Kind, Result};
use crate::store::config::Config;
use crate::store::index::{self, Header, Index};
use crate::store::paths::Paths;
use crate::store::{files, keys, ssh_config};
use crate::sys::{clock, ssh_client};
use crate::ui;

/// Who runs it and how.
#[derive(Debug)]
pub struct Run<'a> {
    /// All paths.
    pub paths: &'a Paths,
    /// The checked config.
    pub config: &'a Config,
    /// Our own binary, as ssh shall call it.
    pub binary: PathBuf,
    /// Flags for the hook and the proxy that lead to other files than the default ones.
    pub flags: Vec<(String, String)>,
    /// Only these sources are asked; the hosts of the others stay.
    pub only: Option<Vec<String>>,
    /// Only if the index is at least this old, in milliseconds.
    pub if_older_than: Option<u64>,
    /// Give way to another sync that is running: what it finds is as good.
    pub give_way: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Hosts in the config now.
    pub hosts: usize,
    /// Sources and regions that could not be asked, in words.
    pub failures: Vec<Error>,
    /// The index was young enough, nothing was done.
    pub skipped: bool,
}

/// Runs it.
///
/// # Errors
///
/// If nothing could be read from any source, or the result could not be proven or written; the old files are whole.
pub fn run(run: &Run<'_>) -> Result<Report> {
    let Run { paths, config, .. } = run;
    ssh_config::check_owner(paths, rustix::process::geteuid().as_raw())?;
    let Some(_lock) = lock(run)? else {
        return Ok(Report { hosts: 0, failures: Vec::new(), skipped: true });
    };
    let old = Index::open(&paths.index())?;
    if let (Some(limit), Some(old)) = (run.if_older_than, &old)
        && clock::now().saturating_sub(old.header.synced) < limit
    {
        return Ok(Report { hosts: old.hosts()?.len(), failures: Vec::new(), skipped: true });
    }
    ssh_client::check_version()?;
    let old_hosts = old.as_ref().map(Index::hosts).transpose()?.unwrap_or_default();
    let old_accounts = old.as_ref().map(|old| old.header.accounts.clone()).unwrap_or_default();

    let progress = ui::spinner(format!("asking AWS for the instances of {}", names(run)));
    let asked: Vec<_> = config.sources.iter().filter(|source| is_asked(run, &source.name)).cloned().collect();
    let seen = query::all(&asked, &old_accounts)?;
    progress.finish_and_clear();

    let mut accounts = old_accounts;
    accounts.retain(|name, _| config.source(name).is_some());
    let mut failures = Vec::new();
    let mut sightings = Vec::new();
    let mut unseen: Vec<(String, Option<String>)> = Vec::new();
    for Seen { source, region, account, found } in seen {
        let name = asked[source].name.clone();
        if let Some(account) = account {
            accounts.insert(name.clone(), account);
        }
        match found {
            Ok(found) => sightings.extend(found),
            Err(error) => {
                failures.push(in_source(error, &name));
                unseen.push((name, region));
            }
        }
    }
    if sightings.is_empty() && old_hosts.is_empty() && !failures.is_empty() {
        for other in failures.drain(1..) {
            ui::error(&other);
        }
        return Err(failures.swap_remove(0));
    }
    let kept = old_hosts.into_iter().filter(|host| is_kept(run, host, &unseen)).collect();
    // Positions are those of the whole config: earlier sources win, asked or not.
    let position = |name: &str| config.sources.iter().position(|source| source.name == name).unwrap_or(usize::MAX);
    for sighting in &mut sightings {
        sighting.source = position(&asked[sighting.source].name);
    }
    let mut fleet = fleet::build(&config.sources, sightings, kept);
    let refresh = config.refresh.map(|refresh| refresh.as_secs());
    // An index is as old as its oldest part.
    let complete = failures.is_empty() && run.only.is_none();
    let synced = if complete { clock::now() } else { old.as_ref().map_or(0, |old| old.header.synced) };
    let header = Header::new(synced, config.push, refresh, accounts);
    let settings = settings(run)?;
    apply(paths, &settings, &header, &mut fleet)?;
    if let Err(error) = keys::sweep(paths, &|id| fleet.hosts.iter().any(|host| &host.id == id), clock::now()) {
        ui::verbose(|| error.message);
    }
    tell(&fleet);
    tell_which_config(paths);
    Ok(Report { hosts: fleet.hosts.len(), failures, skipped: false })
}

/// How long a sync waits for another one before it says so.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

/// None: another sync is running and this one gives way to it.
fn lock(run: &Run<'_>) -> Result<Option<File>> {
    files::make_private_folder(&run.paths.state)?;
    let path = run.paths.sync_lock();
    let file = files::open_lock(&path).map_err(|error| Error::file("open", &path, &error))?;
    if files::wait_for(&file, Duration::ZERO) {
        return Ok(Some(file));
    }
    if run.give_way {
        return Ok(None);
    }
    ui::verbose(|| "another sync is running: waiting for it".to_owned());
    if files::wait_for(&file, LOCK_PATIENCE) {
        return Ok(Some(file));
    }
    Err(Error::new(Kind::File, format!("another sync holds {} and does not go on", path.display()))
        .hint("look for a stopped ssh-eic sync (ps -o pid,stat,args), and end it"))
}

fn names(run: &Run<'_>) -> String {
    let names: Vec<&str> =
        run.config.sources.iter().map(|source| source.name.as_str()).filter(|name| is_asked(run, name)).collect();
    match names.len() {
        0..=3 => names.join(", "),
        more => format!("{more} sources"),
    }
}

fn is_asked(run: &Run<'_>, name: &str) -> bool {
    run.only.as_ref().is_none_or(|only| only.iter().any(|one| one == name))
}

/// Hosts of a source that was not asked or gave no answer stay as they were.
fn is_kept(run: &Run<'_>, host: &Host, unseen: &[(String, Option<String>)]) -> bool {
    let unanswered = |(name, region): &(String, Option<String>)| {
        *name == host.source && region.as_ref().is_none_or(|region| *region == host.region)
    };
    run.config.source(&host.source).is_some() && (!is_asked(run, &host.source) || unseen.iter().any(unanswered))
}

fn in_source(mut error: Error, name: &str) -> Error {
    error.message = format!("source {name:?}: {}", error.message);
    error
}

fn settings(run: &Run<'_>) -> Result<Settings> {
    let written = |path: &std::path::Path, what: &str| {
        let text = path.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        text.and_then(|text| render::check_path(text).map(|()| text.to_owned()))
            .map_err(|why| Error::new(Kind::File, format!("{what} {}: {why}", path.display())))
    };
    let fallback = run.config.sources.first();
    Ok(Settings {
        binary: written(&run.binary, "the program's own path")?,
        flags: run.flags.clone(),
        folder: written(&run.paths.eic, "the path")?,
        known_hosts: run.config.known_hosts.clone(),
        control_persist: run.config.control_persist.clone(),
        fallback: (
            fallback.and_then(|source| source.user.clone()).unwrap_or_else(OsUser::ec2_user),
            fallback.map_or(22, |source| source.port),
        ),
    })
}

/// Proves and writes: index first, since an indexed host without its block is only not there yet.
fn apply(paths: &Paths, settings: &Settings, header: &Header, fleet: &mut Fleet) -> Result<()> {
    let generated: Files = render::files(&fleet.hosts, settings);
    let findings = proof::prove(paths, rustix::process::geteuid().as_raw(), &generated, &fleet.hosts, settings)?;
    proof::apply(&findings, &mut fleet.hosts);
    for (alias, finding) in &findings {
        if finding.overridden {
            ui::warning(&format!(
                "another ProxyCommand or ProxyJump in your ssh config wins for {alias} and its like; the hook pushes for them"
            ));
        }
    }
    files::make_private_folder(&paths.eic.join("cm"))?;
    files::make_private_folder(&paths.keys())?;
    index::write(&paths.index(), header, &fleet.hosts)?;
    ssh_config::write_generated(&paths.eic, &generated)?;
    if ssh_config::include(paths, rustix::process::geteuid().as_raw())? {
        ui::note(&format!("added the Include to {}", paths.ssh_config.display()));
    }
    Ok(())
}

/// Where ssh will not find what was written by itself.
fn tell_which_config(paths: &Paths) {
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if let Some(read) = ssh_client::default_config().filter(|read| !same(read, &paths.ssh_config)) {
        let (read, own) = (read.display(), paths.ssh_config.display());
        ui::warning(&format!("ssh reads {read}, by the user database, and not {own}"));
        ui::hint(&format!("ssh -F {own} NAME"));
    }
}

fn tell(fleet: &Fleet) {
    for why in &fleet.skipped {
        ui::warning(&format!("left out {why}"));
    }
    if fleet.windows > 0 {
        ui::note(&format!("left out {}", counted(fleet.windows, "Windows instance")));
    }
    if fleet.nameless > 0 {
        ui::note(&format!("reachable by id only, without a name: {}", counted(fleet.nameless, "instance")));
    }
    let mut by_source: BTreeMap<&str, usize> = BTreeMap::new();
    for host in &fleet.hosts {
        *by_source.entry(&host.source).or_default() += 1;
    }
    for (source, hosts) in by_source {
        ui::note(&format!("{} from {source}", counted(hosts, "host")));
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
