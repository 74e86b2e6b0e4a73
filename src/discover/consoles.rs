//! Reading the console outputs of new instances at a sync, because the host keys in them are lost after some reboots.
//!
//! Hosts with a console mode only, each until it has keys or its boot is over. Where every host has `accept-new`, the
//! consoles of a few new instances are read once, to suggest the stricter mode. Failures are reported and are no failure
//! of the sync: connections read what is missing.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::aws::client::{self, RequestLimits};
use crate::aws::failure::Retry;
use crate::aws::{console, credentials};
use crate::discover::query::record;
use crate::discover::sync_request::{Occasion, Run};
use crate::domain::fleet::Host;
use crate::domain::identity::Identity;
use crate::domain::ids::InstanceId;
use crate::domain::source::HostKeys;
use crate::error::{Error, Kind, Result};
use crate::store::host_keys::{self, ConsoleRecord, is_unread};
use crate::store::index::SourceRecord;
use crate::store::{config, files};
use crate::sys::clock;
use crate::ui;

/// Requests of one source in one region at a time.
const PARALLEL: usize = 4;
/// Between two readings of one source in one region, each of which is one or two requests: below the refill rate of the
/// account's request bucket.
const INTERVAL: Duration = Duration::from_millis(200);
/// No reading begins after so long; the rest is for the next sync.
const BUDGET: Duration = Duration::from_mins(1);
/// Consoles that are read for a suggestion.
const SAMPLE: usize = 3;

/// What a sync has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fleet<'a> {
    pub(super) hosts: &'a [Host],
    pub(super) records: &'a [SourceRecord],
    /// Of the last index; `None` at the first sync.
    pub(super) old: Option<&'a HashSet<&'a InstanceId>>,
    pub(super) terminated: &'a HashSet<InstanceId>,
}

/// Removes records of terminated instances, reads new consoles and reports how many hosts could be verified.
pub(super) fn after_sync(run: &Run<'_>, found: &Fleet<'_>) {
    if !found.terminated.is_empty() {
        host_keys::remove(run.paths, &|id| found.terminated.contains(id));
    }
    let strict = |host: &&Host| host.host_keys != HostKeys::AcceptNew;
    if found.hosts.iter().any(|host| strict(&host)) {
        let unread: Vec<&Host> = found.hosts.iter().filter(strict).filter(|host| is_new(run, host)).collect();
        if !unread.is_empty() {
            read_and_store(run, found, &unread);
        }
    } else if let Some(old) = found.old
        && run.occasion == Occasion::Person
    {
        suggest(run, found, old);
    }
}

fn is_new(run: &Run<'_>, host: &Host) -> bool {
    let record = host_keys::load(run.paths, &host.id).unwrap_or_default();
    host.state == "running" && is_unread(record.as_ref(), host.launched)
}

fn read_and_store(run: &Run<'_>, found: &Fleet<'_>, unread: &[&Host]) {
    let Read { records, errors, left } = match read(run, found, unread) {
        Ok(read) => read,
        Err(error) => return ui::warning(&error.message),
    };
    if let Err(error) = host_keys::store(run.paths, &records) {
        return ui::warning(&error.message);
    }
    for error in errors {
        ui::warning(&format!("{}; connections read the console output again", error.message));
    }
    let verified = records.iter().filter(|(_, record)| record.has_keys()).count();
    let hosts = if unread.len() == 1 { "host" } else { "hosts" };
    ui::note(&format!("host keys verified by console output: {verified} of {} new {hosts}", unread.len()));
    if left > 0 {
        ui::note(&format!("console outputs left for the next sync: {left}"));
    }
}

