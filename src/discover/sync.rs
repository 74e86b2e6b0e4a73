//! One sync: discover, render, validate with the real client, write; prints warnings and the summary.
//!
//! A lock prevents concurrent writes, and nothing is written unless the real client accepts it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::discover::background;
use crate::discover::client;
use crate::discover::consoles;
use crate::discover::discovery::{self, Discovery, DiscoveryRequest};
use crate::discover::failures::{self, Failed};
use crate::discover::proof::{self, ProofRequest, Remarks};
use crate::discover::query::record;
use crate::discover::report;
use crate::domain::config::{Config, Layout};
use crate::domain::discovery::Fleet;
use crate::domain::fleet::Host;
use crate::domain::freshness;
use crate::domain::host_diff::HostDiff;
use crate::domain::ids::{InstanceId, OsUser};
use crate::domain::ssh_config::render::{self, Files, Settings};
use crate::domain::ssh_config::standalone;
use crate::error::{Error, Kind, Result};
use crate::store::index::{self, Content, Header, Index, SourceRecord, UntoldMove};
use crate::store::paths::Paths;
use crate::store::reach::Reach;
use crate::store::ssh_config::{self, Planned};
use crate::store::{credentials, files, keys, known_hosts, writers};
use crate::sys::{caller, clock, ssh_client};
use crate::ui;

pub use crate::discover::sync_request::{Occasion, Run};

/// The result of a sync.
#[derive(Debug, Default)]
pub struct Report {
    /// Hosts in the config now.
    pub hosts: usize,
    /// Sources that could not be queried: one error for each cause.
    pub failures: Vec<Error>,
    /// Why nothing was done; `None`: the sync ran.
    pub skipped: Option<&'static str>,
    /// Whether ssh reads the config that was written.
    pub is_read: bool,
}

/// Runs a sync.
///
/// # Errors
///
/// If no source could be queried, or the result could not be validated or written; the old files are unchanged then.
pub fn run(run: &Run<'_>) -> Result<Report> {
    run_with(run, None)
}

/// The first sync with a config: as [`run`], but `write_config` is called before anything else is written, and not at all
/// if no host was found and a source failed.
///
/// # Errors
///
/// As [`run`]; the first failure of a source if no host was found; those of `write_config`.
pub fn first_run(run: &Run<'_>, write_config: &dyn Fn() -> Result<()>) -> Result<Report> {
    run_with(run, Some(write_config))
}

fn run_with(run: &Run<'_>, write_config: Option<&dyn Fn() -> Result<()>>) -> Result<Report> {
    let Run { paths, config, .. } = run;
    ssh_config::check_owner(paths, rustix::process::geteuid().as_raw())?;
    if run.occasion.is_unasked() && !paths.index().exists() {
        return Ok(Report { skipped: Some(REMOVED), ..Report::default() });
    }
    let Some(lock) = writers::lock(paths, run.occasion == Occasion::Background)? else {
        return Ok(Report { skipped: Some("another sync is running"), ..Report::default() });
    };
    let old = Index::open(&paths.index())?;
    if run.occasion.is_unasked() && old.is_none() {
        return Ok(Report { skipped: Some(REMOVED), ..Report::default() });
    }
    if let (Some(limit), Some(old)) = (run.if_older_than, &old)
        && freshness::is_younger(old.header.synced, clock::now(), limit)
        && old.header.made_from == config.digest
    {
        return Ok(Report {
            hosts: old.hosts()?.len(),
            skipped: Some("the last complete sync is young enough"),
            ..Report::default()
        });
    }
    ssh_config::check_own_folder(paths)?;
    ssh_config::note_absent(paths)?;
    let mut work = Work::look(run, old.as_ref(), true)?;
    if let Some(write_config) = write_config {
        let Discovery { fleet, not_seen, failed, .. } = &work.found;
        if !failed.is_empty() && fleet.hosts.iter().all(|host| not_seen.contains(&host.id)) {
            return Err(only_failures(work.found.failed));
        }
        write_config()?;
    }
    work.plan()?;
    ui::trace(|| "rendered".to_owned());
    if writers::is_exclusive(&lock) {
        files::remove_trial_folders(&paths.eic);
    }
    let trial = files::trial_folder(&paths.eic)?;
    let remarks = work.prove(trial.path())?;
    drop(trial);
    ui::trace(|| "proven".to_owned());
    work.write()?;
    ui::trace(|| "written".to_owned());
    work.sweep();
    work.read_consoles();
    let shift = work.shift();
    report::fleet(&work.found, &work.reach, shift);
    report::ssh_config(&work.reach, &work.found.fleet.hosts, &remarks, shift);
    if !work.settings.caller_is_readable {
        report::local_user(&work.settings.local_user);
    }
    let is_read = report::which_config(paths);
    report::summary(&work.found);
    if run.occasion != Occasion::Person
        && let Err(error) = background::record(paths, &work.found)
    {
        ui::verbose(|| error.message);
    }
    let report = Report {
        hosts: work.found.fleet.hosts.len(),
        failures: failures::by_cause(std::mem::take(&mut work.found.failed)),
        skipped: None,
        is_read,
    };
    Ok(report)
}

