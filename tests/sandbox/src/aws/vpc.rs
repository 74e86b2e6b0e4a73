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

/// Tokens are opaque to clients.
const TOKEN_PREFIX: &str = "eyJlaWNlIjoi";

pub(super) fn describe_endpoints(context: &Context<'_>) -> Result<String, Fault> {
    let ids = numbered(&context.params, "InstanceConnectEndpointId");
    let filters = Filter::all(&context.params, |name| endpoint_value(&Endpoint::default(), name).is_some())?;
    let caller = &context.caller;
    let (mut endpoints, switched) = {
        let state = context.world.lock();
        (state.endpoints.values().cloned().collect::<Vec<_>>(), state.switches.endpoint_page)
    };
    endpoints.retain(|endpoint| {
        (endpoint.account == caller.account || endpoint.shared_with.contains(&caller.account))
            && endpoint.region == caller.region
    });
    if let Some(id) = ids.iter().find(|id| endpoints.iter().all(|endpoint| endpoint.id != **id)) {
        let message = format!("The instance connect endpoint ID '{id}' does not exist");
        return Err(Fault::new(400, "InvalidInstanceConnectEndpointId.NotFound", message));
    }
    endpoints.retain(|endpoint| {
        (ids.is_empty() || ids.contains(&endpoint.id))
            && filters.iter().all(|filter| {
                endpoint_value(endpoint, &filter.name).is_some_and(|value| filter.accepts(&[value.to_owned()]))
            })
    });
    let invalid = |name: &str| Fault::new(400, "InvalidParameterValue", format!("The value of {name} is invalid"));
    let start = match context.params.get("NextToken") {
        None => 0,
        Some(token) => token
            .strip_prefix(TOKEN_PREFIX)
            .and_then(|start| start.parse::<usize>().ok())
            .ok_or_else(|| invalid("NextToken"))?,
    };
    let asked = match context.params.get("MaxResults") {
        None => usize::MAX,
        Some(text) => text.parse().ok().filter(|size| (1..=50).contains(size)).ok_or_else(|| invalid("MaxResults"))?,
    };
    let size = asked.min(switched.unwrap_or(50)).max(1);
    let mut xml = Xml::new();
    xml.element("instanceConnectEndpointSet", |xml| {
        endpoints.iter().skip(start).take(size).for_each(|endpoint| write_endpoint(xml, context, endpoint));
    });
    if endpoints.len() > start.saturating_add(size) {
        xml.text("nextToken", &format!("{TOKEN_PREFIX}{}", start + size));
    }
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

fn write_endpoint(xml: &mut Xml, context: &Context<'_>, endpoint: &Endpoint) {
    let Endpoint { id, account, region, .. } = endpoint;
    let names = context.world.endpoint_names(endpoint);
    xml.element("item", |xml| {
        xml.text("ownerId", account);
        xml.text("instanceConnectEndpointId", id);
        let arn = format!("arn:aws:ec2:{region}:{account}:instance-connect-endpoint/{id}");
        xml.text("instanceConnectEndpointArn", &arn);
        xml.text("state", &endpoint.state);
        xml.element("stateMessage", |_| ());
        if endpoint.address_type != "ipv6" {
            xml.text("dnsName", &names.ipv4);
            xml.text("fipsDnsName", &names.ipv4_fips);
        }
        xml.element("networkInterfaceIdSet", |_| ());
        xml.text("vpcId", &endpoint.vpc);
        xml.text("availabilityZone", &format!("{region}a"));
        xml.text("createdAt", "2026-11-23T03:12:00.000Z");
        xml.text("subnetId", &endpoint.subnet);
        xml.text("preserveClientIp", if endpoint.preserve_client_ip { "true" } else { "false" });
        xml.element("securityGroupIdSet", |xml| {
            endpoint.security_groups.iter().for_each(|group| xml.text("item", group));
        });
        xml.element("tagSet", |_| ());
        xml.text("ipAddressType", &endpoint.address_type);
        xml.element("publicDnsNames", |xml| {
            if endpoint.address_type != "ipv6" {
                write_names(xml, "ipv4", &names.ipv4, &names.ipv4_fips);
            }
            if endpoint.address_type != "ipv4" {
                write_names(xml, "dualstack", &names.dualstack, &names.dualstack_fips);
            }
        });
    });
}

fn write_names(xml: &mut Xml, kind: &str, name: &str, fips: &str) {
    xml.element(kind, |xml| {
        xml.text("dnsName", name);
        xml.text("fipsDnsName", fips);
    });
}
