//! The credentials of the host's source, or of all sources: whether AWS accepts them, their account and their validity.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinSet;

use super::CheckContext;
use crate::aws::caller_identity::{self, CallerIdentity, Lifetime};
use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials::{self, described};
use crate::discover::expand;
use crate::discover::failures::{self, Failed};
use crate::discover::query::record;
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::duration::rounded;
use crate::domain::fleet::PreviousHost;
use crate::domain::identity::Identity;
use crate::domain::source::{Regions, Source};
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::SourceRecord;
use crate::sys::clock;

/// For all sources together. A provider of credentials has a timeout of 20 s.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Fewer attempts than for a sync, because a person waits.
const LIMITS: RequestLimits = RequestLimits { max_attempts: 2, ..RequestLimits::PUSH };

/// A source to check.
struct SourceCheck {
    source: String,
    identity: Identity,
    region: Option<String>,
}

/// AWS accepts the credentials, and they are valid for long enough.
pub(super) fn valid(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let cache = config::credentials_folder(context.config()?, context.paths);
    let results = if context.wanted.is_some() && context.is_set_up() {
        let job = &context.target()?.job;
        let source = context.target()?.host.as_ref().map(|host| host.source.clone()).unwrap_or_default();
        let one = SourceCheck { source, identity: job.identity.clone(), region: job.region.clone() };
        client::run_within(TIMEOUT, async { Ok(vec![check(one, cache).await]) })?
    } else {
        let records = match context.index() {
            Ok(index) => index.content::<PreviousHost>()?.sources,
            Err(_) => Vec::new(),
        };
        let sources = &context.config()?.sources;
        client::run_within(TIMEOUT, async { Ok(check_all(sources, &records, cache).await) })?
    };
    let is_only_source = results.len() == 1;
    let (mut findings, mut failed) = (Vec::new(), Vec::new());
    for (source, result) in results {
        match result {
            Ok(caller) => findings.push(validity(context.valid_for, &source, &caller)),
            Err(error) => failed.push(Failed { source: source.source, region: None, error }),
        }
    }
    let failed =
        if is_only_source { failed.into_iter().map(|one| one.error).collect() } else { failures::by_cause(failed) };
    findings.extend(failed.iter().map(|error| super::problem("credentials", error)));
    Ok(findings)
}

type CheckResult = (SourceCheck, Result<CallerIdentity>);

async fn check(source: SourceCheck, cache: Option<PathBuf>) -> CheckResult {
    let result = async {
        let session = credentials::open(&source.identity, source.region.as_deref(), LIMITS, cache.as_deref()).await?;
        caller_identity::get(&source.identity, &session).await
    };
    let result = result.await;
    (source, result)
}

async fn check_all(sources: &[Source], records: &[SourceRecord], cache: Option<PathBuf>) -> Vec<CheckResult> {
    let mut results = Vec::new();
    let mut tasks = JoinSet::new();
    let failed = |source: &str, error: Error| {
        let source = SourceCheck { source: source.to_owned(), identity: Identity::default(), region: None };
        (source, Err(error))
    };
    for source in sources {
        let expanded = match expand::expand(source, sources).await {
            Ok(expanded) => expanded,
            Err(error) => {
                results.push(failed(&source.name, error));
                continue;
            }
        };
        results.extend(expanded.failed.into_iter().map(|(account, error)| failed(&account, error)));
        for one in expanded.sources {
            let mut identity = one.identity().unwrap_or_default();
            let recorded = record(records, &one.name).and_then(|record| record.identity.account.clone());
            identity.account = identity.account.or(recorded);
            let region = match &one.regions {
                Regions::Named(named) => named.first().cloned(),
                // The account is the same in every region.
                Regions::All => Some(ANY_REGION.to_owned()),
                Regions::OfProfile => None,
            };
            tasks.spawn(check(SourceCheck { source: one.name, identity, region }, cache.clone()));
        }
    }
    while let Some(joined) = tasks.join_next().await {
        results.push(
            joined.unwrap_or_else(|error| failed("", Error::new(Kind::Bug, "a query ended early").because(error))),
        );
    }
    results.sort_by(|a, b| a.0.source.cmp(&b.0.source));
    results
}

const ANY_REGION: &str = "us-east-1";

/// Whether the credentials are valid for `valid_for` seconds.
fn validity(valid_for: Option<u64>, source: &SourceCheck, caller: &CallerIdentity) -> Finding {
    let now = clock::now() / 1000;
    let wanted = now + valid_for.unwrap_or(0);
    let who = format!("{} signs for account {}", described(&source.identity), caller.account);
    let until = |end: u64| {
        let time = i64::try_from(end).ok().and_then(|end| jiff::Timestamp::from_second(end).ok()).unwrap_or_default();
        format!("until {time} (for {})", rounded(end.saturating_sub(now)))
    };
    let is_limited = valid_for.is_some();
    match caller.lifetime {
        Lifetime::Endless => Finding::ok("credentials", format!("{who}, and does not expire")),
        Lifetime::Until(end) if end < wanted => {
            let message = format!("{who} {}, and not for {}", until(end), rounded(wanted - now));
            let login = source.identity.sso.as_ref().map(|role| format!(" --sso-session {}", role.session));
            let fix = format!("aws sso login{}", login.unwrap_or_else(|| source.identity.flag()));
            Finding::problem("credentials", Cause::CredentialsShort, message).fix(fix)
        }
        Lifetime::Renewed(end) if end < wanted && is_limited => {
            let message = format!("{who} {}, and is renewed until an unknown time", until(end));
            Finding::note("credentials", Cause::LifetimeUnknown, message)
                .fix("ask the administrator of Identity Center for the duration of sessions")
        }
        Lifetime::Unknown if is_limited => {
            Finding::note("credentials", Cause::LifetimeUnknown, format!("{who}, until an unknown time"))
        }
        Lifetime::Until(end) => Finding::ok("credentials", format!("{who} {}", until(end))),
        Lifetime::Renewed(end) => Finding::ok("credentials", format!("{who} {}, and is renewed", until(end))),
        Lifetime::Unknown => Finding::ok("credentials", who),
    }
}
