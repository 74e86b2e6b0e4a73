//! Asking for instances: a whole fleet for `sync`, one by its id when a connection gets no answer.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::describe_instances::builders::DescribeInstancesFluentBuilder;
use aws_sdk_ec2::types::Filter;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::{DateTimeParseError, Format};

use crate::aws::credentials::Session;
use crate::aws::failure::{self, Failure, Retry};
use crate::aws::instances_page;
use crate::aws::pages::Pages;
use crate::domain::described_instances::{InstanceDescription, Page};
use crate::domain::fleet::{DiscoveredInstance, Instance};
use crate::domain::ids::{InstanceId, is_account};
use crate::domain::source::Source;
use crate::domain::tag_filter::TagValues;

/// Instances a page; AWS's largest.
const PAGE: i32 = 1000;

/// Every instance that a source asks for in the session's region, with the account that owns it. `on_page` gets the
/// number of instances of each page.
///
/// # Errors
///
/// The [`Failure`] of [`failure::explain`], with the code of AWS.
pub async fn of_source(
    session: &Session,
    source: &Source,
    discovered: &(dyn Fn(String, Instance) -> DiscoveredInstance + Send + Sync),
    on_page: &(dyn Fn(usize) + Send + Sync),
) -> std::result::Result<Vec<DiscoveredInstance>, Failure> {
    let client = Client::new(&session.config);
    let mut found = Vec::new();
    let (mut pages, mut next) = (Pages::new(ACTION), None);
    loop {
        let request = client.describe_instances().set_filters(Some(filters(source))).max_results(PAGE);
        let page = send(session, "*", request.set_next_token(next.take())).await?;
        let before = found.len();
        for described in page.instances {
            // An account goes into command lines.
            let owner = described.owner_id.clone().filter(|id| is_account(id)).unwrap_or_default();
            let instance = instance(described).map_err(|error| failure::unreadable(ACTION, session, error))?;
            found.extend(instance.map(|instance| discovered(owner, instance)));
        }
        on_page(found.len() - before);
        next = pages.next(page.next_token).map_err(|error| Failure { error, retry: Retry::Never, code: None })?;
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// The tags of the instances in the session's region, whatever a source filters: of the first page.
///
/// # Errors
///
/// The [`Failure`] of [`failure::explain`].
pub async fn tag_values(session: &Session) -> std::result::Result<TagValues, Failure> {
    let request = Client::new(&session.config).describe_instances().max_results(PAGE);
    let page = send(session, "*", request).await?;
    let mut values = TagValues::new();
    for tag in page.instances.into_iter().flat_map(|described| described.tags) {
        values.entry(tag.key.unwrap_or_default()).or_default().insert(tag.value.unwrap_or_default());
    }
    Ok(values)
}

/// One instance by its id.
///
/// # Errors
///
/// [`Failure`], with `InvalidInstanceID.NotFound` as its code where there is none.
pub async fn by_id(session: &Session, id: &InstanceId) -> std::result::Result<Option<Instance>, Failure> {
    let request = Client::new(&session.config).describe_instances().instance_ids(id.as_str());
    let page = send(session, id.as_str(), request).await?;
    for described in page.instances {
        let instance = instance(described).map_err(|error| failure::unreadable(ACTION, session, error))?;
        if instance.as_ref().is_some_and(|instance| &instance.id == id) {
            return Ok(instance);
        }
    }
    Ok(None)
}

const ACTION: &str = "ec2:DescribeInstances";

async fn send(
    session: &Session,
    resource: &str,
    request: DescribeInstancesFluentBuilder,
) -> std::result::Result<Page, Failure> {
    instances_page::send(request).await.map_err(|error| failure::explain(ACTION, resource, session, &error))
}

/// All states but the last one.
const EXISTING: [&str; 5] = ["pending", "running", "shutting-down", "stopping", "stopped"];

fn filters(source: &Source) -> Vec<Filter> {
    // Also those in states that are not listed: an alias stays with its instance while that exists.
    let states =
        Filter::builder().name("instance-state-name").set_values(Some(EXISTING.map(str::to_owned).to_vec())).build();
    let tags = source
        .tags
        .iter()
        .map(|(key, values)| Filter::builder().name(format!("tag:{key}")).set_values(Some(values.clone())).build());
    std::iter::once(states).chain(tags).collect()
}

/// The filters of a source, as `tag:Role = web|db`, for the details under `-v`.
#[must_use]
pub fn filter_text(source: &Source) -> String {
    let filters = filters(source);
    let text =
        filters.iter().map(|filter| format!("{} = {}", filter.name().unwrap_or_default(), filter.values().join("|")));
    text.collect::<Vec<_>>().join(", ")
}

/// A state as EC2 documents it; whatever else comes is not for a terminal.
fn known_state(name: &str) -> String {
    let known = ["pending", "running", "shutting-down", "terminated", "stopping", "stopped"];
    known.into_iter().find(|&state| state == name).unwrap_or("unknown").to_owned()
}

/// Letters, digits, dots and dashes: what a terminal and a pattern may see.
fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
}

/// `None` without a valid id.
///
/// # Errors
///
/// A launch time that cannot be read.
fn instance(described: InstanceDescription) -> std::result::Result<Option<Instance>, DateTimeParseError> {
    let Some(id) = described.instance_id.as_deref().and_then(InstanceId::parse) else { return Ok(None) };
    let launched =
        described.launch_time.map(|time| DateTime::from_str(&time, Format::DateTimeWithOffset)).transpose()?;
    let tags: BTreeMap<String, String> =
        described.tags.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())).collect();
    Ok(Some(Instance {
        id,
        state: described.state_name.map(|name| known_state(&name)).unwrap_or_default(),
        state_reason: described.state_transition_reason.unwrap_or_default(),
        private_ip: described.private_ip_address,
        ipv6: described.ipv6_address,
        public_ip: described.public_ip_address,
        az: described.availability_zone.unwrap_or_default(),
        vpc: described.vpc_id.unwrap_or_default(),
        subnet: described.subnet_id.unwrap_or_default(),
        image: described.image_id.unwrap_or_default(),
        windows: described.platform.is_some_and(|platform| platform.eq_ignore_ascii_case("windows")),
        launched: launched.map_or(0, |time| time.secs()),
        dns: described.private_dns_name.filter(|name| is_dns_name(name)).unwrap_or_default(),
        tags,
    }))
}
