//! How a sandbox is started: the form of its network, its folder, and how AWS is served.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// How the instances get their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Private network and mount namespaces (Linux, root): real 10.x addresses, port 22, OS users.
    Namespaces,
    /// 127.0.0.1, a port for each instance by tag, the current user only: `ssh -F $HOME/.ssh/config`.
    Loopback,
}

impl Form {
    /// [`Form::Namespaces`] where this process may make them, else [`Form::Loopback`]; tried once in a process.
    #[must_use]
    pub fn detect() -> Self {
        static DETECTED: OnceLock<Form> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let possible = cfg!(target_os = "linux")
                && rustix::process::geteuid().is_root()
                && Command::new("unshare")
                    .args(["-n", "-m", "--propagation", "private", "true"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .is_ok_and(|status| status.success());
            if possible { Self::Namespaces } else { Self::Loopback }
        })
    }
}

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// [`Form::detect`] by default.
    pub form: Form,
    /// An existing, empty folder to use and keep; by default a temporary one.
    pub dir: Option<PathBuf>,
    /// Serves AWS over TLS, with a certificate of an authority that `AWS_CA_BUNDLE` passes to the commands inside.
    pub tls: bool,
    /// The program that runs [`cli::run`](crate::cli::run) when it is called with `serve`; by default the `sandbox`
    /// beside the running one.
    pub server: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { form: Form::detect(), dir: None, tls: false, server: None }
    }
}
