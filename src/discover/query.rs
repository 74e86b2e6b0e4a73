//! Asking every source in every region at once. One that fails does not stop the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials::{self, Session};
use crate::aws::{images, instances, regions};
use crate::discover::expand::{self, Expanded};
use crate::domain::fleet::{Sighting, TAG_USER};
use crate::domain::image::Image;
use crate::domain::source::{Regions, Source};
use crate::error::{Error, Kind, Result};
use crate::store::images::Images;
use crate::store::index::SourceRecord;
use crate::ui::Progress;

/// Requests under way at once: each waits for AWS most of its time, and sources of different accounts do not share a
/// limit there.
pub const AT_ONCE: usize = 240;

/// What was seen of one source in one region.
#[derive(Debug)]
pub struct Seen {
    /// Position of the source in [`Survey::sources`].
    pub source: usize,
    /// The region; none where not even that could be found out.
    pub region: Option<String>,
    /// The instances, or why there are none.
    pub found: Result<Vec<Sighting>>,
    /// It fails because the account may not use a region that nobody named: no failure of the source.
    pub only_a_note: bool,
}

/// Everything that AWS said.
#[derive(Debug, Default)]
pub struct Survey {
    /// All effective sources in the order of the config, asked or not.
    pub sources: Vec<Source>,
    /// By position, which of them were asked.
    pub asked: Vec<bool>,
    /// The account that each source signed for.
    pub accounts: BTreeMap<String, String>,
    /// The regions of each source.
    pub regions: BTreeMap<String, Vec<String>>,
    /// What was seen.
    pub seen: Vec<Seen>,
    /// Sources of the config that could not be expanded, and why; those of the last sync stand for them, not asked.
    pub unexpanded: Vec<(String, Error)>,
    /// Images that were asked for, and what AWS said.
    pub images: Vec<(Vec<String>, BTreeMap<String, Image>)>,
    /// Why images could not be asked for, once.
    pub images_failed: Option<Error>,
}

/// What a survey needs to know.
pub struct Question<'a> {
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
    /// Hears how it goes.
    pub progress: &'a Progress,
}

/// Shared by all requests of a survey.
struct Asking {
    permits: Semaphore,
    cache: Option<PathBuf>,
    progress: Progress,
    /// Images that are known or being asked for.
    images: Images,
    claimed: Mutex<BTreeSet<(String, String)>>,
    now: u64,
}

/// Asks all.
///
/// # Errors
///
/// [`Kind::Bug`] only; what AWS says is in the survey.
pub fn all(question: &Question<'_>) -> Result<Survey> {
    crate::sys::limits::many_files();
    let mut survey = client::run(async { Ok(expanded(question).await) })?;
    let asking = Arc::new(Asking {
        permits: Semaphore::new(AT_ONCE),
        cache: question.cache.clone(),
        progress: question.progress.clone(),
        images: question.images.clone(),
        claimed: Mutex::default(),
        now: question.now,
    });
    let known = |source: &Source| record(question.records, &source.name).and_then(|one| one.identity.account.clone());
    let asked: Vec<Asked> = survey
        .sources
        .iter()
        .enumerate()
        .filter(|(position, _)| survey.asked[*position])
        .map(|(position, source)| Asked { position, source: source.clone(), known: known(source) })
        .collect();
    question.progress.more(asked.len());
    for answer in on_all_processors(asked, &asking)? {
        let name = survey.sources[answer.source].name.clone();
        survey.accounts.extend(answer.account.map(|account| (name.clone(), account)));
        survey.regions.insert(name, answer.regions);
        survey.seen.extend(answer.seen);
        survey.images.extend(answer.images);
        survey.images_failed = survey.images_failed.or(answer.images_failed);
    }
    survey.seen.sort_by(|a, b| (a.source, &a.region).cmp(&(b.source, &b.region)));
    Ok(survey)
}

