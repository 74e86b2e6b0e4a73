//! One instance, and the methods by which a test describes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ACCOUNT, AMAZON_LINUX, Network, REGION, State, WINDOWS};
use crate::guest::{Console, HostCertificate};
use crate::vpc::SecurityGroup;

/// One instance: its description in EC2, and how its sshd behaves. Made with [`Instance::new`] and the methods below.
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
    /// Its sshd looks up pushed keys; without EC2 Instance Connect AWS accepts pushes, and sshd ignores them.
    pub instance_connect: bool,
    /// Lines at the end of its `sshd_config`.
    pub sshd_options: String,
    /// The bytes that its port sends in place of sshd, before it closes the connection.
    pub greeting: Vec<u8>,
    /// The bytes that it sends after the greeting, once the client has sent more than its version line. It does not close then.
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

    /// Lets sshd listen on another port, and sets the tag `ssh-eic:port`.
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
