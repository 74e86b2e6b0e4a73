//! A connection that is started before the config is read.

use std::net::IpAddr;
use std::time::Instant;

use crate::net::Tcp;

/// Begins to connect to an address of a private network. Other addresses are dialled only once everything is known.
#[must_use]
pub fn start(host: &str, port: u16) -> Option<Tcp> {
    let ip = host.parse::<IpAddr>().ok().filter(is_private)?;
    Tcp::start(&[ip], port, None, Instant::now()).ok()
}

/// RFC 1918, RFC 6598 (shared address space, which VPCs may use) and RFC 4193.
fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn only_addresses_of_private_networks_are_dialled_early() {
        for (text, private) in [
            ("10.0.3.7", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("203.0.113.9", false),
            ("127.0.0.1", false),
            ("fd00::7", true),
            ("2001:db8::7", false),
        ] {
            assert_eq!(is_private(&text.parse().unwrap()), private, "{text}");
        }
    }
}
