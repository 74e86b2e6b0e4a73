//! The instances and images that a test describes.
//!
//! Plain data that travels over the control socket as JSON. Every field has a default, so that a test names only what
//! it is about; an empty string means "choose one" (`id`, `address`, `availability_zone`) or "has none" (the others).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::{Console, HostCertificate};
use crate::vpc::SecurityGroup;

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

/// How an instance's address behaves towards whoever connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// sshd answers if the instance runs; otherwise the connection is reset.
    #[default]
    Ok,
    /// Reset before a banner. `ECONNREFUSED` where nothing else answers on the port, else a reset after the accept.
    Refuse,
    /// No answer at all: the SYN is dropped, whatever the instance's state.
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

/// One instance: what EC2 says of it, and how it is played. Made with [`Instance::new`] and the methods below.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instance {
    /// `i-` and 17 hex digits; empty: generated.
    pub id: String,
    /// Owner, [`ACCOUNT`] by default.
    pub account: String,
    /// [`REGION`] by default.
    pub region: String,
    /// Empty: the region's first zone.
    pub availability_zone: String,
    /// An image's id; it need not exist.
    pub image: String,
    /// Running by default.
    pub state: State,
    /// Unix seconds of the last change of state; 0: when it was added.
    pub transition: i64,
    /// Private IPv4 address; empty: generated.
    pub address: String,
    /// Public IPv4 address.
    pub public_address: String,
    /// IPv6 address.
    pub ipv6: String,
    /// VPC id.
    pub vpc: String,
    /// Subnet id.
    pub subnet: String,
    /// `x86_64` by default.
    pub architecture: String,
    /// `windows`, or empty.
    pub platform: String,
    /// `Linux/UNIX` by default.
    pub platform_details: String,
    /// Key pair's name.
    pub key_name: String,
    /// Unix seconds; 0: when it was added.
    pub launched: i64,
    /// All tags, `Name` among them.
    pub tags: BTreeMap<String, String>,
    /// The port its sshd listens on (the loopback form chooses another).
    pub listen: u16,
    /// How the address behaves.
    pub network: Network,
    /// The generated console output.
    pub console: Console,
    /// The ARN of its instance profile; empty: none.
    pub instance_profile: String,
    /// Console output in place of the generated one.
    pub console_output: Option<Vec<u8>>,
    /// Console output returned without `Latest`; `None`: the same as with it.
    pub console_snapshot: Option<Vec<u8>>,
    /// On the Nitro system, which `Latest` of `GetConsoleOutput` requires.
    pub nitro: bool,
    /// Types of its host keys in the form of `ssh-keygen -t`; `ed25519` by default.
    pub host_key_types: Vec<String>,
    /// The certificate of its host keys.
    pub host_certificate: Option<HostCertificate>,
    /// Its sshd accepts every public key of every user.
    pub accepts_any_key: bool,
    /// Its security groups, by id; the one of [`crate::SecurityGroup::default`].
    pub security_groups: Vec<String>,
    /// Its sshd asks for pushed keys; without EC2 Instance Connect AWS takes them all the same.
    pub instance_connect: bool,
    /// Lines at the end of its `sshd_config`.
    pub sshd_options: String,
    /// What it says on its port instead of playing sshd, and hangs up.
    pub greeting: Vec<u8>,
    /// What it sends after the greeting, once the client has sent more than its version line. It does not close then.
    pub reply: Vec<u8>,
    /// How many connections are reset before anything is sent; the ones after these are served as usual.
    pub refuse_first: u32,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            id: String::new(),
            account: ACCOUNT.into(),
            region: REGION.into(),
            availability_zone: String::new(),
            image: AMAZON_LINUX.into(),
            state: State::Running,
            transition: 0,
            address: String::new(),
            public_address: String::new(),
            ipv6: String::new(),
            vpc: "vpc-0aaaabbbbccccdddd".into(),
            subnet: "subnet-0aaaabbbbccccdddd".into(),
            architecture: "x86_64".into(),
            platform: String::new(),
            platform_details: "Linux/UNIX".into(),
            key_name: String::new(),
            launched: 0,
            tags: BTreeMap::new(),
            listen: 22,
            network: Network::Ok,
            console: Console::Keys,
            instance_profile: String::new(),
            console_output: None,
            console_snapshot: None,
            nitro: true,
            host_key_types: vec![String::from("ed25519")],
            host_certificate: None,
            accepts_any_key: false,
            security_groups: vec![SecurityGroup::default().id],
            instance_connect: true,
            sshd_options: String::new(),
            greeting: Vec::new(),
            reply: Vec::new(),
            refuse_first: 0,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: impl Into<String>) -> Self {
            self.$name = $name.into();
            self
        }
    )*};
}

