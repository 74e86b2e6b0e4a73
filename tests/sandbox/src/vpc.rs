//! What surrounds instances: security groups, and EC2 Instance Connect Endpoints. What a network lets through is
//! an instance's own [`crate::Network`]; an endpoint opens tunnels in each case (`server::endpoint`).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{ACCOUNT, REGION};

/// One inbound rule.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// `tcp`, `udp`, `icmp` or `-1`.
    pub protocol: String,
    /// First and last port; `None` for all.
    pub ports: Option<(u16, u16)>,
    /// IPv4 ranges.
    pub cidrs: Vec<String>,
    /// Other security groups.
    pub groups: Vec<String>,
}

impl Rule {
    /// TCP on one port from a range.
    #[must_use]
    pub fn tcp(port: u16, cidr: &str) -> Self {
        Self { protocol: "tcp".into(), ports: Some((port, port)), cidrs: vec![cidr.into()], groups: Vec::new() }
    }
}

/// A security group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: String,
    /// Owner.
    pub account: String,
    /// Region.
    pub region: String,
    /// VPC id.
    pub vpc: String,
    /// Inbound rules.
    pub rules: Vec<Rule>,
}

impl Default for SecurityGroup {
    /// The one that every instance is in: SSH from 10.0.0.0/8.
    fn default() -> Self {
        Self {
            id: "sg-0aaaabbbbccccdddd".into(),
            account: ACCOUNT.into(),
            region: REGION.into(),
            vpc: "vpc-0aaaabbbbccccdddd".into(),
            rules: vec![Rule::tcp(22, "10.0.0.0/8")],
        }
    }
}

/// An EC2 Instance Connect Endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Endpoint {
    /// `eice-…`.
    pub id: String,
    /// Owner.
    pub account: String,
    /// Region.
    pub region: String,
    /// VPC id.
    pub vpc: String,
    /// Subnet id.
    pub subnet: String,
    /// `create-complete` by default.
    pub state: String,
    /// `ipv4` (the default), `dualstack` or `ipv6`.
    pub address_type: String,
    /// Security groups, by id.
    pub security_groups: Vec<String>,
    /// Whether instances see the client's address.
    pub preserve_client_ip: bool,
    /// Accounts that see it in a shared subnet and cannot use it.
    pub shared_with: Vec<String>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            id: "eice-0aaaabbbbccccdddd".into(),
            account: ACCOUNT.into(),
            region: REGION.into(),
            vpc: "vpc-0aaaabbbbccccdddd".into(),
            subnet: "subnet-0aaaabbbbccccdddd".into(),
            state: "create-complete".into(),
            address_type: "ipv4".into(),
            security_groups: vec!["sg-0eeeeffff00001111".into()],
            preserve_client_ip: false,
            shared_with: Vec::new(),
        }
    }
}

impl Endpoint {
    /// Whether its address type allows tunnels to an address.
    pub(crate) fn accepts(&self, address: IpAddr) -> bool {
        match self.address_type.as_str() {
            "dualstack" => true,
            "ipv6" => address.is_ipv6(),
            _ => address.is_ipv4(),
        }
    }
}

/// The names under which an endpoint is reached.
#[derive(Debug)]
pub(crate) struct EndpointNames {
    pub(crate) ipv4: String,
    pub(crate) ipv4_fips: String,
    pub(crate) dualstack: String,
    pub(crate) dualstack_fips: String,
}

impl EndpointNames {
    /// AWS's names of the endpoint.
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        let Endpoint { id, region, .. } = endpoint;
        let name =
            |fips: &str, suffix: &str| format!("{id}.0123abcd{fips}.ec2-instance-connect-endpoint.{region}.{suffix}");
        Self {
            ipv4: name("", "amazonaws.com"),
            ipv4_fips: name(".fips", "amazonaws.com"),
            dualstack: name("", "api.aws"),
            dualstack_fips: name(".fips", "api.aws"),
        }
    }

    /// One name for all of them.
    pub(crate) fn all(name: &str) -> Self {
        let name = || name.to_owned();
        Self { ipv4: name(), ipv4_fips: name(), dualstack: name(), dualstack_fips: name() }
    }

    pub(crate) fn into_all(self) -> [String; 4] {
        [self.ipv4, self.ipv4_fips, self.dualstack, self.dualstack_fips]
    }

    /// Whether a request's host is one of them.
    pub(crate) fn contains(&self, host: &str) -> bool {
        [&self.ipv4, &self.ipv4_fips, &self.dualstack, &self.dualstack_fips].iter().any(|name| *name == host)
    }
}
