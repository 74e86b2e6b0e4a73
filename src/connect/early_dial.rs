//! A connection that is started before the config is read.

use std::net::IpAddr;

use crate::domain::address::is_private;
use crate::net::Tcp;
use crate::sys::running_time;

/// Begins to connect to an address of a private network. Other addresses are dialled only once everything is known.
#[must_use]
pub fn start(host: &str, port: u16) -> Option<Tcp> {
    let ip = host.parse::<IpAddr>().ok().filter(|ip| is_private(*ip))?;
    Tcp::start(&[ip], port, None, running_time::now()).ok()
}
