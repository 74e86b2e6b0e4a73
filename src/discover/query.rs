//! Queries every source in every region at once. A source that fails does not stop the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials::{self, Session};
use crate::aws::{images, instances, regions};
use crate::discover::expand::{self, Expanded};
use crate::domain::fleet::{DiscoveredInstance, TAG_USER};
use crate::domain::image::Image;
use crate::domain::source::{Regions, Source};
use crate::domain::tag_filter::TagValues;
use crate::error::{Error, Kind, Result};
use crate::store::images::Images;
use crate::store::index::SourceRecord;
use crate::ui::{self, Progress};

/// Requests under way at once: each waits for AWS most of its time, and sources of different accounts do not batch a
/// limit there.
pub const AT_ONCE: usize = 240;

/// The result of one source in one region.
#[derive(Debug)]
pub struct RegionResult {
    /// Position of the source in [`Responses::sources`].
    pub source: usize,
    /// The region; none where not even that could be found out.
    pub region: Option<String>,
    /// The instances, or why there are none.
    pub found: Result<Vec<DiscoveredInstance>>,
    /// It fails because the account may not use a region that the config does not name: not a failure of the source.
    pub only_a_note: bool,
}

/// The responses of all sources.
#[derive(Debug, Default)]
pub struct Responses {
    /// All effective sources in the order of the config, asked or not.
    pub sources: Vec<Source>,
    /// By position, which of them were asked.
    pub asked: Vec<bool>,
    /// The account that each source signed for.
    pub accounts: BTreeMap<String, String>,
    /// The regions of each source.
    pub regions: BTreeMap<String, Vec<String>>,
    /// What was seen.
    pub seen: Vec<RegionResult>,
    /// Sources of the config that could not be expanded, and why; those of the last sync stand for them, not asked.
    pub unexpanded: Vec<(String, Error)>,
    /// Images that were asked for, and what AWS said.
    pub images: Vec<(Vec<String>, BTreeMap<String, Image>)>,
    /// Why images could not be asked for, once.
    pub images_failed: Option<Error>,
    /// By the name of a source whose `tags` match no instance, the tags that instances have.
    pub other_tags: BTreeMap<String, TagValues>,
}

/// What to query.
pub struct Query<'a> {
    /// The sources of the config.
    pub sources: &'a [Source],
    /// Whether a source, or the one of the config that it comes from, is asked.
    pub is_asked: &'a dyn Fn(&Source) -> bool,
    /// Sources at the last sync.
    pub records: &'a [SourceRecord],
    /// Where temporary credentials are kept.
    pub cache: Option<PathBuf>,
    /// Images that are known.
    pub images: &'a Images,
    /// Milliseconds since 1970.
    pub now: u64,
    /// The progress display.
    pub progress: &'a Progress,
}

/// State shared by all requests of a query.
struct SharedQuery {
    permits: Semaphore,
    cache: Option<PathBuf>,
    progress: Progress,
    /// Images that are known or being asked for.
    images: Images,
    claimed: Mutex<BTreeSet<(String, String)>>,
    now: u64,
}

/// Queries all sources.
///
/// # Errors
///
/// [`Kind::Bug`] only; failures of AWS are in the responses.
pub fn all(query: &Query<'_>) -> Result<Responses> {
    crate::sys::limits::many_files();
    let mut responses = client::run(async { Ok(expanded(query).await) })?;
    let shared = Arc::new(SharedQuery {
        permits: Semaphore::new(AT_ONCE),
        cache: query.cache.clone(),
        progress: query.progress.clone(),
        images: query.images.clone(),
        claimed: Mutex::default(),
        now: query.now,
    });
    let known = |source: &Source| record(query.records, &source.name).and_then(|one| one.identity.account.clone());
    let asked: Vec<SourceQuery> = responses
        .sources
        .iter()
        .enumerate()
        .filter(|(position, _)| responses.asked[*position])
        .map(|(position, source)| SourceQuery { position, source: source.clone(), known: known(source) })
        .collect();
    query.progress.more(asked.len());
    for response in on_all_processors(asked, &shared)? {
        let name = responses.sources[response.source].name.clone();
        responses.other_tags.extend(response.other_tags.map(|tags| (name.clone(), tags)));
        responses.accounts.extend(response.account.map(|account| (name.clone(), account)));
        responses.regions.insert(name, response.regions);
        responses.seen.extend(response.seen);
        responses.images.extend(response.images);
        responses.images_failed = responses.images_failed.or(response.images_failed);
    }
    responses.seen.sort_by(|a, b| (a.source, &a.region).cmp(&(b.source, &b.region)));
    Ok(responses)
}

/// The record of a source by its name.
#[must_use]
pub fn record<'r>(records: &'r [SourceRecord], name: &str) -> Option<&'r SourceRecord> {
    records.iter().find(|record| record.name == name)
}

/// A source to be asked, and the account that it signed for last time.
struct SourceQuery {
    position: usize,
    source: Source,
    known: Option<String>,
}

