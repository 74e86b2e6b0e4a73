//! The paths of all files and folders, computed once from the environment. Only this module joins paths.

use std::path::{Path, PathBuf};

use crate::domain::ids::{InstanceId, OsUser};
use crate::error::{Error, Result};
use crate::sys::environment::variable;

/// What an administrator gives to all users.
const MACHINE_WIDE: &str = "/etc/ssh-eic/config.toml";

/// The flags and variables that decide about paths.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `--home` or `SSH_EIC_HOME`.
    pub own_home: Option<PathBuf>,
    /// `--config` or `SSH_EIC_CONFIG`.
    pub config: Option<PathBuf>,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, or what stands for it on the command line.
    pub state_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub cache_home: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables; `home`, `config` and `state` are the flags, which override them.
    #[must_use]
    pub fn read(home: Option<PathBuf>, config: Option<PathBuf>, state: Option<PathBuf>) -> Self {
        let path = |name: &str| variable(name).map(PathBuf::from);
        Self {
            own_home: home.or_else(|| path("SSH_EIC_HOME")),
            config: config.or_else(|| path("SSH_EIC_CONFIG")),
            home: dirs::home_dir(),
            config_home: path("XDG_CONFIG_HOME"),
            state_home: state.or_else(|| path("XDG_STATE_HOME")),
            cache_home: path("XDG_CACHE_HOME"),
        }
    }
}

/// All paths, absolute.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `config.toml`.
    pub config: PathBuf,
    /// Whether `--config` or `SSH_EIC_CONFIG` names it.
    pub config_is_named: bool,
    /// The one for the whole machine, under the user's.
    pub machine_config: PathBuf,
    /// The user's own ssh config, which gets the Include.
    pub ssh_config: PathBuf,
    /// The folder of generated config, keys, `known_hosts` and control sockets.
    pub eic: PathBuf,
    /// Index and push log.
    pub state: PathBuf,
    /// What may be lost at any time.
    pub cache: PathBuf,
    /// The user's home, if these paths are below it.
    pub home: Option<PathBuf>,
}

