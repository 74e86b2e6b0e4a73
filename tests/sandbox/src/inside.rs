//! Running programs inside a sandbox, from the process that started it or from another one.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::options::Form;
use crate::program::{command_path, user_name};
use crate::server::CA;

/// What the server reports once it is ready, also in `DIR/ready.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) pid: i32,
    pub(crate) form: Form,
    pub(crate) endpoint: String,
    /// The authority behind the endpoint's certificate, if it is one of TLS.
    #[serde(default)]
    pub(crate) ca: Option<PathBuf>,
}

/// The file that holds [`Ready`].
pub(crate) const READY: &str = "ready.json";

/// The way into a running sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    pub(crate) ready: Ready,
    authority: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) path: String,
    user: String,
}

impl Inside {
    pub(crate) fn new(dir: &Path, ready: Ready) -> io::Result<Self> {
        Ok(Self { authority: dir.join(CA), ready, home: dir.join("home"), path: command_path(), user: user_name()? })
    }

    /// The authority, once something is served over TLS.
    pub(crate) fn ca(&self) -> Option<&Path> {
        Some(self.authority.as_path()).filter(|path| path.exists())
    }

    /// The sandbox in a folder.
    pub(crate) fn of(dir: &Path) -> io::Result<Self> {
        let ready = fs::read(dir.join(READY))?;
        Self::new(dir, serde_json::from_slice(&ready)?)
    }

    /// Puts a folder in front of PATH.
    pub(crate) fn path_with(&mut self, dir: &Path) {
        self.path = format!("{}:{}", dir.display(), self.path);
    }

    /// A command inside, in the throw-away home and with a fresh environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.ready.form {
            Form::Loopback => Command::new(program),
            Form::Namespaces => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &self.ready.pid.to_string(), "-n", "-m"]);
                command.arg(format!("--wd={}", self.home.display())).arg("--").arg(program);
                command
            }
        };
        command.current_dir(&self.home).env_clear().env("HOME", &self.home);
        command.envs([
            ("PATH", self.path.as_str()),
            ("USER", &self.user),
            ("LOGNAME", &self.user),
            ("SHELL", "/bin/bash"),
            ("TERM", "dumb"),
            ("LANG", "C.UTF-8"),
            ("AWS_ENDPOINT_URL", &self.ready.endpoint),
        ]);
        if let Some(ca) = self.ca() {
            command.env("AWS_CA_BUNDLE", ca);
        }
        if self.ready.form == Form::Loopback {
            // The machine's own network is in reach, and with it perhaps a metadata service.
            command.env("AWS_EC2_METADATA_DISABLED", "true");
        }
        command
    }
}