/// Reading what AWS sends is most of the work: each processor has a batch of the sources.
fn on_all_processors(asked: Vec<SourceQuery>, shared: &Arc<SharedQuery>) -> Result<Vec<SourceResponse>> {
    let processors = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(asked.len().max(1));
    if processors == 1 {
        return client::run(ask(asked, Arc::clone(shared)));
    }
    let mut batches: Vec<Vec<SourceQuery>> = (0..processors).map(|_| Vec::new()).collect();
    for (at, one) in asked.into_iter().enumerate() {
        batches[at % processors].push(one);
    }
    thread::scope(|scope| {
        let start = |batch| scope.spawn(move || client::run(ask(batch, Arc::clone(shared))));
        let running: Vec<_> = batches.into_iter().map(start).collect();
        let mut responses = Vec::new();
        for thread in running {
            responses.extend(thread.join().unwrap_or_else(|_| Err(ended_early("a thread")))?);
        }
        Ok(responses)
    })
}

/// Threads that read responses at most.
const MOST_THREADS: usize = 4;

fn ended_early(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Bug, "a query ended early").because(why)
}

async fn ask(asked: Vec<SourceQuery>, shared: Arc<SharedQuery>) -> Result<Vec<SourceResponse>> {
    let mut tasks = JoinSet::new();
    for SourceQuery { position, source, known } in asked {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move { Box::pin(of_source(position, source, known, shared)).await });
    }
    let mut responses = Vec::new();
    while let Some(response) = tasks.join_next().await {
        responses.push(response.map_err(ended_early)?);
    }
    Ok(responses)
}

async fn expanded(query: &Query<'_>) -> Responses {
    let mut responses = Responses::default();
    for source in query.sources {
        // Part of a source can be meant by its own name, which only the expansion tells.
        let wanted = (query.is_asked)(source)
            || query.records.iter().any(|r| r.of == source.name && (query.is_asked)(&expand::restored(source, r)));
        let recorded = || match source.identity() {
            Some(_) => vec![source.clone()],
            None => expand::as_recorded(source, query.records),
        };
        let expanded = if wanted { expand::expand(source, query.sources).await } else { Ok(Expanded::default()) };
        let (found, unknown) = match expanded {
            Ok(Expanded { sources, failed }) if wanted => {
                responses.unexpanded.extend(failed.iter().map(|(_, error)| (source.name.clone(), error.clone())));
                // An account that did not tell its roles stands as the last sync found it.
                let of_failed = |one: &Source| failed.iter().any(|(account, _)| expand::is_in_account(one, account));
                (sources, recorded().into_iter().filter(of_failed).collect())
            }
            other => {
                responses.unexpanded.extend(other.err().map(|error| (source.name.clone(), error)));
                (Vec::new(), recorded())
            }
        };
        for (one, is_asked) in
            found.into_iter().map(|one| (one, true)).chain(unknown.into_iter().map(|one| (one, false)))
        {
            // Two patterns can match one profile: the first one has it.
            if responses.sources.iter().all(|other| other.name != one.name) {
                responses.asked.push(is_asked && (query.is_asked)(&one));
                responses.sources.push(one);
            }
        }
    }
    responses
}

/// The results of one source in all its regions.
#[derive(Default)]
struct SourceResponse {
    source: usize,
    account: Option<String>,
    regions: Vec<String>,
    seen: Vec<RegionResult>,
    images: Vec<(Vec<String>, BTreeMap<String, Image>)>,
    images_failed: Option<Error>,
    other_tags: Option<TagValues>,
}

async fn of_source(position: usize, source: Source, known: Option<String>, shared: Arc<SharedQuery>) -> SourceResponse {
    let mut response = SourceResponse { source: position, ..SourceResponse::default() };
    let (session, account, regions) = match Box::pin(signed_in(&source, known, &shared)).await {
        Ok(signed) => signed,
        Err(error) => {
            // Nothing of this source can be asked, in whatever region.
            response.seen.push(RegionResult { source: position, region: None, found: Err(error), only_a_note: false });
            shared.progress.done(1);
            return response;
        }
    };
    shared.progress.more(regions.len().saturating_sub(1));
    let source = Arc::new(source);
    let mut tasks = JoinSet::new();
    for region in &regions {
        let (session, source, shared) = (session.in_region(region), Arc::clone(&source), Arc::clone(&shared));
        let account = account.clone();
        tasks.spawn(async move { of_region(position, &source, &session, &account, &shared).await });
    }
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((seen, images)) => {
                response.seen.push(seen);
                match images {
                    Ok(images) => response.images.extend(images),
                    Err(error) => response.images_failed = Some(error),
                }
            }
            Err(error) => response.seen.push(RegionResult {
                source: position,
                region: None,
                found: Err(ended_early(error)),
                only_a_note: false,
            }),
        }
    }
    if response.seen.iter().all(|seen| seen.only_a_note) {
        // Not a region that is out of bounds, but a person who may not ask anywhere.
        response.seen.iter_mut().for_each(|seen| seen.only_a_note = false);
    }
    // One source in the config, not one of many accounts or profiles, of which most may have no match.
    let matches_nothing = response.seen.iter().all(|seen| seen.found.as_ref().is_ok_and(Vec::is_empty));
    if matches_nothing && !source.tags.is_empty() && source.of == source.name {
        let mut values = TagValues::new();
        for region in &regions {
            let _permit = shared.permits.acquire().await;
            for (key, more) in instances::tag_values(&session.in_region(region)).await.unwrap_or_default() {
                values.entry(key).or_default().extend(more);
            }
        }
        response.other_tags = Some(values);
    }
    response.account = Some(account);
    response.regions = regions;
    response
}

