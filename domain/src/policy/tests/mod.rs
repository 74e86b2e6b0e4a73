//! The evaluator in this folder decides what a policy allows.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::pattern;

mod evaluator;
mod refusals;

use evaluator::{Request, allows, check_grammar, push};

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

type Pairs<'a> = &'a [(&'a str, &'a [&'a str])];

fn filters(pairs: Pairs<'_>) -> BTreeMap<String, Vec<String>> {
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    pairs.iter().map(|(key, values)| ((*key).to_owned(), list(values))).collect()
}

fn access(account: &str, regions: &[&str], users: &[&str]) -> Access {
    Access { account: account.to_owned(), regions: set(regions), users: set(users), ..Access::default() }
}

/// A parsed policy and its notes.
struct Written {
    policy: Value,
    notes: Vec<String>,
}

fn read(document: Document) -> Written {
    assert!(length(&document.policy) <= LIMIT);
    let policy = serde_json::to_value(&document.policy).expect("JSON");
    check_grammar(&policy);
    Written { policy, notes: document.notes }
}

fn written(accesses: &[Access]) -> Written {
    read(document(accesses, &Origin::default()).expect("a policy"))
}

const ONE: &str = "111122223333";
const TWO: &str = "444455556666";

#[test]
fn only_the_requested_account_region_and_user_are_allowed() {
    let accesses = [access(ONE, &["eu-west-1"], &["ubuntu"]), access(TWO, &["us-east-1"], &["ec2-user"])];
    let Written { policy, notes } = written(&accesses);
    assert!(notes.is_empty(), "{notes:?}");
    assert!(allows(&policy, &push(ONE, "eu-west-1", "ubuntu", &[])));
    assert!(allows(&policy, &push(TWO, "us-east-1", "ec2-user", &[])));
    for (account, region, user) in [
        (ONE, "eu-west-1", "root"),
        (ONE, "eu-west-1", "ec2-user"),
        (ONE, "us-east-1", "ubuntu"),
        (TWO, "eu-west-1", "ubuntu"),
        ("777788889999", "eu-west-1", "ubuntu"),
    ] {
        assert!(!allows(&policy, &push(account, region, user, &[])), "{account} {region} {user}");
    }
    let describe = |action| Request { action, resource: "*".to_owned(), context: BTreeMap::new() };
    for action in ["ec2:DescribeInstances", "ec2:DescribeImages", "ec2:DescribeRegions", "ec2:DescribeSecurityGroups"] {
        assert!(allows(&policy, &describe(action)), "{action}");
    }
    assert!(!allows(&policy, &describe("ec2:TerminateInstances")));
}

#[test]
fn all_tag_keys_and_any_value_of_each_have_to_match() {
    let mut one = access(ONE, &["eu-west-1"], &["ubuntu"]);
    one.tags = filters(&[("Environment", &["prod"]), ("Role", &["web", "db-?"]), ("Cost", &[r"a\*b", "${x}"])]);
    one.exclude = filters(&[("Name", &["*-fw"])]);
    let Written { policy, notes } = written(&[one]);
    assert!(notes.is_empty(), "{notes:?}");
    let may = |tags: &[(&str, &str)]| allows(&policy, &push(ONE, "eu-west-1", "ubuntu", tags));
    assert!(may(&[("Environment", "prod"), ("Role", "web"), ("Cost", "a*b")]));
    assert!(may(&[("Environment", "prod"), ("Role", "db-1"), ("Cost", "${x}"), ("Name", "edge")]));
    assert!(!may(&[("Environment", "prod"), ("Role", "db-1"), ("Cost", "a*b"), ("Name", "edge-fw")]));
    assert!(!may(&[("Environment", "prod"), ("Role", "web"), ("Cost", "axb")]));
    assert!(!may(&[("Environment", "prod"), ("Role", "db-12"), ("Cost", "a*b")]));
    assert!(!may(&[("Environment", "dev"), ("Role", "web"), ("Cost", "a*b")]));
    assert!(!may(&[("Role", "web"), ("Cost", "a*b")]));
    assert!(!may(&[]));
}

#[test]
fn an_exclusion_of_several_keys_applies_only_if_all_of_them_match() {
    let mut one = access(ONE, &["eu-west-1"], &["ubuntu"]);
    one.exclude = filters(&[("Name", &["*-fw"]), ("Team", &["net"])]);
    let Written { policy, notes } = written(&[one]);
    assert!(notes.is_empty(), "{notes:?}");
    let may = |tags: &[(&str, &str)]| allows(&policy, &push(ONE, "eu-west-1", "ubuntu", tags));
    assert!(may(&[("Name", "edge-fw")]) && may(&[("Team", "net")]) && may(&[("Name", "edge-fw"), ("Team", "web")]));
    assert!(!may(&[("Name", "edge-fw"), ("Team", "net")]));
}

#[test]
fn filters_that_iam_cannot_express_get_a_note() {
    let long = "k".repeat(129);
    let table: [(Pairs<'_>, &str); 5] = [
        (&[("Stufe", &["日本-1"])], "the policy has * for them"),
        (&[("日本", &["x"]), ("Role", &["web"])], "IAM does not accept this key"),
        (&[(&long, &["x"]), ("Role", &["web"])], "IAM does not accept this key"),
        (&[("Env", &["a"]), ("env", &["b"]), ("Role", &["web"])], "IAM ignores the case of keys"),
        (&[("Env", &[]), ("Role", &["web"])], "has no value"),
    ];
    for (tags, words) in table {
        let one = Access { tags: filters(tags), ..access(ONE, &["eu-west-1"], &["ubuntu"]) };
        let Written { policy, notes } = written(&[one]);
        assert!(notes.iter().any(|note| note.contains(words)), "{tags:?} {notes:?}");
        let tags: Vec<(&str, &str)> =
            tags.iter().flat_map(|(key, values)| values.iter().map(|value| (*key, *value))).collect();
        assert!(allows(&policy, &push(ONE, "eu-west-1", "ubuntu", &tags)), "{tags:?} {policy}");
        assert!(!allows(&policy, &push(ONE, "eu-west-1", "ubuntu", &[])), "{policy}");
    }
}

#[test]
fn a_user_from_a_tag_is_allowed_only_on_instances_with_that_tag() {
    let one = Access { tagged_users: set(&["root"]), ..access(ONE, &["eu-west-1"], &["ubuntu"]) };
    let Written { policy, .. } = written(&[one]);
    let may = |user, tags: &[(&str, &str)]| allows(&policy, &push(ONE, "eu-west-1", user, tags));
    assert!(may("ubuntu", &[]) && may("root", &[(TAG_USER, "root")]));
    assert!(!may("root", &[]) && !may("root", &[(TAG_USER, "admin")]));
}

#[test]
fn requests_come_from_the_network_or_through_the_endpoint() {
    let accesses = [access(ONE, &["eu-west-1"], &["ubuntu"])];
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let origin = Origin::new(&texts(&["198.51.100.0/24", "10.1.0.0/16"]), &texts(&["vpce-0abc12de"])).unwrap();
    let Written { policy, .. } = read(document(&accesses, &origin).unwrap());
    let request = || push(ONE, "eu-west-1", "ubuntu", &[]);
    assert!(allows(&policy, &request()));
    assert!(!allows(&policy, &request().with("aws:SourceIp", "203.0.113.9")));
    assert!(allows(&policy, &request().through("vpce-0abc12de", "10.1.2.3")));
    // Another VPC can have the same private addresses.
    assert!(!allows(&policy, &request().through("vpce-0fff12de", "10.1.2.3")));
    assert!(!allows(&policy, &request().through("vpce-0abc12de", "10.2.2.3")));
    assert_eq!(Origin::new(&texts(&["198.51.100.0/24", "100.64.0.0/10"]), &[]), Err("100.64.0.0/10".to_owned()));
}

#[test]
fn networks_and_endpoints_have_the_syntax_of_iam() {
    for good in ["198.51.100.0/24", "198.51.100.7", "2001:db8::/32", "0.0.0.0/0"] {
        assert!(is_network(good), "{good}");
    }
    for bad in ["", "198.51.100.0/33", "198.51.100", "198.51.100.0/24/1", "10.0.0.0/", "10.0.0.0/+8", "vpn", "::1/129"]
    {
        assert!(!is_network(bad), "{bad}");
    }
    assert!(is_endpoint("vpce-0abc12def34567890") && is_endpoint("vpce-0abc12de"));
    assert!(!is_endpoint("vpc-0abc12de") && !is_endpoint("vpce-*") && !is_endpoint("vpce-0ABC12DE"));
}

#[test]
fn partitions_match_those_of_the_sdks() {
    for (region, wanted) in [
        ("eu-west-1", "aws"),
        ("us-east-1", "aws"),
        ("ap-southeast-7", "aws"),
        ("cn-northwest-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-south-1", "aws-iso-f"),
        ("eusc-de-east-1", "aws-eusc"),
    ] {
        assert_eq!(partition(region), wanted, "{region}");
    }
    let Written { policy, .. } = written(&[access(ONE, &["cn-north-1"], &["ubuntu"])]);
    assert_eq!(policy["Statement"][0]["Resource"][0], "arn:aws-cn:ec2:cn-north-1:111122223333:instance/*");
}

#[test]
fn tunnels_and_console_output_are_allowed_only_if_requested() {
    let one = Access {
        tunnel_duration: Some(1800),
        console: true,
        tags: filters(&[("Environment", &["prod"])]),
        ..access(ONE, &["eu-west-1"], &["ubuntu"])
    };
    let Written { policy, notes } = written(&[one]);
    assert!(notes.is_empty(), "{notes:?}");
    let on = |action, kind: &str, account: &str| Request {
        action,
        resource: format!("arn:aws:ec2:eu-west-1:{account}:{kind}/x-0abc"),
        context: BTreeMap::new(),
    };
    let tunnel = |account| on("ec2-instance-connect:OpenTunnel", "instance-connect-endpoint", account);
    let tunnel = |account, port, seconds| {
        tunnel(account)
            .with("ec2-instance-connect:remotePort", port)
            .with("ec2-instance-connect:maxTunnelDuration", seconds)
    };
    assert!(allows(&policy, &tunnel(ONE, "22", "1800")) && allows(&policy, &tunnel(ONE, "22", "60")));
    assert!(!allows(&policy, &tunnel(ONE, "22", "3600")));
    assert!(!allows(&policy, &tunnel(ONE, "3389", "1800")));
    assert!(!allows(&policy, &tunnel(TWO, "22", "1800")));
    let console = |account| on("ec2:GetConsoleOutput", "instance", account);
    assert!(allows(&policy, &console(ONE).with("aws:ResourceTag/Environment", "prod")));
    assert!(!allows(&policy, &console(ONE).with("aws:ResourceTag/Environment", "dev")));
    assert!(!allows(&policy, &console(TWO).with("aws:ResourceTag/Environment", "prod")));
    let plain = written(&[access(ONE, &["eu-west-1"], &["ubuntu"])]).policy.to_string();
    assert!(!plain.contains("OpenTunnel") && !plain.contains("GetConsoleOutput"), "{plain}");
    assert!(!plain.contains("ssm"), "{plain}");
}

#[test]
fn ssh_sessions_of_session_manager_on_the_source_s_instances_and_no_others() {
    let one = Access {
        session_manager: true,
        tags: filters(&[("Environment", &["prod"])]),
        ..access(ONE, &["eu-west-1"], &["ubuntu"])
    };
    let Written { policy, notes } = written(&[one]);
    assert!(notes.is_empty(), "{notes:?}");
    let request = |action, arn: &str| Request { action, resource: arn.to_owned(), context: BTreeMap::new() };
    let start =
        |account: &str| request("ssm:StartSession", &format!("arn:aws:ec2:eu-west-1:{account}:instance/i-0abc"));
    let tag = "ssm:resourceTag/Environment";
    assert!(allows(&policy, &start(ONE).with(tag, "prod")));
    assert!(allows(&policy, &start(ONE).with(tag, "prod").with("ssm:SessionDocumentAccessCheck", "true")));
    assert!(!allows(&policy, &start(ONE).with(tag, "prod").with("ssm:SessionDocumentAccessCheck", "false")));
    assert!(!allows(&policy, &start(ONE).with(tag, "dev")));
    assert!(!allows(&policy, &start(TWO).with(tag, "prod")));
    let document = |name: &str| request("ssm:StartSession", &format!("arn:aws:ssm:eu-west-1::document/{name}"));
    assert!(allows(&policy, &document("AWS-StartSSHSession")));
    assert!(!allows(&policy, &document("SSM-SessionManagerRunShell")));
    for action in ["ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"] {
        let session = |name: &str| request(action, &format!("arn:aws:ssm:eu-west-1:{ONE}:session/{name}"));
        let user = |name: &str| session(name).with("aws:username", "alice").with("aws:userid", "AIDA1");
        assert!(allows(&policy, &user("alice-0abc")) && !allows(&policy, &user("bob-0abc")), "{action}");
        let role = |owner: &str| {
            session("alice-0abc")
                .with("aws:userid", "AROA1:alice")
                .with("ssm:resourceTag/aws:ssmmessages:session-id", owner)
        };
        assert!(allows(&policy, &role("AROA1:alice")) && !allows(&policy, &role("AROA1:bob")), "{action}");
    }
    assert!(allows(&policy, &request("ssm:GetConnectionStatus", "*")));
}

#[test]
fn the_example_in_contrib_matches_the_output() {
    let one = Access {
        tags: filters(&[("Environment", &["prod"]), ("Role", &["web", "db-*"])]),
        tagged_users: set(&["deploy"]),
        ..access(ONE, &["eu-west-1", "us-east-1"], &["ec2-user", "ubuntu"])
    };
    let origin = Origin::new(&["198.51.100.0/24".to_owned()], &[]).unwrap();
    let text = serde_json::to_string_pretty(&document(&[one], &origin).unwrap().policy).unwrap();
    let shown = include_str!("../../../../contrib/iam/permission-set.json");
    assert!(shown.trim_end() == text, "contrib/iam/permission-set.json is old; it would be\n{text}");
}

fn account(number: usize) -> String {
    format!("{:012}", 111_122_220_000 + number)
}

const SIX: [&str; 6] = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2", "ap-northeast-1"];

#[test]
fn forty_accounts_in_six_regions_fit_without_allowing_more() {
    let mut accesses: Vec<Access> =
        (0..40).map(|number| access(&account(number), &SIX, &["ec2-user", "ubuntu"])).collect();
    for one in &mut accesses {
        one.tags = filters(&[("Environment", &["prod", "staging"]), ("Role", &["web-*"])]);
    }
    let Written { policy, notes } = written(&accesses);
    assert!(notes.is_empty(), "{notes:?}");
    let tags = [("Environment", "prod"), ("Role", "web-1")];
    assert!(allows(&policy, &push(&account(39), "ap-northeast-1", "ubuntu", &tags)));
    assert!(!allows(&policy, &push(&account(39), "eu-north-1", "ubuntu", &tags)));
    assert!(!allows(&policy, &push(&account(40), "ap-northeast-1", "ubuntu", &tags)));
}

#[test]
fn a_policy_that_is_too_long_is_widened_step_by_step_with_notes_or_rejected() {
    // Each account has a different user and a different set of regions.
    let various = |accounts: usize| -> Vec<Access> {
        let regions = |number: usize| -> Vec<&str> {
            SIX.iter().enumerate().filter(|(at, _)| *at == 0 || (number >> at) & 1 == 1).map(|(_, r)| *r).collect()
        };
        (0..accounts).map(|n| access(&account(n), &regions(n), &[&format!("user-{n}")])).collect()
    };
    let Written { policy, notes } = written(&various(60));
    assert!(notes.iter().any(|note| note.contains("each OS user")), "{notes:?}");
    assert!(allows(&policy, &push(&account(7), "us-east-1", "user-7", &[])));
    assert!(!allows(&policy, &push(&account(99), "us-east-1", "user-7", &[])), "accounts need not be given up yet");
    let Written { policy, notes } = written(&various(250));
    assert!(notes.iter().any(|note| note.contains("any account")), "{notes:?}");
    assert!(!allows(&policy, &push(&account(7), "eu-north-1", "user-7", &[])), "regions are known all the same");
    let refused = document(&various(2000), &Origin::default()).map(|document| document.notes);
    assert!(matches!(refused, Err(PolicyError::TooLong { length }) if length > LIMIT), "{refused:?}");
}

/// Matches an EC2 filter, in which a backslash makes the next character literal.
fn ec2_matches(filter: &[char], value: &[char]) -> bool {
    match filter {
        [] => value.is_empty(),
        ['\\', literal @ ('*' | '?' | '\\'), rest @ ..] => {
            value.first() == Some(literal) && ec2_matches(rest, &value[1..])
        }
        ['*', rest @ ..] => (0..=value.len()).any(|taken| ec2_matches(rest, &value[taken..])),
        ['?', rest @ ..] => !value.is_empty() && ec2_matches(rest, &value[1..]),
        [letter, rest @ ..] => value.first() == Some(letter) && ec2_matches(rest, &value[1..]),
    }
}

fn is_requested(one: &Access, account: &str, region: &str, user: &str, tags: &BTreeMap<String, String>) -> bool {
    let letters = |text: &str| text.chars().collect::<Vec<_>>();
    let meets = |(key, values): (&String, &Vec<String>)| {
        tags.get(key).is_some_and(|tag| values.iter().any(|value| ec2_matches(&letters(value), &letters(tag))))
    };
    let excludes = |(key, values): (&String, &Vec<String>)| {
        tags.get(key).is_some_and(|tag| values.iter().any(|value| pattern::matches(value, tag)))
    };
    let somewhere = one.every_region && one.regions.iter().any(|known| partition(known) == partition(region));
    one.account == account
        && (somewhere || one.regions.contains(region))
        && (one.users.contains(user)
            || one.tagged_users.contains(user) && tags.get(TAG_USER).is_some_and(|tag| tag == user))
        && one.tags.iter().all(meets)
        && (one.exclude.is_empty() || !one.exclude.iter().all(excludes))
}

/// Values with characters that are special to EC2, to IAM, or to neither.
fn value() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec!["a", "b", "*", "?", "\\", "\\*", "$", "${", "${a}", "é", "日"]);
    prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("Name".to_owned()), Just("Env".to_owned()), Just("a b:c".to_owned()), Just("日".to_owned())]
}

fn some_filters() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    prop::collection::btree_map(key(), prop::collection::vec(value(), 0..3), 0..3)
}

