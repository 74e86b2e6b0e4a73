//! Discovers the whole fleet: queries AWS, keeps the hosts of sources that failed, assigns names. Writes only the cache
//! of images.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::discover::failures::Failed;
use crate::discover::query::{self, Query, RegionResult, Responses};
use crate::domain::config::Config;
use crate::domain::discovery::{Fleet, FleetRequest, build, name_history};
use crate::domain::fleet::{DiscoveredInstance, Host, PreviousHost};
use crate::domain::identity::Identity;
use crate::domain::ids::InstanceId;
use crate::domain::names::{Holder, NameHistory};
use crate::domain::source::Source;
use crate::domain::suggestion::nearest_region;
use crate::domain::tag_filter;
use crate::error::{Error, Result};
use crate::store::config;
use crate::store::images::Images;
use crate::store::index::{Content, Index, Proven, SourceRecord, UntoldMove};
use crate::store::paths::Paths;
use crate::store::reach::Reach;
use crate::store::ssh_config;
use crate::sys::clock;
use crate::ui;

/// What to request at.
pub struct DiscoveryRequest<'a> {
    /// All paths.
    pub paths: &'a Paths,
    /// The checked config.
    pub config: &'a Config,
    /// Only these sources are asked; the hosts of the others stay.
    pub only: Option<&'a [String]>,
    /// Names may move to other accounts and earlier sources.
    pub accept_moves: bool,
    /// Keep what was learnt of images, and credentials.
    pub keep: bool,
    /// What the user reaches already.
    pub reach: &'a Reach,
    /// The last index.
    pub index: Option<&'a Index>,
}

/// What was found.
#[derive(Debug)]
pub struct Discovery {
    /// The hosts.
    pub fleet: Fleet,
    /// The sources that they came from.
    pub records: Vec<SourceRecord>,
    /// What could not be asked.
    pub failed: Vec<Failed>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// What the client has said to the last one.
    pub proven: Proven,
    /// Moves that have not been reported yet.
    pub untold: BTreeMap<InstanceId, Vec<UntoldMove>>,
    /// When the last complete sync was, milliseconds since 1970.
    pub synced: Option<u64>,
    /// The hosts of the last index.
    pub old: Vec<PreviousHost>,
    /// Instances of the last index that were terminated since.
    pub terminated: HashSet<InstanceId>,
    /// Hosts that are unchanged from the last index, because AWS was not or could not be queried for them.
    pub not_seen: HashSet<InstanceId>,
}

/// Looks.
///
/// # Errors
///
/// An index that cannot be read; what AWS says is in what was found.
pub fn discover(request: &DiscoveryRequest<'_>) -> Result<Discovery> {
    let DiscoveryRequest { paths, config, index, .. } = request;
    let old: Content<PreviousHost> = index.map(Index::content).transpose()?.unwrap_or_default();
    ui::trace(|| format!("read {} hosts of the last index", old.hosts.len()));
    let mut images = Images::read(&paths.images());
    let now = clock::now();
    let mut responses = ask(request, &old.sources, &images, now)?;
    ui::trace(|| "AWS has answered".to_owned());
    let mut notes = learn(&mut images, &mut responses, request, &old.hosts, now);
    let terminated = terminated(&responses, &old.hosts, *index);
    notes.extend(empty_sources(&responses));
    let Sorted { discovered, unseen, failed } = sorted(&mut responses, &mut notes);
    // Whole hosts are read only where some are kept.
    let mut kept = Vec::new();
    if responses.asked.contains(&false) || !unseen.is_empty() {
        let whole: Content = index.map(Index::content).transpose()?.unwrap_or_default();
        kept = whole.hosts;
        kept.retain(|host| is_kept(&responses, &unseen, host));
    }
    if old.damaged > 0 {
        notes.push(format!("{} lines of the instance index could not be read; the index is rebuilt", old.damaged));
    }
    let is_whole = index.is_some() && old.damaged == 0;
    // Other spellings follow the name in lower case, which has been compared with the hashes.
    let is_lower = |name: &str| !name.bytes().any(|b| b.is_ascii_uppercase());
    let by_hash = |name: &str| is_lower(name).then(|| request.reach.by_hash(name)).flatten();
    let conflict_of = |name: &str, held: bool| {
        if held { request.reach.by_name(name) } else { request.reach.of(name).or_else(|| by_hash(name)) }
    };
    let fleet_request = FleetRequest {
        sources: &responses.sources,
        rules: &config.hosts,
        image: &|id| images.get(id),
        previous: &old.hosts,
        history: remembered(paths, &old.hosts, old.memory, is_whole, now),
        conflict_of: &conflict_of,
        accept_moves: request.accept_moves,
        now,
    };
    let not_seen = kept.iter().map(|host| host.id.clone()).collect();
    let fleet = build(&fleet_request, discovered, kept);
    ui::trace(|| format!("named {} hosts", fleet.hosts.len()));
    let records = records(responses, &old.sources);
    Ok(Discovery {
        fleet,
        records,
        failed,
        notes,
        proven: old.proven,
        untold: old.untold,
        old: old.hosts,
        terminated,
        not_seen,
        synced: index.map(|index| index.header.synced),
    })
}

