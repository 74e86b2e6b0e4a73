//! The least-privilege IAM policy for the access that sources need, as a JSON document that IAM accepts.
//!
//! Invariant: the policy allows the requested access and nothing else, in at most [`LIMIT`] characters. If IAM cannot
//! express a filter, or the limit leaves no room for it, the policy is wider and a note names the difference. The command
//! decides which access each source needs; this module does not read the config.
//!
//! Sources: the service authorization reference of Amazon EC2 Instance Connect and of Amazon EC2 (resources, condition
//! keys); IAM User Guide, "IAM and AWS STS quotas", "IAM JSON policy elements: Sid", "AWS global condition context keys".

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::fleet::TAG_USER;

mod origin;
mod routes;
mod terms;
#[cfg(test)]
mod tests;

pub use origin::{Origin, is_endpoint, is_network};
use terms::Scope;

/// The limit of IAM for the characters of a managed policy, without white space.
pub const LIMIT: usize = 6144;

/// The access that one source needs in one account.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// 12 digits.
    pub account: String,
    /// The regions that it queries; they also determine the partition.
    pub regions: BTreeSet<String>,
    /// It queries every enabled region.
    pub every_region: bool,
    /// OS users allowed on all of its instances.
    pub users: BTreeSet<String>,
    /// OS users allowed only on instances with a matching tag `ssh-eic:user`, so that a person who can tag one instance
    /// does not gain access to the others.
    pub tagged_users: BTreeSet<String>,
    /// Tag filters: AND over keys, OR over values, as EC2 reads them.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Excludes the instances that match all of these filters.
    pub exclude: BTreeMap<String, Vec<String>>,
    /// The longest tunnel through an EC2 Instance Connect Endpoint, in seconds; none: no host has such a route.
    pub tunnel_duration: Option<u16>,
    /// Hosts are reached through Session Manager.
    pub session_manager: bool,
    /// Host keys are read from the console output.
    pub console: bool,
}

/// A policy, and where it is wider than the requested access.
#[derive(Debug)]
pub struct Document {
    /// The policy.
    pub policy: Policy,
    /// One sentence for each permission that is wider than requested.
    pub notes: Vec<String>,
}

/// Why there is no policy for the requested access.
#[derive(Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// The policy does not fit into [`LIMIT`] characters.
    TooLong {
        /// Characters of the shortest version.
        length: usize,
    },
    /// IAM cannot express any tag filter of a source, so the policy would allow all instances of the account.
    Unfiltered {
        /// The filters, each with the reason.
        reason: String,
    },
}

/// A policy document; the field order is the order in the JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: String,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    condition: Condition,
}

/// `Condition` of a statement: operator, key, values.
type Condition = BTreeMap<&'static str, BTreeMap<String, BTreeSet<String>>>;

/// The partition, account and regions of instances.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    partition: &'static str,
    account: String,
    /// `None`: every region.
    regions: Option<BTreeSet<String>>,
}

/// OS users that are allowed on a set of instances.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    scope: Scope,
    /// Whether the tag `ssh-eic:user` of the instance has to match; `users` then has one element.
    by_tag: bool,
    users: BTreeSet<String>,
    place: Place,
}

/// The policy that allows this access.
///
/// # Errors
///
/// [`PolicyError::TooLong`] if there are too many accounts, filters or users for one policy, [`PolicyError::Unfiltered`] if
/// IAM cannot express any filter of a source.
pub fn document(accesses: &[Access], origin: &Origin) -> Result<Document, PolicyError> {
    let mut notes = Vec::new();
    let mut grants = grants(accesses, &mut notes)?;
    let others = other_permissions(accesses, &mut notes)?;
    notes.sort();
    notes.dedup();
    let mut length = 0;
    for form in [Form::Spelled, Form::Factored] {
        let policy = render(&grants, &others, origin, form);
        length = self::length(&policy);
        if length <= LIMIT {
            return Ok(Document { policy, notes });
        }
    }
    let mut others = others;
    for (widen, effect) in WIDENINGS {
        let mut wider = (grants.clone(), others.clone());
        widen(&mut wider.0, &mut wider.1);
        if wider == (grants.clone(), others.clone()) {
            continue;
        }
        (grants, others) = wider;
        notes.push(format!("the limit is {LIMIT} characters, so {effect}"));
        let policy = render(&grants, &others, origin, Form::Factored);
        length = self::length(&policy);
        if length <= LIMIT {
            return Ok(Document { policy, notes });
        }
    }
    Err(PolicyError::TooLong { length })
}

/// Characters as IAM counts them, or slightly more, because spaces inside strings count here.
#[must_use]
pub fn length(policy: &Policy) -> usize {
    serde_json::to_string(policy).map_or(usize::MAX, |text| text.chars().count())
}

