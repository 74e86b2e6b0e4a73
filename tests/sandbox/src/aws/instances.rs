//! `DescribeInstances`: ids, filters, paging, and one instance in XML.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::dialect::Fault;
use super::ec2::check_ids;
use super::filter::{Filter, numbered};
use super::xml::Xml;
use super::{Context, Params, sts};
use crate::model::{Instance, State};

/// Which part of the result to send. The start is a position among all instances of the account and region, matching
/// or not: what lies before it is never looked at again.
struct Page {
    start: usize,
    size: usize,
}

pub(super) fn describe(context: &Context<'_>) -> Result<String, Fault> {
    let filters = Filter::all(&context.params, |name| values(&Instance::default(), name).is_some())?;
    let page = page(&context.params)?;
    let ids = numbered(&context.params, "InstanceId");
    check_ids(context, &ids)?;
    let candidates = candidates(context, &ids, page.start);
    let mut matching = candidates
        .iter()
        .enumerate()
        .filter(|(_, i)| filters.iter().all(|filter| filter.accepts(&values(i, &filter.name).unwrap_or_default())));
    let mut xml = Xml::new();
    xml.element("reservationSet", |xml| {
        for (_, instance) in matching.by_ref().take(page.size) {
            write_reservation(xml, instance);
        }
    });
    let repeats = context.world.lock().switches.repeat_next_token.iter().flatten().any(|a| a == "DescribeInstances");
    if repeats {
        xml.text("nextToken", &format!("{TOKEN_PREFIX}{}", page.start));
    } else if let Some((next, _)) = matching.next() {
        xml.text("nextToken", &format!("{TOKEN_PREFIX}{}", page.start + next));
    }
    Ok(xml.finish())
}

/// The instances requested by id, or all of the caller's account and region. They are taken out of the lock: rendering
/// a thousand of them must not keep other requests waiting.
fn candidates(context: &Context<'_>, ids: &[String], start: usize) -> Vec<Arc<Instance>> {
    let state = context.world.lock();
    if ids.is_empty() {
        return state.fleet.of(&context.caller.account, &context.caller.region, start);
    }
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids.iter().filter_map(|id| state.fleet.get(id).cloned()).collect()
}

/// Tokens are opaque to clients; these look the part.
const TOKEN_PREFIX: &str = "eyJ2IjoiMiIsImMiOiJ";

fn page(params: &Params) -> Result<Page, Fault> {
    let invalid = |message: String| Fault::new(400, "InvalidParameterValue", message);
    let start = match params.get("NextToken").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => token
            .strip_prefix(TOKEN_PREFIX)
            .and_then(|offset| offset.parse().ok())
            .ok_or_else(|| invalid(String::from("Unable to parse pagination token")))?,
    };
    let Some(text) = params.get("MaxResults") else { return Ok(Page { start, size: usize::MAX - start }) };
    if params.contains_key("InstanceId.1") {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(Fault::new(400, "InvalidParameterCombination", message));
    }
    let size: usize =
        text.parse().map_err(|_| invalid(format!("Value ( {text} ) for parameter maxResults is invalid.")))?;
    match size {
        0..5 => Err(invalid(format!(
            "Value ( {size} ) for parameter maxResults is invalid. Expecting a value greater than 5."
        ))),
        _ => Ok(Page { start, size: size.min(1000) }),
    }
}

/// The instance's values of a filter, or `None` if EC2 has no such filter.
fn values(instance: &Instance, filter: &str) -> Option<Vec<String>> {
    let (state, code) = instance.state.name_and_code();
    let one = |text: &str| Some(if text.is_empty() { vec![] } else { vec![text.to_owned()] });
    match filter {
        "instance-state-name" => one(state),
        "instance-state-code" => one(&code.to_string()),
        "instance-id" => one(&instance.id),
        "vpc-id" => one(&instance.vpc),
        "subnet-id" => one(&instance.subnet),
        "private-ip-address" => one(&instance.address),
        "image-id" => one(&instance.image),
        "availability-zone" => one(&instance.availability_zone),
        "architecture" => one(&instance.architecture),
        "platform" => one(&instance.platform),
        "key-name" => one(&instance.key_name),
        "tag-key" => Some(instance.tags.keys().cloned().collect()),
        _ => filter.strip_prefix("tag:").map(|key| instance.tags.get(key).cloned().into_iter().collect()),
    }
}

