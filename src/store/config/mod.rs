//! `config.toml`: reading, checking, and the defaults of every key.
//!
//! Two types: what the user typed ([`Raw`]) and what the program works with ([`Config`]). A key that is unknown, of
//! the wrong form, or promised but not built yet stops everything with its line; nothing is silently ignored.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::alias::Template;
use crate::core::digest;
use crate::core::identity::{Identity, Role, SsoRole};
use crate::core::ids::OsUser;
use crate::error::{Error, Kind, Result};
use crate::store::files;
use crate::store::paths::Paths;

mod check;
mod complaint;
mod raw;
#[cfg(test)]
mod tests;

use complaint::{Complaint, syntax_error};
use raw::Raw;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least one, earlier ones win. A source can stand for many: see [`Who`].
    pub sources: Vec<Source>,
    /// What single hosts have otherwise; the first that matches counts.
    pub hosts: Vec<HostRule>,
    /// Who pushes.
    pub push: PushMode,
    /// Further `known_hosts` files for ssh.
    pub known_hosts: Vec<String>,
    /// Patterns of the aliases that get a Host block.
    pub named: Vec<String>,
    /// Where the generated config stands.
    pub layout: Layout,
    /// The value for ControlPersist lines, if wanted.
    pub control_persist: Option<String>,
    /// Options for all hosts, written before ours.
    pub options: BTreeMap<String, String>,
    /// Age of the index at which a connection starts a detached sync; none: never.
    pub refresh: Option<Duration>,
    /// The most that reaching an instance may take.
    pub connect_timeout: Duration,
    /// Pushes a second over all processes of the user.
    pub push_rate: f64,
    /// Keep temporary credentials between processes.
    pub credential_cache: bool,
    /// Keep `pushes.jsonl`.
    pub push_log: bool,
    /// A digest of the files that it was read from.
    pub digest: String,
}

/// Where instances come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Unique.
    pub name: String,
    /// The source of the config file that it was made from: itself, a pattern or an SSO session.
    pub of: String,
    /// Whose credentials.
    pub who: Who,
    /// The name of the account in Identity Center; else empty.
    pub account_name: String,
    /// A role assumed on top.
    pub role: Option<Role>,
    /// Credentials of any other account are refused.
    pub account: Option<String>,
    /// Where to look.
    pub regions: Regions,
    /// AND over keys, OR over values.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Instances to leave out; the same pattern language as `tags`.
    pub exclude: BTreeMap<String, Vec<String>>,
    /// Instance states that are listed.
    pub states: Vec<String>,
    /// How aliases are made.
    pub alias: Template,
    /// The OS user; none: `auto`.
    pub user: Option<OsUser>,
    /// The SSH port.
    pub port: u16,
    /// Which address ssh connects to.
    pub address: AddressKind,
    /// What a bare name that several share does.
    pub duplicates: Duplicates,
    /// How keys are made.
    pub key_type: KeyType,
}

/// Whose credentials a source uses, as far as the config file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The SDK's own chain.
    Ambient,
    /// One AWS profile.
    Profile(String),
    /// Every profile that matches: one source for each.
    Profiles(String),
    /// Every account of an SSO session that offers a role: one source for each.
    Accounts(Accounts),
    /// One role in one account of an SSO session.
    Sso(SsoRole),
}

/// Which accounts of an SSO session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// The `[sso-session NAME]`.
    pub session: String,
    /// Patterns of ids or names.
    pub only: Vec<String>,
    /// Patterns of ids or names that are left out.
    pub exclude: Vec<String>,
    /// The first one that the person holds.
    pub roles: Vec<String>,
}

/// Where a source looks for instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Regions {
    /// In the region of the profile.
    OfProfile,
    /// In these.
    Named(Vec<String>),
    /// In every one that is enabled in the account.
    All,
}

impl Source {
    /// The identity, for a source that stands for one.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let (profile, sso) = match &self.who {
            Who::Ambient => (None, None),
            Who::Profile(profile) => (Some(profile.clone()), None),
            Who::Sso(role) => (None, Some(role.clone())),
            Who::Profiles(_) | Who::Accounts(_) => return None,
        };
        Some(Identity { profile, sso, role: self.role.clone(), account: self.account.clone() })
    }
}

