//! Route, tunnel duration and host key mode of a host: what `sync` writes into its ProxyCommand besides the credentials.

use serde::{Deserialize, Serialize};

use crate::duration;
use crate::fleet::Host;
use crate::source::{HostKeys, Route, Source};

/// The longest `maxTunnelDuration` of an EC2 Instance Connect Endpoint, in seconds, which is also its default.
pub const LONGEST_TUNNEL: u16 = 3600;

/// How connections to a host are made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionOptions {
    /// How the instance is reached.
    pub route: Route,
    /// The `maxTunnelDuration` requested from an endpoint, in seconds, 1 to 3600.
    pub max_tunnel_duration: u16,
    /// Which host keys are trusted.
    pub host_keys: HostKeys,
}

/// `--route`, `--max-tunnel-duration` and `--host-keys` of the proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--route`
    pub route: Option<Route>,
    /// `--max-tunnel-duration`, in seconds.
    pub max_tunnel_duration: Option<u16>,
    /// `--host-keys`
    pub host_keys: Option<HostKeys>,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self { route: Route::default(), max_tunnel_duration: LONGEST_TUNNEL, host_keys: HostKeys::default() }
    }
}

impl ConnectionOptions {
    /// Of an indexed host: its source's, unless a `[[host]]` overrides them.
    #[must_use]
    pub fn of_host(host: &Host) -> Self {
        let Host { route, max_tunnel_duration, host_keys, .. } = host;
        Self { route: route.clone(), max_tunnel_duration: *max_tunnel_duration, host_keys: *host_keys }
    }

    /// Of an instance that is not in the index.
    #[must_use]
    pub fn of_source(source: &Source) -> Self {
        let Source { route, max_tunnel_duration, host_keys, .. } = source;
        Self { route: route.clone(), max_tunnel_duration: *max_tunnel_duration, host_keys: *host_keys }
    }

    /// The same with the values of those flags that are given.
    #[must_use]
    pub fn overridden(self, flags: &Flags) -> Self {
        Self {
            route: flags.route.clone().unwrap_or(self.route),
            max_tunnel_duration: flags.max_tunnel_duration.unwrap_or(self.max_tunnel_duration),
            host_keys: flags.host_keys.unwrap_or(self.host_keys),
        }
    }

    /// Flags of the proxy and their values, for options other than the default.
    #[must_use]
    pub fn proxy_flags(&self) -> Vec<(&'static str, String)> {
        let default = Self::default();
        let mut flags = Vec::new();
        if self.route != default.route {
            flags.push(("--route", self.route.to_string()));
        }
        if self.max_tunnel_duration != default.max_tunnel_duration {
            flags.push(("--max-tunnel-duration", duration::text(self.max_tunnel_duration.into())));
        }
        if self.host_keys != default.host_keys {
            flags.push(("--host-keys", self.host_keys.to_string()));
        }
        flags
    }
}

/// The `maxTunnelDuration` of `90`, `30m` or `1h`, in seconds; none if it is not between one second and an hour.
#[must_use]
pub fn parse_tunnel_duration(text: &str) -> Option<u16> {
    let seconds = u16::try_from(duration::seconds(text)?).ok()?;
    (1..=LONGEST_TUNNEL).contains(&seconds).then_some(seconds)
}
