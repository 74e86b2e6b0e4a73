//! Whether the jump host of a route can be reached, and does not lead back to the host.

use std::collections::BTreeSet;
use std::time::Duration;

use super::CheckContext;
use super::address::{Probe, listen};
use crate::connect::worker::{Answer, Request};
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::ids::InstanceId;
use crate::domain::source::Route;
use crate::domain::ssh_config::shadow::Options;
use crate::error::{Error, Kind, Result};
use crate::sys::ssh_client;

const CHECK: &str = "jump";
/// For the resolver.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The user's own ssh config resolves the jump host, and it answers where it is reached directly.
pub(super) fn usable(context: &CheckContext<'_>, jump_host: &str) -> Result<Vec<Finding>> {
    let job = &context.target()?.job;
    if let Some(path) = find_loop(context, &job.id, jump_host)? {
        let message = format!("{} jumps through itself: {}", job.name(), path.join(" -> "));
        return Ok(vec![Finding::problem(CHECK, Cause::JumpLoop, message)]);
    }
    let (destination, port) = split_port(jump_host);
    let managed = context.index()?.host(host_name(destination))?;
    if let Some(host) = managed {
        let name = host.label();
        return Ok(vec![Finding::ok(CHECK, format!("through {name}, a managed host: see ssh-eic doctor {name}"))]);
    }
    let options = ssh_client::effective(context.named_config(), destination)?;
    let (address, own_port) = (first(&options, "hostname"), first(&options, "port"));
    let port = port.unwrap_or(own_port);
    let place = format!("{jump_host}: {address} port {port}");
    if !is_direct(&options) {
        return Ok(vec![Finding::ok(CHECK, format!("through {place}, itself reached through a proxy"))]);
    }
    let answer = context.program.ask(&Request::Resolve(address.to_owned()), TIMEOUT);
    let addresses = match answer {
        Ok(Some(Answer::Addresses(addresses))) => addresses,
        Err(error) if error.kind != Kind::Unreachable => return Err(error),
        _ => Vec::new(),
    };
    let Some(ip) = addresses.first() else {
        let message = format!("the jump host {jump_host} cannot be resolved: {address}");
        return Ok(vec![Finding::problem(CHECK, Cause::JumpHostUnreachable, message)]);
    };
    let number: u16 = port
        .parse()
        .map_err(|_| Error::new(Kind::Config, format!("the port of the jump host {jump_host} is {port:?}")))?;
    let problem =
        |what: &str| Finding::problem(CHECK, Cause::JumpHostUnreachable, format!("the jump host {place}: {what}"));
    Ok(vec![match listen(*ip, number, context.config()?.connect_timeout) {
        Probe::Ssh(version) => Finding::ok(CHECK, format!("through {place}, which says {version}")),
        Probe::Silent(reason) | Probe::Refused(reason) => problem(&reason),
        Probe::Other(line) => problem(&format!("does not speak SSH, it says {line:?}")),
        Probe::ServerRefuses(line, _) => problem(&format!("refused the connection: {line:?}")),
        Probe::Closed => problem("closed the connection before it sent a version"),
    }])
}

fn is_direct(options: &Options) -> bool {
    ["proxyjump", "proxycommand"].into_iter().all(|keyword| matches!(first(options, keyword), "" | "none"))
}

/// The names from the jump host back to the host, if they lead there: through routes of managed hosts, and through the
/// `ProxyJump` of others.
fn find_loop(context: &CheckContext<'_>, id: &InstanceId, jump_host: &str) -> Result<Option<Vec<String>>> {
    let index = context.index()?;
    let (mut ids, mut names) = (BTreeSet::from([id.clone()]), BTreeSet::new());
    let mut path: Vec<String> = Vec::new();
    let mut next = jump_host.to_owned();
    loop {
        let name = host_name(split_port(&next).0).to_owned();
        path.push(name.clone());
        match index.host(&name)? {
            Some(host) if !ids.insert(host.id.clone()) => return Ok(Some(path)),
            Some(host) => match host.route {
                Route::Jump(further) => next = further,
                _ => return Ok(None),
            },
            None if !names.insert(name.clone()) => return Ok(Some(path)),
            None => {
                let options = ssh_client::effective(context.named_config(), &name)?;
                // The first of several is the one that ssh connects to itself.
                match first(&options, "proxyjump").split(',').next() {
                    None | Some("" | "none") => return Ok(None),
                    Some(further) => next = String::from(further),
                }
            }
        }
    }
}

/// `[user@]host[:port]` without the port, and the port. An IPv6 address without brackets has none.
fn split_port(destination: &str) -> (&str, Option<&str>) {
    match destination.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => (host, Some(port)),
        _ => (destination, None),
    }
}

fn host_name(destination: &str) -> &str {
    destination.rsplit_once('@').map_or(destination, |(_, host)| host)
}

fn first<'o>(options: &'o Options, keyword: &str) -> &'o str {
    options.get(keyword).and_then(|values| values.first()).map_or("", String::as_str)
}
