//! A small evaluator of IAM policies, based on the IAM documentation and independent of the code that writes policies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::policy::partition;

/// A request with the keys of its context in lower case: IAM ignores their case.
pub(super) struct Request {
    pub(super) action: &'static str,
    pub(super) resource: String,
    pub(super) context: BTreeMap<String, String>,
}

pub(super) fn push(account: &str, region: &str, user: &str, tags: &[(&str, &str)]) -> Request {
    let mut context: BTreeMap<String, String> =
        tags.iter().map(|(key, value)| (format!("aws:resourcetag/{}", key.to_lowercase()), (*value).into())).collect();
    context.insert("ec2:osuser".into(), user.into());
    context.insert("aws:requestedregion".into(), region.into());
    context.insert("aws:sourceip".into(), "198.51.100.7".into());
    let resource = format!("arn:{}:ec2:{region}:{account}:instance/i-0abc12def34567890", partition(region));
    Request { action: "ec2-instance-connect:SendSSHPublicKey", resource, context }
}

impl Request {
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.context.insert(key.to_lowercase(), value.into());
        self
    }

    pub(super) fn through(mut self, endpoint: &str, address: &str) -> Self {
        self.context.remove("aws:sourceip");
        self.with("aws:SourceVpce", endpoint).with("aws:VpcSourceIp", address)
    }
}

fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    value.as_array().map_or_else(|| vec![text(value)], |values| values.iter().map(text).collect())
}

/// A character of a condition value, and whether it is literal.
type Letter = (char, bool);

/// Reads `${*}`, `${?}` and `${$}` as literal characters; any other `${…}` would be a policy variable.
fn letters(text: &str, has_wildcards: bool) -> Vec<Letter> {
    let mut letters = Vec::new();
    let mut rest: &[char] = &text.chars().collect::<Vec<_>>();
    loop {
        match rest {
            [] => return letters,
            ['$', '{', literal @ ('*' | '?' | '$'), '}', after @ ..] => {
                letters.push((*literal, true));
                rest = after;
            }
            ['$', '{', ..] => panic!("{text} begins a variable"),
            [letter, after @ ..] => {
                letters.push((*letter, !(has_wildcards && "*?".contains(*letter))));
                rest = after;
            }
        }
    }
}

fn like(pattern: &[Letter], value: &[char]) -> bool {
    match pattern {
        [] => value.is_empty(),
        [('*', false), rest @ ..] => (0..=value.len()).any(|taken| like(rest, &value[taken..])),
        [('?', false), rest @ ..] => !value.is_empty() && like(rest, &value[1..]),
        [(letter, _), rest @ ..] => value.first() == Some(letter) && like(rest, &value[1..]),
    }
}

fn is_like(pattern: &str, value: &str) -> bool {
    like(&letters(pattern, true), &value.chars().collect::<Vec<_>>())
}

fn is_equal(wanted: &str, value: &str) -> bool {
    like(&letters(wanted, false), &value.chars().collect::<Vec<_>>())
}

/// IPv4 networks only, which is enough for these tests.
fn in_network(network: &str, address: &str) -> bool {
    let number = |text: &str| u32::from(text.parse::<::core::net::Ipv4Addr>().expect("an address"));
    let (base, length) = network.split_once('/').unwrap_or((network, "32"));
    let shift = 32 - length.parse::<u32>().expect("a length");
    number(base).checked_shr(shift).unwrap_or(0) == number(address).checked_shr(shift).unwrap_or(0)
}

/// A text with the values of its policy variables; none if the request lacks one, which then matches nothing.
fn with_variables(text: &str, context: &BTreeMap<String, String>) -> Option<String> {
    let mut out = text.to_owned();
    for variable in ["aws:username", "aws:userid"] {
        let placeholder = format!("${{{variable}}}");
        if out.contains(&placeholder) {
            out = out.replace(&placeholder, context.get(variable)?);
        }
    }
    Some(out)
}

fn holds(operator: &str, wanted: &[String], found: Option<&String>) -> bool {
    let any = |test: &dyn Fn(&str, &str) -> bool| found.is_some_and(|found| wanted.iter().any(|one| test(one, found)));
    match operator {
        // Policy variables apply to all of these operators.
        "StringEquals" => any(&is_equal),
        "StringNotEquals" => !any(&is_equal),
        "StringLike" => any(&is_like),
        "StringNotLike" => !any(&is_like),
        "IpAddress" => any(&in_network),
        "NumericLessThanEquals" => any(&|one, found| found.parse::<u32>().unwrap() <= one.parse::<u32>().unwrap()),
        "BoolIfExists" => found.is_none() || any(&|one, found| one == found),
        "NumericEquals" => any(&|one, found| one.parse::<u32>().unwrap() == found.parse::<u32>().unwrap()),
        other => panic!("an operator that this evaluator does not know: {other}"),
    }
}

pub(super) fn allows(policy: &Value, request: &Request) -> bool {
    policy["Statement"].as_array().expect("statements").iter().any(|statement| {
        texts(&statement["Action"]).iter().any(|action| action == request.action)
            && texts(&statement["Resource"])
                .iter()
                .filter_map(|arn| with_variables(arn, &request.context))
                .any(|arn| is_like(&arn, &request.resource))
            && statement.get("Condition").is_none_or(|condition| {
                condition.as_object().expect("operators").iter().all(|(operator, keys)| {
                    keys.as_object().expect("keys").iter().all(|(key, values)| {
                        let wanted: Vec<String> =
                            texts(values).iter().filter_map(|text| with_variables(text, &request.context)).collect();
                        holds(operator, &wanted, request.context.get(&key.to_lowercase()))
                    })
                })
            })
    })
}

/// Checks the parts of the IAM grammar that the generated policy could violate.
pub(super) fn check_grammar(policy: &Value) {
    let text = policy.to_string();
    assert!(text.chars().all(|c| ('\u{20}'..='\u{ff}').contains(&c)), "{text}");
    assert_eq!(policy["Version"], "2012-10-17");
    let mut sids = BTreeSet::new();
    for statement in policy["Statement"].as_array().expect("statements") {
        let sid = statement["Sid"].as_str().expect("a Sid");
        assert!(!sid.is_empty() && sid.bytes().all(|b| b.is_ascii_alphanumeric()), "{sid}");
        assert!(sids.insert(sid), "{sid} is there twice");
        assert_eq!(statement["Effect"], "Allow");
        for list in ["Action", "Resource"] {
            assert!(!texts(&statement[list]).is_empty(), "{statement}");
        }
        for resource in texts(&statement["Resource"]) {
            assert!(resource == "*" || resource.splitn(6, ':').count() == 6, "{resource}");
        }
        for keys in statement.get("Condition").and_then(Value::as_object).into_iter().flat_map(|c| c.values()) {
            let keys = keys.as_object().expect("keys");
            assert!(!keys.is_empty() && keys.values().all(|values| !texts(values).is_empty()), "{statement}");
        }
    }
}