/// Suggests the stricter mode if consoles of new instances have keys; once, whatever they have.
fn suggest(run: &Run<'_>, found: &Fleet<'_>, old: &HashSet<&InstanceId>) {
    let stamp = run.paths.console_sample();
    let is_sampled = |host: &&Host| host.state == "running" && !old.contains(&host.id);
    let sample: Vec<&Host> = found.hosts.iter().filter(is_sampled).take(SAMPLE).collect();
    if sample.is_empty() || stamp.exists() {
        return;
    }
    let Ok(Read { records, errors, .. }) = read(run, found, &sample) else { return };
    for error in errors {
        ui::verbose(|| error.message);
    }
    let _ = files::make_private_folder(&run.paths.cache).and_then(|()| files::make_if_absent(&stamp));
    if records.iter().any(|(_, record)| record.has_keys()) {
        ui::hint(
            "console outputs of new instances contain their host keys: host_keys = \"console\" in [ssh] of config.toml verifies them",
        );
    }
}

/// What was read.
#[derive(Debug, Default)]
struct Read {
    records: Vec<(InstanceId, ConsoleRecord)>,
    /// One for each source and region that stopped.
    errors: Vec<Error>,
    /// Instances that were not read in time.
    left: usize,
}

/// Instances that the same session reads.
struct Group {
    identity: Identity,
    region: String,
    cache: Option<PathBuf>,
    hosts: Vec<(InstanceId, String)>,
}

fn read(run: &Run<'_>, found: &Fleet<'_>, hosts: &[&Host]) -> Result<Read> {
    let mut groups: BTreeMap<(&str, &str), Vec<(InstanceId, String)>> = BTreeMap::new();
    for host in hosts {
        groups.entry((&host.source, &host.region)).or_default().push((host.id.clone(), host.label().to_owned()));
    }
    let cache = config::credentials_folder(run.config, run.paths);
    let deadline = Instant::now() + BUDGET;
    client::run(async {
        let mut tasks = JoinSet::new();
        for ((source, region), hosts) in groups {
            let Some(record) = record(found.records, source) else { continue };
            let (identity, region) = (record.identity.clone(), region.to_owned());
            tasks.spawn(read_group(Group { identity, region, cache: cache.clone(), hosts }, deadline));
        }
        let mut all = Read::default();
        while let Some(group) = tasks.join_next().await {
            let group = group.map_err(|error| Error::new(Kind::Bug, "a console reading ended early").because(error))?;
            all.records.extend(group.records);
            all.errors.extend(group.errors);
            all.left += group.left;
        }
        Ok(all)
    })
}

async fn read_group(group: Group, deadline: Instant) -> Read {
    let Group { identity, region, cache, hosts } = group;
    let mut read = Read::default();
    let session = match credentials::open(&identity, Some(&region), RequestLimits::QUERY, cache.as_deref()).await {
        Ok(session) => session,
        Err(error) => return Read { errors: vec![error], left: hosts.len(), ..read },
    };
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut interval = tokio::time::interval(INTERVAL);
    let mut tasks = JoinSet::new();
    let mut hosts = hosts.into_iter();
    while read.errors.is_empty() && Instant::now() < deadline {
        let Some((id, name)) = hosts.next() else { break };
        interval.tick().await;
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let session = session.clone();
        tasks.spawn(async move {
            let keys = console::host_keys(&session, &id, &name).await;
            drop(permit);
            (id, keys)
        });
        while let Some(done) = tasks.try_join_next() {
            collect(&mut read, done.ok());
        }
    }
    while let Some(done) = tasks.join_next().await {
        collect(&mut read, done.ok());
    }
    read.left = hosts.len();
    read
}

type Done = (InstanceId, std::result::Result<crate::domain::console::ConsoleKeys, crate::aws::failure::Failure>);

fn collect(read: &mut Read, done: Option<Done>) {
    match done {
        Some((id, Ok(keys))) => read.records.push((id, ConsoleRecord::new(&keys, clock::now()))),
        // An instance that is gone by now does not stop the others.
        Some((_, Err(failure))) if failure.retry == Retry::Never && failure.error.kind == Kind::NoHost => {}
        Some((_, Err(failure))) if read.errors.is_empty() => read.errors.push(failure.error),
        Some((_, Err(_))) | None => {}
    }
}
