//! EC2 Instance Connect Endpoints: what DescribeInstanceConnectEndpoints returns of one, and which one a connection uses.

use core::net::IpAddr;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The states in which an endpoint opens tunnels. A client that requests `create-complete` only misses endpoints that
/// were modified.
pub const USABLE_STATES: [&str; 4] = ["create-complete", "update-in-progress", "update-failed", "update-complete"];

/// Address families that an endpoint connects to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressType {
    /// IPv4.
    #[default]
    Ipv4,
    /// Both.
    Dualstack,
    /// IPv6.
    Ipv6,
}

impl AddressType {
    /// `IpAddressType` of the API; an endpoint without one is older than IPv6 support.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "dualstack" => Self::Dualstack,
            "ipv6" => Self::Ipv6,
            _ => Self::Ipv4,
        }
    }

    fn accepts(self, address: IpAddr) -> bool {
        match self {
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
            Self::Dualstack => true,
        }
    }
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Dualstack => "dualstack",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// The DNS names of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// `DnsName`.
    pub ipv4: Option<String>,
    /// `FipsDnsName`.
    pub ipv4_fips: Option<String>,
    /// `PublicDnsNames.Dualstack.DnsName`.
    pub dualstack: Option<String>,
    /// `PublicDnsNames.Dualstack.FipsDnsName`.
    pub dualstack_fips: Option<String>,
}

impl Names {
    /// The name to connect to under `use_fips_endpoint` and `use_dualstack_endpoint`. An endpoint for IPv6 has
    /// dual-stack names only. None: there is no such name, above all no FIPS name.
    #[must_use]
    pub fn select(&self, fips: bool, dualstack: bool) -> Option<&str> {
        let (ipv4, both) = if fips { (&self.ipv4_fips, &self.dualstack_fips) } else { (&self.ipv4, &self.dualstack) };
        let (first, second) = if dualstack { (both, ipv4) } else { (ipv4, both) };
        [first, second].into_iter().flatten().map(String::as_str).find(|name| !name.is_empty())
    }
}

/// An endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `eice-…`
    pub id: String,
    /// The ARN, the resource of `ec2-instance-connect:OpenTunnel`.
    pub arn: String,
    /// The account that owns it.
    pub owner: String,
    /// The VPC.
    pub vpc: String,
    /// The subnet.
    pub subnet: String,
    /// `create-complete`, …
    pub state: String,
    /// Address families that it connects to.
    pub address_type: AddressType,
    /// Its DNS names.
    pub names: Names,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// Instances see the client's address, so that their security groups have to allow that.
    pub preserve_client_ip: bool,
}

/// Why no endpoint of a VPC can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unusable {
    /// The VPC has none in a usable state.
    NoEndpoint,
    /// The only ones belong to another account, in a shared subnet.
    Owner {
        /// The endpoint's id.
        id: String,
        /// The account.
        owner: String,
    },
    /// The only ones are for the other address family.
    AddressType {
        /// The endpoint's id.
        id: String,
        /// It connects to IPv4 only, otherwise to IPv6 only.
        ipv4_only: bool,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("no EC2 Instance Connect Endpoint"),
            Self::Owner { id, owner } => write!(f, "{id} belongs to account {owner}, and only that can use it"),
            Self::AddressType { id, ipv4_only } => {
                write!(f, "{id} reaches {} only", if *ipv4_only { "IPv4" } else { "IPv6" })
            }
        }
    }
}

impl Endpoint {
    /// Whether it opens tunnels in its state.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        USABLE_STATES.contains(&self.state.as_str())
    }
}

/// The endpoint for an instance in `subnet` with this address, if it is known: one in the same subnet, else any of the
/// VPC. `account` is the caller's account, if it is known: an endpoint of another owner in a shared subnet refuses the
/// caller.
///
/// # Errors
///
/// [`Unusable`], the reason that is closest to a usable endpoint.
pub fn select<'e>(
    endpoints: &'e [Endpoint],
    subnet: &str,
    address: Option<IpAddr>,
    account: Option<&str>,
) -> Result<&'e Endpoint, Unusable> {
    let usable = endpoints.iter().filter(|endpoint| endpoint.is_usable());
    let mut reason = Unusable::NoEndpoint;
    let mut found: Option<&Endpoint> = None;
    for endpoint in usable {
        if account.is_some_and(|account| !endpoint.owner.is_empty() && endpoint.owner != account) {
            if reason == Unusable::NoEndpoint {
                reason = Unusable::Owner { id: endpoint.id.clone(), owner: endpoint.owner.clone() };
            }
        } else if let Some(address) = address.filter(|&address| !endpoint.address_type.accepts(address)) {
            reason = Unusable::AddressType { id: endpoint.id.clone(), ipv4_only: address.is_ipv6() };
        } else if found.is_none_or(|found| found.subnet != subnet && endpoint.subnet == subnet) {
            found = Some(endpoint);
        }
    }
    found.ok_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str, subnet: &str, state: &str, kind: &str, owner: &str) -> Endpoint {
        Endpoint {
            id: id.into(),
            subnet: subnet.into(),
            state: state.into(),
            address_type: AddressType::parse(kind),
            owner: owner.into(),
            ..Endpoint::default()
        }
    }

    #[test]
    fn the_subnet_comes_before_the_vpc_and_unusable_endpoints_are_skipped() {
        let own = "111122223333";
        let list = [
            endpoint("eice-1", "a", "delete-complete", "ipv4", own),
            endpoint("eice-2", "b", "create-complete", "ipv4", own),
            endpoint("eice-3", "a", "update-failed", "", own),
            endpoint("eice-4", "c", "update-complete", "ipv6", own),
            endpoint("eice-5", "a", "create-complete", "ipv4", "999999999999"),
        ];
        let (v4, v6): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        let id = |list: &[Endpoint], subnet: &str, address, account| {
            select(list, subnet, Some(address), account).map(|endpoint| endpoint.id.clone())
        };
        assert_eq!(id(&list, "a", v4, Some(own)), Ok("eice-3".into()));
        assert_eq!(id(&list, "z", v4, Some(own)), Ok("eice-2".into()));
        assert_eq!(id(&list, "a", v6, Some(own)), Ok("eice-4".into()));
        assert_eq!(id(&list[4..], "a", v4, None), Ok("eice-5".into()), "the account is not known");
        assert_eq!(select(&list[3..], "a", None, Some(own)).map(|one| one.id.as_str()), Ok("eice-4"), "any address");
        let words = |list: &[Endpoint], address| select(list, "a", Some(address), Some(own)).unwrap_err().to_string();
        assert_eq!(words(&list[..1], v4), "no EC2 Instance Connect Endpoint");
        assert_eq!(words(&list[1..3], v6), "eice-3 reaches IPv4 only");
        assert_eq!(words(&list[3..], v4), "eice-4 reaches IPv6 only");
        assert_eq!(words(&list[4..], v4), "eice-5 belongs to account 999999999999, and only that can use it");
    }

    #[test]
    fn names_follow_fips_and_dual_stack() {
        let names = Names {
            ipv4: Some("plain".into()),
            ipv4_fips: Some("fips".into()),
            dualstack: Some("both".into()),
            dualstack_fips: None,
        };
        assert_eq!(names.select(false, false), Some("plain"));
        assert_eq!(names.select(false, true), Some("both"));
        assert_eq!(names.select(true, true), Some("fips"));
        let ipv6 = Names { dualstack: Some("both".into()), ..Names::default() };
        assert_eq!((ipv6.select(false, false), ipv6.select(true, false)), (Some("both"), None));
    }
}
