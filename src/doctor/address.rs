//! Whether the instance's address answers with SSH, and what may stand in between where it does not.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::CheckContext;
use super::context::Target;
use super::instance::address_of;
use crate::aws::client::{self, RequestLimits};
use crate::aws::network::{self, InstanceNetwork};
use crate::aws::{credentials, endpoints};
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::handshake::OUR_VERSION;
use crate::domain::ingress;
use crate::domain::source::{AddressKind, Route};
use crate::domain::ssh_words::{self, Greeting, LONGEST_GREETING, Refusal};
use crate::domain::text;
use crate::error::{Error, Kind, Result, reason};

/// How long another server at the old address has to send its first bytes.
const STALE_ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// For each of the questions about what stands in between.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What an address does.
pub(super) enum Probe {
    Ssh(String),
    Other(String),
    /// Its sshd refuses the client: its line and the cause.
    ServerRefuses(String, Refusal),
    /// It said nothing in time, or there is no way there.
    Silent(String),
    Refused(String),
    /// It closed the connection without a line.
    Closed,
}

/// It answers, with SSH.
pub(super) fn reachable(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Target { job, address, .. } = context.target()?;
    let port: u16 = context.effective("port")?.parse().unwrap_or(22);
    let known = context.effective("hostname")?.parse::<IpAddr>().ok();
    let now = context.instance.get().and_then(|instance| address_of(instance, *address));
    let mut findings = Vec::new();
    if let (Some(old), Some(now), false) = (known, now, *address == AddressKind::Public)
        && old != now
    {
        let message = format!("{} had {old} at the last sync and has {now}", job.name());
        if matches!(listen(old, port, STALE_ADDRESS_TIMEOUT), Probe::Ssh(_)) {
            let message = format!("{message}; another machine responds at {old}");
            return Ok(vec![Finding::problem("address", Cause::AddressChanged, message)]);
        }
        findings.push(Finding::note("address", Cause::AddressChanged, message));
    }
    let Some(ip) = now.or(known) else {
        let message = format!("no address is known for {}", job.name());
        return Err(Error::new(Kind::Unreachable, message).cause(Cause::NoAddress));
    };
    let timeout = context.config()?.connect_timeout;
    let start = Instant::now();
    let place = format!("{ip} port {port}");
    findings.push(match listen(ip, port, timeout) {
        Probe::Ssh(version) => {
            Finding::ok("address", format!("{place} says {version} after {} ms", start.elapsed().as_millis()))
        }
        Probe::ServerRefuses(line, refusal) => {
            Finding::problem("address", Cause::ServerRefuses, format!("{place} refused the connection: {line:?}"))
                .fix(refusal.hint())
        }
        Probe::Closed => {
            let message = format!("{place} closed the connection before it sent a version");
            Finding::problem("address", Cause::ServerRefuses, message).fix(ssh_words::CLOSED_AT_ONCE)
        }
        Probe::Other(line) => {
            Finding::problem("address", Cause::NotSsh, format!("{place} does not speak SSH, it says {line:?}")).fix(
                format!("is {port} the port of its sshd? The tag ssh-eic:port, or port in config.toml, sets another"),
            )
        }
        Probe::Refused(why) => Finding::problem("address", Cause::AddressRefused, format!("{place}: {why}")).fix(
            format!("check that sshd runs on it and listens on port {port}; aws ec2 get-console-output shows the boot"),
        ),
        Probe::Silent(why) => {
            let message = format!("{place}: {why}");
            findings.extend(in_between(context, port, &message));
            return Ok(findings);
        }
    });
    Ok(findings)
}

