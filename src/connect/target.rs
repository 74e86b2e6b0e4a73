//! From what ssh hands over to what a connection needs: whose credentials, which region, which limits.
//!
//! Flags of the command line win, then the source that sync wrote into the ProxyCommand, then the index; an id that
//! none of them knows is looked for in all sources.

use std::time::Duration;

use crate::aws::credentials::Identity;
use crate::connect::push::Job;
use crate::connect::worker::{Answer, Program, Request};
use crate::core::fleet::Host;
use crate::core::ids::{InstanceId, OsUser};
use crate::error::{Error, Kind, Result};
use crate::store::config::{AddressKind, Config, Role};
use crate::store::index::Index;
use crate::store::paths::Paths;

/// What the command line says of where an instance is.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// `--region`
    pub region: Option<String>,
    /// `--source`
    pub source: Option<String>,
    /// `--profile`
    pub profile: Option<String>,
    /// `--role-arn`
    pub role_arn: Option<String>,
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
        let config = Config::load(&paths.config)?;
        let index = Index::open(&paths.index())?;
        let host = index.as_ref().map(|index| index.host(id.as_str())).transpose()?.flatten();
        Ok(Self { config, index, host })
    }

    /// What to call the instance in messages.
    #[must_use]
    pub fn label(&self, id: &InstanceId) -> String {
        self.host.as_ref().map_or(id.as_str(), Host::label).to_owned()
    }
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
    let explicit = place.profile.is_some() || place.role_arn.is_some() || (region.is_some() && source_name.is_none());
    if source_name.is_none() && !explicit {
        if let Some(host) = &known.host {
            source_name = Some(host.source.clone());
            region = Some(host.region.clone());
        } else {
            let (source, found_in) = locate(program, id, patience)?;
            source_name = Some(source);
            region = Some(found_in);
        }
    }
    let limits = |job: Job| Job { push_rate: known.config.push_rate, push_log: known.config.push_log, ..job };
    let Some(name) = source_name else {
        let role = place.role_arn.clone().map(|arn| Role { arn, external_id: None, session_name: None });
        let identity = Identity { profile: place.profile.clone(), role, account: None };
        return Ok((limits(Job::new(id.clone(), &label, user, region, identity)), AddressKind::Private));
    };
    let source = known.config.source(&name).ok_or_else(|| {
        Error::new(
            Kind::Config,
            format!("{} has no source {name:?} any more, which {label} came from", paths.config.display()),
        )
        .hint("ssh-eic sync")
    })?;
    let mut identity = Identity::of(source);
    let recorded = known.index.as_ref().and_then(|index| index.header.accounts.get(&name).cloned());
    identity.account = identity.account.or(recorded);
    let job = Job { key_type: source.key_type, ..Job::new(id.clone(), &label, user, region, identity) };
    Ok((limits(job), source.address))
}

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

/// The user that ssh handed over, if it is one that can be pushed for.
///
/// # Errors
///
/// [`Kind::Usage`] in the words of the contract.
pub fn os_user(text: &str) -> Result<OsUser> {
    OsUser::parse(text).ok_or_else(|| {
        Error::new(Kind::Usage, format!("EC2 Instance Connect takes no user such as {text:?}"))
            .hint("user names have letters, digits and @._-, 32 at most")
    })
}