fn ask(request: &DiscoveryRequest<'_>, records: &[SourceRecord], images: &Images, now: u64) -> Result<Responses> {
    let progress = ui::Progress::start();
    let is_asked = |source: &Source| {
        request.only.is_none_or(|only| only.iter().any(|name| *name == source.name || *name == source.of))
    };
    let responses = query::all(&Query {
        sources: &request.config.sources,
        is_asked: &is_asked,
        records,
        cache: config::credentials_folder(request.config, request.paths).filter(|_| request.keep),
        images,
        now,
        progress: &progress,
    });
    progress.end();
    responses
}

/// Sources of the config whose queries all succeeded and returned no instance, and why.
fn empty_sources(responses: &Responses) -> Vec<String> {
    let mut regions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut others: BTreeSet<&str> = responses.unexpanded.iter().map(|(source, _)| source.as_str()).collect();
    for (at, source) in responses.sources.iter().enumerate() {
        let mut results = responses.seen.iter().filter(|seen| seen.source == at).peekable();
        if results.peek().is_none() {
            others.insert(&source.of);
        }
        for result in results {
            if result.found.as_ref().is_ok_and(Vec::is_empty) {
                regions.entry(&source.of).or_default().extend(result.region.as_deref());
            } else {
                others.insert(&source.of);
            }
        }
    }
    regions.retain(|source, _| !others.contains(source));
    let warning = |(name, regions): (&str, BTreeSet<&str>)| {
        let source = responses.sources.iter().find(|source| source.of == name)?;
        let unknown = regions.iter().find_map(|region| {
            let near = nearest_region(region)?;
            Some(format!("there is no instance in {region}, which is not an AWS region; did you mean {near}?"))
        });
        let regions = regions.into_iter().collect::<Vec<_>>().join(", ");
        let reasons = responses.other_tags.get(name).map(|tags| tag_filter::unmatched(&source.tags, tags));
        Some(match reasons.unwrap_or_default() {
            reasons if !reasons.is_empty() => format!("{name}: no instance matches: {}", reasons.join("; ")),
            _ if unknown.is_some() => format!("{name}: {}", unknown.unwrap_or_default()),
            _ if source.tags.is_empty() => format!("{name}: there is no instance in {regions}"),
            _ => format!("{name}: no instance matches all tags in {regions}"),
        })
    };
    regions.into_iter().filter_map(warning).collect()
}

/// The results of all sources and regions.
struct Sorted {
    discovered: Vec<DiscoveredInstance>,
    /// Sources and regions whose hosts stay as they were.
    unseen: Vec<(usize, Option<String>)>,
    failed: Vec<Failed>,
}

fn sorted(responses: &mut Responses, notes: &mut Vec<String>) -> Sorted {
    let unexpanded = responses.unexpanded.drain(..);
    let mut failed: Vec<Failed> = unexpanded.map(|(source, error)| Failed { source, region: None, error }).collect();
    let mut discovered = Vec::new();
    let mut unseen: Vec<(usize, Option<String>)> = Vec::new();
    let mut denied: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for RegionResult { source, region, found, only_a_note } in responses.seen.drain(..) {
        let name = responses.sources[source].name.clone();
        match found {
            Ok(found) if discovered.is_empty() => discovered = found,
            Ok(found) => discovered.extend(found),
            Err(_) if only_a_note => {
                unseen.push((source, region.clone()));
                denied.entry(name).or_default().extend(region);
            }
            Err(error) => {
                let several = responses.regions.get(&name).is_some_and(|regions| regions.len() > 1);
                failed.push(Failed { source: name, region: region.clone().filter(|_| several), error });
                unseen.push((source, region));
            }
        }
    }
    for (source, regions) in denied {
        notes.push(format!(
            "source {source:?} is denied access to {}; its hosts there are unchanged",
            regions.join(", ")
        ));
    }
    Sorted { discovered, unseen, failed }
}

