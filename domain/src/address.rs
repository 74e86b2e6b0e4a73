//! IP addresses by the networks that they belong to.

use core::net::IpAddr;

/// Whether the address belongs to a private network: RFC 1918, RFC 6598 (shared address space, which VPCs may use) or
/// RFC 4193.
#[must_use]
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || matches!(address.octets(), [100, 64..=127, ..]),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn private_networks_of_both_families() {
        for (text, private) in [
            ("10.0.3.7", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.128.0.1", false),
            ("203.0.113.9", false),
            ("127.0.0.1", false),
            ("fd00::7", true),
            ("2001:db8::7", false),
        ] {
            assert_eq!(is_private(text.parse().unwrap()), private, "{text}");
        }
    }
}