/// Connects, says hello as ssh does, and listens.
pub(super) fn listen(ip: IpAddr, port: u16, timeout: Duration) -> Probe {
    let deadline = Instant::now() + timeout;
    let left = || deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let too_late = || Probe::Silent(format!("no answer within {} s", timeout.as_secs_f32()));
    let mut stream = match TcpStream::connect_timeout(&SocketAddr::new(ip, port), left()) {
        Ok(stream) => stream,
        Err(error) if is_timeout(&error) => return too_late(),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) => {
            return Probe::Refused(reason(&error));
        }
        Err(error) => return Probe::Silent(reason(&error)),
    };
    let _ = stream.write_all(OUR_VERSION);
    let (mut said, mut block) = (Vec::new(), [0; 4096]);
    let mut was_reset = false;
    loop {
        let _ = stream.set_read_timeout(Some(left()));
        let whole = match stream.read(&mut block) {
            Ok(0) => true,
            Ok(count) => {
                said.extend_from_slice(&block[..count.min(LONGEST_GREETING)]);
                Instant::now() >= deadline
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) if said.is_empty() && is_timeout(&error) => {
                return Probe::Silent(format!(
                    "it accepts the connection and says nothing for {} s",
                    timeout.as_secs_f32()
                ));
            }
            Err(_) => {
                was_reset = true;
                true
            }
        };
        match ssh_words::greeting(&said, whole) {
            Greeting::Incomplete => {}
            Greeting::Ssh(version) => return Probe::Ssh(version),
            Greeting::Other(_) if was_reset && said.is_empty() => {
                return Probe::Refused("it reset the connection before it sent a version".to_owned());
            }
            Greeting::Other(_) if said.trim_ascii().is_empty() => return Probe::Closed,
            Greeting::Other(line) => {
                return match Refusal::of(&line) {
                    Some(refusal) => Probe::ServerRefuses(line, refusal),
                    None => Probe::Other(line),
                };
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Why an address may be silent: what AWS knows of it, and what it does not.
fn in_between(context: &CheckContext<'_>, port: u16, message: &str) -> Vec<Finding> {
    let Ok(Target { job, .. }) = context.target() else { return Vec::new() };
    let cache = job.cache.as_deref();
    let limits = RequestLimits { max_attempts: 1, ..RequestLimits::PUSH };
    let found = client::run_within(TIMEOUT, async {
        let session = credentials::open(&job.identity, job.region.as_deref(), limits, cache).await?;
        let network = network::of_instance(&session, &job.id).await?;
        let rules = network::inbound(&session, &network.groups).await;
        let endpoints = endpoints::in_any_state(&session, &network.vpc).await.unwrap_or_default();
        Ok((network, rules, endpoints))
    });
    let mut findings = Vec::new();
    let unknown = |error: &Error| {
        Finding::note(
            "address",
            Cause::SecurityGroupUnread,
            format!("its security groups are not known: {}", error.message),
        )
    };
    let silent = |allowed: &str| {
        let subnet = found.as_ref().map(|(network, ..)| format!(" {}", network.subnet)).unwrap_or_default();
        Finding::problem("address", Cause::AddressSilent, format!("{message}{allowed}")).fix(format!(
            "are you on the VPN? Else a route or a network ACL of its subnet{subnet}, or a firewall in between"
        ))
    };
    match &found {
        Err(error) => findings.extend([unknown(error), silent("")]),
        Ok((network, rules, endpoints)) => {
            if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.is_usable())
                && job.connection.route == Route::Direct
            {
                let message = format!("{} in its VPC could carry the connection", endpoint.id);
                findings.push(Finding::note("address", Cause::EndpointAvailable, message));
            }
            match rules {
                Err(error) => findings.extend([unknown(error), silent("")]),
                Ok(_) if network.groups.is_empty() => findings.push(silent("")),
                Ok(rules) => {
                    let who = ingress::allowed_sources(rules, port);
                    let groups = network.groups.join(", ");
                    findings.push(if who.is_empty() {
                        closed(network, message, port, &groups)
                    } else {
                        silent(&format!("; {groups} allows port {port} from {}", text::first_names(&who, 5)))
                    });
                }
            }
        }
    }
    findings
}

fn closed(network: &InstanceNetwork, message: &str, port: u16, groups: &str) -> Finding {
    let group = network.groups.first().map_or("GROUP", String::as_str);
    Finding::problem(
        "address",
        Cause::SecurityGroup,
        format!("{message}; no inbound rule of {groups} allows port {port}"),
    )
    .fix(format!(
        "aws ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port {port} --cidr YOUR-NETWORK"
    ))
}
