//! A source: an identity, the regions and filters under which instances are discovered, and the defaults of its hosts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::alias::Template;
use crate::identity::{Identity, Role, SsoRole};
use crate::ids::OsUser;

/// Instance states that a source can list.
pub const LISTED_STATES: [&str; 5] = ["pending", "running", "stopping", "stopped", "shutting-down"];

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
    /// How instances are reached.
    pub route: Route,
    /// The `maxTunnelDuration` requested from an endpoint, in seconds, 1 to 3600.
    pub max_tunnel_duration: u16,
    /// Which host keys are trusted.
    pub host_keys: HostKeys,
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

/// How an instance is reached.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Route {
    /// TCP to the address.
    #[default]
    Direct,
    /// The tunnel of an EC2 Instance Connect Endpoint.
    Endpoint,
    /// A Session Manager data channel.
    Ssm,
    /// `Direct`, or the instance-specific route where there is no network path.
    Auto,
    /// `ssh -W` through this host, as the user's own ssh reaches it.
    Jump(String),
}

impl Route {
    /// From its form in the config file: `direct`, `endpoint`, `ssm`, `auto` or `jump:HOST`.
    ///
    /// # Errors
    ///
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "direct" => Ok(Self::Direct),
            "endpoint" => Ok(Self::Endpoint),
            "ssm" => Ok(Self::Ssm),
            "auto" => Ok(Self::Auto),
            _ => match text.strip_prefix("jump:") {
                Some(host) if is_jump_host(host) => Ok(Self::Jump(host.to_owned())),
                Some(host) => Err(format!("{host:?} is not a host name")),
                None => Err(format!("{text:?} is not a route; one of direct, endpoint, ssm, auto, jump:HOST")),
            },
        }
    }
}

/// A host as a person would type it behind `ssh`, with an optional user; nothing that ssh or a shell would interpret.
fn is_jump_host(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-@:".contains(&b);
    !host.is_empty() && host.len() <= 255 && !host.starts_with('-') && host.bytes().all(allowed)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Endpoint => f.write_str("endpoint"),
            Self::Ssm => f.write_str("ssm"),
            Self::Auto => f.write_str("auto"),
            Self::Jump(host) => write!(f, "jump:{host}"),
        }
    }
}

impl From<Route> for String {
    fn from(route: Route) -> Self {
        route.to_string()
    }
}

impl TryFrom<String> for Route {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

/// Which host keys are trusted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeys {
    /// Trust on first use.
    #[default]
    AcceptNew,
    /// The keys of the console output; trust on first use if it has none.
    Console,
    /// The keys of the console output, or no connection.
    RequireConsole,
}

impl fmt::Display for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcceptNew => "accept-new",
            Self::Console => "console",
            Self::RequireConsole => "require-console",
        })
    }
}
