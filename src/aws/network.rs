//! What stands between us and an instance: its security groups, and EC2 Instance Connect Endpoints in its VPC.

use std::net::IpAddr;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Ec2InstanceConnectEndpoint, Filter, IpPermission};

use crate::aws::credentials::Session;
use crate::aws::failure;
use crate::aws::pages::Pages;
use crate::domain::ids::InstanceId;
use crate::domain::ingress::Rule;
use crate::error::Result;

/// Where an instance is.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Its security groups.
    pub groups: Vec<String>,
    /// Its VPC.
    pub vpc: String,
    /// Its subnet.
    pub subnet: String,
    /// The ARN of its instance profile.
    pub instance_profile: Option<String>,
}

/// Asks where an instance is.
///
/// # Errors
///
/// In the words of [`failure::explain`].
pub async fn surroundings(session: &Session, id: &InstanceId) -> Result<Surroundings> {
    let answer = Client::new(&session.config)
        .describe_instances()
        .instance_ids(id.as_str())
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeInstances", id.as_str(), session, &error).error)?;
    let mut instances =
        answer.reservations.unwrap_or_default().into_iter().flat_map(|one| one.instances.unwrap_or_default());
    let Some(instance) = instances.next() else { return Ok(Surroundings::default()) };
    let groups = instance.security_groups.unwrap_or_default().into_iter().filter_map(|group| group.group_id);
    Ok(Surroundings {
        groups: groups.collect(),
        vpc: instance.vpc_id.unwrap_or_default(),
        subnet: instance.subnet_id.unwrap_or_default(),
        instance_profile: instance.iam_instance_profile.and_then(|profile| profile.arn),
    })
}

/// The inbound rules of these groups.
///
/// # Errors
///
/// As [`surroundings`].
pub async fn inbound(session: &Session, groups: &[String]) -> Result<Vec<Rule>> {
    if groups.is_empty() {
        // Asked for none, AWS tells of all.
        return Ok(Vec::new());
    }
    let answer = Client::new(&session.config)
        .describe_security_groups()
        .set_group_ids(Some(groups.to_vec()))
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeSecurityGroups", "*", session, &error).error)?;
    let groups = answer.security_groups.unwrap_or_default().into_iter();
    Ok(groups.flat_map(|group| group.ip_permissions.unwrap_or_default()).map(rule).collect())
}

fn rule(permission: IpPermission) -> Rule {
    let v4 = permission.ip_ranges.unwrap_or_default().into_iter().filter_map(|range| range.cidr_ip);
    let v6 = permission.ipv6_ranges.unwrap_or_default().into_iter().filter_map(|range| range.cidr_ipv6);
    let groups = permission.user_id_group_pairs.unwrap_or_default().into_iter().filter_map(|pair| pair.group_id);
    let lists = permission.prefix_list_ids.unwrap_or_default().into_iter().filter_map(|list| list.prefix_list_id);
    Rule {
        protocol: permission.ip_protocol.unwrap_or_default(),
        ports: permission.from_port.zip(permission.to_port),
        from: v4.chain(v6).chain(groups).chain(lists).collect(),
    }
}

/// An EC2 Instance Connect Endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// `eice-…`
    pub id: String,
    /// `create-complete`, …
    pub state: String,
    /// Its subnet.
    pub subnet: String,
    /// `ipv4`, `dualstack` or `ipv6`.
    pub address_type: String,
    /// Its security groups.
    pub groups: Vec<String>,
    /// Instances see the address of the client.
    pub preserves_client_ip: bool,
}

impl Endpoint {
    /// Whether it opens tunnels in its state.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        ["create-complete", "update-in-progress", "update-failed", "update-complete"].contains(&self.state.as_str())
    }

    /// Whether its address type includes this address.
    #[must_use]
    pub fn reaches(&self, address: IpAddr) -> bool {
        match self.address_type.as_str() {
            "dualstack" => true,
            "ipv6" => address.is_ipv6(),
            _ => address.is_ipv4(),
        }
    }
}

/// The endpoints of a VPC, in any state.
///
/// # Errors
///
/// As [`surroundings`].
pub async fn endpoints(session: &Session, vpc: &str) -> Result<Vec<Endpoint>> {
    let client = Client::new(&session.config);
    let filter = Filter::builder().name("vpc-id").values(vpc).build();
    let mut endpoints = Vec::new();
    let (mut pages, mut next) = (Pages::new(DESCRIBE_ENDPOINTS), None);
    loop {
        let page = client
            .describe_instance_connect_endpoints()
            .filters(filter.clone())
            .set_next_token(next.take())
            .send()
            .await
            .map_err(|error| failure::explain(DESCRIBE_ENDPOINTS, "*", session, &error).error)?;
        endpoints.extend(page.instance_connect_endpoints.unwrap_or_default().into_iter().map(endpoint));
        next = pages.next(page.next_token)?;
        if next.is_none() {
            return Ok(endpoints);
        }
    }
}

const DESCRIBE_ENDPOINTS: &str = "ec2:DescribeInstanceConnectEndpoints";

fn endpoint(described: Ec2InstanceConnectEndpoint) -> Endpoint {
    Endpoint {
        id: described.instance_connect_endpoint_id.unwrap_or_default(),
        state: described.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        subnet: described.subnet_id.unwrap_or_default(),
        address_type: described.ip_address_type.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        groups: described.security_group_ids.unwrap_or_default(),
        preserves_client_ip: described.preserve_client_ip.unwrap_or_default(),
    }
}
