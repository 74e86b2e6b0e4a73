//! Inbound rules of security groups, as returned by DescribeSecurityGroups.

/// An inbound rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `tcp`, `6`, `-1` for all, …
    pub protocol: String,
    /// First and last port; `None`: all ports.
    pub ports: Option<(i32, i32)>,
    /// Allowed sources: CIDRs, security groups and prefix lists.
    pub from: Vec<String>,
}

/// The sources that may connect to a TCP port, in the order of the rules, without duplicates.
#[must_use]
pub fn allowed_sources(rules: &[Rule], port: u16) -> Vec<&str> {
    let port = i32::from(port);
    let applies = |rule: &&Rule| match rule.protocol.as_str() {
        "-1" => true,
        "tcp" | "6" => rule.ports.is_none_or(|(first, last)| first == -1 || (first..=last).contains(&port)),
        _ => false,
    };
    let mut sources: Vec<&str> = Vec::new();
    for from in rules.iter().filter(applies).flat_map(|rule| &rule.from) {
        if !sources.contains(&from.as_str()) {
            sources.push(from);
        }
    }
    sources
}

/// Whether none of these sources (of [`allowed_sources`]) can be an endpoint with these security groups. Addresses and prefix
/// lists may contain the endpoint's or the client's address. With client IP preservation, a rule for the endpoint's
/// group does not apply.
#[must_use]
pub fn excludes_endpoint(sources: &[&str], endpoint_groups: &[String], preserves_client_ip: bool) -> bool {
    let can_match = |source: &&str| {
        let is_group = source.starts_with("sg-");
        !is_group || (!preserves_client_ip && endpoint_groups.iter().any(|group| group == source))
    };
    !sources.iter().any(can_match)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_allowed_by_its_group_or_by_addresses() {
        let endpoint = ["sg-1".to_owned(), "sg-2".to_owned()];
        for (sources, preserves_client_ip, is_excluded) in [
            (&["sg-2"][..], false, false),
            (&["sg-3"], false, true),
            (&["sg-3", "10.0.0.0/8"], false, false),
            (&["pl-1"], false, false),
            (&[], false, true),
            (&["sg-1"], true, true),
            (&["sg-1", "10.0.0.0/8"], true, false),
        ] {
            assert_eq!(excludes_endpoint(sources, &endpoint, preserves_client_ip), is_excluded, "{sources:?}");
        }
    }

    fn rule(protocol: &str, ports: Option<(i32, i32)>, from: &[&str]) -> Rule {
        Rule { protocol: protocol.to_owned(), ports, from: from.iter().map(|one| (*one).to_owned()).collect() }
    }

    #[test]
    fn a_rule_applies_by_port_range_or_to_all_ports() {
        let rules = [
            rule("tcp", Some((443, 443)), &["0.0.0.0/0"]),
            rule("udp", Some((22, 22)), &["10.0.0.0/8"]),
            rule("icmp", Some((-1, -1)), &["10.0.0.0/8"]),
        ];
        assert!(allowed_sources(&rules, 22).is_empty());
        let more = [rule("tcp", Some((20, 25)), &["10.1.0.0/16", "sg-1"]), rule("-1", None, &["sg-1", "fd00::/8"])];
        assert_eq!(allowed_sources(&[&rules[..], &more].concat(), 22), ["10.1.0.0/16", "sg-1", "fd00::/8"]);
        assert_eq!(allowed_sources(&more, 26), ["sg-1", "fd00::/8"]);
    }
}
