//! The elements of a response that are used, each within its parent.

use super::{InstanceDescription, Tag};

/// The field of an instance that an element with text sets.
pub(super) type Field = fn(&mut InstanceDescription) -> &mut Option<String>;

/// An element that is used, or one that is not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Element {
    Response,
    NextToken,
    Reservations,
    Reservation,
    OwnerId,
    Instances,
    Instance,
    State,
    Placement,
    Tags,
    Tag,
    /// An element with text, within an instance.
    Value(Field),
    /// Not used, as all elements within it.
    Other,
}

impl Element {
    pub(super) fn has_text(self) -> bool {
        matches!(self, Self::NextToken | Self::OwnerId | Self::Value(_))
    }
}

/// The element of this name within `parent`; without a parent, the root. None if the root is another one.
pub(super) fn child(parent: Option<Element>, name: &str) -> Option<Element> {
    let Some(parent) = parent else {
        return (name == "DescribeInstancesResponse").then_some(Element::Response);
    };
    Some(match (parent, name) {
        (Element::Response, "reservationSet") => Element::Reservations,
        (Element::Response, "nextToken") => Element::NextToken,
        (Element::Reservations, "item") => Element::Reservation,
        (Element::Reservation, "ownerId") => Element::OwnerId,
        (Element::Reservation, "instancesSet") => Element::Instances,
        (Element::Instances, "item") => Element::Instance,
        (Element::Instance, "instanceState") => Element::State,
        (Element::Instance, "placement") => Element::Placement,
        (Element::Instance, "tagSet") => Element::Tags,
        (Element::Tags, "item") => Element::Tag,
        _ => field(parent, name).map_or(Element::Other, Element::Value),
    })
}

fn field(parent: Element, name: &str) -> Option<Field> {
    Some(match (parent, name) {
        (Element::Instance, "instanceId") => |instance| &mut instance.instance_id,
        (Element::Instance, "imageId") => |instance| &mut instance.image_id,
        (Element::State, "name") => |instance| &mut instance.state_name,
        (Element::Instance, "reason") => |instance| &mut instance.state_transition_reason,
        (Element::Instance, "privateDnsName") => |instance| &mut instance.private_dns_name,
        (Element::Instance, "platform") => |instance| &mut instance.platform,
        (Element::Instance, "launchTime") => |instance| &mut instance.launch_time,
        (Element::Placement, "availabilityZone") => |instance| &mut instance.availability_zone,
        (Element::Instance, "subnetId") => |instance| &mut instance.subnet_id,
        (Element::Instance, "vpcId") => |instance| &mut instance.vpc_id,
        (Element::Instance, "privateIpAddress") => |instance| &mut instance.private_ip_address,
        (Element::Instance, "ipAddress") => |instance| &mut instance.public_ip_address,
        (Element::Instance, "ipv6Address") => |instance| &mut instance.ipv6_address,
        (Element::Tag, "key") => |instance| &mut last_tag(instance).key,
        (Element::Tag, "value") => |instance| &mut last_tag(instance).value,
        _ => return None,
    })
}

fn last_tag(instance: &mut InstanceDescription) -> &mut Tag {
    if instance.tags.is_empty() {
        instance.tags.push(Tag::default());
    }
    let last = instance.tags.len() - 1;
    &mut instance.tags[last]
}
