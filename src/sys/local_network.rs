//! The network that this machine is on, as far as the way to an address depends on it.

use std::net::{IpAddr, UdpSocket};

/// A name for the local network on the way to `address`: the prefix of the source address that the system would use,
/// and on Linux the gateway of the default route. Nothing is sent.
#[must_use]
pub fn name(address: IpAddr) -> String {
    let source = source(address).map_or_else(|| "none".to_owned(), prefix);
    match default_gateway() {
        Some(gateway) => format!("{source} {gateway}"),
        None => source,
    }
}

/// A UDP socket is bound to its source address when it is connected, without a packet.
fn source(address: IpAddr) -> Option<IpAddr> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((address, 22)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// A /24 or /64: addresses within it come from the same network.
fn prefix(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Interface and gateway of the first default route, as /proc/net/route has them (hexadecimal).
fn default_gateway() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (interface, destination, gateway) = (fields.next()?, fields.next()?, fields.next()?);
        (destination == "00000000").then(|| format!("{interface} {gateway}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_prefix_of_the_source_address() {
        assert!(name("127.0.0.1".parse().unwrap()).starts_with("127.0.0.0/24"));
        assert_eq!(prefix("192.168.7.9".parse().unwrap()), "192.168.7.0/24");
        assert_eq!(prefix("fd00:1:2:3:4::9".parse().unwrap()), "fd00:1:2:3::/64");
    }
}
