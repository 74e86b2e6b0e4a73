//! Asking for instances: a whole fleet for `sync`, one by its id when a connection gets no answer.

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance as Described};

use crate::aws::credentials::Session;
use crate::aws::failure::{self, Failure, Retry};
use crate::aws::pages::Pages;
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
    let (mut pages, mut next) = (Pages::new("ec2:DescribeInstances"), None);
    loop {
        let page = client
            .describe_instances()
            .set_filters(Some(filters(source)))
            .max_results(PAGE)
            .set_next_token(next.take())
            .send()
            .await
            .map_err(|error| failure::explain("ec2:DescribeInstances", "*", session, &error))?;
        let before = found.len();
        for reservation in page.reservations.unwrap_or_default() {
            // An account goes into command lines.
            let owner = reservation.owner_id.filter(|id| is_account(id)).unwrap_or_default();
            let instances = reservation.instances.unwrap_or_default();
            found.extend(instances.into_iter().filter_map(read).map(|instance| discovered(owner.clone(), instance)));
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
    let page = Client::new(&session.config)
        .describe_instances()
        .max_results(PAGE)
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeInstances", "*", session, &error))?;
    let instances = page.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let mut values = TagValues::new();
    for tag in instances.flat_map(|instance| instance.tags.unwrap_or_default()) {
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
    let answer = Client::new(&session.config)
        .describe_instances()
        .instance_ids(id.as_str())
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeInstances", id.as_str(), session, &error))?;
    let instances = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    Ok(instances.filter_map(read).find(|instance| &instance.id == id))
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

/// None for what has no id that we could work with.
fn read(described: Described) -> Option<Instance> {
    let tags: BTreeMap<String, String> = described
        .tags
        .unwrap_or_default()
        .into_iter()
        .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
        .collect();
    let windows = described.platform.is_some_and(|platform| platform.as_str().eq_ignore_ascii_case("windows"));
    let state = described.state.and_then(|state| state.name).map(|name| known_state(name.as_str())).unwrap_or_default();
    Some(Instance {
        id: InstanceId::parse(&described.instance_id?)?,
        state,
        state_reason: described.state_transition_reason.unwrap_or_default(),
        private_ip: described.private_ip_address,
        ipv6: described.ipv6_address,
        public_ip: described.public_ip_address,
        az: described.placement.and_then(|placement| placement.availability_zone).unwrap_or_default(),
        vpc: described.vpc_id.unwrap_or_default(),
        subnet: described.subnet_id.unwrap_or_default(),
        image: described.image_id.unwrap_or_default(),
        windows,
        launched: described.launch_time.map_or(0, |time| time.secs()),
        dns: described.private_dns_name.filter(|name| is_dns_name(name)).unwrap_or_default(),
        tags,
    })
}
