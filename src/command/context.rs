//! What every command gets: the paths, and the flags that lead further processes of this program to the same paths.

use std::path::PathBuf;

use crate::connect::worker::Program;
use crate::domain::ssh_config::render;
use crate::error::{Error, Kind, Result};
use crate::store::paths::{Environment, Paths};
use crate::sys::environment;

/// Paths and flags.
#[derive(Debug)]
pub struct Context {
    /// All paths.
    pub paths: Paths,
    /// `--home`, `--config` and `--state-home` with their values, as far as they are not the defaults: ssh starts the hook and
    /// the proxy without this process's flags, and perhaps without its variables.
    pub flags: Vec<(String, String)>,
}

impl Context {
    /// Paths and flags for this environment.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] without a home directory or for a path that cannot be written into an ssh config; [`Kind::Usage`]
    /// for a relative path.
    pub fn new(environment: &Environment) -> Result<Self> {
        let paths = Paths::new(environment).ok_or_else(|| {
            Error::new(Kind::File, "there is no home directory")
                .hint("set HOME, or SSH_EIC_HOME to a folder of its own")
        })?;
        let by_xdg = environment.config_home.is_some() && environment.own_home.is_none();
        let config = environment.config.clone().or_else(|| by_xdg.then(|| paths.config.clone()));
        // XDG Base Directory Specification: a relative path is ignored.
        let state = environment.state_home.clone().filter(|path| environment.own_home.is_none() && path.is_absolute());
        let mut flags = Vec::new();
        for (flag, variable, path) in [
            ("--home", "SSH_EIC_HOME", environment.own_home.clone()),
            ("--config", "SSH_EIC_CONFIG", config),
            ("--state-home", "XDG_STATE_HOME", state),
        ] {
            if let Some(path) = path {
                flags.extend(absolute(variable, path)?.map(|text| (flag.to_owned(), text)));
            }
        }
        Ok(Self { paths, flags })
    }

    /// How to start further processes of this program.
    ///
    /// # Errors
    ///
    /// If the program's own path cannot be found.
    pub fn program(&self) -> Result<Program> {
        Ok(Program { binary: environment::own_binary()?, flags: self.flags.clone() })
    }
}

/// The path as text, if it is text; it must be absolute and must survive the quoting of `ssh_config`.
fn absolute(variable: &str, path: PathBuf) -> Result<Option<String>> {
    if !path.is_absolute() {
        return Err(Error::new(Kind::Usage, format!("{variable}: {} is not an absolute path", path.display()))
            .hint("use an absolute path: ssh starts ssh-eic in any folder"));
    }
    let Ok(text) = path.into_os_string().into_string() else { return Ok(None) };
    render::check_path(&text).map_err(|reason| {
        Error::new(Kind::File, format!("the path {text}: {reason}"))
            .hint(format!("set {variable} to a path without this character"))
    })?;
    Ok(Some(text))
}
