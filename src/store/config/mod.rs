//! `config.toml`: reading, checking, and the defaults of every key.
//!
//! Two types: what the user typed ([`Raw`]) and what the program works with ([`Config`]). A key that is unknown, of
//! the wrong form, or promised but not built yet stops everything with its line; nothing is silently ignored.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::alias::Template;
use crate::core::ids::OsUser;
use crate::core::{duration, render};
use crate::error::{Error, Kind, Result};
use crate::store::files;

mod complaint;
mod raw;

use complaint::{Complaint, syntax_error};
use raw::{OneOrMany, Raw, RawSource, refuse_unbuilt};

/// Promised for whole machines, and not to be overlooked where it is.
const MACHINE_WIDE: &str = "/etc/ssh-eic/config.toml";

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least one, earlier ones win.
    pub sources: Vec<Source>,
    /// Who pushes.
    pub push: PushMode,
    /// Further `known_hosts` files for ssh.
    pub known_hosts: Vec<String>,
    /// The value for ControlPersist lines, if wanted.
    pub control_persist: Option<String>,
    /// Age of the index at which a connection starts a detached sync; none: never.
    pub refresh: Option<Duration>,
    /// The most that reaching an instance may take.
    pub connect_timeout: Duration,
    /// Pushes a second over all processes of the user.
    pub push_rate: f64,
    /// Keep `pushes.jsonl`.
    pub push_log: bool,
}

/// Where instances come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Unique.
    pub name: String,
    /// The AWS profile whose identity signs; none: the ambient chain.
    pub profile: Option<String>,
    /// A role assumed on top.
    pub role: Option<Role>,
    /// Credentials of any other account are refused.
    pub account: Option<String>,
    /// Empty: the profile's region.
    pub regions: Vec<String>,
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
    /// How keys are made.
    pub key_type: KeyType,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy may ask for.
    pub external_id: Option<String>,
    /// Shown in CloudTrail.
    pub session_name: Option<String>,
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

/// Which of an instance's addresses ssh connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits, made by ssh-keygen.
    Rsa,
}

impl Config {
    /// Reads the file, or gives the defaults where there is none.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] with file, line and what to write instead; [`Kind::File`] if it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let machine_wide = Path::new(MACHINE_WIDE).exists();
        match files::read(path)? {
            None if machine_wide => {
                Err(Error::new(Kind::Config, format!("{MACHINE_WIDE} is not supported by this version"))
                    .hint(format!("copy it to {}", path.display())))
            }
            None => Self::parse("", path),
            Some(bytes) => {
                let text = String::from_utf8(bytes)
                    .map_err(|_| Error::new(Kind::Config, format!("{}: not UTF-8 text", path.display())))?;
                Self::parse(&text, path)
            }
        }
    }

    /// Checks the text of a file. `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`], as [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let raw: Raw = toml::from_str(text).map_err(|error| syntax_error(text, path, &error))?;
        let complain = Complaint { text, path, from: 0 };
        refuse_unbuilt(&raw, &complain)?;
        let written = if raw.source.is_empty() { vec![RawSource::default()] } else { raw.source };
        let mut sources: Vec<Source> = Vec::new();
        for (position, one) in written.into_iter().enumerate() {
            let complain = complain.in_source(position);
            let source = checked(one.over(&raw.defaults), &complain)?;
            if sources.iter().any(|other| other.name == source.name) {
                let name = &source.name;
                return Err(complain.about("name", format!("two sources are named {name:?}; give one another name")));
            }
            sources.push(source);
        }
        let duration = |key: &str, value: Option<String>, default: u64| match value {
            None => Ok(Duration::from_secs(default)),
            Some(value) => duration::seconds(&value)
                .map(Duration::from_secs)
                .ok_or_else(|| complain.about(key, format!("{key}: {value:?} is no time such as \"8s\" or \"15m\""))),
        };
        let refresh = match raw.sync.refresh.as_deref() {
            Some("off") => None,
            _ => Some(duration("refresh", raw.sync.refresh, 900)?),
        };
        let connect_timeout = duration("connect_timeout", raw.limits.connect_timeout, 8)?;
        if connect_timeout.is_zero() {
            return Err(complain.about("connect_timeout", "connect_timeout: it has to be 1s at least"));
        }
        let push_rate = raw.limits.push_rate.unwrap_or(20.0);
        if !(0.1..=1000.0).contains(&push_rate) {
            return Err(complain.about("push_rate", "push_rate: it has to be between 0.1 and 1000 a second"));
        }
        if let Some(value) = &raw.ssh.control_persist
            && !matches!(value.as_str(), "yes" | "no")
            && duration::seconds(value).is_none()
        {
            return Err(
                complain.about("control_persist", format!("control_persist: {value:?} is no time such as \"10m\""))
            );
        }
        let known_hosts = raw.ssh.known_hosts.unwrap_or_default();
        for path in &known_hosts {
            render::check_path(path)
                .map_err(|why| complain.about("known_hosts", format!("known_hosts: {path:?}: {why}")))?;
        }
        Ok(Self {
            sources,
            push: raw.ssh.push.unwrap_or(PushMode::Auto),
            known_hosts,
            control_persist: raw.ssh.control_persist,
            refresh,
            connect_timeout,
            push_rate,
            push_log: raw.limits.push_log.unwrap_or(true),
        })
    }

    /// The source of that name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name == name)
    }
}