/// Who had which name. Where the index is not whole, the generated config still says whose the names were, though not in
/// which account.
fn remembered(paths: &Paths, old: &[PreviousHost], memory: NameHistory, is_whole: bool, now: u64) -> NameHistory {
    let mut history = name_history(old, memory, now);
    if !is_whole {
        for (name, id) in ssh_config::names_written(paths) {
            history.entry(name).or_insert(Holder { id, account: "unknown".to_owned(), seen: now });
        }
    }
    history
}

fn learn(
    images: &mut Images,
    responses: &mut Responses,
    request: &DiscoveryRequest<'_>,
    old: &[PreviousHost],
    now: u64,
) -> Vec<String> {
    let news = !responses.images.is_empty();
    for (asked, answered) in responses.images.drain(..) {
        images.add(&asked, answered, now);
    }
    if news && request.keep {
        let seen: std::collections::HashSet<&str> = responses
            .seen
            .iter()
            .flat_map(|seen| seen.found.iter().flatten())
            .map(|one| one.instance.image.as_str())
            .chain(old.iter().map(|host| host.image.as_str()))
            .collect();
        if let Err(error) = images.write(&request.paths.images(), |id| seen.contains(id)) {
            ui::verbose(|| error.message);
        }
    }
    let told = |error: &Error| {
        let words =
            "OS users that depend on the image stay unchanged, or are ec2-user; to set them, use user in config.toml";
        format!("{} ({words})", error.message)
    };
    responses.images_failed.iter().map(told).collect()
}

/// Instances of the last index that no longer exist: the source that had them got a complete answer from the same account
/// and region, without filters, and no source lists them. An instance that only left a filter is not terminated.
fn terminated(responses: &Responses, old: &[PreviousHost], index: Option<&Index>) -> HashSet<InstanceId> {
    let Some(index) = index else { return HashSet::new() };
    let discovered = responses.seen.iter().flat_map(|seen| seen.found.iter().flatten());
    let existing: HashSet<&InstanceId> = discovered.map(|one| &one.instance.id).collect();
    let missing = old.iter().map(|host| &host.id).filter(|id| !existing.contains(id));
    let was_all_seen = |host: &Host| {
        let Some(at) = responses.sources.iter().position(|source| source.name == host.source) else { return false };
        responses.sources[at].tags.is_empty()
            && responses.accounts.get(&host.source) == Some(&host.account)
            && responses
                .seen
                .iter()
                .any(|seen| seen.source == at && seen.region.as_ref() == Some(&host.region) && seen.found.is_ok())
    };
    let was_terminated =
        |id: &InstanceId| index.host(id.as_str()).ok().flatten().is_some_and(|host| was_all_seen(&host));
    missing.filter(|id| was_terminated(id)).cloned().collect()
}

/// Hosts of a source that was not asked, or gave no answer, stay as they were.
fn is_kept(responses: &Responses, unseen: &[(usize, Option<String>)], host: &Host) -> bool {
    let Some(at) = responses.sources.iter().position(|source| source.name == host.source) else { return false };
    let unanswered = |(source, region): &(usize, Option<String>)| {
        *source == at && region.as_ref().is_none_or(|region| *region == host.region)
    };
    !responses.asked[at] || unseen.iter().any(unanswered)
}

fn records(responses: Responses, old: &[SourceRecord]) -> Vec<SourceRecord> {
    let one = |(rank, source): (usize, Source)| {
        let before = query::record(old, &source.name);
        let known = before.and_then(|record| record.identity.account.clone());
        let found = responses.accounts.get(&source.name).cloned();
        let identity = source.identity().unwrap_or_default();
        let account = identity.account.clone().or(found).or(known);
        let regions = responses.regions.get(&source.name).filter(|regions| !regions.is_empty()).cloned();
        SourceRecord {
            identity: Identity { account, ..identity },
            regions: regions.or_else(|| before.map(|record| record.regions.clone())).unwrap_or_default(),
            name: source.name,
            of: source.of,
            rank,
            account_name: source.account_name,
            address: source.address,
            key_type: source.key_type,
        }
    };
    responses.sources.into_iter().enumerate().map(one).collect()
}