/// What a person would have put in a Host block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// Patterns of aliases, also negated ones.
    pub patterns: Vec<String>,
    /// The OS user.
    pub user: Option<OsUser>,
    /// The port.
    pub port: Option<u16>,
    /// Options, written before ours.
    pub options: BTreeMap<String, String>,
}

/// Who pushes the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PushMode {
    /// The hook, before each connection.
    Hook,
    /// The proxy only.
    Proxy,
    /// The hook where the proxy will not run.
    Auto,
}

/// Where the generated config stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// In files of its own, behind one line in the user's.
    Include,
    /// In a marked block of the user's.
    Inline,
}

/// What a bare name that several instances share does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// Lists them.
    List,
    /// Connects to the one that was launched last.
    Newest,
}

/// Which of an instance's addresses ssh connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressKind {
    /// Private IPv4.
    Private,
    /// IPv6.
    Ipv6,
    /// Public IPv4.
    Public,
}

/// The type of the ephemeral keys.
///
/// FIPS 186-5 has Ed25519, but OpenSSH in FIPS mode, as RHEL 8 and 9 have it, refuses such keys on both sides. RSA is what
/// remains of the two that EC2 Instance Connect takes, so the FIPS build makes RSA keys only.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// Ed25519.
    #[cfg_attr(not(feature = "fips"), default)]
    Ed25519,
    /// RSA of 2048 bits, made by ssh-keygen.
    #[cfg_attr(feature = "fips", default)]
    Rsa,
}

impl KeyType {
    /// Why this build has nothing to do with such keys, if so.
    #[must_use]
    pub const fn refused(self) -> Option<&'static str> {
        match self {
            Self::Ed25519 if cfg!(feature = "fips") => {
                Some("this is the FIPS build, and OpenSSH takes no Ed25519 key in FIPS mode")
            }
            _ => None,
        }
    }
}

impl Config {
    /// Reads the user's file over the machine's; the defaults where there is neither.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] with file, line and what to write instead; [`Kind::File`] if one cannot be read, or others could
    /// have written it: it decides about the user's credentials and command lines.
    pub fn load(path: &Path, machine: &Path) -> Result<Self> {
        let of_machine = text(machine)?;
        let own = text(path)?.unwrap_or_default();
        let digest = digest::of([of_machine.as_deref().unwrap_or("").as_bytes(), own.as_bytes()]);
        let config = match of_machine {
            None => Self::parse(&own, path)?,
            Some(text) => {
                // Each by itself first, so that what is wrong in one is told with its own name and line.
                Self::parse(&text, machine)?;
                Self::parse(&own, path)?;
                let merged = raw(&own, path)?.over(raw(&text, machine)?);
                check::config(merged, Complaint { text: &own, path, from: 0 })?
            }
        };
        Ok(Self { digest, ..config })
    }

    /// Checks the text of a file. `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`], as [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        check::config(raw(text, path)?, Complaint { text, path, from: 0 })
    }

    /// The folder of temporary credentials, if they are kept.
    #[must_use]
    pub fn credentials(&self, paths: &Paths) -> Option<PathBuf> {
        self.credential_cache.then(|| paths.credentials())
    }

    /// The source of that name, as it stands in the file.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }
}

/// The text of a config file that nobody else could have written; none where there is none.
fn text(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let metadata = fs::metadata(path).map_err(|error| Error::file("look at", path, &error))?;
    files::check_trusted(path, &metadata)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::Config, format!("{}: not UTF-8 text", path.display())))?;
    Ok(Some(text))
}

fn raw(text: &str, path: &Path) -> Result<Raw> {
    let raw: Raw = toml::from_str(text).map_err(|error| syntax_error(text, path, &error))?;
    raw::refuse_unbuilt(&raw, &Complaint { text, path, from: 0 })?;
    Ok(raw)
}
