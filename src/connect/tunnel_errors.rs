//! Errors of tunnels through an EC2 Instance Connect Endpoint: what failed, and what to change.

use std::time::{Duration, Instant};

use crate::connect::push::Job;
use crate::connect::tunnel::PreparedTunnel;
use crate::domain::upgrade::Refusal;
use crate::error::{Error, Kind};
use crate::net::{Closed, Stage};

/// The endpoint may end a connection this much earlier than the local clock says.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// Whether the endpoint refuses the tunnel because too many are open. The code is not documented.
#[must_use]
pub fn is_limit(closed: &Closed) -> bool {
    let Closed::Refused(refusal) = closed else { return false };
    let code = refusal.code.as_deref().unwrap_or_default();
    refusal.status == 429 || ["TooMany", "LimitExceeded", "Throttl"].iter().any(|part| code.contains(part))
}

/// Why a tunnel did not deliver the server's version line.
#[must_use]
pub fn explain(job: &Job, tunnel: &PreparedTunnel, max_duration: u16, closed: &Closed) -> Error {
    let id = &tunnel.endpoint.id;
    match closed {
        Closed::Refused(refusal) => refused(job, tunnel, max_duration, refusal),
        Closed::Proxy { name, status } => {
            let hint = match status {
                407 => "put user and password into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT",
                _ => "allow CONNECT to the endpoint's name at the proxy, or set NO_PROXY",
            };
            let what = match status {
                407 => "requires a user and a password (407)".to_owned(),
                _ => format!("refused the connection to {id} ({status})"),
            };
            Error::new(Kind::Unavailable, format!("proxy {name} {what}")).hint(hint)
        }
        Closed::ByPeer { .. } | Closed::Ended | Closed::Cut(Stage::Open) => {
            let reason = match closed {
                Closed::ByPeer { reason, .. } if !reason.is_empty() => reason.clone(),
                Closed::Cut(_) => "the tunnel was cut before the server sent a version".to_owned(),
                _ => "the tunnel was closed before the server sent a version".to_owned(),
            };
            Error::new(Kind::Unreachable, format!("{id} cannot reach {}: {reason}", job.name()))
                .hint(security_group_hint(tunnel))
        }
        _ => Error::new(Kind::Unreachable, format!("{id} could not be reached: {closed}"))
            .hint("check the network and HTTPS_PROXY: the endpoint's public name has to be reachable on port 443"),
    }
}

/// Which security group has to allow the connection.
#[must_use]
pub fn security_group_hint(tunnel: &PreparedTunnel) -> String {
    let endpoint = &tunnel.endpoint;
    let source = if endpoint.preserve_client_ip && tunnel.address.is_ipv4() {
        "your own address".to_owned()
    } else if endpoint.security_groups.is_empty() {
        "the endpoint's security group".to_owned()
    } else {
        endpoint.security_groups.join(" or ")
    };
    format!("allow port 22 from {source} in the instance's security group; is sshd running?")
}

fn refused(job: &Job, tunnel: &PreparedTunnel, max_duration: u16, refusal: &Refusal) -> Error {
    let endpoint = &tunnel.endpoint;
    let code = refusal.code.clone().unwrap_or_else(|| refusal.status.to_string());
    let message = refusal.message.as_deref().unwrap_or("no reason given");
    let request = refusal.request_id.as_ref().map(|id| format!(" (request id {id})")).unwrap_or_default();
    let text = format!("{} refused the tunnel to {}: {code}: {message}{request}", endpoint.id, job.name());
    if code.contains("AccessDenied") || code.contains("Unauthorized") {
        let resource = if endpoint.arn.is_empty() { &endpoint.id } else { &endpoint.arn };
        return Error::new(Kind::Denied, text)
            .hint(format!(
                "allow ec2-instance-connect:OpenTunnel on {resource}; ssh-eic policy prints the policy"
            ))
            .hint(format!(
                "a condition may limit the source network (are you on the VPN?) or maxTunnelDuration: {max_duration} s were requested, max_tunnel_duration in config.toml"
            ));
    }
    if ["ExpiredToken", "UnrecognizedClient", "InvalidSignature", "InvalidClientTokenId"]
        .iter()
        .any(|c| code.contains(c))
    {
        return Error::new(Kind::Credentials, text)
            .hint(format!("sign in again: aws sso login{}", job.identity.flag()))
            .hint("check the clock of this machine");
    }
    Error::new(Kind::Unavailable, text).hint("try again; ssh-eic doctor checks the endpoint")
}

/// Why an open tunnel has ended. `opened` is when it was started.
#[must_use]
pub fn ended(tunnel: &PreparedTunnel, opened: Instant, max_duration: u16, closed: &Closed) -> Error {
    if opened.elapsed() + CLOCK_TOLERANCE >= Duration::from_secs(max_duration.into()) {
        let text = format!("the endpoint ends a connection after {max_duration} s");
        let error = Error::new(Kind::Unreachable, text);
        return if max_duration < 3600 {
            error.hint("connect again, or raise max_tunnel_duration in config.toml")
        } else {
            error.hint("connect again; no endpoint allows more")
        };
    }
    let reason = match closed {
        Closed::ByPeer { reason, .. } if !reason.is_empty() => format!(": {reason}"),
        Closed::ByPeer { code: Some(code), .. } => format!(": code {code}"),
        Closed::Ended | Closed::Cut(_) | Closed::ByPeer { .. } => String::new(),
        closed => format!(": {closed}"),
    };
    Error::new(Kind::Unreachable, format!("the tunnel through {} closed unexpectedly{reason}", tunnel.endpoint.id))
        .hint("connect again")
}