/// Why a sync that no user started does nothing.
const REMOVED: &str = "there is no index to refresh";

/// What a sync would change.
#[derive(Debug)]
pub struct Difference {
    /// The changed hosts.
    pub hosts: HostDiff,
    /// The changed files.
    pub files: Vec<PathBuf>,
    /// A unified diff of the changed files.
    pub text: Vec<u8>,
    /// The result of the queries.
    pub report: Report,
}

/// Compares what a sync would write with what exists; nothing is written.
///
/// # Errors
///
/// As [`run`].
pub fn diff(run: &Run<'_>) -> Result<Difference> {
    ssh_config::check_owner(run.paths, rustix::process::geteuid().as_raw())?;
    let old = Index::open(&run.paths.index())?;
    let before = old.as_ref().map(Index::hosts).transpose()?.unwrap_or_default();
    let mut work = Work::look(run, old.as_ref(), false)?;
    work.plan()?;
    let trial = files::trial_folder(&std::env::temp_dir())?;
    let remarks = work.prove(trial.path())?;
    let (mut text, mut changed) = (Vec::new(), Vec::new());
    for Change { path, before, after } in work.changes()? {
        let of_file = report::unified(&path, before.as_deref(), after.as_deref());
        if !of_file.is_empty() {
            text.extend(of_file);
            changed.push(path);
        }
    }
    report::fleet(&work.found, &work.reach, 0);
    report::ssh_config(&work.reach, &work.found.fleet.hosts, &remarks, 0);
    report::failed_sources(&work.found);
    let hosts = HostDiff::between(&before, &work.found.fleet.hosts);
    let failures = failures::by_cause(std::mem::take(&mut work.found.failed));
    let report = Report { hosts: work.found.fleet.hosts.len(), failures, ..Report::default() };
    Ok(Difference { hosts, files: changed, text, report })
}

/// One self-contained config for `ssh -F`; nothing else is touched.
///
/// # Errors
///
/// As [`run`].
pub fn standalone(run: &Run<'_>) -> Result<(String, Report)> {
    let old = Index::open(&run.paths.index())?;
    let mut work = Work::look(run, old.as_ref(), false)?;
    let found = &work.found;
    let flags = |host: &Host| record(&found.records, &host.source).map(SourceRecord::proxy_flags).unwrap_or_default();
    let text = standalone::render(&found.fleet.hosts, &found.fleet.shared, &work.settings, &flags);
    let trial = files::trial_folder(&std::env::temp_dir())?;
    proof::check_options(run.paths, &proof::options(&work.settings, &found.fleet.hosts), trial.path())?;
    let path = trial.path().join("config");
    files::replace(&path, text.as_bytes(), 0o600)?;
    ssh_client::effective(Some(&path), found.fleet.hosts.first().map_or("localhost", Host::label))?;
    report::fleet(found, &work.reach, 0);
    report::summary(found);
    let failures = failures::by_cause(std::mem::take(&mut work.found.failed));
    Ok((text, Report { hosts: work.found.fleet.hosts.len(), failures, ..Report::default() }))
}

/// A file before and after; `None`: absent.
struct Change {
    path: PathBuf,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// The state of a running sync.
struct Work<'a> {
    run: &'a Run<'a>,
    client_version: (u32, u32),
    old: Option<Header>,
    reach: Reach,
    found: Discovery,
    settings: Settings,
    generated: Files,
    planned: Planned,
}

