//! `ssh-eic match`: the hook. It runs at every connection, before ssh loads keys or connects.
//!
//! Warm, it reads the index and the caller's command line, looks at one key, and ends. It pushes only where the proxy
//! will not run. It prints nothing on stdout, never prompts, and takes 35 s at the very most.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::command::{Context, Exit};
use crate::connect::console;
use crate::connect::push;
use crate::connect::target::{self, Known, Place};
use crate::connect::worker::Request;
use crate::domain::config::PushMode;
use crate::domain::fleet::Host;
use crate::domain::ids::{InstanceId, OsUser};
use crate::domain::intent::{self, Connection, Intent, Master};
use crate::domain::source::{HostKeys, KeyType};
use crate::domain::ssh_client::KeyEncoding;
use crate::error::{Error, Kind, Result};
use crate::store::host_keys;
use crate::store::index::Index;
use crate::store::keys;
use crate::store::paths::Paths;
use crate::store::{files, trusted};
use crate::sys::{caller, clock, descriptors, environment};

/// The longest that the hook may take with everything: ssh waits for us without a limit of its own.
const PATIENCE: Duration = Duration::from_secs(34);

/// Not managed.
const NO: u8 = 1;

/// Runs it: exit 0 if the name is managed, whatever becomes of the push.
///
/// # Errors
///
/// An index that cannot be read.
pub fn run(context: &Context, alias: &str, user: Option<&str>, make_key: Option<KeyType>) -> Result<Exit> {
    if environment::variable(environment::HOOK_OFF).is_some() {
        return Ok(Exit::default());
    }
    let exit = prepare(context, alias, user, make_key);
    if !matches!(exit, Ok(Exit { error: None, .. })) {
        target::follow_log_level(None);
    }
    exit
}

/// Does what the connection needs.
fn prepare(context: &Context, alias: &str, user: Option<&str>, make_key: Option<KeyType>) -> Result<Exit> {
    let start = Instant::now();
    let paths = &context.paths;
    let index = Index::open(&paths.index())?;
    let host = index.as_ref().map(|index| index.host(alias)).transpose()?.flatten();
    let id = match (&host, InstanceId::parse(alias)) {
        (Some(host), _) => host.id.clone(),
        (None, Some(id)) => id,
        (None, None) => return Ok(Exit::code(NO)),
    };
    // Generated commands do not contain the user name.
    let named = if user.is_none() { target::user_of_caller() } else { None };
    let of_host = || host.as_ref().map(|host| host.user.as_str());
    let user = user.or(named.as_deref()).or_else(of_host);
    let mode = index.as_ref().map_or(PushMode::Auto, |index| index.header.push);
    let todo = match (todo(paths, mode, host.as_ref(), &id, user), make_key) {
        (Todo::Push, Some(key_type)) => Todo::MakeKey(key_type),
        (todo, _) => todo,
    };
    let readable = match todo {
        Todo::Nothing => KeyEncoding::default(),
        _ => index.as_ref().map_or_else(KeyEncoding::default, target::readable_by_caller),
    };
    drop(index);
    let done = match todo {
        Todo::Nothing => Ok(()),
        Todo::HandOut => keys::hand_out(paths, &id, readable, clock::now()),
        Todo::MakeKey(key_type) => lay_out(paths, &id, key_type, readable)
            .and_then(|()| Consoles { context, start, host: host.as_ref(), id: &id }.read(user)),
        Todo::Push => keys::hand_out(paths, &id, readable, clock::now())
            .and_then(|()| Consoles { context, start, host: host.as_ref(), id: &id }.read(user))
            .and_then(|()| push_now(context, start, host.as_ref(), &id, user)),
    };
    if done.is_err() {
        target::follow_log_level(host.as_ref());
    }
    Ok(Exit { code: 0, error: done.err() })
}

enum Todo {
    Nothing,
    HandOut,
    MakeKey(KeyType),
    Push,
}

fn todo(paths: &Paths, mode: PushMode, host: Option<&Host>, id: &InstanceId, user: Option<&str>) -> Todo {
    let connection = match caller::argv().map(intent::of_caller) {
        Some(Intent::Nothing) => return Todo::Nothing,
        Some(Intent::Connects(connection)) => Some(connection),
        Some(Intent::Unknown) | None => None,
    };
    if let Some(connection) = &connection
        && reuses_master(paths, connection, host, id, user)
    {
        return Todo::Nothing;
    }
    let through_proxy =
        connection.is_some_and(|connection| connection.through_proxy) && !host.is_some_and(|host| host.hook_pushes);
    match (mode, through_proxy) {
        (PushMode::Proxy, _) | (PushMode::Auto, true) => Todo::HandOut,
        (PushMode::Hook, _) | (PushMode::Auto, false) => Todo::Push,
    }
}