fn checked(raw: RawSource, complain: &Complaint<'_>) -> Result<Source> {
    let name = raw.name.or_else(|| raw.profile.clone()).unwrap_or_else(|| "default".to_owned());
    render::check_word(&name).map_err(|why| complain.about("name", format!("source name {name:?}: {why}")))?;
    let alias = raw.alias.as_deref().unwrap_or("{Name}");
    let alias = Template::parse(alias).map_err(|why| complain.about("alias", format!("alias {alias:?}: {why}")))?;
    let user = match raw.user.as_deref() {
        None => None,
        Some(user) => Some(OsUser::parse(user).ok_or_else(|| {
            complain.about("user", format!("user: {user:?} is not a user name that EC2 Instance Connect takes"))
        })?),
    };
    if raw.port == Some(0) {
        return Err(complain.about("port", "port: 0 is no port"));
    }
    let regions = raw.regions.unwrap_or_default();
    for region in &regions {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if region.is_empty() || !region.bytes().all(fits) {
            return Err(complain.about("regions", format!("regions: {region:?} is not a region such as \"eu-west-1\"")));
        }
    }
    if let Some(account) = raw.account.as_deref()
        && !(account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(complain.about("account", format!("account: {account:?} is not an account id of 12 digits")));
    }
    let states = raw.states.unwrap_or_else(|| vec!["running".to_owned(), "stopped".to_owned()]);
    for state in &states {
        if !["pending", "running", "stopping", "stopped", "shutting-down"].contains(&state.as_str()) {
            return Err(complain
                .about("states", format!("states: {state:?} is not a state of an instance that can be reached")));
        }
    }
    if raw.role_arn.is_none() && (raw.external_id.is_some() || raw.role_session_name.is_some()) {
        return Err(complain.about("external_id", "external_id and role_session_name need a role_arn"));
    }
    let role = raw.role_arn.map(|arn| Role { arn, external_id: raw.external_id, session_name: raw.role_session_name });
    Ok(Source {
        name,
        profile: raw.profile,
        role,
        account: raw.account,
        regions,
        tags: lists(raw.tags),
        exclude: lists(raw.exclude),
        states,
        alias,
        user,
        port: raw.port.unwrap_or(22),
        address: raw.address.unwrap_or(AddressKind::Private),
        key_type: raw.key_type.unwrap_or(KeyType::Ed25519),
    })
}

