//! The inputs of the checks, each read once, by the first check that needs it.

use std::cell::OnceCell;
use std::path::Path;
use std::time::Duration;

use crate::connect::push::Job;
use crate::connect::target::{self, Known, Place};
use crate::connect::worker::Program;
use crate::domain::config::Config;
use crate::domain::diagnosis::Cause;
use crate::domain::fleet::{Host, Instance};
use crate::domain::ids::OsUser;
use crate::domain::source::AddressKind;
use crate::domain::ssh_config::edit::{self, Present};
use crate::domain::ssh_config::shadow::Options;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::Index;
use crate::store::paths::Paths;
use crate::store::{files, ssh_config};
use crate::sys::ssh_client;

/// The inputs of one run of the checks.
pub struct CheckContext<'a> {
    /// All paths.
    pub paths: &'a Paths,
    /// How to start further processes of this program.
    pub program: &'a Program,
    /// The host as typed.
    pub wanted: Option<&'a str>,
    /// How long the credentials have to be valid, in seconds.
    pub valid_for: Option<u64>,
    config: OnceCell<Result<Config>>,
    index: OnceCell<Result<Index>>,
    present: OnceCell<Result<Vec<Present>>>,
    target: OnceCell<Result<Target>>,
    options: OnceCell<Result<(Options, Options)>>,
    /// The instance according to AWS; none if AWS denies describing it.
    pub(super) instance: OnceCell<Box<Instance>>,
}

/// The host, and what a connection to it needs.
pub(super) struct Target {
    /// The argument of `ssh`.
    pub(super) name: String,
    /// None for an id that is not in the index.
    pub(super) host: Option<Host>,
    pub(super) job: Job,
    pub(super) address: AddressKind,
}

/// For searching the sources for an id that is not in the index.
const LOCATE_TIMEOUT: Duration = Duration::from_secs(20);

impl<'a> CheckContext<'a> {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(paths: &'a Paths, program: &'a Program, wanted: Option<&'a str>, valid_for: Option<u64>) -> Self {
        Self {
            paths,
            program,
            wanted,
            valid_for,
            config: OnceCell::new(),
            index: OnceCell::new(),
            present: OnceCell::new(),
            target: OnceCell::new(),
            options: OnceCell::new(),
            instance: OnceCell::new(),
        }
    }

    /// The argument of `ssh -F`; none if ssh reads the config by default.
    pub(super) fn named_config(&self) -> Option<&Path> {
        self.paths.home.is_none().then_some(self.paths.ssh_config.as_path())
    }

    /// Whether there is a config or an index: `ssh-eic init` writes both.
    pub(super) fn is_set_up(&self) -> bool {
        [&self.paths.config, &self.paths.machine_config, &self.paths.index()].into_iter().any(|path| path.exists())
    }

    pub(super) fn config(&self) -> Result<&Config> {
        once(&self.config, || config::load(&self.paths.config, &self.paths.machine_config))
    }

    pub(super) fn index(&self) -> Result<&Index> {
        let absent = || {
            let command = if self.is_set_up() { "ssh-eic sync" } else { "ssh-eic init" };
            Error::new(Kind::NoHost, "there is no index of instances yet").hint(command).cause(Cause::NoIndex)
        };
        once(&self.index, || Index::open(&self.paths.index())?.ok_or_else(absent))
    }

    /// What ssh-eic wrote to the user's ssh config.
    pub(super) fn present(&self) -> Result<&Vec<Present>> {
        once(&self.present, || {
            let config = files::read(&self.paths.ssh_config)?.unwrap_or_default();
            let line = ssh_config::include_line(self.paths)?;
            edit::present(&config, &line).map_err(|trouble| ssh_config::explained(trouble, &self.paths.ssh_config))
        })
    }

    pub(super) fn target(&self) -> Result<&Target> {
        once(&self.target, || self.find_target(self.wanted.unwrap_or_default()))
    }

    fn find_target(&self, wanted: &str) -> Result<Target> {
        self.index()?;
        let id = target::find(self.paths, wanted)?;
        let known = Known::read(self.paths, &id)?;
        let host = known.host.clone();
        let user = host.as_ref().map_or_else(OsUser::ec2_user, |host| host.user.clone());
        let (job, address) =
            target::job(self.paths, &known, self.program, &id, user, &Place::default(), LOCATE_TIMEOUT)?;
        let is_name = host.as_ref().is_some_and(|host| host.all_names().any(|name| name == wanted));
        let label = host.as_ref().map_or(id.as_str(), Host::label);
        let name = if is_name || wanted == id.as_str() { wanted } else { label }.to_owned();
        Ok(Target { name, host, job, address })
    }

    /// The generated options of the host, and the ones that ssh uses.
    pub(super) fn options(&self) -> Result<&(Options, Options)> {
        once(&self.options, || {
            let name = &self.target()?.name;
            let trial = files::trial_folder(&std::env::temp_dir())?;
            let alone = trial.path().join("config");
            let ours: Vec<u8> = self.present()?.iter().flat_map(|part| part.text.clone()).collect();
            files::replace(&alone, &ours, 0o600)?;
            let meant = ssh_client::effective(Some(&alone), name)?;
            Ok((meant, ssh_client::effective(self.named_config(), name)?))
        })
    }

    /// An option that ssh uses for the host; empty if it is not set.
    pub(super) fn effective(&self, keyword: &str) -> Result<&str> {
        Ok(first(&self.options()?.1, keyword))
    }

    /// The generated value of an option; empty if it is not set.
    pub(super) fn meant(&self, keyword: &str) -> Result<&str> {
        Ok(first(&self.options()?.0, keyword))
    }
}

fn first<'o>(options: &'o Options, keyword: &str) -> &'o str {
    options.get(keyword).and_then(|values| values.first()).map_or("", String::as_str)
}

fn once<T>(cell: &OnceCell<Result<T>>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    cell.get_or_init(make).as_ref().map_err(Clone::clone)
}
