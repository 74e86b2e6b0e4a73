//! The fleet: instances as AWS describes them, and hosts as ssh reaches them.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::connection_options::LONGEST_TUNNEL;
use crate::ids::{InstanceId, OsUser};
use crate::source::{HostKeys, Route};

/// The tag that names the OS user of an instance.
pub const TAG_USER: &str = "ssh-eic:user";
/// The tag that names the SSH port of an instance.
pub const TAG_PORT: &str = "ssh-eic:port";
/// The tag that keeps an instance out of the config, whatever its value.
pub const TAG_IGNORE: &str = "ssh-eic:ignore";
/// The tag that Auto Scaling puts on the members of a group.
pub const TAG_AUTO_SCALING: &str = "aws:autoscaling:groupName";

/// An instance as DescribeInstances tells it. Texts are as AWS gave them and not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The instance's id.
    pub id: InstanceId,
    /// `running`, `stopped`, …
    pub state: String,
    /// Why and when the state was entered, in AWS's words: `User initiated (2026-11-23 03:12:00 GMT)`.
    #[serde(default)]
    pub state_reason: String,
    /// The private IPv4 address.
    pub private_ip: Option<String>,
    /// The first IPv6 address.
    pub ipv6: Option<String>,
    /// The public IPv4 address.
    pub public_ip: Option<String>,
    /// The availability zone.
    pub az: String,
    /// The VPC.
    pub vpc: String,
    /// The subnet of the primary network interface.
    #[serde(default)]
    pub subnet: String,
    /// The image.
    pub image: String,
    /// A Windows instance.
    pub windows: bool,
    /// When it was launched, seconds since 1970.
    #[serde(default)]
    pub launched: i64,
    /// The private DNS name.
    #[serde(default)]
    pub dns: String,
    /// All tags.
    pub tags: BTreeMap<String, String>,
}

/// An instance and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Position of the source in the config; earlier ones win.
    pub source: usize,
    /// The region that was asked.
    pub region: String,
    /// The account that owns it.
    pub account: String,
    /// What AWS said.
    pub instance: Instance,
}

/// All addresses of an instance, whichever of them ssh connects to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Private IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<Ipv4Addr>,
    /// Public IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Ipv4Addr>,
    /// The first IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
}

/// A host as the index keeps it and ssh reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The name to type; none where the tags leave nothing: reachable by id only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Further names of the same host, the tag's own spelling above all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The instance.
    pub id: InstanceId,
    /// The address that ssh connects to; none while the instance has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The SSH port.
    pub port: u16,
    /// The OS user.
    pub user: OsUser,
    /// The name of the source.
    pub source: String,
    /// The region.
    pub region: String,
    /// The account, 12 digits.
    pub account: String,
    /// The state at the last sync.
    pub state: String,
    /// Another ProxyCommand or ProxyJump of the user's wins for this host, so the hook has to push.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook_pushes: bool,
    /// The ConnectTimeout that the user's own config gives this host, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<u32>,
    /// The `ConnectionAttempts` that the user's own config gives this host, if more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_attempts: Option<u32>,
    /// The user's own config gives this host `LogLevel QUIET`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// The availability zone.
    #[serde(default)]
    pub az: String,
    /// The VPC.
    #[serde(default)]
    pub vpc: String,
    /// The subnet of the primary network interface.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// How the instance is reached.
    #[serde(default, skip_serializing_if = "is_direct")]
    pub route: Route,
    /// The `maxTunnelDuration` requested from an endpoint, in seconds, 1 to 3600.
    #[serde(default = "longest_tunnel", skip_serializing_if = "is_longest_tunnel")]
    pub max_tunnel_duration: u16,
    /// Which host keys are trusted.
    #[serde(default, skip_serializing_if = "is_accept_new")]
    pub host_keys: HostKeys,
    /// The image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The private DNS name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dns: String,
    /// When it was launched, seconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub launched: i64,
    /// All addresses, those included that ssh does not connect to.
    #[serde(default)]
    pub addresses: Addresses,
    /// Options of a `[[host]]`, written into `ssh_config` before ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// All tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_direct(route: &Route) -> bool {
    *route == Route::Direct
}

const fn longest_tunnel() -> u16 {
    LONGEST_TUNNEL
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_longest_tunnel(seconds: &u16) -> bool {
    *seconds == LONGEST_TUNNEL
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_accept_new(mode: &HostKeys) -> bool {
    *mode == HostKeys::AcceptNew
}

impl Host {
    /// What to call it in a message: the alias, else the id.
    #[must_use]
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(self.id.as_str())
    }

    /// Where it stands in lists: in the order of aliases, those without one last.
    #[must_use]
    pub fn place(&self) -> (bool, Option<String>, InstanceId) {
        (self.alias.is_none(), self.alias.clone(), self.id.clone())
    }

    /// All names that ssh knows it by, the id left out.
    pub fn all_names(&self) -> impl Iterator<Item = &str> {
        self.alias.iter().chain(&self.names).map(String::as_str)
    }
}

/// Hosts for the tests of both crates; the program does not use them.
#[doc(hidden)]
pub mod samples {
    use super::{BTreeMap, Host, InstanceId, OsUser};

    /// A running host of the source `prod` in eu-west-1.
    ///
    /// # Panics
    ///
    /// If id or user are none.
    #[must_use]
    pub fn host(alias: Option<&str>, id: &str, user: &str) -> Host {
        Host {
            alias: alias.map(str::to_owned),
            names: Vec::new(),
            id: InstanceId::parse(id).expect("an id"),
            address: Some("10.0.3.7".to_owned()),
            port: 22,
            user: OsUser::parse(user).expect("a user"),
            source: "prod".to_owned(),
            region: "eu-west-1".to_owned(),
            account: "111122223333".to_owned(),
            state: "running".to_owned(),
            hook_pushes: false,
            connect_timeout: None,
            connection_attempts: None,
            quiet: false,
            az: String::new(),
            vpc: String::new(),
            subnet: String::new(),
            route: super::Route::Direct,
            max_tunnel_duration: super::LONGEST_TUNNEL,
            host_keys: super::HostKeys::AcceptNew,
            image: String::new(),
            dns: String::new(),
            launched: 0,
            addresses: super::Addresses::default(),
            options: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }
}
