//! `route = "auto"`: the address where that is safe and works, else the instance-specific route.
//!
//! A host with a known host key is dialled directly, and the instance-specific route follows after a second. A private
//! address of a host without a known host key can belong to another machine, so that nothing is sent to it unless there
//! is no other route. A direct connection counts only with a known host key.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use super::{Candidate, Opening, TunnelState};
use crate::connect::stream_relay::Via;
use crate::domain::host_certificate::Presented;
use crate::domain::known_hosts::KnownKeys;
use crate::domain::source::Route;
use crate::error::{Error, Kind, Result};
use crate::store::routes::{self, Worked};
use crate::sys::{clock, local_network};
use crate::ui;

/// How long a direct connection may take alone.
const HEAD_START: Duration = Duration::from_secs(1);

impl Opening<'_> {
    pub(super) fn start_auto(&mut self) -> Result<()> {
        if !self.has_known_host_key() {
            return self.start_specific_route();
        }
        match self.last_route() {
            Some(Worked::Specific) => self.start_specific_route()?,
            _ => self.tunnel_at = Some(self.target.start + HEAD_START),
        }
        self.start_direct()
    }

    fn start_direct(&mut self) -> Result<()> {
        if self.is_stranger_known() { Ok(()) } else { self.dial_host(None) }
    }

    /// Starts the route that leads to this instance and no other machine.
    pub(super) fn start_specific_route(&mut self) -> Result<()> {
        self.tunnel_at = None;
        if !matches!(self.tunnel, TunnelState::NotStarted) {
            return Ok(());
        }
        match self.start_tunnel() {
            // A port that no endpoint opens.
            Err(error) if error.kind == Kind::Usage => self.no_endpoint(error),
            started => started,
        }
    }

    /// The VPC has no usable endpoint. `auto` continues without one: with Session Manager where the instance is managed
    /// (not supported yet: this is where that route is started), else directly.
    pub(super) fn no_endpoint(&mut self, error: Error) -> Result<()> {
        if self.target.job.connection.route != Route::Auto {
            return Err(error);
        }
        ui::verbose(|| error.message.clone());
        self.tunnel = TunnelState::Failed(Box::new(error));
        if self.dialled { Ok(()) } else { self.dial_host(None) }
    }

    /// The direct connection has failed: the other route does not wait any longer.
    pub(super) fn address_failed(&mut self) -> Result<()> {
        if self.target.job.connection.route == Route::Auto && matches!(self.tunnel, TunnelState::NotStarted) {
            return self.start_specific_route();
        }
        Ok(())
    }

    fn known_keys(&self) -> KnownKeys {
        let mut keys = KnownKeys::default();
        for file in self.paths.known_hosts() {
            if let Ok(content) = fs::read(&file) {
                // HostKeyAlias is the id, and ssh adds no port to an alias.
                keys.add(&file.to_string_lossy(), &content, self.target.job.id.as_str());
            }
        }
        keys
    }

    fn has_known_host_key(&self) -> bool {
        let keys = self.known_keys();
        !keys.hosts.is_empty() || !keys.authorities.is_empty()
    }

    /// The key of the cache of routes, and the local network.
    fn cache_key(&self) -> Option<(String, String)> {
        let address: IpAddr = self.target.host.parse().ok()?;
        let vpc = self.target.network.as_ref().map(|network| network.vpc.clone()).filter(|vpc| !vpc.is_empty());
        let key = vpc.unwrap_or_else(|| self.target.job.id.to_string());
        Some((key, local_network::name(address)))
    }

    fn last_route(&self) -> Option<Worked> {
        let (key, network) = self.cache_key()?;
        routes::last(self.paths, &key, &network, clock::now())
    }

    /// Keeps the route of the candidate that has just delivered a version line.
    pub(super) fn remember_route(&self, candidate: &Candidate) {
        let worked = match &candidate.via {
            _ if self.target.job.connection.route != Route::Auto => return,
            Via::Direct => Worked::Direct,
            _ => Worked::Specific,
        };
        if let Some((key, network)) = self.cache_key() {
            routes::keep(self.paths, &key, &network, Some(worked), clock::now());
        }
    }

    /// The name under which a machine with a foreign host key at this instance's address is kept.
    fn stranger_key(&self) -> String {
        format!("{} stranger", self.target.job.id)
    }

    fn is_stranger_known(&self) -> bool {
        let Some((_, network)) = self.cache_key() else { return false };
        routes::last(self.paths, &self.stranger_key(), &network, clock::now()).is_some()
    }

    /// Compares the host key of a direct connection with the known ones, before the client gets it.
    pub(super) fn check_direct_host_key(&mut self, presented: &Presented) -> Result<()> {
        let keys = self.known_keys();
        let is_auto = self.target.job.connection.route == Route::Auto;
        let is_known = keys.hosts.iter().any(|listed| &listed.key == presented.key());
        let is_certified = matches!(presented, Presented::Certificate(_)) && !keys.authorities.is_empty();
        if !is_auto || is_known || is_certified || keys.hosts.is_empty() || self.tunnel_is_impossible() {
            return Ok(());
        }
        if let Some((key, network)) = self.cache_key() {
            routes::keep(self.paths, &key, &network, None, clock::now());
            routes::keep(self.paths, &self.stranger_key(), &network, Some(Worked::Specific), clock::now());
        }
        let place = self.target.host.clone();
        Err(Error::new(
            Kind::Unreachable,
            format!("{place} is another machine on this network: its host key is not that of {}", self.target.job.name()),
        )
        .hint("run the command again; it uses the other route of the instance now"))
    }

    /// Whether the instance-specific route is known not to exist: ssh then judges the host key.
    fn tunnel_is_impossible(&self) -> bool {
        self.tunnel.has_failed()
    }
}

/// The error of `route = "ssm"`.
pub(super) fn no_session_manager() -> Error {
    Error::new(Kind::Config, "route = \"ssm\" is not supported by this version")
        .hint("set another route for the host in config.toml")
}