fn some_region() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["eu-west-1", "us-east-1", "us-gov-west-1", "cn-north-1"]).prop_map(str::to_owned)
}

fn some_user() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["ubuntu", "ec2-user", "root", "machine$"]).prop_map(str::to_owned)
}

prop_compose! {
    fn some_access(accounts: usize)(
        number in 0..accounts,
        regions in prop::collection::btree_set(some_region(), 1..3),
        every_region in prop::bool::weighted(0.2),
        users in prop::collection::btree_set(some_user(), 0..3),
        tagged_users in prop::collection::btree_set(some_user(), 0..2),
        tags in some_filters(),
        exclude in some_filters(),
        console in any::<bool>(),
        tunnel_duration in prop::option::of(1..=3600_u16),
        session_manager in any::<bool>(),
    ) -> Access {
        let account = account(number);
        Access {
            account,
            regions,
            every_region,
            users,
            tagged_users,
            tags,
            exclude,
            tunnel_duration,
            session_manager,
            console,
        }
    }
}

prop_compose! {
    fn some_push()(
        number in 0..4_usize,
        region in some_region(),
        user in some_user(),
        mut tags in prop::collection::btree_map(key(), value(), 0..4),
        tag in prop::option::of(some_user()),
    ) -> (usize, String, String, BTreeMap<String, String>) {
        tags.extend(tag.map(|user| (TAG_USER.to_owned(), user)));
        (number, region, user, tags)
    }
}