/// Regions in which to ask which there are, where the own one may not be asked or is not known: one that an organization
/// denies says nothing of the others.
const ANY_REGION: [&str; 3] = ["us-east-1", "eu-west-1", "eu-central-1"];

async fn signed_in(
    source: &Source,
    known: Option<String>,
    shared: &SharedQuery,
) -> Result<(Session, String, Vec<String>)> {
    let _permit = shared.permits.acquire().await;
    let mut identity = source.identity().unwrap_or_default();
    identity.account = identity.account.or(known);
    let open = |region| credentials::open(&identity, region, RequestLimits::QUERY, shared.cache.as_deref());
    let session = match &source.regions {
        Regions::Named(named) => open(named.first().map(String::as_str)).await?,
        Regions::OfProfile => open(None).await?,
        Regions::All => match open(None).await {
            Err(error) if error.kind == Kind::Config => open(Some(ANY_REGION[0])).await?,
            session => session?,
        },
    };
    let account = credentials::account(&session).await?;
    let regions = match &source.regions {
        Regions::Named(named) => named.clone(),
        Regions::OfProfile => vec![session.region.clone()],
        Regions::All => all_regions(&session).await?,
    };
    Ok((session, account, regions))
}

async fn all_regions(session: &Session) -> Result<Vec<String>> {
    let first = regions::enabled(session).await;
    let denied = |error: &Error| error.kind == Kind::Denied;
    if first.as_ref().is_err_and(denied) {
        for region in ANY_REGION.into_iter().filter(|region| *region != session.region) {
            if let Ok(regions) = regions::enabled(&session.in_region(region)).await {
                return Ok(regions);
            }
        }
    }
    first
}

type Described = Result<Option<(Vec<String>, BTreeMap<String, Image>)>>;

async fn of_region(
    position: usize,
    source: &Source,
    session: &Session,
    account: &str,
    shared: &SharedQuery,
) -> (RegionResult, Described) {
    let _permit = shared.permits.acquire().await;
    let progress = shared.progress.clone();
    let discovered = |owner: String, instance| DiscoveredInstance {
        source: position,
        region: session.region.clone(),
        account: if owner.is_empty() { account.to_owned() } else { owner },
        instance,
    };
    let (name, region) = (&source.name, &session.region);
    ui::verbose(|| {
        let identity = credentials::described(&session.identity);
        let filters = instances::filter_text(source);
        format!("source {name:?}: ec2:DescribeInstances in {region} with {identity}, filters {filters}")
    });
    let pages = AtomicUsize::new(0);
    let on_page = |count| {
        pages.fetch_add(1, Ordering::Relaxed);
        progress.found(count);
    };
    let found = instances::of_source(session, source, &discovered, &on_page).await;
    if let Ok(found) = &found {
        ui::verbose(|| {
            let (instances, pages) = (found.len(), pages.load(Ordering::Relaxed));
            let plural = if pages == 1 { "" } else { "s" };
            format!("source {name:?}: {instances} instances on {pages} page{plural} in {region}")
        });
    }
    let images = match &found {
        Ok(instances) if source.user.is_none() => {
            let unknown = unknown_images(instances.iter().map(|discovered| &discovered.instance), account, shared);
            if unknown.is_empty() {
                Ok(None)
            } else {
                images::of_ids(session, &unknown).await.map(|found| Some((unknown, found)))
            }
        }
        _ => Ok(None),
    };
    shared.progress.done(1);
    let found = found.map_err(|failure| failure.error);
    let is_disabled = |error: &Error| error.kind == Kind::Denied || error.code.as_deref() == Some("OptInRequired");
    let only_a_note = source.regions == Regions::All && found.as_ref().is_err_and(is_disabled);
    (RegionResult { source: position, region: Some(session.region.clone()), found, only_a_note }, images)
}

/// Images that determine a user and have not been queried yet.
fn unknown_images<'a>(
    instances: impl Iterator<Item = &'a crate::domain::fleet::Instance>,
    account: &str,
    shared: &SharedQuery,
) -> Vec<String> {
    let open = instances.filter(|instance| !instance.windows && !instance.tags.contains_key(TAG_USER));
    let wanted: BTreeSet<&String> =
        open.map(|instance| &instance.image).filter(|id| shared.images.is_unknown(id, shared.now)).collect();
    let Ok(mut claimed) = shared.claimed.lock() else { return Vec::new() };
    // What one account may not ask another one may.
    wanted.into_iter().filter(|id| claimed.insert((account.to_owned(), (*id).clone()))).cloned().collect()
}
