//! What stands between us and an instance: its security groups, and EC2 Instance Connect Endpoints in its VPC.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, IpPermission};

use crate::aws::credentials::Session;
use crate::aws::failure;
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

/// The ids of the endpoints in a VPC that carry connections.
///
/// # Errors
///
/// As [`surroundings`].
pub async fn endpoints(session: &Session, vpc: &str) -> Result<Vec<String>> {
    let working = ["create-complete", "update-in-progress", "update-failed", "update-complete"];
    let filter = |name: &str, values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Filter::builder().name(name).set_values(Some(values)).build()
    };
    let answer = Client::new(&session.config)
        .describe_instance_connect_endpoints()
        .filters(filter("vpc-id", &[vpc]))
        .filters(filter("state", &working))
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeInstanceConnectEndpoints", "*", session, &error).error)?;
    let found = answer.instance_connect_endpoints.unwrap_or_default();
    Ok(found.into_iter().filter_map(|endpoint| endpoint.instance_connect_endpoint_id).collect())
}