/// The partition that a region belongs to, by its name: the patterns of the SDKs' partitions.json.
#[must_use]
pub fn partition(region: &str) -> &'static str {
    const BY_PREFIX: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    BY_PREFIX.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

fn places(access: &Access) -> Vec<Place> {
    let mut by_partition: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for region in &access.regions {
        by_partition.entry(partition(region)).or_default().insert(region.clone());
    }
    let place = |(partition, regions)| Place {
        partition,
        account: access.account.clone(),
        regions: (!access.every_region).then_some(regions),
    };
    by_partition.into_iter().map(place).collect()
}

fn grants(accesses: &[Access], notes: &mut Vec<String>) -> Result<Vec<Grant>, PolicyError> {
    let mut grants = Vec::new();
    for access in accesses {
        for scope in terms::scopes(&access.tags, &access.exclude, notes)? {
            for place in places(access) {
                let grant = |by_tag, users| Grant { scope: scope.clone(), by_tag, users, place: place.clone() };
                if !access.users.is_empty() {
                    grants.push(grant(false, access.users.clone()));
                }
                let tagged = access.tagged_users.difference(&access.users);
                grants.extend(tagged.map(|user| grant(true, BTreeSet::from([user.clone()]))));
            }
        }
    }
    Ok(grants)
}

/// A statement without its place and origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    sid: &'static str,
    action: &'static str,
    /// Type of the resource, in ARNs of EC2.
    resource: &'static str,
    condition: Condition,
}

/// Permissions other than pushes.
fn other_permissions(accesses: &[Access], notes: &mut Vec<String>) -> Result<Vec<(Permission, Place)>, PolicyError> {
    let mut others = Vec::new();
    for access in accesses {
        let needs_scopes = access.console || access.session_manager;
        let scopes = if needs_scopes { terms::scopes(&access.tags, &access.exclude, notes)? } else { Vec::new() };
        for place in places(access) {
            for scope in &scopes {
                if access.console {
                    let permission = Permission {
                        sid: "ReadHostKeys",
                        action: "ec2:GetConsoleOutput",
                        resource: "instance",
                        condition: scope.clone(),
                    };
                    others.push((permission, place.clone()));
                }
                if access.session_manager {
                    others.push((routes::start_sessions(scope), place.clone()));
                }
            }
            if let Some(seconds) = access.tunnel_duration {
                others.push((routes::open_tunnels(seconds), place));
            }
        }
    }
    Ok(others)
}

fn condition(operator: &'static str, key: &str, values: BTreeSet<String>) -> Condition {
    BTreeMap::from([(operator, BTreeMap::from([(key.to_owned(), values)]))])
}

fn and(mut one: Condition, other: Condition) -> Condition {
    for (operator, keys) in other {
        one.entry(operator).or_default().extend(keys);
    }
    one
}

/// How resources are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One ARN for each account and region.
    Spelled,
    /// One ARN for each account, and a condition on the region for accounts with the same regions: shorter and not wider.
    Factored,
}

fn render(grants: &[Grant], others: &[(Permission, Place)], origin: &Origin, form: Form) -> Policy {
    let mut permissions: BTreeMap<Permission, BTreeSet<Place>> = BTreeMap::new();
    let pushes = grants.iter().map(|grant| (push(grant), grant.place.clone()));
    for (permission, place) in pushes.chain(others.iter().cloned()) {
        permissions.entry(permission).or_default().insert(place);
    }
    let tunnels = permissions.keys().any(|permission| permission.resource == "instance-connect-endpoint");
    let sessions = permissions.iter().filter(|(permission, _)| permission.action == routes::START_SESSION);
    let partitions: BTreeSet<&str> = sessions.flat_map(|(_, places)| places).map(|place| place.partition).collect();
    let mut statements = Vec::new();
    for (suffix, from) in origin.conditions() {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (permission, places) in &permissions {
            for (resources, regions) in resources(permission.resource, places, form) {
                let number = numbers.entry(permission.sid).and_modify(|number| *number += 1).or_insert(1);
                let number = if *number == 1 { String::new() } else { number.to_string() };
                let sid = format!("{}{number}{suffix}", permission.sid);
                let condition = and(and(permission.condition.clone(), regions), from.clone());
                statements.push(statement(sid, vec![permission.action], resources, condition));
            }
        }
        for (sid, actions, resources, condition) in routes::session_statements(&partitions) {
            statements.push(statement(format!("{sid}{suffix}"), actions, resources, and(condition, from.clone())));
        }
        for (sid, actions) in [("FindInstances", &FIND[..]), ("Diagnose", &DIAGNOSE)] {
            let mut actions = actions.to_vec();
            if sid == "FindInstances" {
                actions.extend(tunnels.then_some(DIAGNOSE[0]));
                actions.extend((!partitions.is_empty()).then_some(routes::CONNECTION_STATUS));
            }
            let everything = BTreeSet::from(["*".to_owned()]);
            statements.push(statement(format!("{sid}{suffix}"), actions, everything, from.clone()));
        }
    }
    Policy { version: "2012-10-17", statement: statements }
}

