//! Statements for routes through an EC2 Instance Connect Endpoint and through Session Manager.
//!
//! Sources: EC2 User Guide, "Grant permissions to use EC2 Instance Connect Endpoint"; Systems Manager User Guide, "Sample
//! IAM policies for Session Manager" and "Restrict access to the default document"; the service authorization reference
//! of AWS Systems Manager.

use std::collections::BTreeSet;

use super::{Condition, Permission, and, condition, terms};

pub(super) const START_SESSION: &str = "ssm:StartSession";
/// Allowed on `*`, as in the sample policies.
pub(super) const CONNECTION_STATUS: &str = "ssm:GetConnectionStatus";
/// What a client does with its own session after the start.
const OWN_SESSION: [&str; 3] = ["ssm:ResumeSession", "ssm:TerminateSession", "ssmmessages:OpenDataChannel"];

/// Tags of instances are not known of an endpoint: they restrict the push. Nor are private addresses, which change.
pub(super) fn open_tunnels(seconds: u16) -> Permission {
    let port = condition("NumericEquals", "ec2-instance-connect:remotePort", BTreeSet::from(["22".to_owned()]));
    let duration = condition(
        "NumericLessThanEquals",
        "ec2-instance-connect:maxTunnelDuration",
        BTreeSet::from([seconds.to_string()]),
    );
    Permission {
        sid: "OpenTunnels",
        action: "ec2-instance-connect:OpenTunnel",
        resource: "instance-connect-endpoint",
        condition: and(port, duration),
    }
}

/// On instances. Without the check, a grant on instances also covers the default document, which is a shell.
pub(super) fn start_sessions(scope: &Condition) -> Permission {
    let condition = and(terms::as_session_manager_tags(scope), document_check());
    Permission { sid: "StartSessions", action: START_SESSION, resource: "instance", condition }
}

fn document_check() -> Condition {
    condition("BoolIfExists", "ssm:SessionDocumentAccessCheck", BTreeSet::from(["true".to_owned()]))
}

type SessionStatement = (&'static str, Vec<&'static str>, BTreeSet<String>, Condition);

/// The document of SSH sessions, and the caller's own sessions: by name for an IAM user, by tag for a role, whose
/// session name is a part of `aws:userid`.
pub(super) fn session_statements(partitions: &BTreeSet<&str>) -> Vec<SessionStatement> {
    if partitions.is_empty() {
        return Vec::new();
    }
    let arns = |resources: &[&str]| -> BTreeSet<String> {
        let of_partition = |partition: &&str| {
            resources.iter().map(|resource| format!("arn:{partition}:ssm:*:*:{resource}")).collect::<Vec<_>>()
        };
        partitions.iter().flat_map(of_partition).collect()
    };
    let own_tag = "ssm:resourceTag/aws:ssmmessages:session-id";
    let is_own = condition("StringLike", own_tag, BTreeSet::from(["${aws:userid}".to_owned()]));
    let own_names = ["session/${aws:username}-*", "session/${aws:userid}-*"];
    vec![
        ("UseSshDocument", vec![START_SESSION], arns(&["document/AWS-StartSSHSession"]), document_check()),
        ("UseOwnSessions", OWN_SESSION.to_vec(), arns(&own_names), Condition::new()),
        ("UseOwnSessionsOfRole", OWN_SESSION.to_vec(), arns(&["session/*"]), is_own),
    ]
}