/// For a client that reads key and host keys before it starts our proxy, and fails where a file is absent (asyncssh).
fn lay_out(paths: &Paths, id: &InstanceId, key_type: KeyType, readable: KeyEncoding) -> Result<()> {
    keys::hand_out(paths, id, readable, clock::now())?;
    keys::lease(paths, id, key_type, readable, clock::now())?;
    paths.known_hosts().iter().try_for_each(|path| files::make_if_absent(path))
}

/// Whether a master listens at the control path. One that has ended leaves its socket behind, so the file alone does not
/// count; one that is too busy to accept does, since ssh will wait for it.
fn reuses_master(
    paths: &Paths,
    connection: &Connection,
    host: Option<&Host>,
    id: &InstanceId,
    user: Option<&str>,
) -> bool {
    let path = match &connection.master {
        Master::None => return false,
        Master::At(path) => PathBuf::from(path),
        Master::Ours => {
            let Some(user) = user.filter(|user| OsUser::parse(user).is_some()) else { return false };
            let port = connection.port.or(host.map(|host| host.port)).unwrap_or(22);
            let path = paths.control_socket(id, port, user);
            // A socket that another user could have put there is no master.
            let folder = path.parent().and_then(|folder| Some((folder, folder.metadata().ok()?)));
            if folder.is_none_or(|(folder, metadata)| trusted::check_trusted(folder, &metadata).is_err()) {
                return false;
            }
            path
        }
    };
    descriptors::has_listener(&path)
}

/// The console of a host that ssh reaches without the proxy, or whose client reads `known_hosts` before it starts the
/// proxy.
struct Consoles<'a> {
    context: &'a Context,
    start: Instant,
    host: Option<&'a Host>,
    id: &'a InstanceId,
}

impl Consoles<'_> {
    /// Reads the console on first contact in a console mode. After an error nothing is pushed, so that there is no login
    /// either: only the proxy can refuse a host key before ssh records it.
    fn read(&self, user: Option<&str>) -> Result<()> {
        let Some(host) = self.host else { return Ok(()) };
        let paths = &self.context.paths;
        if host.host_keys == HostKeys::AcceptNew
            || !console::is_needed(host.host_keys, host_keys::load(paths, self.id)?.as_ref(), host.launched)
        {
            return Ok(());
        }
        let user = match user {
            Some(user) => target::os_user(user)?,
            None => host.user.clone(),
        };
        let known = Known::read(paths, self.id)?;
        let program = self.context.program()?;
        let left = || PATIENCE.saturating_sub(self.start.elapsed());
        let (job, _) = target::job(paths, &known, &program, self.id, user, &Place::default(), left() / 2)?;
        let name = job.name();
        let limit = console::TIMEOUT.min(left());
        program.ask(&Request::Console(Box::new(job)), limit)?.map(drop).ok_or_else(|| {
            let words = format!("AWS did not return the console output of {name} within {} s", limit.as_secs());
            Error::new(Kind::Unavailable, words).hint("try again; ssh-eic doctor shows what fails")
        })
    }
}

/// Pushes in a child that is ended when its time is over, whatever it waits for.
fn push_now(context: &Context, start: Instant, host: Option<&Host>, id: &InstanceId, user: Option<&str>) -> Result<()> {
    let user = match user {
        Some(user) => target::os_user(user)?,
        None => host.map_or_else(OsUser::ec2_user, |host| host.user.clone()),
    };
    if push::is_fresh(&context.paths, id, &user, clock::push_window(), clock::now()) {
        return Ok(());
    }
    let known = Known::read(&context.paths, id)?;
    let program = context.program()?;
    let left = || PATIENCE.saturating_sub(start.elapsed());
    let (job, _) = target::job(&context.paths, &known, &program, id, user, &Place::default(), left() / 2)?;
    let too_late = push::too_late(&job);
    let patience = u64::try_from(left().saturating_sub(LAST_WORDS).as_millis()).unwrap_or(0);
    program.ask(&Request::Push(Box::new(job), patience), left())?.map(drop).ok_or(too_late)
}

/// What the child keeps of its time to say why it was not enough.
const LAST_WORDS: Duration = Duration::from_secs(1);
