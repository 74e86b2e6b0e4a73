//! The library's entry point: starts a sandbox and runs programs inside; requests to its server are in `requests`.
//!
//! Everything is removed when the value is dropped, and also if its process is killed: the server reads a pipe from it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::control::Request;
use crate::identity::{Credential, SignIn};
use crate::inside::{Inside, Ready};
use crate::options::{Form, Options};
use crate::server::stranger_id;
use crate::{home, program};

mod requests;

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    server: Child,
    inside: Inside,
    dir: PathBuf,
    credentials: home::Credentials,
    temporary: Option<TempDir>,
}

impl Sandbox {
    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// If the folder cannot be made or the server does not come up; the text has the server's log.
    pub fn start(options: Options) -> io::Result<Self> {
        let Options { form, dir, tls, server } = options;
        let temporary = match dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("sbx-").tempdir_in("/tmp")?),
        };
        let dir = dir.or_else(|| temporary.as_ref().map(|t| t.path().to_owned())).unwrap_or_default().canonicalize()?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let credentials = home::create(&dir)?;
        let program = server.map_or_else(program::sandbox_binary, Ok)?;
        let mut serve = match form {
            Form::Loopback => Command::new(&program),
            Form::Namespaces => {
                let mut command = Command::new("unshare");
                command.args(["-n", "-m", "--propagation", "private", "--"]).arg(&program);
                command
            }
        };
        serve.arg("serve").args((form == Form::Loopback).then_some("--loopback")).args(tls.then_some("--tls"));
        serve.args(temporary.is_some().then_some("--remove"));
        let (server, ready) = spawn(serve, &dir)?;
        let inside = Inside::new(&dir, ready)?;
        Ok(Self { server, inside, dir, credentials, temporary })
    }

    /// The folder that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The throw-away home, `$HOME` of every command.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.inside.home
    }

    /// The URL of the AWS stand-in; in the form of namespaces it is reachable from inside only.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.inside.ready.endpoint
    }

    /// The authority that signed the certificates (PEM), if AWS is served over TLS or there is an endpoint.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.inside.ca()
    }

    /// The form it was started in.
    #[must_use]
    pub fn form(&self) -> Form {
        self.inside.ready.form
    }

    /// The server's process id, to enter its namespaces by other means.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.inside.ready.pid
    }

    /// The access key of one of the profiles `default`, `prod` and `staging`, or of one that was added; it differs from
    /// sandbox to sandbox.
    #[must_use]
    pub fn credential(&self, profile: &str) -> Option<&Credential> {
        self.credentials.get(profile)
    }

    /// Adds a profile with a long-lived access key of an account to `~/.aws/config` and `~/.aws/credentials`.
    ///
    /// # Errors
    /// If there is such a profile, its files cannot be written, or the server is gone.
    pub fn add_profile(&mut self, name: &str, account: &str, region: &str) -> io::Result<()> {
        if self.credentials.contains_key(name) {
            return Err(io::Error::other(format!("profile {name} is there already")));
        }
        let credential = home::add_profile(&self.inside.home, name, account, region)?;
        self.add_credential(credential.clone())?;
        self.credentials.insert(name.to_owned(), credential);
        Ok(())
    }

    /// Puts a folder in front of PATH, for later commands.
    pub fn path_with(&mut self, dir: &Path) {
        self.inside.path_with(dir);
    }

    /// PATH of every command.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.inside.path
    }

    /// A command that runs inside, in the throw-away home and with a fresh environment.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.inside.command(program)
    }

    /// The public keys that the instance's sshd offers now, one a line; empty before its first connection, unless
    /// [`Sandbox::warm`] made them.
    #[must_use]
    pub fn host_keys(&self, id: &str) -> String {
        let Ok(files) = fs::read_dir(self.dir.join("instances").join(id)) else { return String::new() };
        let is_key = |name: &str| name.starts_with("ssh_host_") && name.ends_with("_key.pub");
        let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        paths.retain(|path| path.file_name().and_then(OsStr::to_str).is_some_and(is_key));
        paths.sort();
        paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
    }

    /// How often the instance's sshd has run its `AuthorizedKeysCommand`, under [`Switches::key_command_ms`].
    #[must_use]
    pub fn key_lookups(&self, id: &str) -> usize {
        let path = self.dir.join("instances").join(id).join("key_lookups");
        fs::read_to_string(path).map_or(0, |text| text.lines().count())
    }

    /// The log of the sshd that answers in the instance's place under [`crate::Network::Stranger`].
    #[must_use]
    pub fn stranger_log(&self, id: &str) -> String {
        self.sshd_log(&stranger_id(id))
    }

    /// Signs in with IAM Identity Center, as `aws sso login --sso-session SESSION` would: the portal knows the token
    /// and `~/.aws/sso/cache` holds it. The section `[sso-session SESSION]` of `~/.aws/config` is the caller's to write.
    ///
    /// # Errors
    /// If the cache file cannot be written or the server is gone.
    pub fn sign_in(&self, session: &str, sign_in: SignIn) -> io::Result<()> {
        home::cache_sso_token(&self.inside.home, session, &sign_in)?;
        self.send(&Request::SignIn(sign_in))
    }

    /// What the instance's sshd wrote, over all connections.
    #[must_use]
    pub fn sshd_log(&self, id: &str) -> String {
        fs::read_to_string(self.dir.join("instances").join(id).join("sshd.log")).unwrap_or_default()
    }

    /// Whether a request for this action has arrived, answered or not.
    #[must_use]
    pub fn has_arrived(&self, action: &str) -> bool {
        self.arrivals(action) > 0
    }

    /// How many requests for this action have arrived, answered or not.
    #[must_use]
    pub fn arrivals(&self, action: &str) -> usize {
        let arrivals = fs::read_to_string(self.dir.join(crate::aws::ARRIVALS)).unwrap_or_default();
        arrivals.lines().filter(|line| *line == action).count()
    }

    /// What the server itself complained about.
    #[must_use]
    pub fn server_log(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.server.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.server.kill();
                let _ = self.server.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(self.temporary.take());
    }
}

fn spawn(mut serve: Command, dir: &Path) -> io::Result<(Child, Ready)> {
    serve.arg("--dir").arg(dir).current_dir("/");
    // Ctrl-C in a terminal is not for the server: it ends when we do.
    serve.process_group(0);
    let log = dir.join("server.log");
    serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
    let mut server = serve.spawn()?;
    let mut line = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if let Ok(ready) = serde_json::from_str(&line) {
        return Ok((server, ready));
    }
    let log = fs::read_to_string(&log).unwrap_or_default();
    let _ = server.kill();
    let _ = server.wait();
    Err(io::Error::other(format!("the sandbox's server did not come up: {}", log.trim())))
}