/// Actions of sync and of connections. Describe actions have no resource-level permissions.
const FIND: [&str; 3] = ["ec2:DescribeInstances", "ec2:DescribeImages", "ec2:DescribeRegions"];
/// Additional actions of doctor, which no other command needs.
const DIAGNOSE: [&str; 2] = ["ec2:DescribeInstanceConnectEndpoints", "ec2:DescribeSecurityGroups"];

fn push(grant: &Grant) -> Permission {
    let mut condition = and(grant.scope.clone(), condition("StringEquals", "ec2:osuser", grant.users.clone()));
    if grant.by_tag {
        let tag = terms::equals(TAG_USER, &grant.users);
        condition = and(condition, tag);
    }
    Permission { sid: "PushKeys", action: "ec2-instance-connect:SendSSHPublicKey", resource: "instance", condition }
}

fn statement(sid: String, action: Vec<&'static str>, resource: BTreeSet<String>, condition: Condition) -> Statement {
    Statement { sid, effect: "Allow", action, resource, condition }
}

/// The resources of one or more statements, each with its condition on the region.
fn resources(permission: &str, places: &BTreeSet<Place>, form: Form) -> Vec<(BTreeSet<String>, Condition)> {
    let arn =
        |place: &Place, region: &str| format!("arn:{}:ec2:{region}:{}:{permission}/*", place.partition, place.account);
    let spelled = places
        .iter()
        .flat_map(|place| match &place.regions {
            None => vec![arn(place, "*")],
            Some(regions) => regions.iter().map(|region| arn(place, region)).collect(),
        })
        .collect();
    if form == Form::Spelled {
        return vec![(spelled, Condition::new())];
    }
    let mut by_regions: BTreeMap<&Option<BTreeSet<String>>, BTreeSet<String>> = BTreeMap::new();
    for place in places {
        by_regions.entry(&place.regions).or_default().insert(arn(place, "*"));
    }
    let region = |regions: &BTreeSet<String>| condition("StringEquals", "aws:RequestedRegion", regions.clone());
    let of_set =
        |(regions, arns): (&Option<BTreeSet<String>>, _)| (arns, regions.as_ref().map(region).unwrap_or_default());
    by_regions.into_iter().map(of_set).collect()
}

type Widen = fn(&mut [Grant], &mut [(Permission, Place)]);

/// Ways to make a policy shorter by allowing more, the smallest widening first. Tag filters always remain, and so does the
/// tag condition of a user from a tag.
const WIDENINGS: [(Widen, &str); 3] = [
    (users_everywhere, "each OS user is allowed in every account and region with the same tag filters"),
    (regions_everywhere, "each region is allowed in all accounts"),
    (any_account, "any account is allowed"),
];

fn users_everywhere(grants: &mut [Grant], _: &mut [(Permission, Place)]) {
    let mut users: BTreeMap<Scope, BTreeSet<String>> = BTreeMap::new();
    // A user from a tag stays restricted: otherwise a person who can tag one instance could get root on all of them.
    let is_untagged = |grant: &&mut Grant| !grant.by_tag;
    for grant in grants.iter_mut().filter(is_untagged) {
        users.entry(grant.scope.clone()).or_default().extend(grant.users.iter().cloned());
    }
    for grant in grants.iter_mut().filter(is_untagged) {
        grant.users.clone_from(&users[&grant.scope]);
    }
}

fn regions_everywhere(grants: &mut [Grant], others: &mut [(Permission, Place)]) {
    let mut regions: BTreeMap<&'static str, Option<BTreeSet<String>>> = BTreeMap::new();
    for place in places_of(grants, others) {
        let known = regions.entry(place.partition).or_insert_with(|| Some(BTreeSet::new()));
        *known = known.take().zip(place.regions.clone()).map(|(known, more)| known.union(&more).cloned().collect());
    }
    for place in places_of(grants, others) {
        place.regions.clone_from(&regions[place.partition]);
    }
}

fn any_account(grants: &mut [Grant], others: &mut [(Permission, Place)]) {
    for place in places_of(grants, others) {
        "*".clone_into(&mut place.account);
    }
}

fn places_of<'p>(
    grants: &'p mut [Grant],
    others: &'p mut [(Permission, Place)],
) -> impl Iterator<Item = &'p mut Place> + use<'p> {
    grants.iter_mut().map(|grant| &mut grant.place).chain(others.iter_mut().map(|(_, place)| place))
}
