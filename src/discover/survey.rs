//! Looking at the whole fleet: ask AWS, keep what could not be asked, give names. Nothing is written but the cache of
//! images.

use std::collections::{BTreeMap, HashSet};

use crate::discover::failures::Failed;
use crate::discover::fleet::{self, Fleet, Plan};
use crate::discover::query::{self, Question, Seen, Survey};
use crate::domain::config::Config;
use crate::domain::fleet::{Host, Sighting};
use crate::domain::identity::Identity;
use crate::domain::ids::InstanceId;
use crate::domain::names::{Holder, Past};
use crate::domain::source::Source;
use crate::error::{Error, Result};
use crate::store::config;
use crate::store::images::Images;
use crate::store::index::{Content, Index, Known, Proven, SourceRecord, UntoldMove};
use crate::store::paths::Paths;
use crate::store::reach::Reach;
use crate::store::ssh_config;
use crate::sys::clock;
use crate::ui;

/// What to look at.
pub struct Look<'a> {
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
pub struct Found {
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
    /// Moves that nobody has read of yet.
    pub untold: BTreeMap<InstanceId, Vec<UntoldMove>>,
    /// The hosts of the last index.
    pub old: Vec<Known>,
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
pub fn look(look: &Look<'_>) -> Result<Found> {
    let Look { paths, config, index, .. } = look;
    let old: Content<Known> = index.map(Index::content).transpose()?.unwrap_or_default();
    ui::trace(|| format!("read {} hosts of the last index", old.hosts.len()));
    let mut images = Images::read(&paths.images());
    let now = clock::now();
    let mut survey = ask(look, &old.sources, &images, now)?;
    ui::trace(|| "AWS has answered".to_owned());
    let mut notes = learn(&mut images, &mut survey, look, &old.hosts, now);
    let terminated = terminated(&survey, &old.hosts, *index);
    let Sorted { sightings, unseen, failed } = sorted(&mut survey, &mut notes);
    // Whole hosts are read only where some are kept.
    let mut kept = Vec::new();
    if survey.asked.contains(&false) || !unseen.is_empty() {
        let whole: Content = index.map(Index::content).transpose()?.unwrap_or_default();
        kept = whole.hosts;
        kept.retain(|host| is_kept(&survey, &unseen, host));
    }
    if old.damaged > 0 {
        notes.push(format!("{} lines of the instance index could not be read; it is made anew", old.damaged));
    }
    let is_whole = index.is_some() && old.damaged == 0;
    // Other spellings follow the name in lower case, which has been compared with the hashes.
    let is_lower = |name: &str| !name.bytes().any(|b| b.is_ascii_uppercase());
    let by_hash = |name: &str| is_lower(name).then(|| look.reach.by_hash(name)).flatten();
    let taken = |name: &str, held: bool| {
        if held { look.reach.by_name(name) } else { look.reach.of(name).or_else(|| by_hash(name)) }
    };
    let plan = Plan {
        sources: &survey.sources,
        rules: &config.hosts,
        images: &images,
        old: &old.hosts,
        past: remembered(paths, &old.hosts, old.memory, is_whole, now),
        taken: &taken,
        accept_moves: look.accept_moves,
        now,
    };
    let not_seen = kept.iter().map(|host| host.id.clone()).collect();
    let fleet = fleet::build(&plan, sightings, kept);
    ui::trace(|| format!("named {} hosts", fleet.hosts.len()));
    let records = records(survey, &old.sources);
    Ok(Found {
        fleet,
        records,
        failed,
        notes,
        proven: old.proven,
        untold: old.untold,
        old: old.hosts,
        terminated,
        not_seen,
    })
}

fn ask(look: &Look<'_>, records: &[SourceRecord], images: &Images, now: u64) -> Result<Survey> {
    let progress = ui::Progress::start();
    let is_asked = |source: &Source| {
        look.only.is_none_or(|only| only.iter().any(|name| *name == source.name || *name == source.of))
    };
    let survey = query::all(&Question {
        sources: &look.config.sources,
        is_asked: &is_asked,
        records,
        cache: config::credentials_folder(look.config, look.paths).filter(|_| look.keep),
        images,
        now,
        progress: &progress,
    });
    progress.end();
    survey
}

/// What a survey comes to.
struct Sorted {
    sightings: Vec<Sighting>,
    /// Sources and regions whose hosts stay as they were.
    unseen: Vec<(usize, Option<String>)>,
    failed: Vec<Failed>,
}

fn sorted(survey: &mut Survey, notes: &mut Vec<String>) -> Sorted {
    let unexpanded = survey.unexpanded.drain(..);
    let mut failed: Vec<Failed> = unexpanded.map(|(source, error)| Failed { source, region: None, error }).collect();
    let mut sightings = Vec::new();
    let mut unseen: Vec<(usize, Option<String>)> = Vec::new();
    let mut denied: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Seen { source, region, found, only_a_note } in survey.seen.drain(..) {
        let name = survey.sources[source].name.clone();
        match found {
            Ok(found) if sightings.is_empty() => sightings = found,
            Ok(found) => sightings.extend(found),
            Err(_) if only_a_note => {
                unseen.push((source, region.clone()));
                denied.entry(name).or_default().extend(region);
            }
            Err(error) => {
                let several = survey.regions.get(&name).is_some_and(|regions| regions.len() > 1);
                failed.push(Failed { source: name, region: region.clone().filter(|_| several), error });
                unseen.push((source, region));
            }
        }
    }
    for (source, regions) in denied {
        notes.push(format!("source {source:?} may not use {}: what it has there stays as it was", regions.join(", ")));
    }
    Sorted { sightings, unseen, failed }
}

/// Who had which name. Where the index is not whole, the generated config still says whose the names were, though not in
/// which account.
fn remembered(paths: &Paths, old: &[Known], memory: Past, is_whole: bool, now: u64) -> Past {
    let mut past = fleet::past(old, memory, now);
    if !is_whole {
        for (name, id) in ssh_config::names_written(paths) {
            past.entry(name).or_insert(Holder { id, account: "unknown".to_owned(), seen: now });
        }
    }
    past
}

fn learn(images: &mut Images, survey: &mut Survey, look: &Look<'_>, old: &[Known], now: u64) -> Vec<String> {
    let news = !survey.images.is_empty();
    for (asked, answered) in survey.images.drain(..) {
        images.learn(&asked, answered, now);
    }
    if news && look.keep {
        let seen: std::collections::HashSet<&str> = survey
            .seen
            .iter()
            .flat_map(|seen| seen.found.iter().flatten())
            .map(|sighting| sighting.instance.image.as_str())
            .chain(old.iter().map(|host| host.image.as_str()))
            .collect();
        if let Err(error) = images.write(&look.paths.images(), |id| seen.contains(id)) {
            ui::verbose(|| error.message);
        }
    }
    let told = |error: &Error| {
        let words =
            "OS users of images without a tag ssh-eic:user are those of before, or ec2-user; set user in config.toml";
        format!("{} ({words})", error.message)
    };
    survey.images_failed.iter().map(told).collect()
}

/// Instances of the last index that no longer exist: the source that had them got a complete answer from the same account
/// and region, without filters, and no source lists them. An instance that only left a filter is not terminated.
fn terminated(survey: &Survey, old: &[Known], index: Option<&Index>) -> HashSet<InstanceId> {
    let Some(index) = index else { return HashSet::new() };
    let sightings = survey.seen.iter().flat_map(|seen| seen.found.iter().flatten());
    let existing: HashSet<&InstanceId> = sightings.map(|sighting| &sighting.instance.id).collect();
    let missing = old.iter().map(|host| &host.id).filter(|id| !existing.contains(id));
    let was_all_seen = |host: &Host| {
        let Some(at) = survey.sources.iter().position(|source| source.name == host.source) else { return false };
        survey.sources[at].tags.is_empty()
            && survey.accounts.get(&host.source) == Some(&host.account)
            && survey
                .seen
                .iter()
                .any(|seen| seen.source == at && seen.region.as_ref() == Some(&host.region) && seen.found.is_ok())
    };
    let was_terminated =
        |id: &InstanceId| index.host(id.as_str()).ok().flatten().is_some_and(|host| was_all_seen(&host));
    missing.filter(|id| was_terminated(id)).cloned().collect()
}

/// Hosts of a source that was not asked, or gave no answer, stay as they were.
fn is_kept(survey: &Survey, unseen: &[(usize, Option<String>)], host: &Host) -> bool {
    let Some(at) = survey.sources.iter().position(|source| source.name == host.source) else { return false };
    let unanswered = |(source, region): &(usize, Option<String>)| {
        *source == at && region.as_ref().is_none_or(|region| *region == host.region)
    };
    !survey.asked[at] || unseen.iter().any(unanswered)
}

fn records(survey: Survey, old: &[SourceRecord]) -> Vec<SourceRecord> {
    let one = |(rank, source): (usize, Source)| {
        let before = query::record(old, &source.name);
        let known = before.and_then(|record| record.identity.account.clone());
        let found = survey.accounts.get(&source.name).cloned();
        let identity = source.identity().unwrap_or_default();
        let account = identity.account.clone().or(found).or(known);
        let regions = survey.regions.get(&source.name).filter(|regions| !regions.is_empty()).cloned();
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
    survey.sources.into_iter().enumerate().map(one).collect()
}