/// A reservation of one instance, as most are.
fn write_reservation(xml: &mut Xml, instance: &Instance) {
    let hex = instance.id.trim_start_matches("i-");
    xml.element("item", |xml| {
        xml.text("reservationId", &format!("r-{hex}"));
        xml.text("ownerId", &instance.account);
        xml.element("groupSet", |_| ());
        xml.element("instancesSet", |xml| xml.element("item", |xml| write_instance(xml, instance)));
    });
}

fn write_instance(xml: &mut Xml, instance: &Instance) {
    let (name, code) = instance.state.name_and_code();
    let gone = instance.state == State::Terminated;
    let dns = format!("ip-{}.{}.compute.internal", instance.address.replace('.', "-"), instance.region);
    xml.text("instanceId", &instance.id);
    xml.text("imageId", &instance.image);
    xml.element("instanceState", |xml| {
        xml.text("code", &code.to_string());
        xml.text("name", name);
    });
    xml.text("privateDnsName", if gone { "" } else { &dns });
    xml.element("dnsName", |_| ());
    write_transition(xml, instance);
    xml.optional("keyName", &instance.key_name);
    xml.text("amiLaunchIndex", "0");
    xml.element("productCodes", |_| ());
    xml.text("instanceType", "t3.micro");
    xml.text("launchTime", &sts::iso(instance.launched).replace('Z', ".000Z"));
    xml.element("placement", |xml| {
        xml.text("availabilityZone", &instance.availability_zone);
        xml.element("groupName", |_| ());
        xml.text("tenancy", "default");
    });
    xml.optional("platform", &instance.platform);
    xml.text("platformDetails", &instance.platform_details);
    xml.element("monitoring", |xml| xml.text("state", "disabled"));
    if !gone {
        xml.optional("subnetId", &instance.subnet);
        xml.optional("vpcId", &instance.vpc);
        xml.optional("privateIpAddress", &instance.address);
        xml.optional("ipAddress", &instance.public_address);
        xml.optional("ipv6Address", &instance.ipv6);
    }
    if !instance.instance_profile.is_empty() {
        xml.element("iamInstanceProfile", |xml| {
            xml.text("arn", &instance.instance_profile);
            xml.text("id", "AIPA0000000000000001");
        });
    }
    xml.element("groupSet", |xml| {
        for group in &instance.security_groups {
            xml.element("item", |xml| {
                xml.text("groupId", group);
                xml.text("groupName", "default");
            });
        }
    });
    xml.text("architecture", &instance.architecture);
    xml.text("rootDeviceType", "ebs");
    xml.text("virtualizationType", "hvm");
    xml.element("tagSet", |xml| {
        for (key, value) in &instance.tags {
            xml.element("item", |xml| {
                xml.text("key", key);
                xml.text("value", value);
            });
        }
    });
    write_interfaces(xml, instance, gone);
}

/// Why and when the instance left the running state.
fn write_transition(xml: &mut Xml, instance: &Instance) {
    if matches!(instance.state, State::Running | State::Pending) {
        xml.element("reason", |_| ());
        return;
    }
    let when = Timestamp::from_second(instance.transition).unwrap_or_default().to_zoned(TimeZone::UTC);
    xml.text("reason", &format!("User initiated ({})", when.strftime("%Y-%m-%d %H:%M:%S GMT")));
    xml.element("stateReason", |xml| {
        xml.text("code", "Client.UserInitiatedShutdown");
        xml.text("message", "Client.UserInitiatedShutdown: User initiated shutdown");
    });
}

fn write_interfaces(xml: &mut Xml, instance: &Instance, gone: bool) {
    xml.element("networkInterfaceSet", |xml| {
        if gone {
            return;
        }
        xml.element("item", |xml| {
            xml.text("networkInterfaceId", &format!("eni-{}", instance.id.trim_start_matches("i-")));
            xml.optional("subnetId", &instance.subnet);
            xml.optional("vpcId", &instance.vpc);
            xml.text("ownerId", &instance.account);
            xml.text("status", "in-use");
            xml.optional("privateIpAddress", &instance.address);
            if !instance.ipv6.is_empty() {
                xml.element("ipv6AddressesSet", |xml| {
                    xml.element("item", |xml| xml.text("ipv6Address", &instance.ipv6));
                });
            }
        });
    });
}
