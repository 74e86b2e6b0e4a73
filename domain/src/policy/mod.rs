//! The least-privilege IAM policy for what a config asks for, as a JSON document that IAM takes.
//!
//! The invariant: it allows what was asked for and nothing else, in at most [`LIMIT`] characters. Where IAM has no words
//! for something, or no room, the policy is wider, and a note says by what. Which sources ask for what is the command's
//! to find out; nothing here knows the config.
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

/// Characters that a managed policy may have; white space does not count.
pub const LIMIT: usize = 6144;

/// What one source asks for in one account.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// 12 digits.
    pub account: String,
    /// Where it looks for instances; these tell the partition, too.
    pub regions: BTreeSet<String>,
    /// It looks in every region that there is.
    pub every_region: bool,
    /// OS users on all of its instances.
    pub users: BTreeSet<String>,
    /// OS users on those instances only whose tag `ssh-eic:user` names them: whoever may tag one instance shall not
    /// open the others to root.
    pub tagged_users: BTreeSet<String>,
    /// Tag filters: AND over keys, OR over values, as EC2 reads them.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Instances that are left out: those that match all of it.
    pub exclude: BTreeMap<String, Vec<String>>,
    /// The longest tunnel through an EC2 Instance Connect Endpoint, in seconds; none: no host has such a route.
    pub tunnel_duration: Option<u16>,
    /// Hosts are reached through Session Manager.
    pub session_manager: bool,
    /// Host keys are read from the console output.
    pub console: bool,
}

/// A policy, and what it allows more than was asked for.
#[derive(Debug)]
pub struct Document {
    /// The policy.
    pub policy: Policy,
    /// In words.
    pub notes: Vec<String>,
}

/// Why there is no policy that would not allow far more than was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not fit into [`LIMIT`] characters.
    TooLong {
        /// The characters of the shortest one.
        length: usize,
    },
    /// A source has tag filters, and IAM has no words for any of them: all instances of the account would be allowed.
    Unfiltered {
        /// Which filters, and why.
        why: String,
    },
}

/// A policy document in the order in which people write one.
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

/// Where instances are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    partition: &'static str,
    account: String,
    /// None: every one.
    regions: Option<BTreeSet<String>>,
}

/// Who may be on which instances.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    scope: Scope,
    /// Of users that a tag of the instance names: the only one here.
    by_tag: bool,
    users: BTreeSet<String>,
    place: Place,
}

/// The policy that lets its holder do what is asked for.
///
/// # Errors
///
/// [`Refusal::TooLong`] if there are too many accounts, filters or users for one policy, [`Refusal::Unfiltered`] if
/// nothing would be left of a source's filters.
pub fn document(asks: &[Ask], origin: &Origin) -> Result<Document, Refusal> {
    let mut notes = Vec::new();
    let mut grants = grants(asks, &mut notes)?;
    let others = others(asks, &mut notes)?;
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
    for (widen, what) in WIDER {
        let mut wider = (grants.clone(), others.clone());
        widen(&mut wider.0, &mut wider.1);
        if wider == (grants.clone(), others.clone()) {
            continue;
        }
        (grants, others) = wider;
        notes.push(format!("there is no room for all of it in {LIMIT} characters: {what}"));
        let policy = render(&grants, &others, origin, Form::Factored);
        length = self::length(&policy);
        if length <= LIMIT {
            return Ok(Document { policy, notes });
        }
    }
    Err(Refusal::TooLong { length })
}

/// Characters as IAM counts them, or a few more: spaces inside of texts are counted here.
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

fn places(ask: &Ask) -> Vec<Place> {
    let mut by_partition: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for region in &ask.regions {
        by_partition.entry(partition(region)).or_default().insert(region.clone());
    }
    let place = |(partition, regions)| Place {
        partition,
        account: ask.account.clone(),
        regions: (!ask.every_region).then_some(regions),
    };
    by_partition.into_iter().map(place).collect()
}

fn grants(asks: &[Ask], notes: &mut Vec<String>) -> Result<Vec<Grant>, Refusal> {
    let mut grants = Vec::new();
    for ask in asks {
        for scope in terms::scopes(&ask.tags, &ask.exclude, notes)? {
            for place in places(ask) {
                let grant = |by_tag, users| Grant { scope: scope.clone(), by_tag, users, place: place.clone() };
                if !ask.users.is_empty() {
                    grants.push(grant(false, ask.users.clone()));
                }
                let tagged = ask.tagged_users.difference(&ask.users);
                grants.extend(tagged.map(|user| grant(true, BTreeSet::from([user.clone()]))));
            }
        }
    }
    Ok(grants)
}

/// A statement without its place and its origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    sid: &'static str,
    action: &'static str,
    /// Type of the resource, in ARNs of EC2.
    resource: &'static str,
    condition: Condition,
}

