//! Asking every source in every region at once. One that fails does not stop the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::aws::client::{self, Patience};
use crate::aws::credentials::{self, Identity, Session};
use crate::aws::instances;
use crate::core::fleet::Sighting;
use crate::core::ids::InstanceId;
use crate::error::{Error, Kind, Result};
use crate::store::config::Source;

/// Requests under way at once.
const AT_ONCE: usize = 16;

/// What was seen of one source in one region.
#[derive(Debug)]
pub struct Seen {
    /// Position of the source in the config.
    pub source: usize,
    /// The region; none where not even that could be found out.
    pub region: Option<String>,
    /// The account that signed.
    pub account: Option<String>,
    /// The instances, or why there are none.
    pub found: Result<Vec<Sighting>>,
}

/// Asks all. `known` holds the account of each source at its last sync.
///
/// # Errors
///
/// [`Kind::Bug`] only; what AWS says is in the answers.
pub fn all(sources: &[Source], known: &BTreeMap<String, String>) -> Result<Vec<Seen>> {
    client::run(async {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for (position, source) in sources.iter().enumerate() {
            let (source, permits) = (source.clone(), Arc::clone(&permits));
            let known = known.get(&source.name).cloned();
            tasks.spawn(async move { of_source(position, &source, known, &permits).await });
        }
        let mut seen: Vec<Seen> = Vec::new();
        while let Some(answers) = tasks.join_next().await {
            seen.extend(answers.map_err(|error| Error::new(Kind::Bug, "a query ended early").because(error))?);
        }
        seen.sort_by(|a, b| (a.source, &a.region).cmp(&(b.source, &b.region)));
        Ok(seen)
    })
}

async fn of_source(position: usize, source: &Source, known: Option<String>, permits: &Arc<Semaphore>) -> Vec<Seen> {
    let mut identity = Identity::of(source);
    identity.account = identity.account.or(known);
    let regions: Vec<Option<&str>> = if source.regions.is_empty() {
        vec![None]
    } else {
        source.regions.iter().map(|region| Some(region.as_str())).collect()
    };
    let first = {
        let _permit = permits.acquire().await;
        sign_in(&identity, regions[0]).await
    };
    let (session, account) = match first {
        Ok(signed) => signed,
        Err(error) => {
            // Nothing of this source can be asked, in whatever region.
            return vec![Seen { source: position, region: None, account: None, found: Err(error) }];
        }
    };
    let mut tasks = JoinSet::new();
    for region in regions {
        let (mut session, source, permits) = (session.clone(), source.clone(), Arc::clone(permits));
        if let Some(region) = region {
            region.clone_into(&mut session.region);
            session.config = session.config.into_builder().region(aws_config::Region::new(region.to_owned())).build();
        }
        let account = account.clone();
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            of_region(position, &source, &session, &account).await
        });
    }
    let mut seen = Vec::new();
    while let Some(one) = tasks.join_next().await {
        seen.push(one.unwrap_or_else(|error| Seen {
            source: position,
            region: None,
            account: None,
            found: Err(Error::new(Kind::Bug, "a query ended early").because(error)),
        }));
    }
    seen
}

async fn sign_in(identity: &Identity, region: Option<&str>) -> Result<(Session, String)> {
    let session = credentials::open(identity, region, Patience::QUERY).await?;
    let account = credentials::account(&session).await?;
    Ok((session, account))
}

async fn of_region(position: usize, source: &Source, session: &Session, account: &str) -> Seen {
    let found = instances::of_source(session, source).await.map(|instances| {
        instances
            .into_iter()
            .map(|(owner, instance)| Sighting {
                source: position,
                region: session.region.clone(),
                account: if owner.is_empty() { account.to_owned() } else { owner },
                instance,
            })
            .collect()
    });
    Seen { source: position, region: Some(session.region.clone()), account: Some(account.to_owned()), found }
}

/// Source and region of an instance, and what failed while looking for it.
pub type Located = (Option<(String, String)>, Vec<Error>);

/// Looks for one instance in all sources and regions: the first source that has it, and what failed on the way.
///
/// # Errors
///
/// [`Kind::Bug`] only.
pub fn locate(sources: &[Source], id: &InstanceId) -> Result<Located> {
    client::run(async {
        let mut tasks = JoinSet::new();
        for (position, source) in sources.iter().enumerate() {
            let regions: Vec<Option<String>> =
                if source.regions.is_empty() { vec![None] } else { source.regions.iter().cloned().map(Some).collect() };
            for region in regions {
                let (identity, id) = (Identity::of(source), id.clone());
                tasks.spawn(async move { (position, has(&identity, region.as_deref(), &id).await) });
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

async fn has(identity: &Identity, region: Option<&str>, id: &InstanceId) -> Result<Option<String>> {
    let session = credentials::open(identity, region, Patience::PUSH).await?;
    match instances::by_id(&session, id).await {
        Ok(instance) => Ok(instance.map(|_| session.region)),
        Err(failure) if failure.error.kind == Kind::NoHost => Ok(None),
        Err(failure) => Err(failure.error),
    }
}
