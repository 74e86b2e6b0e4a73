//! From what ssh hands over to what a connection needs: whose credentials, which region, which limits.
//!
//! Flags of the command line win, then the source that sync wrote into the ProxyCommand, then the index; an id that
//! none of them knows is looked for in all sources.

use std::time::Duration;

use crate::connect::push::Job;
use crate::connect::worker::{Answer, Program, Request};
use crate::domain::config::Config;
use crate::domain::connection_options::{ConnectionOptions, Flags};
use crate::domain::diagnosis::Cause;
use crate::domain::fleet::Host;
use crate::domain::identity::Identity;
use crate::domain::ids::{InstanceId, OsUser};
use crate::domain::intent;
use crate::domain::names::Shared;
use crate::domain::source::{AddressKind, KeyType};
use crate::domain::ssh_client::KeyEncoding;
use crate::domain::text;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::Index;
use crate::store::paths::Paths;
use crate::sys::caller;
use crate::ui;

/// What the command line says of where an instance is.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// `--region`
    pub region: Option<String>,
    /// `--source`
    pub source: Option<String>,
    /// `--profile`, `--role-arn`, `--sso-session` and what belongs to them.
    pub identity: Identity,
    /// `--address`
    pub address: Option<AddressKind>,
    /// `--key-type`
    pub key_type: Option<KeyType>,
    /// `--route` and what belongs to it.
    pub connection: Flags,
}

/// What is known before anything is asked.
#[derive(Debug)]
pub struct Known {
    /// The checked config, or its defaults.
    pub config: Config,
    /// The last index.
    pub index: Option<Index>,
    /// The host of this id in it.
    pub host: Option<Host>,
}

impl Known {
    /// Reads config and index.
    ///
    /// # Errors
    ///
    /// A config or an index that cannot be read.
    pub fn read(paths: &Paths, id: &InstanceId) -> Result<Self> {
        let config = config::load(&paths.config, &paths.machine_config)?;
        let index = Index::open(&paths.index())?;
        let host = index.as_ref().map(|index| index.host(id.as_str())).transpose()?.flatten();
        Ok(Self { config, index, host })
    }

    /// The encoding of keys that the calling ssh can read, beside OpenSSH's format.
    #[must_use]
    pub fn readable(&self) -> KeyEncoding {
        self.index.as_ref().map_or_else(KeyEncoding::default, readable_by_caller)
    }

    /// What to call the instance in messages.
    #[must_use]
    pub fn label(&self, id: &InstanceId) -> String {
        self.host.as_ref().map_or(id.as_str(), Host::label).to_owned()
    }
}

/// The encoding of keys that the parent process can read, if it is the client that the last sync has checked.
#[must_use]
pub fn readable_by_caller(index: &Index) -> KeyEncoding {
    let client = index.header.client.filter(|client| client.reads_pkcs8);
    client.map_or_else(KeyEncoding::default, |client| client.encoding_for(caller::program()))
}

/// The job, and which of the instance's addresses counts.
///
/// # Errors
///
/// [`Kind::Config`] for a source that is gone from the config, [`Kind::NoHost`] for an id that no source has.
pub fn job(
    paths: &Paths,
    known: &Known,
    program: &Program,
    id: &InstanceId,
    user: OsUser,
    place: &Place,
    patience: Duration,
) -> Result<(Job, AddressKind)> {
    let label = known.label(id);
    let mut region = place.region.clone();
    let mut source_name = place.source.clone();
    let named = place.identity.unpinned() != Identity::default();
    let explicit = named || (region.is_some() && source_name.is_none());
    // Sync writes these as flags wherever it writes a source; an id has no source in the generated config.
    let by_index = source_name.is_none() && !explicit;
    if by_index {
        if let Some(host) = &known.host {
            source_name = Some(host.source.clone());
            region = Some(host.region.clone());
        } else {
            let (source, found_in) = locate(program, id, patience)?;
            source_name = Some(source);
            region = Some(found_in);
        }
    }
    let with_settings = |job: Job, connection: ConnectionOptions| Job {
        connection: connection.overridden(&place.connection),
        readable: known.readable(),
        push_rate: known.config.push_rate,
        push_log: known.config.push_log,
        cache: config::credentials_folder(&known.config, paths),
        ..job
    };
    let Some(name) = source_name else {
        let identity = place.identity.clone();
        let job = Job::new(id.clone(), &label, user, region, identity);
        let job = Job { key_type: place.key_type.unwrap_or_default(), ..job };
        return Ok((with_settings(job, ConnectionOptions::default()), place.address.unwrap_or(AddressKind::Private)));
    };
    let Signer { identity, key_type, address, connection } = signer(known, &name)?.ok_or_else(|| {
        Error::new(Kind::Config, format!("{} no longer has the source {name:?} of {label}", paths.config.display()))
            .hint("ssh-eic sync")
    })?;
    let job = Job { key_type, ..Job::new(id.clone(), &label, user, region, identity) };
    let connection = match &known.host {
        _ if !by_index => ConnectionOptions::default(),
        Some(host) => ConnectionOptions::of_host(host),
        None => connection,
    };
    Ok((with_settings(job, connection), address))
}