/// The record of a source by its name.
#[must_use]
pub fn record<'r>(records: &'r [SourceRecord], name: &str) -> Option<&'r SourceRecord> {
    records.iter().find(|record| record.name == name)
}

/// A source to be asked, and the account that it signed for last time.
struct Asked {
    position: usize,
    source: Source,
    known: Option<String>,
}

/// Reading what AWS sends is most of the work: each processor has a share of the sources.
fn on_all_processors(asked: Vec<Asked>, asking: &Arc<Asking>) -> Result<Vec<Answer>> {
    let processors = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(asked.len().max(1));
    if processors == 1 {
        return client::run(ask(asked, Arc::clone(asking)));
    }
    let mut shares: Vec<Vec<Asked>> = (0..processors).map(|_| Vec::new()).collect();
    for (at, one) in asked.into_iter().enumerate() {
        shares[at % processors].push(one);
    }
    thread::scope(|scope| {
        let start = |share| scope.spawn(move || client::run(ask(share, Arc::clone(asking))));
        let running: Vec<_> = shares.into_iter().map(start).collect();
        let mut answers = Vec::new();
        for thread in running {
            answers.extend(thread.join().unwrap_or_else(|_| Err(ended_early("a thread")))?);
        }
        Ok(answers)
    })
}

/// Threads that read answers at most.
const MOST_THREADS: usize = 4;

fn ended_early(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Bug, "a query ended early").because(why)
}

async fn ask(asked: Vec<Asked>, asking: Arc<Asking>) -> Result<Vec<Answer>> {
    let mut tasks = JoinSet::new();
    for Asked { position, source, known } in asked {
        let asking = Arc::clone(&asking);
        tasks.spawn(async move { Box::pin(of_source(position, source, known, asking)).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer.map_err(ended_early)?);
    }
    Ok(answers)
}

async fn expanded(question: &Question<'_>) -> Survey {
    let mut survey = Survey::default();
    for source in question.sources {
        // Part of a source can be meant by its own name, which only the expansion tells.
        let wanted = (question.is_asked)(source)
            || question
                .records
                .iter()
                .any(|r| r.of == source.name && (question.is_asked)(&expand::restored(source, r)));
        let recorded = || match source.identity() {
            Some(_) => vec![source.clone()],
            None => expand::as_recorded(source, question.records),
        };
        let expanded = if wanted { expand::expand(source, question.sources).await } else { Ok(Expanded::default()) };
        let (found, unknown) = match expanded {
            Ok(Expanded { sources, failed }) if wanted => {
                survey.unexpanded.extend(failed.iter().map(|(_, error)| (source.name.clone(), error.clone())));
                // An account that did not tell its roles stands as the last sync found it.
                let of_failed = |one: &Source| failed.iter().any(|(account, _)| expand::is_in_account(one, account));
                (sources, recorded().into_iter().filter(of_failed).collect())
            }
            other => {
                survey.unexpanded.extend(other.err().map(|error| (source.name.clone(), error)));
                (Vec::new(), recorded())
            }
        };
        for (one, is_asked) in
            found.into_iter().map(|one| (one, true)).chain(unknown.into_iter().map(|one| (one, false)))
        {
            // Two patterns can match one profile: the first one has it.
            if survey.sources.iter().all(|other| other.name != one.name) {
                survey.asked.push(is_asked && (question.is_asked)(&one));
                survey.sources.push(one);
            }
        }
    }
    survey
}

/// What one source said in all its regions.
#[derive(Default)]
struct Answer {
    source: usize,
    account: Option<String>,
    regions: Vec<String>,
    seen: Vec<Seen>,
    images: Vec<(Vec<String>, BTreeMap<String, Image>)>,
    images_failed: Option<Error>,
}

async fn of_source(position: usize, source: Source, known: Option<String>, asking: Arc<Asking>) -> Answer {
    let mut answer = Answer { source: position, ..Answer::default() };
    let (session, account, regions) = match Box::pin(signed_in(&source, known, &asking)).await {
        Ok(signed) => signed,
        Err(error) => {
            // Nothing of this source can be asked, in whatever region.
            answer.seen.push(Seen { source: position, region: None, found: Err(error), only_a_note: false });
            asking.progress.done(1);
            return answer;
        }
    };
    asking.progress.more(regions.len().saturating_sub(1));
    let source = Arc::new(source);
    let mut tasks = JoinSet::new();
    for region in &regions {
        let (session, source, asking) = (session.in_region(region), Arc::clone(&source), Arc::clone(&asking));
        let account = account.clone();
        tasks.spawn(async move { of_region(position, &source, &session, &account, &asking).await });
    }
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok((seen, images)) => {
                answer.seen.push(seen);
                match images {
                    Ok(images) => answer.images.extend(images),
                    Err(error) => answer.images_failed = Some(error),
                }
            }
            Err(error) => answer.seen.push(Seen {
                source: position,
                region: None,
                found: Err(ended_early(error)),
                only_a_note: false,
            }),
        }
    }
    if answer.seen.iter().all(|seen| seen.only_a_note) {
        // Not a region that is out of bounds, but a person who may not ask anywhere.
        answer.seen.iter_mut().for_each(|seen| seen.only_a_note = false);
    }
    answer.account = Some(account);
    answer.regions = regions;
    answer
}

