//! Looking for one instance that no sync has seen: an id that a user typed.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::aws::client::{self, RequestLimits};
use crate::aws::{credentials, instances};
use crate::discover::expand;
use crate::discover::query::{AT_ONCE, record};
use crate::domain::identity::Identity;
use crate::domain::ids::InstanceId;
use crate::domain::source::{Regions, Source};
use crate::error::{Error, Kind, Result};
use crate::store::index::SourceRecord;

/// Source and region of an instance, and what failed while looking for it.
pub type Located = (Option<(String, String)>, Vec<Error>);

/// Looks in all sources and regions: the first source that has it, and what failed on the way. Sources that stand for
/// many are looked for where the last sync found them.
///
/// # Errors
///
/// [`Kind::Bug`] only.
pub fn locate(
    sources: &[Source],
    records: &[SourceRecord],
    id: &InstanceId,
    cache: Option<PathBuf>,
) -> Result<Located> {
    crate::sys::limits::many_files();
    let recorded = |source: &Source| -> Vec<Source> {
        if source.identity().is_some() { vec![source.clone()] } else { expand::as_recorded(source, records) }
    };
    let sources: Vec<Source> = sources.iter().flat_map(recorded).collect();
    client::run(async {
        let (cache, permits) = (Arc::new(cache), Arc::new(Semaphore::new(AT_ONCE)));
        let mut tasks = JoinSet::new();
        for (position, source) in sources.iter().enumerate() {
            let known = record(records, &source.name);
            let mut identity = source.identity().unwrap_or_default();
            identity.account = identity.account.or_else(|| known.and_then(|record| record.identity.account.clone()));
            for region in regions(source, known) {
                let (identity, id) = (identity.clone(), id.clone());
                let (cache, permits) = (Arc::clone(&cache), Arc::clone(&permits));
                tasks.spawn(async move {
                    let _permit = permits.acquire().await;
                    (position, has(&identity, region.as_deref(), &id, cache.as_deref()).await)
                });
            }
        }
        let mut found: Vec<(usize, String)> = Vec::new();
        let mut failures = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            let (position, answer) =
                joined.map_err(|error| Error::new(Kind::Bug, "a query ended early").because(error))?;
            match answer {
                Ok(Some(region)) => found.push((position, region)),
                Ok(None) => {}
                Err(error) => failures.push(error),
            }
        }
        let first = found.into_iter().min().map(|(position, region)| (sources[position].name.clone(), region));
        Ok((first, failures))
    })
}

/// None: the profile's own.
fn regions(source: &Source, known: Option<&SourceRecord>) -> Vec<Option<String>> {
    match (&source.regions, known) {
        (Regions::Named(named), _) => named.iter().cloned().map(Some).collect(),
        (Regions::All, Some(record)) if !record.regions.is_empty() => {
            record.regions.iter().cloned().map(Some).collect()
        }
        _ => vec![None],
    }
}

async fn has(
    identity: &Identity,
    region: Option<&str>,
    id: &InstanceId,
    cache: Option<&std::path::Path>,
) -> Result<Option<String>> {
    let session = credentials::open(identity, region, RequestLimits::PUSH, cache).await?;
    match instances::by_id(&session, id).await {
        Ok(instance) => Ok(instance.map(|_| session.region)),
        Err(failure) if failure.error.kind == Kind::NoHost => Ok(None),
        Err(failure) => Err(failure.error),
    }
}
