//! Whether the VPC has an EC2 Instance Connect Endpoint that reaches the instance.

use std::net::IpAddr;
use std::time::Duration;

use super::CheckContext;
use super::context::Target;
use super::instance::address_of;
use crate::aws::client::{self, RequestLimits};
use crate::aws::network::{self, InstanceNetwork};
use crate::aws::{credentials, endpoints};
use crate::connect::tunnel::TunnelRequest;
use crate::connect::tunnel_check::{self, TunnelCheck};
use crate::domain::diagnosis::{Cause, Finding, Status};
use crate::domain::endpoint::{self, Endpoint, Unusable};
use crate::domain::ingress::{self, Rule};
use crate::domain::source::AddressKind;
use crate::domain::text;
use crate::error::Result;
use crate::store::endpoints::Network;

const CHECK: &str = "endpoint";
const TUNNEL_CHECK: &str = "tunnel";
/// For all requests together.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The only port that an endpoint connects to here.
const PORT: u16 = 22;

/// There is one, in a state and of an address type that fits, and the security groups allow its connections.
pub(super) fn usable(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Target { job, address, .. } = context.target()?;
    let port = context.effective("port")?;
    if port != PORT.to_string() {
        let message = format!("{} has sshd on port {port}, and an endpoint reaches port {PORT} only", job.name());
        return Ok(vec![Finding::problem(CHECK, Cause::EndpointPort, message)]);
    }
    let attempts = RequestLimits { max_attempts: 1, ..RequestLimits::PUSH };
    let (account, network, endpoints, rules) = client::run_within(TIMEOUT, async {
        let cache = job.cache.as_deref();
        let session = credentials::open(&job.identity, job.region.as_deref(), attempts, cache).await?;
        let network = network::of_instance(&session, &job.id).await?;
        let endpoints = endpoints::in_any_state(&session, &network.vpc).await?;
        let rules = network::inbound(&session, &network.groups).await;
        Ok((session.account.or_else(|| job.identity.account.clone()), network, endpoints, rules))
    })?;
    let kind = if *address == AddressKind::Ipv6 { AddressKind::Ipv6 } else { AddressKind::Private };
    let ip = context.instance.get().and_then(|instance| address_of(instance, kind));
    let endpoint = match endpoint::select(&endpoints, &network.subnet, ip, account.as_deref()) {
        Ok(endpoint) => endpoint,
        Err(reason) => return Ok(vec![unusable(&reason, &endpoints, &network, ip)]),
    };
    let found = format!("{} in {} ({})", endpoint.id, endpoint.subnet, endpoint.address_type);
    let mut findings = match rules {
        Err(error) => {
            let message = format!("the instance's security groups are not known: {}", error.message);
            vec![Finding::ok(CHECK, found), Finding::note(CHECK, Cause::SecurityGroupUnread, message)]
        }
        Ok(rules) => vec![allowed(endpoint, &network, &rules, &found)],
    };
    if findings.iter().all(|finding| finding.status != Status::Problem) {
        findings.push(opens(context, &network, &endpoint.id, kind, ip)?);
    }
    Ok(findings)
}

/// AWS allows a tunnel: one is opened, and closed before anything is sent. Nothing else shows whether `OpenTunnel` and its
/// conditions are allowed.
fn opens(
    context: &CheckContext<'_>,
    around: &InstanceNetwork,
    id: &str,
    kind: AddressKind,
    address: Option<IpAddr>,
) -> Result<Finding> {
    let job = &context.target()?.job;
    let network = Network { vpc: around.vpc.clone(), subnet: around.subnet.clone() };
    let max_duration = job.connection.max_tunnel_duration;
    let job = job.clone();
    let request = TunnelRequest { job, address, kind, network: Some(network), max_duration, refresh: false };
    Ok(match tunnel_check::open_and_close(context.paths, context.program, &request, TIMEOUT) {
        Ok(TunnelCheck::Opened) => Finding::ok(TUNNEL_CHECK, format!("{id} opened a tunnel, which was closed at once")),
        Ok(TunnelCheck::InUse) => Finding::skipped(TUNNEL_CHECK, format!("all tunnels of {id} are in use")),
        Err(error) => super::problem(TUNNEL_CHECK, &error),
    })
}

/// The problem if no endpoint of the VPC can be used.
fn unusable(unusable: &Unusable, endpoints: &[Endpoint], network: &InstanceNetwork, ip: Option<IpAddr>) -> Finding {
    let InstanceNetwork { vpc, subnet, .. } = network;
    let missing = |message: String| {
        let fix = format!(
            "aws ec2 create-instance-connect-endpoint --subnet-id {subnet}, or set another route in config.toml"
        );
        Finding::problem(CHECK, Cause::EndpointMissing, message).fix(fix)
    };
    match unusable {
        Unusable::NoEndpoint if endpoints.is_empty() => missing(format!("{unusable} in {vpc}")),
        Unusable::NoEndpoint => {
            let states: Vec<String> =
                endpoints.iter().map(|endpoint| format!("{} is in state {}", endpoint.id, endpoint.state)).collect();
            Finding::problem(CHECK, Cause::EndpointState, states.join(", "))
        }
        Unusable::Owner { .. } => missing(unusable.to_string()),
        Unusable::AddressType { .. } => {
            let address = ip.map(|ip| format!(", and the instance's address is {ip}")).unwrap_or_default();
            Finding::problem(CHECK, Cause::EndpointAddressType, format!("{unusable}{address}"))
        }
    }
}

fn allowed(endpoint: &Endpoint, network: &InstanceNetwork, rules: &[Rule], found: &str) -> Finding {
    if network.groups.is_empty() {
        return Finding::ok(CHECK, found);
    }
    let groups = network.groups.join(", ");
    let sources = ingress::allowed_sources(rules, PORT);
    if !ingress::excludes_endpoint(&sources, &endpoint.security_groups, endpoint.preserve_client_ip) {
        return Finding::ok(
            CHECK,
            format!("{found}; {groups} allows port {PORT} from {}", text::first_names(&sources, 5)),
        );
    }
    let (from, option) = if endpoint.preserve_client_ip {
        let from = format!("client addresses, which {} preserves", endpoint.id);
        (from, "--cidr YOUR-NETWORK".to_owned())
    } else {
        let group = endpoint.security_groups.first().map_or("GROUP", String::as_str);
        (
            format!("{}, the security group of {}", endpoint.security_groups.join(", "), endpoint.id),
            format!("--source-group {group}"),
        )
    };
    let message = format!("no inbound rule of {groups} allows port {PORT} from {from}");
    Finding::problem(CHECK, Cause::EndpointSecurityGroup, message).fix(format!(
        "aws ec2 authorize-security-group-ingress --group-id {} --protocol tcp --port {PORT} {option}",
        network.groups[0]
    ))
}