impl<'a> Work<'a> {
    fn look(run: &'a Run<'a>, old: Option<&Index>, keep: bool) -> Result<Self> {
        let Run { paths, config, .. } = run;
        let client_version = ssh_client::check_version()?;
        let defaults = ssh_client::defaults()?;
        let reach = Reach::read(paths, &ssh_config::include_line(paths)?);
        let found = discovery::discover(&DiscoveryRequest {
            paths,
            config,
            only: run.only.as_deref(),
            accept_moves: run.accept_moves,
            keep,
            reach: &reach,
            index: old,
        })?;
        if found.fleet.hosts.is_empty() && found.old.is_empty() && !found.failed.is_empty() {
            return Err(only_failures(found.failed));
        }
        let settings = settings(paths, config, &run.binary, run.flags.clone())?;
        let settings = Settings { local_user: defaults.user, ..settings };
        let bare = bare(&found, &settings);
        let generated = render::files(&found.fleet.hosts, &bare, &settings);
        let planned = Planned { before: None, after: Vec::new() };
        let old = old.map(|old| old.header.clone());
        Ok(Self { run, client_version, old, reach, found, settings, generated, planned })
    }

    /// Plans the new content of the user's config.
    fn plan(&mut self) -> Result<()> {
        self.planned = ssh_config::plan(self.run.paths, self.run.config.layout, &self.generated)?;
        Ok(())
    }

    /// By how many lines the user's lines move down when the generated part is written.
    fn shift(&self) -> i64 {
        let count = |bytes: &[u8]| i64::try_from(bytes.split(|&b| b == b'\n').count()).unwrap_or(0);
        count(&self.planned.after) - count(self.planned.before.as_deref().unwrap_or_default())
    }

    /// Validates what differs from the last validated state.
    fn prove(&mut self, trial: &Path) -> Result<Remarks> {
        let bare = bare(&self.found, &self.settings);
        let request = ProofRequest {
            paths: self.run.paths,
            config: self.run.config,
            generated: &self.generated,
            settings: &self.settings,
            bare: &bare,
            own: self.planned.before.as_deref().unwrap_or_default(),
            reach: &self.reach,
            before: &self.found.proven,
            trial,
        };
        let (proven, remarks) = proof::prove(&request, &mut self.found.fleet.hosts)?;
        self.found.proven = proven;
        Ok(remarks)
    }

    /// Writes the index first: an indexed host without a block is only not usable yet.
    fn write(&mut self) -> Result<()> {
        let Run { paths, config, only, .. } = self.run;
        let refresh = config.refresh.map(|refresh| refresh.as_secs());
        // The age of an index is the age of its oldest part.
        let complete = self.found.failed.is_empty() && only.is_none();
        let synced = if complete { clock::now() } else { self.old.as_ref().map_or(0, |old| old.synced) };
        let untold = self.untold();
        let before = self.old.as_ref().map(|old| old.made_from.clone()).unwrap_or_default();
        let made_from = if complete { config.digest.clone() } else { before };
        let mut header = Header::new(synced, config.push, refresh, made_from);
        (header.tried, header.untold) = (clock::now(), !untold.is_empty());
        header.failed = self.failed_sources();
        header.client = client::check(self.client_version, self.old.as_ref().and_then(|old| old.client));
        files::make_private_folder(&paths.eic.join("cm"))?;
        files::make_private_folder(&paths.keys())?;
        let fleet = &mut self.found.fleet;
        let content = Content {
            hosts: std::mem::take(&mut fleet.hosts),
            sources: std::mem::take(&mut self.found.records),
            shared: std::mem::take(&mut fleet.shared),
            memory: std::mem::take(&mut fleet.memory),
            proven: std::mem::take(&mut self.found.proven),
            untold,
            damaged: 0,
        };
        index::write(&paths.index(), &header, &content)?;
        (fleet.hosts, fleet.shared, self.found.records) = (content.hosts, content.shared, content.sources);
        let added = self.planned.before.is_none() || !self.is_in_place();
        if ssh_config::write(paths, config.layout, &self.generated)? && added {
            let part = if config.layout == Layout::Include { "an Include line" } else { "a block" };
            ui::note(&format!("added {part} to {}", self.reach.shown(&paths.ssh_config)));
        }
        Ok(())
    }

    /// Sources that this sync could not query, and those of the last sync that were not selected now.
    fn failed_sources(&self) -> Vec<String> {
        let is_selected = |name: &str, only: &[String]| {
            let of = record(&self.found.records, name).map(|record| record.of.as_str());
            only.iter().any(|selected| selected == name || Some(selected.as_str()) == of)
        };
        let mut failed: BTreeSet<String> = self.found.failed.iter().map(|failed| failed.source.clone()).collect();
        if let (Some(only), Some(old)) = (&self.run.only, &self.old) {
            failed.extend(old.failed.iter().filter(|name| !is_selected(name, only)).cloned());
        }
        failed.into_iter().collect()
    }

