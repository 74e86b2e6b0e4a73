//! The instances and images that a test describes.
//!
//! Plain data that travels over the control socket as JSON. Every field has a default, so that a test names only what
//! it is about; an empty string means "choose one" (`id`, `address`, `availability_zone`) or "has none" (the others).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::{Console, HostCertificate};

mod instance;

pub use instance::Instance;

/// The account of the profiles `default` and `prod`, and of instances that name none.
pub const ACCOUNT: &str = "111122223333";
/// The region of the profiles `default` and `prod`, and of instances that name none.
pub const REGION: &str = "eu-west-1";
/// The account of the profile `staging`.
pub const STAGING_ACCOUNT: &str = "444455556666";
/// The region of the profile `staging`.
pub const STAGING_REGION: &str = "us-east-1";

/// An Amazon Linux 2023 image, the default.
pub const AMAZON_LINUX: &str = "ami-0a1111111111111aa";
/// A Canonical Ubuntu 24.04 image.
pub const UBUNTU: &str = "ami-0b2222222222222bb";
/// A Debian 12 image.
pub const DEBIAN: &str = "ami-0d3333333333333dd";
/// A Red Hat Enterprise Linux 9 image.
pub const RHEL: &str = "ami-0e4444444444444ee";
/// A Windows Server 2022 image.
pub const WINDOWS: &str = "ami-0f5555555555555ff";

/// An instance's state, with the codes of EC2's `InstanceState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Code 0.
    Pending,
    /// Code 16: the only state in which its sshd answers.
    #[default]
    Running,
    /// Code 32.
    ShuttingDown,
    /// Code 48; the address is gone.
    Terminated,
    /// Code 64.
    Stopping,
    /// Code 80.
    Stopped,
}

impl State {
    /// EC2's name and code of the state.
    #[must_use]
    pub fn name_and_code(self) -> (&'static str, u16) {
        match self {
            Self::Pending => ("pending", 0),
            Self::Running => ("running", 16),
            Self::ShuttingDown => ("shutting-down", 32),
            Self::Terminated => ("terminated", 48),
            Self::Stopping => ("stopping", 64),
            Self::Stopped => ("stopped", 80),
        }
    }
}

/// How an instance's address behaves towards clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// sshd answers if the instance runs; otherwise the connection is reset.
    #[default]
    Ok,
    /// Reset before a banner. `ECONNREFUSED` where nothing else answers on the port, else a reset after the accept.
    Refuse,
    /// No answer at all: the SYN is dropped in every state of the instance.
    Blackhole,
    /// Accepts and never sends a byte.
    Silent,
    /// Accepts, sends the greeting if there is one, keeps the connection open and never reads a byte.
    Deaf,
    /// On another network: another instance with the same address answers instead (overlapping VPCs). In the loopback
    /// form it takes no port, so there can be any number of such instances.
    Away,
    /// The address belongs to another host on the client's network, whose sshd has another host key and accepts every
    /// public key. Its log is [`crate::Sandbox::stranger_log`]. An endpoint reaches the instance.
    Stranger,
}

/// What changes about an instance; a field left at its default stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// A new state, dated now. Leaving `running` kills the instance's sessions.
    pub state: Option<State>,
    /// A new private address.
    pub address: Option<String>,
    /// A new public address; empty: none any more.
    pub public_address: Option<String>,
    /// A new IPv6 address; empty: none any more.
    pub ipv6: Option<String>,
    /// A new behaviour of the address.
    pub network: Option<Network>,
    /// A new image.
    pub image: Option<String>,
    /// Another generated console output.
    pub console: Option<Console>,
    /// New console output, any bytes.
    pub console_output: Option<Vec<u8>>,
    /// New console output for requests without `Latest`, any bytes.
    pub console_snapshot: Option<Vec<u8>>,
    /// Ends the sessions; the console output then comes from a boot without cloud-init's report of the host keys.
    pub reboot: bool,
    /// Another certificate of the host keys.
    pub host_certificate: Option<HostCertificate>,
    /// EC2 Instance Connect, installed or taken off.
    pub instance_connect: Option<bool>,
    /// Whether it is Windows.
    pub platform: Option<String>,
    /// Tags to set, or with `None` to remove.
    pub tags: BTreeMap<String, Option<String>>,
    /// Another port for sshd (not in the loopback form).
    pub listen: Option<u16>,
    /// Replaces the host keys; the console output keeps those from first boot.
    pub new_host_key: bool,
}

/// One machine image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    /// `ami-…`.
    pub id: String,
    /// The name, from which the distribution is derived.
    pub name: String,
    /// Owning account.
    pub owner: String,
    /// `amazon`, or empty.
    #[serde(default)]
    pub owner_alias: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
}

/// The images that every sandbox knows.
pub(crate) fn images() -> Vec<Image> {
    let image = |id: &str, name: &str, owner: &str, alias: &str| Image {
        id: id.into(),
        name: name.into(),
        owner: owner.into(),
        owner_alias: alias.into(),
        description: String::new(),
    };
    vec![
        image(AMAZON_LINUX, "al2023-ami-2023.9.20251117.1-kernel-6.1-x86_64", "137112412989", "amazon"),
        image(UBUNTU, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20251022", "099720109477", ""),
        image(DEBIAN, "debian-12-amd64-20251112-2294", "136693071363", ""),
        image(RHEL, "RHEL-9.6.0_HVM-20251110-x86_64-0-Hourly2-GP3", "309956199498", ""),
        image(WINDOWS, "Windows_Server-2022-English-Full-Base-2025.11.12", "801119661308", "amazon"),
    ]
}
