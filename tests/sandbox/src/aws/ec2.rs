//! EC2, query XML of API version 2016-11-15: everything but `DescribeInstances`.

use super::dialect::{Fault, Service};
use super::filter::{Filter, numbered};
use super::xml::{PROLOGUE, Xml};
use super::{Context, console, instances, vpc};
use crate::model::Image;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// The regions that are enabled in every account.
const REGIONS: [&str; 17] = [
    "ap-south-1",
    "eu-north-1",
    "eu-west-3",
    "eu-west-2",
    "eu-west-1",
    "ap-northeast-3",
    "ap-northeast-2",
    "ap-northeast-1",
    "ca-central-1",
    "sa-east-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "eu-central-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// The document around a result.
pub(super) fn wrap(action: &str, request_id: &str, body: &str) -> String {
    format!(
        "{PROLOGUE}<{action}Response xmlns=\"{NAMESPACE}\"><requestId>{request_id}</requestId>{body}</{action}Response>"
    )
}

pub(super) fn perform(context: &Context<'_>, action: &str) -> Result<String, Fault> {
    match action {
        "DescribeInstances" => instances::describe(context),
        "DescribeImages" => describe_images(context),
        "DescribeRegions" => Ok(describe_regions(context)),
        "GetConsoleOutput" => console::output(context),
        "DescribeInstanceConnectEndpoints" => vpc::describe_endpoints(context),
        "DescribeSecurityGroups" => vpc::describe_security_groups(context),
        _ => Err(Service::Ec2.unknown_action(action)),
    }
}

/// Refuses ids that are malformed, or not of an instance of the caller's account and region.
pub(super) fn check_ids(context: &Context<'_>, ids: &[String]) -> Result<(), Fault> {
    let hex = |id: &str| id.strip_prefix("i-").is_some_and(|hex| matches!(hex.len(), 8 | 17) && is_hex(hex));
    if let Some(id) = ids.iter().find(|id| !hex(id)) {
        return Err(Fault::new(400, "InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    let state = context.world.lock();
    let caller = &context.caller;
    let own =
        |id: &&String| state.fleet.get(id).is_some_and(|i| i.account == caller.account && i.region == caller.region);
    let unknown: Vec<&str> = ids.iter().filter(|id| !own(id)).map(String::as_str).collect();
    let message = match unknown.as_slice() {
        [] => return Ok(()),
        [id] => format!("The instance ID '{id}' does not exist"),
        ids => format!("The instance IDs '{}' do not exist", ids.join(", ")),
    };
    Err(Fault::new(400, "InvalidInstanceID.NotFound", message))
}

fn is_hex(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

fn describe_images(context: &Context<'_>) -> Result<String, Fault> {
    let ids = numbered(&context.params, "ImageId");
    let owners = numbered(&context.params, "Owner");
    let filters = Filter::all(&context.params, |name| IMAGE_FILTERS.contains(&name))?;
    let state = context.world.lock();
    let unknown: Vec<&str> = ids.iter().filter(|id| !state.images.contains_key(*id)).map(String::as_str).collect();
    if !unknown.is_empty() {
        let plural = if unknown.len() > 1 { ("s", "do") } else { ("", "does") };
        let message = format!("The image id{} '[{}]' {} not exist", plural.0, unknown.join(", "), plural.1);
        return Err(Fault::new(400, "InvalidAMIID.NotFound", message));
    }
    let mut images: Vec<&Image> = state
        .images
        .values()
        .filter(|image| ids.is_empty() || ids.contains(&image.id))
        .filter(|image| owners.is_empty() || owners.contains(&image.owner) || owners.contains(&image.owner_alias))
        .filter(|image| filters.iter().all(|filter| filter.accepts(&[image_value(image, &filter.name).to_owned()])))
        .collect();
    images.sort_by(|a, b| a.id.cmp(&b.id));
    let mut xml = Xml::new();
    xml.element("imagesSet", |xml| images.iter().for_each(|image| write_image(xml, image)));
    Ok(xml.finish())
}

const IMAGE_FILTERS: [&str; 5] = ["image-id", "name", "owner-id", "owner-alias", "state"];

fn image_value<'a>(image: &'a Image, filter: &str) -> &'a str {
    match filter {
        "image-id" => &image.id,
        "name" => &image.name,
        "owner-id" => &image.owner,
        "owner-alias" => &image.owner_alias,
        _ => "available",
    }
}

fn write_image(xml: &mut Xml, image: &Image) {
    xml.element("item", |xml| {
        xml.text("imageId", &image.id);
        xml.text("imageLocation", &format!("{}/{}", image.owner, image.name));
        xml.text("imageState", "available");
        xml.text("imageOwnerId", &image.owner);
        xml.text("isPublic", "true");
        xml.text("architecture", "x86_64");
        xml.text("imageType", "machine");
        xml.optional("imageOwnerAlias", &image.owner_alias);
        xml.text("name", &image.name);
        xml.optional("description", &image.description);
        xml.text("rootDeviceType", "ebs");
    });
}

fn describe_regions(context: &Context<'_>) -> String {
    let switched = context.world.lock().switches.regions.clone();
    let regions = switched.unwrap_or_else(|| REGIONS.map(String::from).to_vec());
    let mut xml = Xml::new();
    xml.element("regionInfo", |xml| {
        for region in &regions {
            xml.element("item", |xml| {
                xml.text("regionName", region);
                xml.text("regionEndpoint", &format!("ec2.{region}.amazonaws.com"));
                xml.text("optInStatus", "opt-in-not-required");
            });
        }
    });
    xml.finish()
}

/// Base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_usize, |group, byte| group << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let symbol = char::from(ALPHABET[group >> (18 - 6 * i) & 63]);
            text.push(if i <= chunk.len() { symbol } else { '=' });
        }
    }
    text
}
