//! Ways to log in to the same instances: by ssh-eic; by ssh alone with a key that was there before; by that through a
//! relay which does nothing else. Apart from the key and the ProxyCommand they are the same in all that ssh does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::{self, Site};
use crate::meter::Step;

/// One key exchange for all: which one is negotiated decides about milliseconds.
const KEX: &str = "KexAlgorithms=curve25519-sha256";

/// How long static keys are let in: longer than any run.
const FOR_EVER: Duration = Duration::from_hours(48);

/// An ssh config that leads to the hosts.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    config: String,
}

impl Way {
    /// The command line of `ssh HOST COMMAND`.
    pub(crate) fn argv(&self, host: &str, command: &str) -> Vec<String> {
        // Named for all of them: without -F the system's own config would be read too, by one way and not by others.
        [&["ssh"], &self.flags()[..], &[host, command]].concat().into_iter().map(String::from).collect()
    }

    /// Arguments of ssh for this way.
    pub(crate) fn flags(&self) -> [&str; 4] {
        ["-F", &self.config, "-o", KEX]
    }

    /// `ssh HOST COMMAND`.
    pub(crate) fn run(&self, host: &str, command: &str) -> Step {
        Step::new(self.argv(host, command))
    }

    /// `ssh HOST /bin/true`.
    pub(crate) fn login(&self, host: &str) -> Step {
        self.run(host, "/bin/true")
    }
}

/// By ssh-eic.
pub(crate) fn ours(site: &Site) -> Way {
    Way { config: site.sandbox.home().join(".ssh/config").display().to_string() }
}

/// A host as ssh sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) address: String,
    pub(crate) port: String,
}

/// The options of a host in the config that `sync` wrote.
pub(crate) fn seen(site: &Site, host: &str) -> io::Result<Seen> {
    let config = ours(site).config;
    let output = site.sandbox.command("ssh").args(["-F", &config, "-G", host]).env("SSH_EIC_HOOK_OFF", "1").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        found.map(String::from).ok_or_else(|| io::Error::other(format!("ssh -G {host} names no {key}")))
    };
    Ok(Seen { id: value("hostkeyalias")?, user: value("user")?, address: value("hostname")?, port: value("port")? })
}

/// ssh alone. The hosts let a static key in from now on.
#[derive(Debug)]
pub(crate) struct Plain {
    /// Without a ProxyCommand.
    pub(crate) way: Way,
    /// The public half of the static key.
    pub(crate) key: String,
    folder: PathBuf,
    text: String,
}

impl Plain {
    /// For some hosts of a site. `others` is a config file of further ones, which are to be read only.
    pub(crate) fn new(site: &Site, hosts: &[impl AsRef<str>], others: Option<&str>) -> io::Result<Self> {
        let folder = folder(site)?;
        let private = own_key(site, "static")?;
        let key = fs::read_to_string(format!("{private}.pub"))?.trim_end().to_owned();
        let mut text = others.map(|file| format!("Include {file}\n")).unwrap_or_default();
        for host in hosts {
            let seen = seen(site, host.as_ref())?;
            site.sandbox.accept_key(&seen.id, &seen.user, &key, FOR_EVER)?;
            text += &block(host.as_ref(), &seen);
        }
        text += &[options(&folder), format!("    IdentityFile {private}\n")].concat();
        let way = write(&folder, "plain", &text)?;
        Ok(Self { way, key, folder, text })
    }

    /// Makes the next connection to each host the first one.
    pub(crate) fn forget_hosts(&self) -> io::Result<()> {
        lab::remove(&self.folder.join(KNOWN_HOSTS))
    }

    /// The same through any ProxyCommand.
    pub(crate) fn through(&self, command: &str) -> io::Result<Way> {
        let text = format!("{}    ProxyCommand {command}\n", self.text);
        let name = command.split(' ').nth(1).unwrap_or_default();
        write(&self.folder, &format!("through-{name}"), &text)
    }

    /// The same through the relay in C; the text is why there is none.
    pub(crate) fn relayed(&self, arguments: &str) -> io::Result<Result<Way, String>> {
        let relay = match compiled(&self.folder)? {
            Ok(relay) => relay,
            Err(why) => return Ok(Err(why)),
        };
        let text = format!("{}    ProxyCommand {relay} %h %p {arguments}\n", self.text);
        write(&self.folder, &format!("relayed{arguments}"), &text).map(Ok)
    }
}

fn block(host: &str, seen: &Seen) -> String {
    let Seen { id, user, address, port } = seen;
    format!("Host {host}\n    HostName {address}\n    HostKeyAlias {id}\n    User {user}\n    Port {port}\n")
}

const KNOWN_HOSTS: &str = "known_hosts";

/// As in the generated config.
fn options(folder: &Path) -> String {
    format!(
        "Host *\n    UserKnownHostsFile {known}\n    IdentitiesOnly yes\n    AddKeysToAgent no\n    \
         PubkeyAuthentication yes\n    PreferredAuthentications publickey,keyboard-interactive\n    \
         HashKnownHosts no\n    StrictHostKeyChecking accept-new\n",
        known = folder.join(KNOWN_HOSTS).display(),
    )
}

/// ssh alone with a key that it is given on its command line, as user and to an address that it is given too.
pub(crate) fn keyless(site: &Site) -> io::Result<Way> {
    let folder = folder(site)?;
    write(&folder, "keyless", &options(&folder))
}

/// Where the bench keeps its own files of a site.
fn folder(site: &Site) -> io::Result<PathBuf> {
    let folder = site.sandbox.dir().join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn write(folder: &Path, name: &str, text: &str) -> io::Result<Way> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(Way { config: path.display().to_string() })
}

/// Makes a key of the bench's own, unless there is one; the path of its private half.
pub(crate) fn own_key(site: &Site, name: &str) -> io::Result<String> {
    let path = folder(site)?.join(name);
    if !path.is_file() {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path).stdin(Stdio::null());
        let status = keygen.status()?;
        if !status.success() {
            return Err(io::Error::other(format!("ssh-keygen: {status}")));
        }
    }
    Ok(path.display().to_string())
}

/// The relay's program, or why there is none.
fn compiled(folder: &Path) -> io::Result<Result<String, String>> {
    let program = folder.join("relay");
    if !program.is_file() {
        let source = folder.join("relay.c");
        fs::write(&source, include_str!("../relay.c"))?;
        let output = Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(&source).stdin(Stdio::null()).output();
        match output {
            Err(error) => return Ok(Err(format!("cc: {error}"))),
            Ok(output) if !output.status.success() => {
                let errors = String::from_utf8_lossy(&output.stderr);
                return Ok(Err(format!("cc: {}", errors.lines().next().unwrap_or_default())));
            }
            Ok(_) => {}
        }
    }
    Ok(Ok(program.display().to_string()))
}
