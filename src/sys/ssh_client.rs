//! The installed OpenSSH client: its version, and what it makes of a config. The final judge is always `ssh -G`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::domain::diagnosis::Cause;
use crate::domain::ssh_client::ProgramFile;
use crate::domain::ssh_config::shadow::Options;
use crate::error::{Error, Kind, Result};
use crate::sys::environment::HOOK_OFF;
use crate::sys::limited::{self, ProgramResult};

/// The oldest client that reads what we write (tokens in IdentityFile, ControlPath and ProxyCommand; quoting).
pub const OLDEST: (u32, u32) = (8, 7);

/// A config that ssh does not accept, or a client that cannot be run.
#[derive(Debug)]
pub struct ConfigFailure {
    /// For the user.
    pub error: Box<Error>,
    /// Where in the named config, and why, if ssh said so.
    pub complaint: Option<Complaint>,
}

/// What ssh says about the config that it was given, from its own file and not from an included one.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Counted from 1; none: the whole file.
    pub line: Option<usize>,
    /// In the words of ssh.
    pub reason: String,
}

impl From<Error> for ConfigFailure {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), complaint: None }
    }
}

/// Asks the client for its version and refuses one that is too old.
///
/// # Errors
///
/// [`Kind::Config`] in plain words.
pub fn check_version() -> Result<(u32, u32)> {
    let words = run(Command::new("ssh").arg("-V"), "ssh -V", TIMEOUT)?.stderr;
    if words.starts_with("No user exists for uid") {
        // ssh.c looks itself up before it does anything; in a container that runs under any user id there is nobody.
        let uid = rustix::process::getuid().as_raw();
        return Err(Error::new(
            Kind::File,
            format!("ssh does not run for user id {uid}: the user database has no entry"),
        )
        .hint(format!("echo 'runner:x:{uid}:0::/tmp:/bin/sh' >>/etc/passwd, at the start of the container")));
    }
    let version = parse_version(&words).ok_or_else(|| {
        Error::new(Kind::Config, format!("cannot read the version of ssh from {:?}", words.trim()))
            .hint("ssh-eic works with the OpenSSH client, 8.7 or newer")
            .cause(Cause::ClientUnknown)
    })?;
    if version < OLDEST {
        return Err(Error::new(
            Kind::Config,
            format!(
                "the ssh on PATH is OpenSSH {}.{}; ssh-eic needs {}.{} or newer",
                version.0, version.1, OLDEST.0, OLDEST.1
            ),
        )
        .hint("install a newer OpenSSH client and put it first on PATH")
        .cause(Cause::ClientTooOld));
    }
    Ok(version)
}

/// The ssh program on PATH, with the ssh-keygen of the same installation if it has one. None without a regular file of
/// that name.
#[must_use]
pub fn find() -> Option<(ProgramFile, Option<PathBuf>)> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let ssh = folders.iter().map(|folder| folder.join("ssh")).find(|file| file.is_file())?;
    let installed = ssh.canonicalize().ok();
    let beside = |program: &Path| Some(program.parent()?.join("ssh-keygen")).filter(|file| file.is_file());
    let keygen = beside(&ssh).or_else(|| beside(installed.as_deref()?));
    Some((program_file(&ssh)?, keygen))
}

/// What identifies a program file.
pub(super) fn program_file(path: &Path) -> Option<ProgramFile> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    let modified = metadata.mtime().checked_mul(1_000_000_000)?.checked_add(metadata.mtime_nsec())?;
    Some(ProgramFile { inode: metadata.ino(), size: metadata.size(), modified })
}

/// The public half of a private key file as that ssh-keygen prints it; none if it cannot read the file.
#[must_use]
pub fn public_half(keygen: &Path, key: &Path) -> Option<String> {
    // An empty passphrase is no prompt.
    let mut command = Command::new(keygen);
    command.args(["-y", "-P", "", "-f"]).arg(key);
    let result = limited::run(&mut command, TIMEOUT).ok()?;
    (result.code == Some(0)).then_some(result.stdout)
}

/// From `OpenSSH_9.2p1 Debian-2, OpenSSL …`, also `OpenSSH_for_Windows_8.9p1`.
fn parse_version(words: &str) -> Option<(u32, u32)> {
    let rest = words.split_once("OpenSSH_")?.1;
    let rest = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What ssh assumes for the user who runs it, without any config.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The config that it reads when none is named: below the home of the user database, whatever `$HOME` says (ssh.c).
    pub config: Option<PathBuf>,
    /// The user name: the local user's.
    pub user: String,
}

/// Asks ssh, which expands `~` in a `known_hosts` path as in the path of its config.
///
/// # Errors
///
/// As [`effective`].
pub fn defaults() -> Result<Defaults> {
    let options = ["-G", "-F", "none", "-o", "UserKnownHostsFile=~/.ssh/config", "localhost"];
    let outcome = run(Command::new("ssh").args(options), "ssh -G", TIMEOUT)?;
    let options = parse_options(outcome.stdout.as_bytes());
    let first = |keyword: &str| options.get(keyword).and_then(|values| values.first()).cloned();
    Ok(Defaults { config: first("userknownhostsfile").map(PathBuf::from), user: first("user").unwrap_or_default() })
}

