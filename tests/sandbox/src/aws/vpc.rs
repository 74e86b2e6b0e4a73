//! `DescribeSecurityGroups` and `DescribeInstanceConnectEndpoints`.

use super::Context;
use super::dialect::Fault;
use super::filter::{Filter, numbered};
use super::xml::Xml;
use crate::vpc::{Endpoint, Rule, SecurityGroup};

pub(super) fn describe_security_groups(context: &Context<'_>) -> Result<String, Fault> {
    let ids = numbered(&context.params, "GroupId");
    let filters = Filter::all(&context.params, |name| ["group-id", "vpc-id"].contains(&name))?;
    let state = context.world.lock();
    let is_own =
        |group: &&SecurityGroup| (&group.account, &group.region) == (&context.caller.account, &context.caller.region);
    let own: Vec<&SecurityGroup> = state.security_groups.values().filter(is_own).collect();
    if let Some(id) = ids.iter().find(|id| own.iter().all(|group| group.id != **id)) {
        return Err(Fault::new(400, "InvalidGroup.NotFound", format!("The security group '{id}' does not exist")));
    }
    let value = |group: &SecurityGroup, name: &str| if name == "vpc-id" { group.vpc.clone() } else { group.id.clone() };
    let wanted = |group: &&SecurityGroup| {
        (ids.is_empty() || ids.contains(&group.id))
            && filters.iter().all(|filter| filter.accepts(&[value(group, &filter.name)]))
    };
    let mut xml = Xml::new();
    xml.element("securityGroupInfo", |xml| own.into_iter().filter(wanted).for_each(|group| write_group(xml, group)));
    Ok(xml.finish())
}

fn write_group(xml: &mut Xml, group: &SecurityGroup) {
    xml.element("item", |xml| {
        xml.text("ownerId", &group.account);
        xml.text("groupId", &group.id);
        xml.text("groupName", "default");
        xml.text("groupDescription", "of the sandbox");
        xml.text("vpcId", &group.vpc);
        xml.element("ipPermissions", |xml| group.rules.iter().for_each(|rule| write_rule(xml, rule, &group.account)));
        let all = Rule { protocol: "-1".into(), cidrs: vec!["0.0.0.0/0".into()], ..Rule::default() };
        xml.element("ipPermissionsEgress", |xml| write_rule(xml, &all, &group.account));
        xml.element("tagSet", |_| ());
    });
}

fn write_rule(xml: &mut Xml, rule: &Rule, account: &str) {
    xml.element("item", |xml| {
        xml.text("ipProtocol", &rule.protocol);
        if let Some((first, last)) = rule.ports {
            xml.text("fromPort", &first.to_string());
            xml.text("toPort", &last.to_string());
        }
        xml.element("groups", |xml| {
            for group in &rule.groups {
                xml.element("item", |xml| {
                    xml.text("userId", account);
                    xml.text("groupId", group);
                });
            }
        });
        xml.element("ipRanges", |xml| {
            for cidr in &rule.cidrs {
                xml.element("item", |xml| xml.text("cidrIp", cidr));
            }
        });
        xml.element("ipv6Ranges", |_| ());
        xml.element("prefixListIds", |_| ());
    });
}

pub(super) fn describe_endpoints(context: &Context<'_>) -> Result<String, Fault> {
    let ids = numbered(&context.params, "InstanceConnectEndpointId");
    let filters = Filter::all(&context.params, |name| endpoint_value(&Endpoint::default(), name).is_some())?;
    let state = context.world.lock();
    let wanted = |endpoint: &&Endpoint| {
        (&endpoint.account, &endpoint.region) == (&context.caller.account, &context.caller.region)
            && (ids.is_empty() || ids.contains(&endpoint.id))
            && filters.iter().all(|filter| {
                endpoint_value(endpoint, &filter.name).is_some_and(|value| filter.accepts(&[value.to_owned()]))
            })
    };
    let mut xml = Xml::new();
    xml.element("instanceConnectEndpointSet", |xml| {
        state.endpoints.values().filter(wanted).for_each(|endpoint| write_endpoint(xml, endpoint));
    });
    Ok(xml.finish())
}

fn endpoint_value<'a>(endpoint: &'a Endpoint, filter: &str) -> Option<&'a str> {
    match filter {
        "instance-connect-endpoint-id" => Some(&endpoint.id),
        "state" => Some(&endpoint.state),
        "subnet-id" => Some(&endpoint.subnet),
        "vpc-id" => Some(&endpoint.vpc),
        _ => None,
    }
}

fn write_endpoint(xml: &mut Xml, endpoint: &Endpoint) {
    let Endpoint { id, account, region, .. } = endpoint;
    xml.element("item", |xml| {
        xml.text("ownerId", account);
        xml.text("instanceConnectEndpointId", id);
        let arn = format!("arn:aws:ec2:{region}:{account}:instance-connect-endpoint/{id}");
        xml.text("instanceConnectEndpointArn", &arn);
        xml.text("state", &endpoint.state);
        xml.element("stateMessage", |_| ());
        xml.text("dnsName", &format!("{id}.0123abcd.ec2-instance-connect-endpoint.{region}.amazonaws.com"));
        xml.element("networkInterfaceIdSet", |_| ());
        xml.text("vpcId", &endpoint.vpc);
        xml.text("availabilityZone", &format!("{region}a"));
        xml.text("createdAt", "2026-11-23T03:12:00.000Z");
        xml.text("subnetId", &endpoint.subnet);
        xml.text("preserveClientIp", "false");
        xml.element("securityGroupIdSet", |_| ());
        xml.element("tagSet", |_| ());
    });
}
