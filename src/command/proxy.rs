//! `ssh-eic proxy`: the ProxyCommand. Bytes in, bytes out, nothing else on stdout.

use std::time::{Duration, Instant};

use crate::cli;
use crate::command::{Context, Exit};
use crate::connect::dial::Attempt;
use crate::connect::last_words::{self, Failed, Heard};
use crate::connect::opening::{self, Early, Opened, Target};
use crate::connect::push;
use crate::connect::relay::Relay;
use crate::connect::target::{self, Known, Place};
use crate::connect::worker::{Program, Request};
use crate::domain::freshness;
use crate::domain::identity::{Identity, Role, SsoRole};
use crate::domain::ids::{InstanceId, OsUser};
use crate::domain::intent;
use crate::domain::source::AddressKind;
use crate::error::{Error, Kind, Result};
use crate::store::files;
use crate::store::index::{Index, UntoldMove};
use crate::store::{keys, refresh};
use crate::sys::descriptors::{self, NonBlockingStdout};
use crate::sys::{caller, clock, detach, signals};
use crate::ui;

/// A name that has moved to another instance is looked up within this time, for the words of an error only.
const SUCCESSOR_PATIENCE: Duration = Duration::from_secs(4);

/// Runs it.
///
/// # Errors
///
/// None that has not been told already: ssh hangs up on us as soon as it has read the in-band words, so that the ones
/// on stderr have to be out before them.
pub fn run(context: &Context, args: &cli::Proxy) -> Result<Exit> {
    signals::survive_the_keyboard()
        .map_err(|error| Error::new(Kind::Bug, "cannot set signal handlers").because(error))?;
    let start = Instant::now();
    if args.in_band && !caller::argv().as_deref().is_some_and(intent::is_ssh) {
        ui::silence();
    }
    target::follow_log_level(None);
    let _stdout = NonBlockingStdout::new();
    let program = context.program()?;
    let early = begin_early(context, args, &program);
    let failed = match prepare(context, args, &program, start) {
        Ok((target, known)) => match opening::open(&target, early, &context.paths, &program) {
            Ok(Opened::Gone) => return Ok(Exit::default()),
            Ok(Opened::Session { stream, to_client, to_server, moved }) => {
                refresh(context, &program, &known, moved);
                drop((known, program));
                return carry(context, Relay::new(stream, to_client, to_server), &target.job.id);
            }
            Err(failed) => {
                // Once a server has spoken, ssh's own time limit is over; until then our words have to come before it.
                let left = target.time_left();
                let patience =
                    if failed.heard == Heard::Nothing { left.min(SUCCESSOR_PATIENCE) } else { SUCCESSOR_PATIENCE };
                Failed { error: with_successor(context, &program, &known, failed.error, patience), ..*failed }
            }
        },
        Err(error) => return Ok(refuse(error)),
    };
    Ok(end(&failed))
}

/// Knocks at the address that ssh was given, and lets a push get ready where one will be needed, so that sshd and the
/// other process wake up while we read our files.
fn begin_early(context: &Context, args: &cli::Proxy, program: &Program) -> Early {
    let Some(id) = InstanceId::parse(&args.instance) else { return Early::default() };
    let user = match &args.user {
        Some(user) => OsUser::parse(user),
        None => return Early::default(),
    };
    let Some(user) = user.filter(|_| args.address != Some(AddressKind::Public)) else { return Early::default() };
    let dialled = Attempt::early(&args.host, args.port);
    let now = clock::now();
    let is_there = push::stamp(&context.paths, &id, &user)
        .is_some_and(|stamp| stamp.is_fresh(&stamp.key, &user, now, clock::push_window()));
    let worker = if is_there { None } else { program.prepare().ok() };
    Early { dialled, worker }
}

/// Reports, on stderr and in-band, why the proxy cannot even begin.
#[must_use]
pub fn refuse(error: Error) -> Exit {
    target::follow_log_level(None);
    end(&Failed { error, heard: Heard::Nothing, pending: Vec::new() })
}

