//! Ensures that a key is pushed: at most one request for all processes that need the same push.
//!
//! Lock, check again, push, record. The lock is per instance and user and is held over the request; a process that waited for it
//! finds the record of the previous push, or its failure, which is shared for two seconds. Requests of all processes of the
//! user go through one queue, and throttling slows them all.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials::{self, Session, described};
use crate::aws::failure::{Failure, Retry};
use crate::aws::{instances, push, timeout};
use crate::domain::connection_options::ConnectionOptions;
use crate::domain::diagnosis::Cause;
use crate::domain::fleet::Instance;
use crate::domain::freshness::{self, Stamp};
use crate::domain::identity::Identity;
use crate::domain::ids::{InstanceId, OsUser};
use crate::domain::source::KeyType;
use crate::domain::ssh_client::KeyEncoding;
use crate::error::{Error, Kind, Result};
use crate::store::files::{self, Lock};
use crate::store::keys::{self, PublicKey};
use crate::store::paths::Paths;
use crate::store::pushes::{self, Entry, Outcome};
use crate::sys::{clock, running_time};
use crate::ui;

/// How long AWS may refuse (throttle, fail) before we give up, from its first refusal.
const GIVE_UP_REFUSED: Duration = Duration::from_secs(30);
/// How long the network may fail before we give up.
const GIVE_UP_NETWORK: Duration = Duration::from_secs(8);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A push that is wanted. Crosses to the worker process as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The instance.
    pub id: InstanceId,
    /// What to call it in messages.
    pub label: String,
    /// The OS user.
    pub user: OsUser,
    /// Whose credentials sign.
    pub identity: Identity,
    /// The region; none: the profile's.
    pub region: Option<String>,
    /// Route, tunnel duration and host key mode of the connection.
    pub connection: ConnectionOptions,
    /// The type of a key that is created.
    pub key_type: KeyType,
    /// The encoding that the calling ssh can read, beside OpenSSH's format.
    #[serde(default)]
    pub readable: KeyEncoding,
    /// Pushes a second over all processes of the user.
    pub push_rate: f64,
    /// Keep the log.
    pub push_log: bool,
    /// How long a push counts, in milliseconds.
    pub window: u64,
    /// Where temporary credentials are kept, if they are.
    pub cache: Option<PathBuf>,
}

impl Job {
    /// The push that one connection needs.
    #[must_use]
    pub fn new(id: InstanceId, label: &str, user: OsUser, region: Option<String>, identity: Identity) -> Self {
        Self {
            id,
            label: label.to_owned(),
            user,
            identity,
            region,
            connection: ConnectionOptions::default(),
            key_type: KeyType::default(),
            readable: KeyEncoding::default(),
            push_rate: 20.0,
            push_log: true,
            window: clock::push_window(),
            cache: None,
        }
    }

    /// The instance in a message: `prod-web-1 (i-0abc…)`, or the id alone where it has no name.
    #[must_use]
    pub fn name(&self) -> String {
        named(&self.label, &self.id)
    }
}

/// What the last push for this instance and user left behind, if it succeeded.
#[must_use]
pub fn stamp(paths: &Paths, id: &InstanceId, user: &OsUser) -> Option<Stamp> {
    match pushes::last(paths, id, user) {
        Some(Outcome::Pushed(stamp)) => Some(stamp),
        _ => None,
    }
}

/// Whether the present key was pushed for this instance and user, and that counts at `now` (milliseconds since 1970)
/// under a window of so many milliseconds. Costs two small reads.
#[must_use]
pub fn is_fresh(paths: &Paths, id: &InstanceId, user: &OsUser, window: u64, now: u64) -> bool {
    let Some(stamp) = stamp(paths, id, user) else { return false };
    matches!(keys::present(paths, id), Ok(Some(key)) if stamp.is_fresh(&key.fingerprint, user, now, window))
}

