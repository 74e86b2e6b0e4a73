//! Whether there are credentials, of the right account, and for how long: of the host's source, or of all.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinSet;

use super::CheckContext;
use super::state::passed;
use crate::aws::caller_identity::{self, CallerIdentity, Lifetime};
use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials::{self, described};
use crate::discover::expand;
use crate::discover::failures::{self, Failed};
use crate::discover::query::record;
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::identity::Identity;
use crate::domain::source::{Regions, Source};
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::{Content, Known};
use crate::sys::clock;

/// For all sources together; a sign-in service or a program that gives credentials has 20 s of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// For one request: the checks come in order, and somebody waits.
const ONE: RequestLimits = RequestLimits { max_attempts: 2, ..RequestLimits::PUSH };

/// Whose credentials, in which region.
struct Asked {
    source: String,
    identity: Identity,
    region: Option<String>,
}

/// They are there, AWS takes them, and they will last.
pub(super) fn standing(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let cache = config::credentials_folder(context.config()?, context.paths);
    let answers = if context.wanted.is_some() {
        let job = &context.target()?.job;
        let source = context.target()?.host.as_ref().map(|host| host.source.clone()).unwrap_or_default();
        let one = Asked { source, identity: job.identity.clone(), region: job.region.clone() };
        client::run_within(PATIENCE, async { Ok(vec![ask(one, cache).await]) })?
    } else {
        let records = context.index()?.content::<Known>()?;
        let sources = &context.config()?.sources;
        client::run_within(PATIENCE, async { Ok(ask_all(sources, &records, cache).await) })?
    };
    let alone = answers.len() == 1;
    let (mut findings, mut failed) = (Vec::new(), Vec::new());
    for (asked, answer) in answers {
        match answer {
            Ok(standing) => findings.push(lasting(context.valid_for, &asked, &standing)),
            Err(error) => failed.push(Failed { source: asked.source, region: None, error }),
        }
    }
    let failed = if alone { failed.into_iter().map(|one| one.error).collect() } else { failures::by_cause(failed) };
    findings.extend(failed.iter().map(|error| super::problem("credentials", error)));
    Ok(findings)
}

type Answer = (Asked, Result<CallerIdentity>);

async fn ask(asked: Asked, cache: Option<PathBuf>) -> Answer {
    let answer = async {
        let session = credentials::open(&asked.identity, asked.region.as_deref(), ONE, cache.as_deref()).await?;
        caller_identity::get(&asked.identity, &session).await
    };
    let answer = answer.await;
    (asked, answer)
}

async fn ask_all(sources: &[Source], known: &Content<Known>, cache: Option<PathBuf>) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut tasks = JoinSet::new();
    let failed = |source: &str, error: Error| {
        let asked = Asked { source: source.to_owned(), identity: Identity::default(), region: None };
        (asked, Err(error))
    };
    for source in sources {
        let expanded = match expand::expand(source, sources).await {
            Ok(expanded) => expanded,
            Err(error) => {
                answers.push(failed(&source.name, error));
                continue;
            }
        };
        answers.extend(expanded.failed.into_iter().map(|(account, error)| failed(&account, error)));
        for one in expanded.sources {
            let mut identity = one.identity().unwrap_or_default();
            let before = record(&known.sources, &one.name).and_then(|record| record.identity.account.clone());
            identity.account = identity.account.or(before);
            let region = match &one.regions {
                Regions::Named(named) => named.first().cloned(),
                // Any will do where the profile has none: who signs is the same everywhere.
                Regions::All => Some(ANY_REGION.to_owned()),
                Regions::OfProfile => None,
            };
            tasks.spawn(ask(Asked { source: one.name, identity, region }, cache.clone()));
        }
    }
    while let Some(joined) = tasks.join_next().await {
        answers.push(
            joined.unwrap_or_else(|error| failed("", Error::new(Kind::Bug, "a query ended early").because(error))),
        );
    }
    answers.sort_by(|a, b| a.0.source.cmp(&b.0.source));
    answers
}

const ANY_REGION: &str = "us-east-1";

/// Whether they will last, as far as anybody here knows it.
fn lasting(valid_for: Option<u64>, asked: &Asked, standing: &CallerIdentity) -> Finding {
    let now = clock::now() / 1000;
    let wanted = now + valid_for.unwrap_or(0);
    let who = format!("{} signs for account {}", described(&asked.identity), standing.account);
    let until = |end: u64| {
        let time = i64::try_from(end).ok().and_then(|end| jiff::Timestamp::from_second(end).ok()).unwrap_or_default();
        format!("until {time} (for {})", passed(end.saturating_sub(now)))
    };
    let asks = valid_for.is_some();
    match standing.lasts {
        Lifetime::Endless => Finding::ok("credentials", format!("{who}, and does not expire")),
        Lifetime::Until(end) if end < wanted => {
            let words = format!("{who} {}, and not for {}", until(end), passed(wanted - now));
            let login = asked.identity.sso.as_ref().map(|role| format!(" --sso-session {}", role.session));
            let fix = format!("aws sso login{}", login.unwrap_or_else(|| asked.identity.flag()));
            Finding::problem("credentials", Cause::CredentialsShort, words).fix(fix)
        }
        Lifetime::Renewed(end) if end < wanted && asks => {
            let words = format!("{who} {}, and is renewed for as long as what it comes from allows", until(end));
            Finding::note("credentials", Cause::LifetimeUnknown, words)
                .fix("the end of an Identity Center session is known to whoever administers it only")
        }
        Lifetime::Unknown if asks => {
            Finding::note("credentials", Cause::LifetimeUnknown, format!("{who}, with an end that nothing here tells"))
        }
        Lifetime::Until(end) => Finding::ok("credentials", format!("{who} {}", until(end))),
        Lifetime::Renewed(end) => Finding::ok("credentials", format!("{who} {}, and is renewed", until(end))),
        Lifetime::Unknown => Finding::ok("credentials", who),
    }
}