fn end(failed: &Failed) -> Exit {
    ui::error(&failed.error);
    last_words::tell(failed);
    Exit::code(failed.error.kind.exit_code())
}

/// Reads what ssh handed over into what a connection needs.
fn prepare(context: &Context, args: &cli::Proxy, program: &Program, start: Instant) -> Result<(Target, Known)> {
    if args.refused_user {
        return Err(target::refused_user(&args.instance));
    }
    if let Some(names) = &args.shared_by {
        return Err(target::shared_by(&args.instance, names.split(',')));
    }
    if let Some((was, wants)) = args.waits_for.as_deref().and_then(|ids| ids.split_once(',')) {
        return Err(target::waits(&args.instance, was, wants));
    }
    let Some(id) = InstanceId::parse(&args.instance) else {
        // Sync writes a block for a bare name that several share, so that it leads here and nowhere else.
        return Err(target::shared_name(&context.paths, &args.instance)?.unwrap_or_else(|| {
            Error::new(Kind::Usage, format!("{:?} is not an instance id", args.instance))
                .hint("ssh_config hands it over as %k; ssh-eic sync, if the name was shared")
        }));
    };
    let known = Known::read(&context.paths, &id)?;
    target::follow_log_level(known.host.as_ref());
    tell_moves(&known, &id);
    // Where no sync has been, there is no folder for the sockets of masters either.
    if known.index.is_none() {
        let _ = files::make_private_folder(&context.paths.eic.join("cm"));
    }
    let user = match (&args.user, &known.host) {
        (Some(user), _) => target::os_user(user)?,
        (None, Some(host)) => host.user.clone(),
        (None, None) => OsUser::ec2_user(),
    };
    let place = Place {
        region: args.region.clone(),
        source: args.source.clone(),
        identity: identity(args),
        address: args.address,
        key_type: args.key_type,
    };
    let Timeouts { patience, limit, attempts } = timeouts(&known);
    let (job, address) = target::job(&context.paths, &known, program, &id, user, &place, patience)?;
    // An id typed instead of an alias: the index knows where it is.
    let indexed = known.host.as_ref().and_then(|host| host.address.clone()).filter(|_| args.host == args.instance);
    let host = indexed.unwrap_or_else(|| args.host.clone());
    Ok((Target { host, port: args.port, address, job, start, patience, limit, attempts }, known))
}

/// A name that has moved to this instance while nobody was reading.
fn tell_moves(known: &Known, id: &InstanceId) {
    let told = known.index.as_ref().and_then(|index| index.untold(id).ok()).unwrap_or_default();
    for UntoldMove { name, was, at } in told {
        if freshness::is_younger(at, clock::now(), A_DAY) {
            ui::warning(&format!("{name} was {} ({}) and is {id} since the last refresh", was.id, was.account));
        }
    }
}

/// How long connections tell of a move, in milliseconds.
const A_DAY: u64 = 24 * 60 * 60 * 1000;

/// What the command line says of whose credentials to use.
fn identity(args: &cli::Proxy) -> Identity {
    let role = args.role_arn.clone().map(|arn| Role {
        arn,
        external_id: args.external_id.clone(),
        session_name: args.role_session_name.clone(),
    });
    let sso = args.sso_session.clone().map(|session| SsoRole {
        session,
        account: args.sso_account.clone().unwrap_or_default(),
        role: args.sso_role.clone().unwrap_or_default(),
    });
    // A role on top may be one of another account.
    let of_session = args.sso_account.clone().filter(|_| args.role_arn.is_none());
    let account = args.account.clone().or(of_session);
    Identity { profile: args.profile.clone(), sso, role, account }
}

/// How long and how often to try to connect.
struct Timeouts {
    /// For one attempt.
    patience: Duration,
    /// For all attempts together.
    limit: Option<Duration>,
    attempts: u32,
}

