//! Where the connection of a websocket starts: at the HTTP proxy of the environment, or at the host of its URL.

use std::fmt;
use std::net::{IpAddr, ToSocketAddrs};

use crate::domain::upgrade::Url;
use crate::error::{Error, Kind, Result, reason};
use crate::net::proxy::{self, Proxy, UnsupportedScheme};

/// The websockets of the routes, for messages and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Websocket {
    /// The tunnel through an EC2 Instance Connect Endpoint.
    Tunnel,
    /// The data channel of a Session Manager session.
    DataChannel,
}

impl Websocket {
    /// The HTTP proxy for connections to `host`; `None`: the connection is direct.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] for a scheme that is not supported.
    pub fn proxy_for(self, host: &str) -> Result<Option<Proxy>> {
        proxy::for_host(host).map_err(|UnsupportedScheme(scheme)| {
            Error::new(Kind::Config, format!("a {scheme} proxy cannot be used for {self}"))
                .hint("set HTTPS_PROXY to an http:// or https:// proxy, or NO_PROXY to reach AWS without one")
        })
    }

    /// The addresses to connect to: those of the HTTP proxy if there is one, otherwise those of the URL's host.
    ///
    /// # Errors
    ///
    /// As [`Websocket::proxy_for`]; a name that cannot be resolved.
    pub fn first_hop(self, url: Url) -> Result<Vec<IpAddr>> {
        let proxy = self.proxy_for(&url.host)?;
        let (name, port) = proxy.map_or((url.host, url.port), |proxy| (proxy.host, proxy.port));
        let resolved = (name.as_str(), port).to_socket_addrs().map_err(|error| {
            Error::new(self.unresolved(), format!("cannot resolve {name}: {}", reason(&error)))
                .hint("check the network and its DNS, and HTTPS_PROXY")
        })?;
        Ok(resolved.map(|address| address.ip()).collect())
    }

    /// The kind of error for a name that cannot be resolved.
    fn unresolved(self) -> Kind {
        match self {
            Self::Tunnel => Kind::Unreachable,
            Self::DataChannel => Kind::Unavailable,
        }
    }
}

impl fmt::Display for Websocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "the tunnel",
            Self::DataChannel => "a data channel",
        })
    }
}
