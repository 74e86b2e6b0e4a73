//! `ssh-eic proxy`: the ProxyCommand. Bytes in, bytes out, nothing else on stdout.

use std::time::{Duration, Instant};

use crate::cli;
use crate::command::{Context, Exit};
use crate::connect::disconnect::{self, ClientState, OpeningFailure};
use crate::connect::early_dial;
use crate::connect::host_key_check::Setting;
use crate::connect::opening::{self, Outcome, Session, Speculative, Target};
use crate::connect::push::{self, Job};
use crate::connect::queue::Queue;
use crate::connect::relay::Relay;
use crate::connect::stream_relay::StreamRelay;
use crate::connect::target::{self, Known, Place};
use crate::connect::worker::{Program, Request};
use crate::domain::connection_options::Flags;
use crate::domain::freshness;
use crate::domain::identity::{Identity, Role, SsoRole};
use crate::domain::ids::{InstanceId, OsUser};
use crate::domain::intent;
use crate::domain::source::{AddressKind, HostKeys, Route};
use crate::error::{Error, Kind, Result};
use crate::store::endpoints::Network;
use crate::store::files;
use crate::store::index::{Index, UntoldMove};
use crate::store::{keys, refresh};
use crate::sys::descriptors::{self, NonBlockingStdout};
use crate::sys::{caller, clock, detach, signals};
use crate::ui;

/// A name that has moved to another instance is looked up within this time, for the words of an error only.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_secs(4);

/// # Errors
///
/// Only errors that have not been printed: ssh ends the proxy as soon as it has read the in-band message, so that the one
/// on stderr comes first.
pub fn run(context: &Context, args: &cli::Proxy) -> Result<Exit> {
    signals::survive_the_keyboard()
        .map_err(|error| Error::new(Kind::Bug, "cannot set signal handlers").because(error))?;
    let start = Instant::now();
    if args.in_band && !caller::argv().is_some_and(intent::is_ssh) {
        ui::silence();
    }
    target::follow_log_level(None);
    let _stdout = NonBlockingStdout::new();
    let program = context.program()?;
    let speculative = start_speculatively(context, args, &program);
    let failure = match prepare(context, args, &program, start) {
        Ok((target, known)) => match opening::open(&target, speculative, &context.paths, &program) {
            Ok(Outcome::Closed) => return Ok(Exit::default()),
            Ok(Outcome::Session { session, to_client, moved }) => {
                refresh(context, &program, &known, moved);
                drop((known, program));
                return carry(context, session, to_client, &target.job.id);
            }
            Err(failure) => {
                // Behind the version line ssh's own time limit is over; until then the message has to precede it.
                let left = target.time_left();
                let is_limited = failure.client == ClientState::NoVersion;
                let timeout = if is_limited { left.min(SUCCESSOR_TIMEOUT) } else { SUCCESSOR_TIMEOUT };
                let error = with_successor(context, &program, &known, failure.error, timeout);
                OpeningFailure { error, ..*failure }
            }
        },
        Err(error) => return Ok(refuse(error)),
    };
    Ok(report(&failure))
}

/// The remote user, as an argument or on the command line of the calling ssh: generated commands do not contain it.
fn named_user(args: &cli::Proxy) -> Option<String> {
    args.user.clone().or_else(target::user_of_caller)
}

/// Connects to the address that ssh gave, if it is to be reached directly, and starts a worker if a push may be needed,
/// so that sshd and the worker start while the config is read.
fn start_speculatively(context: &Context, args: &cli::Proxy, program: &Program) -> Speculative {
    let Some(id) = InstanceId::parse(&args.instance) else { return Speculative::default() };
    let user = named_user(args).or_else(|| args.default_user.clone());
    let Some(user) = user.as_deref().and_then(OsUser::parse).filter(|_| args.address != Some(AddressKind::Public))
    else {
        return Speculative::default();
    };
    // Sync writes the flag for every route but this one; an id has no flags in the generated config.
    let is_direct = match &args.route {
        Some(route) => *route == Route::Direct,
        None => args.region.is_some() || args.source.is_some(),
    };
    let connection = if is_direct { early_dial::start(&args.host, args.port) } else { None };
    let now = clock::now();
    let is_pushed = push::stamp(&context.paths, &id, &user)
        .is_some_and(|stamp| stamp.is_fresh(&stamp.key, &user, now, clock::push_window()));
    let worker = if is_pushed { None } else { program.prepare().ok() };
    Speculative { connection, worker }
}

/// Reports, on stderr and in-band, why the proxy cannot start.
#[must_use]
pub fn refuse(error: Error) -> Exit {
    target::follow_log_level(None);
    report(&OpeningFailure { error, client: ClientState::NoVersion, pending: Vec::new() })
}

