//! Where requests to AWS may come from.
//!
//! AWS sees a request over the internet with its public address (`aws:SourceIp`), and one through an interface endpoint
//! with the endpoint (`aws:SourceVpce`) and the private address behind it (`aws:VpcSourceIp`), never with both kinds.
//! Source: IAM User Guide, "AWS global condition context keys", which asks for `aws:VpcSourceIp` beside the endpoint only,
//! since a private address alone is one of any VPC.

use ::core::net::IpAddr;

use super::{Condition, and, condition};
use crate::address::is_private;

/// Where requests may come from; empty: from anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Networks as AWS sees them over the internet.
    public: Vec<String>,
    /// Networks behind the interface endpoints.
    private: Vec<String>,
    /// Interface endpoints.
    endpoints: Vec<String>,
}

impl Origin {
    /// From networks and interface endpoints as they are typed.
    ///
    /// # Errors
    ///
    /// The private network that could only be seen through an endpoint, where there is none.
    pub fn new(networks: &[String], endpoints: &[String]) -> Result<Self, String> {
        let (private, public): (Vec<String>, Vec<String>) =
            networks.iter().cloned().partition(|network| address(network).is_some_and(is_private));
        match private.first() {
            Some(network) if endpoints.is_empty() => Err(network.clone()),
            _ => Ok(Self { public, private, endpoints: endpoints.to_vec() }),
        }
    }

    /// The ways of a request, each with a word for the Sid and its condition. One statement cannot hold two: its
    /// conditions would exclude each other.
    pub(super) fn conditions(&self) -> Vec<(&'static str, Condition)> {
        let set = |texts: &[String]| texts.iter().cloned().collect();
        let mut ways = Vec::new();
        if !self.public.is_empty() {
            ways.push(("FromNetwork", condition("IpAddress", "aws:SourceIp", set(&self.public))));
        }
        if !self.endpoints.is_empty() {
            let mut through = condition("StringEquals", "aws:SourceVpce", set(&self.endpoints));
            if !self.private.is_empty() {
                through = and(through, condition("IpAddress", "aws:VpcSourceIp", set(&self.private)));
            }
            ways.push(("ThroughEndpoint", through));
        }
        if ways.is_empty() {
            ways.push(("", Condition::new()));
        }
        ways
    }
}

/// Whether IAM takes it for a network: an address, or one with a prefix length.
#[must_use]
pub fn is_network(text: &str) -> bool {
    let Some(address) = address(text) else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    match text.split_once('/') {
        None => true,
        Some((_, length)) => {
            length.len() <= 3
                && length.bytes().all(|b| b.is_ascii_digit())
                && length.parse().is_ok_and(|n: u32| n <= most)
        }
    }
}

/// Whether it is the id of an interface endpoint.
#[must_use]
pub fn is_endpoint(text: &str) -> bool {
    let digits = text.strip_prefix("vpce-").unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn address(network: &str) -> Option<IpAddr> {
    network.split('/').next()?.parse().ok()
}