fn lists(tags: Option<BTreeMap<String, OneOrMany>>) -> BTreeMap<String, Vec<String>> {
    let list = |value| match value {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    };
    tags.unwrap_or_default().into_iter().map(|(key, value)| (key, list(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let error = Config::parse(text, Path::new("config.toml")).expect_err(text);
        assert_eq!(error.kind, Kind::Config);
        std::iter::once(error.message).chain(error.hints).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn no_file_means_one_ambient_source() {
        let config = Config::parse("", Path::new("config.toml")).unwrap();
        assert_eq!(config.sources.len(), 1);
        let source = &config.sources[0];
        assert_eq!((source.name.as_str(), source.profile.as_deref(), source.port), ("default", None, 22));
        assert_eq!(config.connect_timeout, Duration::from_secs(8));
        assert_eq!(config.refresh, Some(Duration::from_mins(15)));
    }

    #[test]
    fn defaults_fill_what_a_source_leaves_out() {
        let text = "[defaults]\nport = 2222\nregions = [\"eu-west-1\"]\n[[source]]\nprofile = \"a\"\n[[source]]\nprofile = \"b\"\nport = 22\n";
        let config = Config::parse(text, Path::new("config.toml")).unwrap();
        let ports: Vec<u16> = config.sources.iter().map(|source| source.port).collect();
        assert_eq!(ports, [2222, 22]);
        assert_eq!(config.sources[1].regions, ["eu-west-1"]);
    }

    #[test]
    fn errors_name_line_and_nearest_key() {
        let table = [
            ("[[source]]\nprofil = \"x\"", "config.toml:2: unknown field `profil`", "did you mean \"profile\"?"),
            ("[limits]\nconnect_timeout = \"soon\"", "config.toml:2: connect_timeout", "is no time"),
            ("[[source]]\nuser = \"a\"\n[[source]]\nname = \"b\"\nuser = \"a b\"", "config.toml:5: user", "takes"),
            ("[[source]]\nport = 0", "config.toml:2: port", "no port"),
            ("[limits]\nconnect_timeout = \"0\"", "config.toml:2", "1s at least"),
            ("[[source]]\nport = 70000", "config.toml:2", "70000"),
            ("[[source]]\nuser = \"a b\"", "config.toml:2: user", "EC2 Instance Connect takes"),
            ("[[source]]\n\nname = \"a'b\"", "config.toml:3: source name", "cannot be written"),
            ("[[source]]\nalias = \"x\"", "config.toml:2: alias", "names no field"),
            ("[[source]]\nname = \"a\"\n[[source]]\nname = \"a\"", "config.toml:4", "two sources are named \"a\""),
            ("[ssh]\npush = \"always\"", "config.toml:2", "unknown variant"),
            ("x = [", "config.toml:1", ""),
        ];
        for (text, line, words) in table {
            let refusal = refusal(text);
            assert!(refusal.starts_with(line) && refusal.contains(words), "{text}\n{refusal}");
        }
    }

    #[test]
    fn what_is_not_built_yet_is_refused_and_not_ignored() {
        for text in [
            "[[source]]\nroute = \"endpoint\"",
            "[[source]]\nuser = \"auto\"",
            "[[source]]\nalias = \"{account_name}-{Name}\"",
            "[[source]]\nroute = \"jump:bastion\"",
            "[defaults]\nsso_session = \"corp\"",
            "[[source]]\nprofile = \"corp-*\"",
            "[[source]]\nregions = [\"all\"]",
            "[[source]]\nduplicates = \"newest\"",
            "[ssh]\nhost_keys = \"console\"",
            "[ssh]\nlayout = \"inline\"",
            "[ssh]\noptions = { Compression = \"yes\" }",
            "[ssh]\nhosts = [\"prod-*\"]",
            "[[host]]\nmatch = \"x\"",
            "[limits]\ncredential_cache = true",
        ] {
            assert!(refusal(text).contains("not supported by this version"), "{text}");
        }
        for text in [
            "[[source]]\nroute = \"direct\"",
            "[ssh]\nlayout = \"include\"\nhost_keys = \"accept-new\"\nhosts = [\"*\"]",
        ] {
            assert!(Config::parse(text, Path::new("c")).is_ok(), "{text}");
        }
    }
}