/// The calling ssh's `ConnectTimeout` and `ConnectionAttempts`, from its command line or as sync has read them, and our
/// own `connect_timeout` for each attempt.
///
/// ssh applies its timeout to a proxy as a whole, so that all attempts have to fit into it, less a second for our error
/// to come before ssh's.
fn timeouts(known: &Known) -> Timeouts {
    let argv = caller::argv();
    let (argv, host) = (argv.as_deref(), known.host.as_ref());
    let configured = || host.and_then(|host| host.connect_timeout).map(|seconds| Duration::from_secs(seconds.into()));
    let of_ssh = argv.and_then(intent::connect_timeout).or_else(configured).filter(|limit| !limit.is_zero());
    let limit = of_ssh.map(|limit| limit.saturating_sub(Duration::from_secs(1)).max(limit / 2));
    let patience = known.config.connect_timeout;
    let attempts =
        argv.and_then(intent::connection_attempts).or_else(|| host.and_then(|host| host.connection_attempts));
    Timeouts { patience: limit.map_or(patience, |limit| limit.min(patience)), limit, attempts: attempts.unwrap_or(1) }
}

fn carry(context: &Context, relay: Relay, id: &InstanceId) -> Result<Exit> {
    // A program that captures ssh's stderr waits for its last writer, and a session in the background (ssh -f) may last
    // for days. asyncssh, in contrast, takes the end of the proxy's stderr for the end of the connection.
    if caller::argv().as_deref().is_some_and(intent::is_ssh) {
        let _ = descriptors::give_up_stderr();
    }
    let retire = || keys::retire(&context.paths, id, clock::now()).ok().flatten().map(Duration::from_millis);
    relay
        .run(retire)
        .map(|()| Exit::default())
        .map_err(|error| Error::new(Kind::Bug, "the connection could not be carried on").because(error))
}

/// Starts a sync in the background if the index is old, or has just turned out to be wrong.
fn refresh(context: &Context, program: &Program, known: &Known, moved: bool) {
    let Some(index) = &known.index else { return };
    let now = clock::now();
    let age = index.header.refresh.map(|seconds| seconds * 1000);
    let old = age.is_some_and(|limit| !freshness::is_younger(index.header.tried, now, limit));
    let stamp = context.paths.refresh_stamp();
    if !(moved || old)
        || !refresh::is_due(&stamp, now, AT_MOST_EVERY.min(age.unwrap_or(AT_MOST_EVERY))).unwrap_or(false)
    {
        return;
    }
    let mut args: Vec<String> = context.flags.iter().flat_map(|(flag, value)| [flag.clone(), value.clone()]).collect();
    args.extend(["--quiet", "sync", "--detached"].map(str::to_owned));
    if let Err(error) = detach::start(&program.binary, &args) {
        ui::verbose(|| format!("no refresh: {error}"));
    }
}

/// Milliseconds between two syncs in the background, however many connections ask for one.
const AT_MOST_EVERY: u64 = 60_000;

/// For an instance that is gone: syncs, and says which one has its name now.
fn with_successor(context: &Context, program: &Program, known: &Known, error: Error, patience: Duration) -> Error {
    let Some(host) = known.host.as_ref().filter(|_| error.gone.is_some()) else { return error };
    let Some(alias) = &host.alias else { return error };
    if !matches!(program.ask(&Request::Sync, patience), Ok(Some(_))) {
        return error;
    }
    let successor =
        Index::open(&context.paths.index()).ok().flatten().and_then(|index| index.host(alias).ok().flatten());
    match successor {
        Some(now) if now.id != host.id => {
            let what = error.gone.as_deref().unwrap_or("gone");
            Error::new(error.kind, format!("{alias} was {}, {what}; now {}", host.id, now.id))
                .hint("config updated, run it again")
        }
        _ => error,
    }
}