impl Instance {
    setters! {
        /// Sets the id, `i-` and 8 or 17 hex digits.
        id,
        /// Sets the owning account.
        account,
        /// Sets the region.
        region,
        /// Sets the availability zone.
        availability_zone,
        /// Sets the image's id.
        image,
        /// Sets the private IPv4 address.
        address,
        /// Sets the public IPv4 address.
        public_address,
        /// Sets the IPv6 address.
        ipv6,
        /// Sets the VPC.
        vpc,
        /// Sets the subnet.
        subnet,
        /// Sets the ARN of the instance profile.
        instance_profile,
        /// Adds these lines to its `sshd_config`.
        sshd_options,
    }

    /// A running Amazon Linux instance with this `Name` tag (none if empty).
    #[must_use]
    pub fn new(name: &str) -> Self {
        let instance = Self::default();
        if name.is_empty() { instance } else { instance.tag("Name", name) }
    }

    /// Lets its port send these bytes and close.
    #[must_use]
    pub fn greeting(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.greeting = bytes.into();
        self
    }

    /// Lets its port send these bytes after the greeting, once the client has sent more than its version line, and stay
    /// open.
    #[must_use]
    pub fn reply(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.reply = bytes.into();
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Names the login user by the tag `ssh-eic:user`.
    #[must_use]
    pub fn user(self, name: &str) -> Self {
        self.tag("ssh-eic:user", name)
    }

    /// Lets sshd listen on another port and says so in the tag `ssh-eic:port`.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.listen(port).tag("ssh-eic:port", port.to_string())
    }

    /// Lets sshd listen on another port, without a tag.
    #[must_use]
    pub fn listen(mut self, port: u16) -> Self {
        self.listen = port;
        self
    }

    /// Sets the state.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// Sets how the address behaves.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Resets so many connections first.
    #[must_use]
    pub fn refuse_first(mut self, connections: u32) -> Self {
        self.refuse_first = connections;
        self
    }

    /// Sets the generated console output.
    #[must_use]
    pub fn console(mut self, console: Console) -> Self {
        self.console = console;
        self
    }

    /// Sets the console output, any bytes.
    #[must_use]
    pub fn console_output(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.console_output = Some(bytes.into());
        self
    }

    /// Takes it off the Nitro system.
    #[must_use]
    pub fn without_nitro(mut self) -> Self {
        self.nitro = false;
        self
    }

    /// Sets the types of its host keys, in the form of `ssh-keygen -t`.
    #[must_use]
    pub fn host_key_types(mut self, types: &[&str]) -> Self {
        self.host_key_types = types.iter().map(ToString::to_string).collect();
        self
    }

    /// Certifies its host keys.
    #[must_use]
    pub fn host_certificate(mut self, certificate: HostCertificate) -> Self {
        self.host_certificate = Some(certificate);
        self
    }

    /// Lets its sshd accept every public key of every user.
    #[must_use]
    pub fn accepts_any_key(mut self) -> Self {
        self.accepts_any_key = true;
        self
    }

    /// Takes EC2 Instance Connect off it.
    #[must_use]
    pub fn without_instance_connect(mut self) -> Self {
        self.instance_connect = false;
        self
    }

    /// Puts it into one security group.
    #[must_use]
    pub fn security_group(mut self, id: &str) -> Self {
        self.security_groups = vec![id.into()];
        self
    }

    /// Sets the launch time, in Unix seconds.
    #[must_use]
    pub fn launched(mut self, seconds: i64) -> Self {
        self.launched = seconds;
        self
    }

    /// Makes it a Windows instance.
    #[must_use]
    pub fn windows(mut self) -> Self {
        self.image = WINDOWS.into();
        self.platform = "windows".into();
        self.platform_details = "Windows".into();
        self
    }

    /// The `Name` tag, or an empty string.
    #[must_use]
    pub fn name(&self) -> &str {
        self.tags.get("Name").map_or("", String::as_str)
    }
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
    /// Ends the sessions; the console output is then that of a boot without cloud-init's report of the host keys.
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
    /// The name that tells the distribution.
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
