//! The checked configuration: what the program works with once `config.toml` has been read and validated.
//!
//! Not here: the file itself, its syntax and its errors (`store::config`), and where instances come from (`source`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::OsUser;
use crate::source::{HostKeys, Route, Source};

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

/// What a person would have put in a Host block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// Patterns of aliases, also negated ones.
    pub patterns: Vec<String>,
    /// The OS user.
    pub user: Option<OsUser>,
    /// The port.
    pub port: Option<u16>,
    /// How the hosts are reached.
    pub route: Option<Route>,
    /// Which host keys are trusted.
    pub host_keys: Option<HostKeys>,
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

impl Config {
    /// The source of that name, as it stands in the file.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }
}