/// Sees to it that the key is on the instance, by `deadline` at the latest. Returns when the request that put it there
/// was sent, in milliseconds since 1970.
///
/// # Errors
///
/// In the words of the contract; a failure that another process has just met is returned without another request.
pub fn ensure(paths: &Paths, job: &Job, deadline: Instant) -> Result<u64> {
    files::make_private_folder(&paths.keys())?;
    let waiting_since = clock::now();
    let _lock = lock(paths, job, deadline)?;
    let key = keys::lease(paths, &job.id, job.key_type, job.readable, clock::now())?;
    match pushes::last(paths, &job.id, &job.user) {
        Some(Outcome::Pushed(stamp)) if stamp.is_fresh(&key.fingerprint, &job.user, clock::now(), job.window) => {
            return Ok(stamp.sent);
        }
        Some(Outcome::Failed { at, error })
            if at >= waiting_since && freshness::is_younger(at, clock::now(), freshness::FAILURE_SHARED) =>
        {
            return Err(error);
        }
        Some(_) => pushes::forget(paths, &job.id, &job.user),
        None => {}
    }
    let sent = send_now(paths, job, &key, deadline);
    let outcome = match &sent {
        Ok(sent) => Outcome::Pushed(Stamp { key: key.fingerprint.clone(), user: job.user.clone(), sent: *sent }),
        Err(error) => Outcome::Failed { at: clock::now(), error: error.clone() },
    };
    // A stamp that cannot be written costs a push at the next connection; this one has what it needs.
    if let Err(error) = pushes::record(paths, &job.id, &job.user, &outcome) {
        ui::verbose(|| error.message);
    }
    sent
}

/// Sends a key whatever was sent before. Returns when the request was sent, in milliseconds since 1970.
///
/// # Errors
///
/// As [`ensure`].
pub fn send_now(paths: &Paths, job: &Job, key: &PublicKey, deadline: Instant) -> Result<u64> {
    client::run(async {
        let push = push_with_retries(paths, job, key, deadline);
        tokio::time::timeout_at(deadline.into(), push).await.unwrap_or_else(|_| Err(too_late(job)))
    })
}

/// What to say of a push that has used up its time.
#[must_use]
pub fn too_late(job: &Job) -> Error {
    Error::new(Kind::Unavailable, format!("the key for {} could not be pushed in time", job.name()))
        .hint("try again in a moment; -v shows the response of AWS")
}

/// The push lock. On a file system without locks it does not keep other processes out.
fn lock(paths: &Paths, job: &Job, deadline: Instant) -> Result<Lock> {
    let timeout = deadline.saturating_duration_since(Instant::now());
    files::lock(&paths.push_lock(&job.id, &job.user), timeout)?.ok_or_else(|| {
        Error::new(Kind::Unavailable, format!("another process is still pushing the key for {}", job.label))
            .hint("try again in a moment")
    })
}

