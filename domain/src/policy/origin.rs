//! Conditions on the network from which requests reach AWS.
//!
//! A request over the internet has its public address in `aws:SourceIp`. A request through an interface endpoint has the
//! endpoint in `aws:SourceVpce` and the private source address in `aws:VpcSourceIp`. No request has both. Source: IAM User
//! Guide, "AWS global condition context keys": use `aws:VpcSourceIp` only together with `aws:SourceVpce`, because every VPC
//! can have the same private addresses.

use ::core::net::IpAddr;

use super::{Condition, and, condition};
use crate::address::is_private;

/// The networks and endpoints that requests may come from; empty: no restriction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Public networks.
    public: Vec<String>,
    /// Private networks behind the interface endpoints.
    private: Vec<String>,
    /// Interface endpoints.
    endpoints: Vec<String>,
}

impl Origin {
    /// Sorts networks (CIDR or address) into public and private ones.
    ///
    /// # Errors
    ///
    /// The first private network if there is no endpoint: AWS would never see an address of it.
    pub fn new(networks: &[String], endpoints: &[String]) -> Result<Self, String> {
        let (private, public): (Vec<String>, Vec<String>) =
            networks.iter().cloned().partition(|network| address(network).is_some_and(is_private));
        match private.first() {
            Some(network) if endpoints.is_empty() => Err(network.clone()),
            _ => Ok(Self { public, private, endpoints: endpoints.to_vec() }),
        }
    }

    /// One condition for each route of a request, with a suffix for the Sid. Each needs its own statement: no request
    /// fulfils both conditions.
    pub(super) fn conditions(&self) -> Vec<(&'static str, Condition)> {
        let set = |texts: &[String]| texts.iter().cloned().collect();
        let mut routes = Vec::new();
        if !self.public.is_empty() {
            routes.push(("FromNetwork", condition("IpAddress", "aws:SourceIp", set(&self.public))));
        }
        if !self.endpoints.is_empty() {
            let mut through = condition("StringEquals", "aws:SourceVpce", set(&self.endpoints));
            if !self.private.is_empty() {
                through = and(through, condition("IpAddress", "aws:VpcSourceIp", set(&self.private)));
            }
            routes.push(("ThroughEndpoint", through));
        }
        if routes.is_empty() {
            routes.push(("", Condition::new()));
        }
        routes
    }
}

/// Whether the text is an IP address, or one with a prefix length, as IAM accepts it.
#[must_use]
pub fn is_network(text: &str) -> bool {
    let Some(address) = address(text) else { return false };
    let max = if address.is_ipv4() { 32 } else { 128 };
    match text.split_once('/') {
        None => true,
        Some((_, length)) => {
            length.len() <= 3
                && length.bytes().all(|b| b.is_ascii_digit())
                && length.parse().is_ok_and(|n: u32| n <= max)
        }
    }
}

/// Whether the text is the id of an interface endpoint.
#[must_use]
pub fn is_endpoint(text: &str) -> bool {
    let digits = text.strip_prefix("vpce-").unwrap_or_default();
    matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn address(network: &str) -> Option<IpAddr> {
    network.split('/').next()?.parse().ok()
}