/// What a source means for one connection.
struct Signer {
    identity: Identity,
    key_type: KeyType,
    address: AddressKind,
    connection: ConnectionOptions,
}

/// A source as the config has it now, or, where it is one of many that an entry stands for, as the last sync found it.
fn signer(known: &Known, name: &str) -> Result<Option<Signer>> {
    let record = known.index.as_ref().map(|index| index.source(name)).transpose()?.flatten();
    if let Some(source) = known.config.source(name)
        && let Some(mut identity) = source.identity()
    {
        let same = record.filter(|record| record.identity.unpinned() == identity.unpinned());
        identity.account = identity.account.or(same.and_then(|record| record.identity.account));
        let (key_type, address) = (source.key_type, source.address);
        return Ok(Some(Signer { identity, key_type, address, connection: ConnectionOptions::of_source(source) }));
    }
    let Some(record) = record else { return Ok(None) };
    Ok(known.config.source(&record.of).map(|source| Signer {
        identity: record.identity,
        key_type: record.key_type,
        address: record.address,
        connection: ConnectionOptions::of_source(source),
    }))
}

/// The instance that a person means by an alias, an id, a private address or a private DNS name.
///
/// # Errors
///
/// [`Kind::NoHost`] if it is none or several, which its cause tells apart; an index that cannot be read.
pub fn find(paths: &Paths, name: &str) -> Result<InstanceId> {
    let index = Index::open(&paths.index())?;
    let host = index.as_ref().map(|index| index.host(name)).transpose()?.flatten();
    if let Some(id) = host.map(|host| host.id).or_else(|| InstanceId::parse(name)) {
        return Ok(id);
    }
    if let Some(error) = shared_name(paths, name)? {
        return Err(error.cause(Cause::NameShared));
    }
    let hosts = index.map(|index| index.hosts()).transpose()?.unwrap_or_default();
    let is_meant = |host: &&Host| host.address.as_deref() == Some(name) || host.dns.eq_ignore_ascii_case(name);
    let mut meant = hosts.iter().filter(is_meant).filter(|_| !name.is_empty());
    match (meant.next(), meant.next()) {
        (Some(host), None) => Ok(host.id.clone()),
        (Some(first), Some(second)) => {
            let all = [first, second].into_iter().chain(meant);
            let labels: Vec<String> = all.map(|host| format!("{} ({})", host.label(), host.source)).collect();
            Err(Error::new(Kind::NoHost, format!("{name} is the address of several instances: {}", labels.join(", ")))
                .hint("use one of these names")
                .cause(Cause::NameShared))
        }
        (None, _) => {
            let near = nearest(&hosts, name).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Err(Error::new(Kind::NoHost, format!("there is no managed host {name:?}{near}"))
                .hint("ssh-eic list shows all hosts; if the instance is new, run ssh-eic sync")
                .cause(Cause::NoSuchHost))
        }
    }
}

/// The name that was meant, if there is one that is like enough (Jaro's measure).
fn nearest<'h>(hosts: &'h [Host], wanted: &str) -> Option<&'h str> {
    const LIKE: f64 = 0.8;
    let names = hosts.iter().flat_map(Host::all_names);
    let near = names.map(|name| (strsim::jaro(name, wanted), name)).filter(|(likeness, _)| *likeness > LIKE);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// The error for a name that connects to no instance.
