//! Whether security groups let somebody in: their inbound rules, as DescribeSecurityGroups tells them.

/// An inbound rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `tcp`, `6`, `-1` for all, …
    pub protocol: String,
    /// First and last port; none: all.
    pub ports: Option<(i32, i32)>,
    /// CIDRs, security groups and prefix lists.
    pub from: Vec<String>,
}

/// Who may reach a TCP port, in the order of the rules; nobody where it is empty.
#[must_use]
pub fn who_may(rules: &[Rule], port: u16) -> Vec<&str> {
    let port = i32::from(port);
    let is_about = |rule: &&Rule| match rule.protocol.as_str() {
        "-1" => true,
        "tcp" | "6" => rule.ports.is_none_or(|(first, last)| first == -1 || (first..=last).contains(&port)),
        _ => false,
    };
    let mut who: Vec<&str> = Vec::new();
    for from in rules.iter().filter(is_about).flat_map(|rule| &rule.from) {
        if !who.contains(&from.as_str()) {
            who.push(from);
        }
    }
    who
}

/// Whether none of these sources (of [`who_may`]) can be an endpoint with these security groups. Addresses and prefix
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
    fn a_port_is_allowed_by_number_range_or_all() {
        let rules = [
            rule("tcp", Some((443, 443)), &["0.0.0.0/0"]),
            rule("udp", Some((22, 22)), &["10.0.0.0/8"]),
            rule("icmp", Some((-1, -1)), &["10.0.0.0/8"]),
        ];
        assert!(who_may(&rules, 22).is_empty());
        let more = [rule("tcp", Some((20, 25)), &["10.1.0.0/16", "sg-1"]), rule("-1", None, &["sg-1", "fd00::/8"])];
        assert_eq!(who_may(&[&rules[..], &more].concat(), 22), ["10.1.0.0/16", "sg-1", "fd00::/8"]);
        assert_eq!(who_may(&more, 26), ["sg-1", "fd00::/8"]);
    }
}