/// The options of `host` under the config file `config`, or under the user's where none is named. Our own hook is off.
/// A `Match exec` of the user's config runs, so that there is a timeout.
///
/// # Errors
///
/// [`Kind::Config`] with ssh's own words if it does not accept the config, or does not end in time.
pub fn effective(config: Option<&Path>, host: &str) -> Result<Options> {
    resolve(config, host).map_err(|failure| *failure.error)
}

/// As [`effective`], with the line of the config that ssh rejects.
///
/// # Errors
///
/// As [`effective`].
pub fn resolve(config: Option<&Path>, host: &str) -> std::result::Result<Options, ConfigFailure> {
    let mut command = Command::new("ssh");
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    command.args(["-G", "--", host]).env(HOOK_OFF, "1");
    let outcome = run(&mut command, &format!("ssh -G {host}"), TIMEOUT)?;
    if outcome.code == Some(0) {
        return Ok(parse_options(outcome.stdout.as_bytes()));
    }
    let mut lines = outcome.stderr.lines().filter(|line| !line.trim().is_empty());
    let line = lines.next().unwrap_or("no reason given").trim_end_matches('.');
    let error = Error::new(Kind::Config, format!("ssh rejects the config: {line}")).cause(Cause::SshConfigBroken);
    Err(ConfigFailure { error: Box::new(error), complaint: config.and_then(|config| parse_complaint(line, config)) })
}

/// From `FILE line 3: no argument …` or `FILE: line 3: Bad configuration option: …` (readconf.c).
fn parse_complaint(message: &str, config: &Path) -> Option<Complaint> {
    let (_, rest) = message.split_once(&config.display().to_string())?;
    let rest = rest.trim_start_matches([':', ' ']);
    let numbered = rest.strip_prefix("line ").and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some((rest[..end].parse().ok()?, rest[end..].trim_start_matches([':', ' '])))
    });
    Some(match numbered {
        Some((line, reason)) => Complaint { line: Some(line), reason: reason.to_owned() },
        None => Complaint { line: None, reason: rest.to_owned() },
    })
}

/// For a client that connects to nothing.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs ssh, in a process group of its own, which is killed when the time is over or when a signal ends this process.
fn run(command: &mut Command, what: &str, timeout: Duration) -> Result<ProgramResult> {
    let outcome = limited::run(command, timeout).map_err(|error| {
        Error::new(Kind::Config, "there is no ssh on PATH that can be run")
            .hint("install the OpenSSH client")
            .because(error)
            .cause(Cause::NoSsh)
    })?;
    if outcome.timed_out {
        let words = format!("{what} did not finish within {} s", timeout.as_secs());
        return Err(Error::new(Kind::Config, words)
            .hint("look for a Match exec in your ssh config that hangs")
            .cause(Cause::SshConfigBroken));
    }
    Ok(outcome)
}

fn parse_options(printed: &[u8]) -> Options {
    let mut options = Options::new();
    for line in String::from_utf8_lossy(printed).lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        // 10.4 prints `canonicalizePermittedcnames`; others print lower case only.
        options.entry(keyword.to_ascii_lowercase()).or_default().push(value.to_owned());
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_has_the_line_of_the_named_config_only() {
        let complaint = |message| parse_complaint(message, Path::new("/t/whole")).map(|one| (one.line, one.reason));
        let bad = "Bad configuration option: forwardagnt";
        assert_eq!(complaint("/t/whole: line 12: Bad configuration option: forwardagnt"), Some((Some(12), bad.into())));
        assert_eq!(
            complaint("/t/whole line 3: no argument after keyword \"port\""),
            Some((Some(3), "no argument after keyword \"port\"".into()))
        );
        assert_eq!(complaint("Bad owner or permissions on /t/whole"), Some((None, String::new())));
        assert_eq!(complaint("/h/.ssh/other line 3: no argument"), None);
    }

    #[test]
    fn keywords_are_in_lower_case_whatever_ssh_prints() {
        let options = parse_options(b"host web\ncanonicalizePermittedcnames none\nidentityfile a\nidentityfile b\n");
        assert_eq!(options.get("canonicalizepermittedcnames"), Some(&vec!["none".to_owned()]));
        assert_eq!(options.get("identityfile"), Some(&vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn versions_of_all_makes_are_read() {
        let table = [
            ("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.19\n", Some((9, 2))),
            ("OpenSSH_10.0p2, LibreSSL 3.3.6", Some((10, 0))),
            ("OpenSSH_for_Windows_8.9p1, LibreSSL 3.4.3", Some((8, 9))),
            ("OpenSSH_8.2p1 Ubuntu-4ubuntu0.11", Some((8, 2))),
            ("Dropbear v2022.83", None),
        ];
        for (words, version) in table {
            assert_eq!(parse_version(words), version, "{words}");
        }
    }
}