/// Keeps the accesses that have a policy on their own.
fn expressible(mut accesses: Vec<Access>) -> Vec<Access> {
    accesses.retain(|one| document(std::slice::from_ref(one), &Origin::default()).is_ok());
    accesses
}

proptest! {
    #[test]
    fn a_policy_without_notes_allows_exactly_the_requested_access(
        accesses in prop::collection::vec(some_access(3), 0..7).prop_map(expressible),
        pushes in prop::collection::vec(some_push(), 1..40),
    ) {
        let Ok(document) = document(&accesses, &Origin::default()) else { return Ok(()) };
        let Written { policy, notes } = read(document);
        for (number, region, user, tags) in &pushes {
            let pairs: Vec<(&str, &str)> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let asked = accesses.iter().any(|one| is_requested(one, &account(*number), region, user, tags));
            let allowed = allows(&policy, &push(&account(*number), region, user, &pairs));
            prop_assert!(!asked || allowed, "asked and denied: {number} {region} {user} {tags:?} {policy:#}");
            prop_assert!(asked || !allowed || !notes.is_empty(), "{number} {region} {user} {tags:?} {policy:#}");
        }
    }

}

proptest! {
    // Each case is hundreds of statements.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_policy_exceeds_the_limit(
        accesses in prop::collection::vec(some_access(300), 50..200).prop_map(expressible),
    ) {
        match document(&accesses, &Origin::default()) {
            Ok(document) => drop(read(document)),
            Err(PolicyError::TooLong { length }) => prop_assert!(length > LIMIT),
            Err(unfiltered) => prop_assert!(false, "{unfiltered:?}"),
        }
    }
}
