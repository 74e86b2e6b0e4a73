//! What surrounds instances: security groups, and EC2 Instance Connect Endpoints. They are described and nothing more:
//! what a network lets through is an instance's own [`crate::Network`].

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
        }
    }
}