    /// Moves that have not been reported yet, by the instance that has the name now.
    fn untold(&self) -> BTreeMap<InstanceId, Vec<UntoldMove>> {
        let mut untold: BTreeMap<InstanceId, Vec<UntoldMove>> = BTreeMap::new();
        if self.run.occasion != Occasion::Person {
            untold.clone_from(&self.found.untold);
            let Fleet { hosts, names, .. } = &self.found.fleet;
            if !untold.is_empty() {
                let named: HashSet<&InstanceId> =
                    hosts.iter().filter(|host| host.alias.is_some()).map(|host| &host.id).collect();
                untold.retain(|id, _| named.contains(id) || names.names.contains_key(id));
            }
            for one in &names.moves {
                let told = UntoldMove { name: one.name.clone(), was: one.from.clone(), at: clock::now() };
                untold.entry(one.to.clone()).or_default().push(told);
            }
        }
        untold
    }

    fn is_in_place(&self) -> bool {
        matches!(ssh_config::without_us(self.run.paths), Ok(Some(_)))
    }

    /// Every file that would be written. Files of the other layout, which nothing includes, are
    /// removed by a later sync and are no change.
    fn changes(&self) -> Result<Vec<Change>> {
        let Run { paths, config, .. } = self.run;
        let mut changes = vec![Change {
            path: paths.ssh_config.clone(),
            before: self.planned.before.clone(),
            after: Some(self.planned.after.clone()),
        }];
        let names = ssh_config::names_of(config.layout);
        for (name, text) in self.generated.named().into_iter().filter(|(name, _)| names.contains(name)) {
            let path = paths.eic.join(name);
            let before = files::read(&path)?;
            changes.push(Change { path, before, after: Some(text.as_bytes().to_vec()) });
        }
        Ok(changes)
    }

    fn read_consoles(&self) {
        let Discovery { fleet, records, old, terminated, .. } = &self.found;
        let before: HashSet<&InstanceId> = old.iter().map(|host| &host.id).collect();
        let old = self.old.as_ref().map(|_| &before);
        consoles::after_sync(self.run, &consoles::Fleet { hosts: &fleet.hosts, records, old, terminated });
    }

    /// Removes files that are no longer needed; a failure to do so does not fail the sync.
    fn sweep(&self) {
        let Run { paths, .. } = self.run;
        let known: HashSet<_> = self.found.fleet.hosts.iter().map(|host| &host.id).collect();
        if let Err(error) = keys::sweep(paths, &|id| known.contains(id), clock::now()) {
            ui::verbose(|| error.message);
        }
        if let Err(error) = credentials::sweep(&paths.credentials(), DAY) {
            ui::verbose(|| format!("cannot read {}: {error}", paths.credentials().display()));
        }
        let terminated = &self.found.terminated;
        for path in paths.known_hosts() {
            if !terminated.is_empty()
                && let Err(error) = known_hosts::remove(&path, &|id| terminated.contains(id))
            {
                ui::verbose(|| error.message);
            }
        }
        writers::sweep_temporaries(paths, false);
    }
}

const DAY: Duration = Duration::from_hours(24);

/// For a sync that found nothing and had no hosts before: returns the first failure and prints the others.
fn only_failures(failed: Vec<Failed>) -> Error {
    let mut causes = failures::by_cause(failed);
    for other in causes.drain(1..) {
        ui::error(&other);
    }
    causes.swap_remove(0)
}

/// Bare names that get a block.
fn bare(found: &Discovery, settings: &Settings) -> Vec<String> {
    found.fleet.shared.keys().filter(|name| settings.names_bare(name)).cloned().collect()
}

/// The settings that all blocks share. ssh runs `binary` with `flags`.
///
/// # Errors
///
/// [`Kind::File`] if a path cannot be written into `ssh_config`.
pub fn settings(paths: &Paths, config: &Config, binary: &Path, flags: Vec<(String, String)>) -> Result<Settings> {
    let written = |path: &Path, what: &str| {
        let text = path.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        text.and_then(|text| render::check_path(text).map(|()| text.to_owned()))
            .map_err(|why| Error::new(Kind::File, format!("{what} {}: {why}", path.display())))
    };
    let fallback = config.sources.first();
    Ok(Settings {
        binary: written(binary, "the program's own path")?,
        flags,
        folder: written(&paths.eic, "the path")?,
        known_hosts: config.known_hosts.clone(),
        control_persist: config.control_persist.clone(),
        fallback: (
            fallback.and_then(|source| source.user.clone()).unwrap_or_else(OsUser::ec2_user),
            fallback.map_or(22, |source| source.port),
        ),
        options: config.options.clone(),
        hosts: config.named.clone(),
        local_user: String::new(),
        caller_is_readable: caller::IS_EXACT,
    })
}
