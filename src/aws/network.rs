//! The network of an instance: its VPC, subnet and security groups.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::IpPermission;

use crate::aws::credentials::Session;
use crate::aws::failure;
use crate::domain::ids::InstanceId;
use crate::domain::ingress::Rule;
use crate::error::Result;

/// The network of an instance, and its instance profile.
#[derive(Debug, Default)]
pub struct InstanceNetwork {
    /// Its security groups.
    pub groups: Vec<String>,
    /// Its VPC.
    pub vpc: String,
    /// Its subnet.
    pub subnet: String,
    /// The ARN of its instance profile.
    pub instance_profile: Option<String>,
}

/// Describes the network of an instance; empty if there is no such instance.
///
/// # Errors
///
/// As [`failure::explain`].
pub async fn of_instance(session: &Session, id: &InstanceId) -> Result<InstanceNetwork> {
    let response = Client::new(&session.config)
        .describe_instances()
        .instance_ids(id.as_str())
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeInstances", id.as_str(), session, &error).error)?;
    let mut instances =
        response.reservations.unwrap_or_default().into_iter().flat_map(|one| one.instances.unwrap_or_default());
    let Some(instance) = instances.next() else { return Ok(InstanceNetwork::default()) };
    let groups = instance.security_groups.unwrap_or_default().into_iter().filter_map(|group| group.group_id);
    Ok(InstanceNetwork {
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
/// As [`failure::explain`].
pub async fn inbound(session: &Session, groups: &[String]) -> Result<Vec<Rule>> {
    if groups.is_empty() {
        // An empty id list returns every group.
        return Ok(Vec::new());
    }
    let response = Client::new(&session.config)
        .describe_security_groups()
        .set_group_ids(Some(groups.to_vec()))
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeSecurityGroups", "*", session, &error).error)?;
    let groups = response.security_groups.unwrap_or_default().into_iter();
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
