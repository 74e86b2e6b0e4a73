//! A candidate: an instance whose user, port, address and tags have been checked, before it has names.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::alias::Subject;
use crate::fleet::{Addresses, DiscoveredInstance, Host, PreviousHost, TAG_AUTO_SCALING, TAG_PORT, TAG_USER, Verdict};
use crate::ids::{InstanceId, OsUser};
use crate::image::{self, Image};
use crate::names::AliasRequest;
use crate::source::{AddressKind, Duplicates, HostKeys, Route, Source};

/// An instance that can become a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Id, account, requested alias, rank of the source, whether it is listed.
    pub request: AliasRequest,
    /// The name of the source.
    pub source: String,
    /// The region.
    pub region: String,
    /// The state at this sync.
    pub state: String,
    /// The address that ssh connects to.
    pub address: Option<String>,
    /// All addresses.
    pub addresses: Addresses,
    /// The OS user, unless a `[[host]]` sets another one.
    pub user: OsUser,
    /// The SSH port, unless a `[[host]]` sets another one.
    pub port: u16,
    /// The availability zone.
    pub az: String,
    /// The VPC.
    pub vpc: String,
    /// The subnet of the primary network interface.
    pub subnet: String,
    /// How the instance is reached, unless a `[[host]]` sets another route.
    pub route: Route,
    /// The `maxTunnelDuration` requested from an endpoint, in seconds.
    pub max_tunnel_duration: u16,
    /// Which host keys are trusted, unless a `[[host]]` sets another mode.
    pub host_keys: HostKeys,
    /// The image.
    pub image: String,
    /// The private DNS name.
    pub dns: String,
    /// All tags.
    pub tags: BTreeMap<String, String>,
    /// What the last proof found for a host that is taken over from the last index.
    pub verdict: Verdict,
}

/// Why an instance cannot become a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rejection {
    /// The instance.
    pub id: InstanceId,
    /// What is wrong with it.
    pub reason: RejectionReason,
}

/// What is wrong with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectionReason {
    /// EC2 Instance Connect does not accept the user name of its tag.
    UserTag,
    /// The tag is not a port number.
    PortTag,
    /// The response has an address that is not an IP address.
    Address,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.id;
        match self.reason {
            RejectionReason::UserTag => {
                write!(f, "{id}: tag {TAG_USER} is not a user name that EC2 Instance Connect accepts")
            }
            RejectionReason::PortTag => write!(f, "{id}: tag {TAG_PORT} is not a port number"),
            RejectionReason::Address => write!(f, "{id}: AWS returned an address that is not an IP address"),
        }
    }
}

impl Candidate {
    /// Checks a discovered instance. `image`: its image, where it is known; `previous`: the host of the last index, whose
    /// user counts while the image is not known.
    ///
    /// # Errors
    ///
    /// A tag or an address that cannot be used. No text of AWS is in it.
    pub fn new(
        source: &Source,
        discovered: DiscoveredInstance,
        image: Option<&Image>,
        previous: Option<&PreviousHost>,
    ) -> Result<Self, Rejection> {
        let DiscoveredInstance { source: rank, region, account, instance } = discovered;
        let rejected = |reason| Rejection { id: instance.id.clone(), reason };
        let user = match (instance.tags.get(TAG_USER), &source.user) {
            (Some(tag), _) => OsUser::parse(tag).ok_or_else(|| rejected(RejectionReason::UserTag))?,
            (None, Some(user)) => user.clone(),
            (None, None) => image_user(image, &instance.image, previous),
        };
        let port = match instance.tags.get(TAG_PORT) {
            Some(tag) => {
                tag.parse().ok().filter(|&port| port != 0).ok_or_else(|| rejected(RejectionReason::PortTag))?
            }
            None => source.port,
        };
        let addresses = Addresses {
            private: parsed(instance.private_ip.as_deref()),
            public: parsed(instance.public_ip.as_deref()),
            ipv6: parsed(instance.ipv6.as_deref()),
        };
        let address = match source.address {
            AddressKind::Private => &instance.private_ip,
            AddressKind::Ipv6 => &instance.ipv6,
            AddressKind::Public => &instance.public_ip,
        };
        let address = address.as_deref().map(str::parse::<IpAddr>).transpose();
        let address = address.map_err(|_| rejected(RejectionReason::Address))?.map(|ip| ip.to_string());
        let subject = Subject {
            id: &instance.id,
            az: &instance.az,
            vpc: &instance.vpc,
            source: &source.name,
            region: &region,
            account: &account,
            account_name: &source.account_name,
            tags: &instance.tags,
        };
        let request = AliasRequest {
            name: source.alias.expand(&subject),
            id: instance.id,
            account,
            always_suffixed: instance.tags.contains_key(TAG_AUTO_SCALING),
            rank,
            newest: source.duplicates == Duplicates::Newest,
            launched: instance.launched,
            listed: source.states.contains(&instance.state),
        };
        Ok(Self {
            request,
            source: source.name.clone(),
            region,
            state: instance.state,
            address,
            addresses,
            user,
            port,
            az: instance.az,
            vpc: instance.vpc,
            subnet: instance.subnet,
            route: source.route.clone(),
            max_tunnel_duration: source.max_tunnel_duration,
            host_keys: source.host_keys,
            image: instance.image,
            dns: instance.dns,
            tags: instance.tags,
            verdict: Verdict::default(),
        })
    }

    /// Takes over a host of the last index whose source failed or was not asked.
    #[must_use]
    pub fn from_host(source: &Source, rank: usize, host: Host) -> Self {
        let verdict = host.verdict();
        let subject = Subject {
            id: &host.id,
            az: &host.az,
            vpc: &host.vpc,
            source: &source.name,
            region: &host.region,
            account: &host.account,
            account_name: &source.account_name,
            tags: &host.tags,
        };
        let request = AliasRequest {
            name: source.alias.expand(&subject),
            id: host.id,
            account: host.account,
            always_suffixed: host.tags.contains_key(TAG_AUTO_SCALING),
            rank,
            newest: source.duplicates == Duplicates::Newest,
            launched: host.launched,
            listed: true,
        };
        Self {
            request,
            source: host.source,
            region: host.region,
            state: host.state,
            address: host.address,
            addresses: host.addresses,
            user: host.user,
            port: host.port,
            az: host.az,
            vpc: host.vpc,
            subnet: host.subnet,
            // As configured now: these do not depend on a response of AWS.
            route: source.route.clone(),
            max_tunnel_duration: source.max_tunnel_duration,
            host_keys: source.host_keys,
            image: host.image,
            dns: host.dns,
            tags: host.tags,
            verdict,
        }
    }
}

fn parsed<T: FromStr>(address: Option<&str>) -> Option<T> {
    address.and_then(|text| text.parse().ok())
}

/// The user of an image; while the image is not known, the user that the instance had with the same image.
fn image_user(image: Option<&Image>, id: &str, previous: Option<&PreviousHost>) -> OsUser {
    match image {
        Some(image) => image::os_user(image),
        None => previous.filter(|host| host.image == id).map(|host| host.user.clone()),
    }
    .unwrap_or_else(OsUser::ec2_user)
}