fn report(failure: &OpeningFailure) -> Exit {
    ui::error(&failure.error);
    disconnect::send(failure, ui::is_on_terminal());
    Exit::code(failure.error.kind.exit_code())
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
                .hint("ssh-eic sync, which writes the instance id into the ssh config")
        }));
    };
    let known = Known::read(&context.paths, &id)?;
    target::follow_log_level(known.host.as_ref());
    tell_moves(&known, &id);
    // Where no sync has been, there is no folder for the sockets of masters either.
    if known.index.is_none() {
        let _ = files::make_private_folder(&context.paths.eic.join("cm"));
    }
    let user = match (named_user(args), &known.host, &args.default_user) {
        (Some(user), ..) => target::os_user(&user)?,
        (None, Some(host), _) => host.user.clone(),
        (None, None, Some(user)) => target::os_user(user)?,
        (None, None, None) => OsUser::ec2_user(),
    };
    let place = Place {
        region: args.region.clone(),
        source: args.source.clone(),
        identity: identity(args),
        address: args.address,
        key_type: args.key_type,
        connection: Flags {
            route: args.route.clone(),
            max_tunnel_duration: args.max_tunnel_duration,
            host_keys: args.host_keys,
        },
    };
    let Timeouts { timeout, limit, attempts } = timeouts(&known);
    let (job, address) = target::job(&context.paths, &known, program, &id, user, &place, timeout)?;
    // An id typed instead of an alias: the index knows where it is.
    let indexed = known.host.as_ref().and_then(|host| host.address.clone()).filter(|_| args.host == args.instance);
    let host = indexed.unwrap_or_else(|| args.host.clone());
    let network = known.host.as_ref().filter(|host| !host.vpc.is_empty() && !host.subnet.is_empty());
    let network = network.map(|host| Network { vpc: host.vpc.clone(), subnet: host.subnet.clone() });
    let ssh_config = caller::argv().and_then(intent::config_file);
    let host_keys = host_keys(&job, &known);
    let target =
        Target { host, port: args.port, address, network, ssh_config, job, host_keys, start, timeout, limit, attempts };
    Ok((target, known))
}

/// How the host key is checked before it is relayed; none: ssh alone checks it.
fn host_keys(job: &Job, known: &Known) -> Option<Setting> {
    let mode = job.connection.host_keys;
    let launched = known.host.as_ref().map_or(0, |host| host.launched);
    (mode != HostKeys::AcceptNew).then(|| Setting { mode, launched, known_hosts: known.config.known_hosts.clone() })
}

/// Reports a name that has moved to this instance in a background sync.
fn tell_moves(known: &Known, id: &InstanceId) {
    let told = known.index.as_ref().and_then(|index| index.untold(id).ok()).unwrap_or_default();
    for UntoldMove { name, was, at } in told {
        if freshness::is_younger(at, clock::now(), A_DAY) {
            ui::warning(&format!("{name} now means {id} (was {}, changed by a background sync)", was.id));
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
    timeout: Duration,
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
    let (argv, host) = (caller::argv(), known.host.as_ref());
    let configured = || host.and_then(|host| host.connect_timeout).map(|seconds| Duration::from_secs(seconds.into()));
    let of_ssh = argv.and_then(intent::connect_timeout).or_else(configured).filter(|limit| !limit.is_zero());
    let limit = of_ssh.map(|limit| limit.saturating_sub(Duration::from_secs(1)).max(limit / 2));
    let timeout = known.config.connect_timeout;
    let attempts =
        argv.and_then(intent::connection_attempts).or_else(|| host.and_then(|host| host.connection_attempts));
    Timeouts { timeout: limit.map_or(timeout, |limit| limit.min(timeout)), limit, attempts: attempts.unwrap_or(1) }
}

fn carry(context: &Context, session: Session, to_client: Queue, id: &InstanceId) -> Result<Exit> {
    // A program that captures ssh's stderr waits for its last writer, and a session in the background (ssh -f) may last
    // for days. asyncssh, in contrast, takes the end of the proxy's stderr for the end of the connection.
    let mut ssh = None;
    if caller::argv().is_some_and(intent::is_ssh) {
        // A terminal and a file have no such reader: there the end of a tunnel can be reported. Elsewhere it is reported
        // on the stderr of ssh, which has closed it if it runs in the background.
        let keeps_stderr = matches!(session, Session::Stream(_)) && !descriptors::stderr_has_reader();
        if !keeps_stderr && descriptors::give_up_stderr().is_ok() {
            ssh = caller::pid();
        }
    }
    let retire = || keys::retire(&context.paths, id, clock::now()).ok().flatten().map(Duration::from_millis);
    let failed = |error| Error::new(Kind::Bug, "the connection could not be carried on").because(error);
    let ended = match session {
        Session::Tcp(stream, to_server) => Relay::new(stream, to_client, to_server).run(retire).map(|()| None),
        Session::Stream(session) => StreamRelay::new(*session, to_client).run(retire),
    };
    Ok(match ended.map_err(failed)? {
        None => Exit::default(),
        Some(error) => {
            // A process that has taken over an orphan is not ssh.
            if let Some(ssh) = ssh.filter(|_| caller::pid() == ssh) {
                let _ = descriptors::take_stderr_of(ssh);
            }
            ui::error(&error);
            Exit::code(error.kind.exit_code())
        }
    })
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

/// For an instance that no longer exists: syncs, and names the instance that has its name now.
fn with_successor(context: &Context, program: &Program, known: &Known, error: Error, timeout: Duration) -> Error {
    let Some(host) = known.host.as_ref().filter(|_| error.gone.is_some()) else { return error };
    let Some(alias) = &host.alias else { return error };
    if !matches!(program.ask(&Request::Sync, timeout), Ok(Some(_))) {
        return error;
    }
    let successor =
        Index::open(&context.paths.index()).ok().flatten().and_then(|index| index.host(alias).ok().flatten());
    match successor {
        Some(now) if now.id != host.id => {
            let what = error.gone.as_deref().unwrap_or("no longer exists");
            Error::new(error.kind, format!("{alias}: {} {what}; the name now belongs to {}", host.id, now.id))
                .hint("the ssh config was updated; run the command again")
        }
        _ => error,
    }
}