///
/// # Errors
///
/// An index that cannot be read.
pub fn shared_name(paths: &Paths, name: &str) -> Result<Option<Error>> {
    let Some(index) = Index::open(&paths.index())? else { return Ok(None) };
    let label = |id: &InstanceId| -> Result<String> {
        let host = index.host(id.as_str())?;
        Ok(host.map_or_else(
            || id.to_string(),
            |host| format!("{} ({}, {})", host.label(), host.state, host.address.as_deref().unwrap_or("no address")),
        ))
    };
    Ok(match index.shared(name)? {
        None => None,
        Some(Shared::By(ids)) => {
            Some(shared_by(name, ids.iter().map(label).collect::<Result<Vec<_>>>()?.iter().map(String::as_str)))
        }
        Some(Shared::Waits { was, wants, account }) => {
            let words = format!(
                "{name} was {} in account {} and is now the name of {wants} in account {account}",
                was.id, was.account
            );
            Some(Error::new(Kind::NoHost, words).hint("if this is expected, run ssh-eic sync --accept-moves"))
        }
    })
}

/// The error for a name that a sync has not moved to an instance of another account.
#[must_use]
pub fn waits(name: &str, was: &str, wants: &str) -> Error {
    Error::new(Kind::NoHost, format!("{name} was {was} and is now the name of {wants} in another account"))
        .hint("if this is expected, run ssh-eic sync --accept-moves")
}

/// That a name is several instances'.
#[must_use]
pub fn shared_by<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Error {
    let names: Vec<&str> = names.collect();
    let whose = if names.len() == 1 { "the name of a group" } else { "the name of several instances" };
    Error::new(Kind::NoHost, format!("{name} is {whose}: {}", text::first_names(names, CANDIDATES)))
        .hint("use one of these names, or set duplicates = \"newest\" in config.toml")
}

/// As many as 400 bytes, all that ssh prints of our words, have room for.
const CANDIDATES: usize = 5;

fn locate(program: &Program, id: &InstanceId, patience: Duration) -> Result<(String, String)> {
    match program.ask(&Request::Locate(id.clone()), patience)? {
        Some(Answer::Located { source, region }) => Ok((source, region)),
        Some(_) => Err(Error::new(Kind::NoHost, format!("no configured source has an instance {id}"))
            .hint("check the id, or add its account and region to config.toml")),
        None => {
            let patience = patience.as_secs_f32();
            Err(Error::new(Kind::Unavailable, format!("AWS did not say within {patience} s where {id} is")))
        }
    }
}

/// A user name that must not be in a shell command: `sync` writes a command without it.
#[must_use]
pub fn refused_user(host: &str) -> Error {
    Error::new(Kind::Usage, format!("{host}: EC2 Instance Connect does not accept this user name"))
        .hint("user names have letters, digits and @._-, 32 at most")
}

/// The remote user on the command line of the calling ssh, if that names one. What its configuration says of the user
/// comes from `sync`, which writes nothing while another line than ours decides.
#[must_use]
pub fn user_of_caller() -> Option<String> {
    caller::argv().filter(|argv| intent::is_ssh(argv)).and_then(intent::user)
}

/// Prints nothing from here on if the calling ssh prints nothing (`-q`, `LogLevel QUIET`): by its command line, or by
/// the configuration that sync has read for the host.
pub fn follow_log_level(host: Option<&Host>) {
    let on_command_line = caller::argv().filter(|argv| intent::is_ssh(argv)).and_then(intent::is_quiet);
    if on_command_line.unwrap_or_else(|| host.is_some_and(|host| host.quiet)) {
        ui::silence();
    }
}

/// The user that ssh handed over, if it is one that can be pushed for.
///
/// # Errors
///
/// [`Kind::Usage`] in the words of the contract.
pub fn os_user(text: &str) -> Result<OsUser> {
    OsUser::parse(text).ok_or_else(|| {
        Error::new(Kind::Usage, format!("EC2 Instance Connect does not accept the user name {text:?}"))
            .hint("user names have letters, digits and @._-, 32 at most")
    })
}