impl Paths {
    /// Lays out the paths; none without any home.
    #[must_use]
    pub fn new(environment: &Environment) -> Option<Self> {
        let absolute = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_absolute());
        if let Some(home) = absolute(&environment.own_home) {
            return Some(Self {
                config: absolute(&environment.config).unwrap_or_else(|| home.join("config.toml")),
                config_is_named: environment.config.is_some(),
                machine_config: MACHINE_WIDE.into(),
                ssh_config: home.join("ssh_config"),
                state: home.join("state"),
                cache: home.join("cache"),
                eic: home,
                home: None,
            });
        }
        let home = absolute(&environment.home)?;
        // XDG Base Directory Specification: a relative path is to be ignored.
        let under = |variable: &Option<PathBuf>, default: &str| {
            absolute(variable).unwrap_or_else(|| home.join(default)).join("ssh-eic")
        };
        Some(Self {
            config: absolute(&environment.config)
                .unwrap_or_else(|| under(&environment.config_home, ".config").join("config.toml")),
            config_is_named: environment.config.is_some(),
            machine_config: MACHINE_WIDE.into(),
            ssh_config: home.join(".ssh/config"),
            eic: home.join(".ssh/eic"),
            state: under(&environment.state_home, ".local/state"),
            cache: under(&environment.cache_home, ".cache"),
            home: Some(home.clone()),
        })
    }

    /// The instance index.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.state.join("index")
    }

    /// One line a push.
    #[must_use]
    pub fn push_log(&self) -> PathBuf {
        self.state.join("pushes.jsonl")
    }

    /// Held by the one sync that runs.
    #[must_use]
    pub fn sync_lock(&self) -> PathBuf {
        self.state.join("sync.lock")
    }

    /// What background syncs changed since a user last read about it.
    #[must_use]
    pub fn unread_changes(&self) -> PathBuf {
        self.state.join("unread-changes")
    }

    /// Touched when a refresh is started.
    #[must_use]
    pub fn refresh_stamp(&self) -> PathBuf {
        self.state.join("refresh")
    }

    /// What of the user's own did not exist before us, so that `remove` can leave nothing behind.
    #[must_use]
    pub fn created(&self) -> PathBuf {
        self.state.join("created")
    }

    /// Names and owners of images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.cache.join("images.json")
    }

    /// Exists once consoles have been read for a suggestion.
    #[must_use]
    pub fn console_sample(&self) -> PathBuf {
        self.cache.join("console-sample")
    }

    /// The folder of SSO tokens, which belongs to the AWS CLI and the SDKs, if these paths are below a home.
    #[must_use]
    pub fn sso_tokens(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".aws/sso/cache"))
    }

    /// The folder of temporary credentials that is used without `XDG_CACHE_HOME`, if these paths are below a home.
    #[must_use]
    pub fn usual_credentials(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".cache/ssh-eic/credentials"))
    }

    /// The folders of temporary credentials that `XDG_CACHE_HOME` has named so far, one a line.
    #[must_use]
    pub fn credential_folders(&self) -> PathBuf {
        self.eic.join("credential-folders")
    }

    /// Temporary credentials.
    #[must_use]
    pub fn credentials(&self) -> PathBuf {
        self.cache.join("credentials")
    }

    /// The folder of the tunnel slots of all endpoints.
    #[must_use]
    pub fn tunnel_slots(&self) -> PathBuf {
        self.cache.join("tunnels")
    }

    /// The folder of known endpoints of VPCs and networks of instances.
    #[must_use]
    pub fn endpoints(&self) -> PathBuf {
        self.cache.join("endpoints")
    }

    /// Routes that worked, by VPC and local network.
    #[must_use]
    pub fn routes(&self) -> PathBuf {
        self.cache.join("routes.json")
    }

    /// When the next push of this user may go out.
    #[must_use]
    pub fn push_rate(&self) -> PathBuf {
        self.state.join("push-rate")
    }

    /// Host keys by instance id: the file that ssh writes, and the one that only we write.
    #[must_use]
    pub fn known_hosts(&self) -> [PathBuf; 2] {
        ["known_hosts", "known_hosts.console"].map(|name| self.eic.join(name))
    }

    /// The folder of records of host keys: what console outputs had, and what was accepted.
    #[must_use]
    pub fn host_keys(&self) -> PathBuf {
        self.eic.join("host-keys")
    }

    /// The folder of keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.eic.join("keys")
    }

    /// The private key for an instance.
    #[must_use]
    pub fn key(&self, id: &InstanceId) -> PathBuf {
        self.keys().join(id.as_str())
    }

    /// Held for moments: who looks at, makes or removes the key.
    #[must_use]
    pub fn key_lock(&self, id: &InstanceId) -> PathBuf {
        self.keys().join(format!("{id}.lock"))
    }

    /// Held over a push of the key for a user.
    #[must_use]
    pub fn push_lock(&self, id: &InstanceId, user: &OsUser) -> PathBuf {
        self.keys().join(format!("{id}.{user}.push-lock"))
    }

    /// What the last push for a user came to.
    #[must_use]
    pub fn push_stamp(&self, id: &InstanceId, user: &OsUser) -> PathBuf {
        self.keys().join(format!("{id}.{user}.push"))
    }

    /// The control socket that the generated `ControlPath` names.
    #[must_use]
    pub fn control_socket(&self, id: &InstanceId, port: u16, user: &str) -> PathBuf {
        self.eic.join(format!("cm/{id}-{port}-{user}"))
    }

    /// The folder that the Include names, as text.
    #[must_use]
    pub fn eic_text(&self) -> Option<&str> {
        self.eic.to_str()
    }
}

/// Where a relative path named on the command line is.
///
/// # Errors
///
/// [`crate::error::Kind::File`] if the working folder is gone.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::file("find", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_moves_what_the_contract_says() {
        let mut environment = Environment { home: Some("/home/u".into()), ..Environment::default() };
        let paths = Paths::new(&environment).unwrap();
        assert_eq!(paths.config, Path::new("/home/u/.config/ssh-eic/config.toml"));
        assert_eq!(paths.index(), Path::new("/home/u/.local/state/ssh-eic/index"));
        environment.state_home = Some("relative".into());
        environment.cache_home = Some("/var/cache/u".into());
        environment.config = Some("/etc/my.toml".into());
        let paths = Paths::new(&environment).unwrap();
        assert_eq!(paths.index(), Path::new("/home/u/.local/state/ssh-eic/index"));
        assert_eq!(paths.cache, Path::new("/var/cache/u/ssh-eic"));
        assert_eq!(paths.config, Path::new("/etc/my.toml"));
        environment.own_home = Some("/run/eic".into());
        let paths = Paths::new(&environment).unwrap();
        assert_eq!(paths.ssh_config, Path::new("/run/eic/ssh_config"));
        assert_eq!(paths.config, Path::new("/etc/my.toml"));
        assert!(Paths::new(&Environment::default()).is_none());
    }
}