/// What is asked for besides pushes.
fn others(asks: &[Ask], notes: &mut Vec<String>) -> Result<Vec<(Kind, Place)>, Refusal> {
    let mut others = Vec::new();
    for ask in asks {
        let needs_scopes = ask.console || ask.session_manager;
        let scopes = if needs_scopes { terms::scopes(&ask.tags, &ask.exclude, notes)? } else { Vec::new() };
        for place in places(ask) {
            for scope in &scopes {
                if ask.console {
                    let kind = Kind {
                        sid: "ReadHostKeys",
                        action: "ec2:GetConsoleOutput",
                        resource: "instance",
                        condition: scope.clone(),
                    };
                    others.push((kind, place.clone()));
                }
                if ask.session_manager {
                    others.push((routes::start_sessions(scope), place.clone()));
                }
            }
            if let Some(seconds) = ask.tunnel_duration {
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

/// How accounts and regions are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Each account in each region is an ARN.
    Spelled,
    /// Accounts with the same regions share a condition on the region: no wider, and shorter.
    Factored,
}

fn render(grants: &[Grant], others: &[(Kind, Place)], origin: &Origin, form: Form) -> Policy {
    let mut kinds: BTreeMap<Kind, BTreeSet<Place>> = BTreeMap::new();
    let pushes = grants.iter().map(|grant| (push(grant), grant.place.clone()));
    for (kind, place) in pushes.chain(others.iter().cloned()) {
        kinds.entry(kind).or_default().insert(place);
    }
    let tunnels = kinds.keys().any(|kind| kind.resource == "instance-connect-endpoint");
    let sessions = kinds.iter().filter(|(kind, _)| kind.action == routes::START_SESSION);
    let partitions: BTreeSet<&str> = sessions.flat_map(|(_, places)| places).map(|place| place.partition).collect();
    let mut statements = Vec::new();
    for (suffix, from) in origin.conditions() {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (kind, places) in &kinds {
            for (resources, regions) in resources(kind.resource, places, form) {
                let number = numbers.entry(kind.sid).and_modify(|number| *number += 1).or_insert(1);
                let number = if *number == 1 { String::new() } else { number.to_string() };
                let sid = format!("{}{number}{suffix}", kind.sid);
                let condition = and(and(kind.condition.clone(), regions), from.clone());
                statements.push(statement(sid, vec![kind.action], resources, condition));
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

/// What sync and connections ask. Describe actions take no resource.
const FIND: [&str; 3] = ["ec2:DescribeInstances", "ec2:DescribeImages", "ec2:DescribeRegions"];
/// What doctor asks in addition; everything else works without.
const DIAGNOSE: [&str; 2] = ["ec2:DescribeInstanceConnectEndpoints", "ec2:DescribeSecurityGroups"];

fn push(grant: &Grant) -> Kind {
    let mut condition = and(grant.scope.clone(), condition("StringEquals", "ec2:osuser", grant.users.clone()));
    if grant.by_tag {
        let tag = terms::equals(TAG_USER, &grant.users);
        condition = and(condition, tag);
    }
    Kind { sid: "PushKeys", action: "ec2-instance-connect:SendSSHPublicKey", resource: "instance", condition }
}

fn statement(sid: String, action: Vec<&'static str>, resource: BTreeSet<String>, condition: Condition) -> Statement {
    Statement { sid, effect: "Allow", action, resource, condition }
}

/// The resources of one statement or several, each with the condition that belongs to it.
fn resources(kind: &str, places: &BTreeSet<Place>, form: Form) -> Vec<(BTreeSet<String>, Condition)> {
    let arn = |place: &Place, region: &str| format!("arn:{}:ec2:{region}:{}:{kind}/*", place.partition, place.account);
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

type Widen = fn(&mut [Grant], &mut [(Kind, Place)]);

/// What makes a policy shorter at the price of allowing more, the least of it first. Tag filters are never given up,
/// nor that a user whom a tag names is bound to that tag.
const WIDER: [(Widen, &str); 3] = [
    (users_everywhere, "each OS user is allowed wherever the same tags are asked for"),
    (regions_everywhere, "each region is allowed in all accounts"),
    (any_account, "any account is allowed"),
];

fn users_everywhere(grants: &mut [Grant], _: &mut [(Kind, Place)]) {
    let mut users: BTreeMap<Scope, BTreeSet<String>> = BTreeMap::new();
    // Else whoever may tag one instance could have root allowed on all of them.
    let is_of_all = |grant: &&mut Grant| !grant.by_tag;
    for grant in grants.iter_mut().filter(is_of_all) {
        users.entry(grant.scope.clone()).or_default().extend(grant.users.iter().cloned());
    }
    for grant in grants.iter_mut().filter(is_of_all) {
        grant.users.clone_from(&users[&grant.scope]);
    }
}

fn regions_everywhere(grants: &mut [Grant], others: &mut [(Kind, Place)]) {
    let mut regions: BTreeMap<&'static str, Option<BTreeSet<String>>> = BTreeMap::new();
    for place in places_of(grants, others) {
        let known = regions.entry(place.partition).or_insert_with(|| Some(BTreeSet::new()));
        *known = known.take().zip(place.regions.clone()).map(|(known, more)| known.union(&more).cloned().collect());
    }
    for place in places_of(grants, others) {
        place.regions.clone_from(&regions[place.partition]);
    }
}

fn any_account(grants: &mut [Grant], others: &mut [(Kind, Place)]) {
    for place in places_of(grants, others) {
        "*".clone_into(&mut place.account);
    }
}

fn places_of<'p>(
    grants: &'p mut [Grant],
    others: &'p mut [(Kind, Place)],
) -> impl Iterator<Item = &'p mut Place> + use<'p> {
    grants.iter_mut().map(|grant| &mut grant.place).chain(others.iter_mut().map(|(_, place)| place))
}