/// Returns when the request that succeeded was sent, in milliseconds since 1970.
async fn push_with_retries(paths: &Paths, job: &Job, key: &PublicKey, deadline: Instant) -> Result<u64> {
    let sign_in = || credentials::open(&job.identity, job.region.as_deref(), RequestLimits::PUSH, job.cache.as_deref());
    let mut session = sign_in().await?;
    let mut refusals = Refusals::default();
    let mut pause = Duration::from_millis(100);
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        let queue = pushes::reserve_slot(paths, job.push_rate, clock::now(), patience).ok_or_else(|| too_late(job))?;
        if !queue.is_zero() {
            timeout::sleep(queue).await;
        }
        refusals.forgive(queue);
        let sent = clock::now();
        let push = push::PushRequest { id: &job.id, label: &job.label, user: &job.user, public_key: &key.line };
        let failure = match push::send(&session, push).await {
            Ok(request_id) => {
                pushes::recover(paths, job.push_rate);
                log(paths, job, key, &session, request_id.as_deref(), "pushed");
                return Ok(sent);
            }
            Err(failure) => failure,
        };
        if failure.error.kind == Kind::Credentials && session.cache_file.take().is_some() {
            // Cached credentials that AWS does not accept any more: one retry with new ones.
            session = Session { cache_file: None, ..sign_in().await? };
            continue;
        }
        if failure.retry == Retry::Throttled {
            pushes::slow_down(paths, job.push_rate, sent, clock::now());
        }
        let pause_now = pause.mul_f64(0.5 + fastrand::f64());
        let refused_for = refusals.met(failure.retry);
        if failure.retry == Retry::Never || refusals.is_enough(failure.retry, pause_now) {
            let error = given_up(&session, job, failure, refused_for).await;
            log(paths, job, key, &session, None, &error.message);
            return Err(error);
        }
        ui::verbose(|| format!("{}; trying again", failure.error.message));
        timeout::sleep(pause_now).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// When AWS began to refuse, without the time in our own queue, and when the network began to fail; by the clock of
/// [`running_time`].
#[derive(Default)]
struct Refusals {
    by_aws: Option<Instant>,
    by_network: Option<Instant>,
}

impl Refusals {
    /// Notes a refusal and says for how long it has been like that.
    fn met(&mut self, retry: Retry) -> Duration {
        if retry != Retry::Network {
            self.by_network = None;
        }
        let since = if retry == Retry::Network { &mut self.by_network } else { &mut self.by_aws };
        running_time::since(*since.get_or_insert_with(running_time::now))
    }

    /// Takes the time in our own queue out of the account.
    fn forgive(&mut self, queue: Duration) {
        for since in [&mut self.by_aws, &mut self.by_network].into_iter().flatten() {
            *since += queue;
        }
    }

    fn is_enough(&self, retry: Retry, pause: Duration) -> bool {
        let (since, timeout) = match retry {
            Retry::Network => (self.by_network, GIVE_UP_NETWORK),
            _ => (self.by_aws, GIVE_UP_REFUSED),
        };
        since.is_some_and(|since| running_time::since(since) + pause > timeout)
    }
}

/// The final words: what AWS said, for how long, and for an instance that is not running since when.
async fn given_up(session: &Session, job: &Job, failure: Failure, refused_for: Duration) -> Error {
    let mut error = failure.error;
    let code = failure.code.as_deref().unwrap_or_default();
    if matches!(code, "EC2InstanceStateInvalidException" | "EC2InstanceNotFoundException")
        && let Ok(Some(instance)) = instances::by_id(session, &job.id).await
        && instance.state != "running"
    {
        return not_running(&instance, &job.label, session.region.as_str(), &job.identity);
    }
    if code == "EC2InstanceNotFoundException" {
        // Credentials of another account know nothing of the instance: that is what has to be said then.
        return match credentials::account(session).await {
            Err(wrong) if wrong.kind == Kind::Credentials => wrong,
            _ => not_there(job, &session.region),
        };
    }
    if failure.retry != Retry::Never && refused_for >= Duration::from_secs(1) {
        error.message = format!("{}, tried for {} s", error.message, refused_for.as_secs());
    }
    error
}

/// What to say of an instance that AWS does not know (any more).
#[must_use]
pub fn not_there(job: &Job, region: &str) -> Error {
    let name = job.name();
    let account = job.identity.account.as_deref().map(|account| format!(" of account {account}")).unwrap_or_default();
    let is_named = job.identity.profile.is_some() || job.identity.sso.is_some();
    let who = if is_named { format!(", queried with {}", described(&job.identity)) } else { String::new() };
    Error::new(Kind::NoHost, format!("{name} is not in {region}{account}{who}"))
        .hint("if it was replaced, run ssh-eic sync")
        .gone("no longer exists")
        .cause(Cause::InstanceGone)
}

/// The error for an instance that exists and is not running.
#[must_use]
pub fn not_running(instance: &Instance, label: &str, region: &str, identity: &Identity) -> Error {
    let name = named(label, &instance.id);
    let state = &instance.state;
    let what = match (since(&instance.state_reason), state.as_str()) {
        (Some(when), "terminated") => format!("was terminated at {when}"),
        (Some(when), _) => format!("has been {state} since {when}"),
        (None, _) => format!("is {state}"),
    };
    let error = Error::new(Kind::Unreachable, format!("{name} {what}")).cause(Cause::InstanceStopped);
    match instance.state.as_str() {
        "stopped" | "stopping" => error.hint(format!(
            "aws ec2 start-instances --instance-ids {} --region {region}{}",
            instance.id,
            identity.flag()
        )),
        "pending" => error.hint("wait until it has started"),
        _ => error.hint("if another instance has replaced it, run ssh-eic sync").gone(what).cause(Cause::InstanceGone),
    }
}

fn named(label: &str, id: &InstanceId) -> String {
    if label == id.as_str() { label.to_owned() } else { format!("{label} ({id})") }
}

/// The time in `User initiated (2026-11-23 03:12:00 GMT)`, if it reads as one.
fn since(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once('(')?;
    let (when, _) = rest.split_once(')')?;
    when.bytes().all(|b| b.is_ascii_alphanumeric() || b" :-".contains(&b)).then_some(when)
}

fn log(paths: &Paths, job: &Job, key: &PublicKey, session: &Session, request_id: Option<&str>, outcome: &str) {
    if !job.push_log {
        return;
    }
    let entry = Entry {
        time: clock::rfc3339(clock::now()),
        account: session.account.as_deref().or(job.identity.account.as_deref()),
        caller: Some(&session.access_key),
        instance: &job.id,
        user: &job.user,
        key: &key.fingerprint,
        route: &job.connection.route.to_string(),
        request_id,
        outcome,
    };
    if let Err(error) = pushes::log(paths, &entry) {
        ui::verbose(|| error.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_state_is_read_and_nothing_else() {
        assert_eq!(since("User initiated (2026-11-23 03:12:00 GMT)"), Some("2026-11-23 03:12:00 GMT"));
        assert_eq!(since("Server.SpotInstanceTermination"), None);
        assert_eq!(since("x (\x1b[31m)"), None);
    }
}