/// Regions in which to ask which there are, where the own one may not be asked or is not known: one that an organization
/// denies says nothing of the others.
const ANY_REGION: [&str; 3] = ["us-east-1", "eu-west-1", "eu-central-1"];

async fn signed_in(source: &Source, known: Option<String>, asking: &Asking) -> Result<(Session, String, Vec<String>)> {
    let _permit = asking.permits.acquire().await;
    let mut identity = source.identity().unwrap_or_default();
    identity.account = identity.account.or(known);
    let open = |region| credentials::open(&identity, region, RequestLimits::QUERY, asking.cache.as_deref());
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
    asking: &Asking,
) -> (Seen, Described) {
    let _permit = asking.permits.acquire().await;
    let progress = asking.progress.clone();
    let sight = |owner: String, instance| Sighting {
        source: position,
        region: session.region.clone(),
        account: if owner.is_empty() { account.to_owned() } else { owner },
        instance,
    };
    let found = instances::of_source(session, source, &sight, &move |count| progress.found(count)).await;
    let images = match &found {
        Ok(instances) if source.user.is_none() => {
            let unknown = unknown_images(instances.iter().map(|sighting| &sighting.instance), account, asking);
            if unknown.is_empty() {
                Ok(None)
            } else {
                images::of_ids(session, &unknown).await.map(|found| Some((unknown, found)))
            }
        }
        _ => Ok(None),
    };
    asking.progress.done(1);
    let denied = |error: &Error| error.kind == Kind::Denied || error.code.as_deref() == Some("OptInRequired");
    let only_a_note = source.regions == Regions::All && found.as_ref().is_err_and(denied);
    (Seen { source: position, region: Some(session.region.clone()), found, only_a_note }, images)
}

/// Images that decide about a user and that nobody has asked for yet.
fn unknown_images<'a>(
    instances: impl Iterator<Item = &'a crate::domain::fleet::Instance>,
    account: &str,
    asking: &Asking,
) -> Vec<String> {
    let open = instances.filter(|instance| !instance.windows && !instance.tags.contains_key(TAG_USER));
    let wanted: BTreeSet<&String> =
        open.map(|instance| &instance.image).filter(|id| asking.images.is_unknown(id, asking.now)).collect();
    let Ok(mut claimed) = asking.claimed.lock() else { return Vec::new() };
    // What one account may not ask another one may.
    wanted.into_iter().filter(|id| claimed.insert((account.to_owned(), (*id).clone()))).cloned().collect()
}
