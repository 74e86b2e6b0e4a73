//! The least-privilege IAM policy for a fleet, as a JSON document.
//!
//! `SendSSHPublicKey` acts on instances and is conditioned on the OS user (`ec2:osuser`); Describe* take no resource.
//! Source: the service authorization reference of Amazon EC2 Instance Connect and of Amazon EC2.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::core::fleet::Host;

/// Where requests may come from; empty: from anywhere.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// CIDRs for `aws:SourceIp`.
    pub source_ip: Vec<String>,
    /// Interface endpoints for `aws:SourceVpce`.
    pub source_vpce: Vec<String>,
}

/// The policy that lets its holder reach these hosts and find them.
#[must_use]
pub fn document(hosts: &[Host], origin: &Origin) -> Value {
    let places: BTreeSet<String> = hosts
        .iter()
        .map(|host| format!("arn:{}:ec2:{}:{}:instance/*", partition(&host.region), host.region, host.account))
        .collect();
    let users: BTreeSet<&str> = hosts.iter().map(|host| host.user.as_str()).collect();
    // A request comes from a network or through an endpoint, never both: conditions of one statement would exclude
    // each other.
    let mut origins: Vec<(&str, Value)> = Vec::new();
    if !origin.source_ip.is_empty() {
        origins.push(("FromNetwork", json!({ "IpAddress": { "aws:SourceIp": origin.source_ip } })));
    }
    if !origin.source_vpce.is_empty() {
        origins.push(("ThroughEndpoint", json!({ "StringEquals": { "aws:SourceVpce": origin.source_vpce } })));
    }
    if origins.is_empty() {
        origins.push(("", json!({})));
    }
    let mut statements = Vec::new();
    for (suffix, condition) in origins {
        let mut push = condition.clone();
        push["StringEquals"]["ec2:osuser"] = json!(users);
        statements.push(json!({
            "Sid": format!("PushKeys{suffix}"),
            "Effect": "Allow",
            "Action": "ec2-instance-connect:SendSSHPublicKey",
            "Resource": places,
            "Condition": push,
        }));
        let mut find = json!({
            "Sid": format!("FindInstances{suffix}"),
            "Effect": "Allow",
            "Action": ["ec2:DescribeInstances", "ec2:DescribeImages", "ec2:DescribeRegions"],
            "Resource": "*",
        });
        if condition != json!({}) {
            find["Condition"] = condition;
        }
        statements.push(find);
    }
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// The partition that a region belongs to, by its name.
fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::samples;

    fn host(region: &str, account: &str, user: &str) -> Host {
        let host = samples::host(None, "i-0abc12de", user);
        Host { region: region.to_owned(), account: account.to_owned(), ..host }
    }

    #[test]
    fn accounts_regions_partitions_and_users_are_those_of_the_fleet() {
        let hosts = [
            host("eu-west-1", "111122223333", "ubuntu"),
            host("eu-west-1", "111122223333", "ec2-user"),
            host("us-gov-west-1", "444455556666", "ec2-user"),
        ];
        let origin = Origin { source_ip: vec!["198.51.100.0/24".to_owned()], source_vpce: Vec::new() };
        let policy = document(&hosts, &origin);
        let push = &policy["Statement"][0];
        assert_eq!(
            push["Resource"],
            json!([
                "arn:aws-us-gov:ec2:us-gov-west-1:444455556666:instance/*",
                "arn:aws:ec2:eu-west-1:111122223333:instance/*"
            ])
        );
        let find = ["ec2:DescribeInstances", "ec2:DescribeImages", "ec2:DescribeRegions"];
        assert_eq!(policy["Statement"][1]["Action"], json!(find));
        assert_eq!(push["Condition"]["StringEquals"]["ec2:osuser"], json!(["ec2-user", "ubuntu"]));
        assert_eq!(push["Condition"]["IpAddress"]["aws:SourceIp"], json!(["198.51.100.0/24"]));
    }
}
