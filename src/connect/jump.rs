//! `jump:<host>`: the user's own `ssh -W`, and the detection of a host that jumps through itself.

use std::ffi::OsString;

use crate::connect::push::Job;
use crate::error::{Error, Kind, Result};
use crate::net::{Child, Closed};
use crate::sys::environment::variable;

/// The ids of the instances whose proxies started this one, separated by commas.
const CHAIN: &str = "SSH_EIC_JUMPS";

/// Starts `ssh -W [address]:port -- host`. It uses the user's own config, and may reach a managed host.
///
/// `address` and `ssh_port` are the instance's; `ssh_config` is the `-F` of the calling ssh.
///
/// # Errors
///
/// [`Kind::Config`] for a loop; [`Kind::File`] if ssh cannot be started.
pub fn start(job: &Job, ssh_config: Option<&str>, host: &str, address: &str, ssh_port: u16) -> Result<Child> {
    let chain = chain(variable(CHAIN), job, host)?;
    let (host, port) = split_port(host);
    let mut arguments = vec![format!("{CHAIN}={chain}"), "ssh".to_owned()];
    if let Some(file) = ssh_config {
        arguments.extend(["-F".to_owned(), file.to_owned()]);
    }
    if let Some(port) = port {
        arguments.extend(["-p".to_owned(), port.to_owned()]);
    }
    arguments.extend(["-W".to_owned(), format!("[{}]:{}", address.trim_matches(['[', ']']), ssh_port)]);
    arguments.extend(["--".to_owned(), host.to_owned()]);
    Child::spawn("env", &arguments)
        .map_err(|error| Error::new(Kind::File, format!("cannot start ssh to {host}")).because(error))
}

/// Why `ssh -W` ended: its last line. The message of a DISCONNECT (from another ssh-eic proxy) without ssh's introduction.
#[must_use]
pub fn reason(closed: &Closed) -> String {
    let text = closed.to_string();
    let message = text.strip_prefix("Received disconnect from ").and_then(|rest| rest.split_once(": "));
    message.map_or_else(|| text.clone(), |(_, message)| message.trim_start_matches("ssh-eic: ").to_owned())
}

/// The chain with this instance added.
fn chain(before: Option<OsString>, job: &Job, host: &str) -> Result<String> {
    let before = before.and_then(|chain| chain.into_string().ok()).unwrap_or_default();
    let id = job.id.as_str();
    if before.split(',').any(|one| one == id) {
        return Err(Error::new(
            Kind::Config,
            format!("{} is reached through itself: its route is jump:{host}", job.name()),
        )
        .hint("correct route of one of the hosts in config.toml"));
    }
    Ok(if before.is_empty() { id.to_owned() } else { format!("{before},{id}") })
}

/// `user@host:2222` as host and port; an IPv6 address has no port here.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.split_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_port;

    #[test]
    fn a_port_is_an_option_of_ssh() {
        assert_eq!(split_port("ec2-user@bastion:2222"), ("ec2-user@bastion", Some("2222")));
        assert_eq!(split_port("bastion"), ("bastion", None));
        assert_eq!(split_port("fd00::1"), ("fd00::1", None));
    }
}
