//! `route = "auto"`: the address where that is safe and works, else the instance-specific route.
//!
//! A host with a known host key is dialled directly, and the instance-specific route follows after a second. A private
//! address of a host without a known host key can belong to another machine, so that nothing is sent to it unless there
//! is no other route. A direct connection counts only with a known host key.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::probe::{Probe, Probed};
use super::{Candidate, Opening, TunnelState};
use crate::connect::stream_relay::Via;
use crate::domain::handshake::Phase;
use crate::domain::host_certificate::Presented;
use crate::domain::host_key::HostKeyType;
use crate::domain::kex::Sender;
use crate::domain::known_hosts::KnownKeys;
use crate::domain::source::Route;
use crate::error::{Error, Kind, Result};
use crate::net::{Closed, Tcp};
use crate::store::routes::{self, Worked};
use crate::sys::{clock, local_network, running_time};
use crate::ui;

/// How long a direct connection may take alone, less the time in which a worker prepares the other route: that is
/// connected after 1 s.
const HEAD_START: Duration = Duration::from_millis(950);

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
        if self.is_stranger_known() {
            // Recently another machine: not before the other route has turned out not to exist.
            return self.start_specific_route();
        }
        if self.last_route() == Some(Worked::Direct) {
            return self.dial_host(None);
        }
        let Ok(ip) = self.target.host.parse::<IpAddr>() else { return self.dial_host(None) };
        let types: Vec<HostKeyType> = self.known_keys().hosts.iter().map(|listed| listed.key.key_type()).collect();
        match Tcp::start(&[ip], self.target.port, None, running_time::now()) {
            Ok(tcp) => {
                self.probe = Some(Probe::start(tcp, &types));
                Ok(())
            }
            Err(closed) => {
                self.connection_failed(&ip.to_string(), &closed.to_string());
                self.address_failed()
            }
        }
    }

    /// The first connection from a local network reads the host key at the address before ssh's session goes there.
    pub(super) fn advance_probe(&mut self, now: Instant) -> Result<()> {
        let Some(probe) = &mut self.probe else { return Ok(()) };
        let probed = probe.advance(now);
        if matches!(probed, Probed::Pending) {
            return Ok(());
        }
        self.probe = None;
        match probed {
            Probed::Pending => Ok(()),
            Probed::HostKey(presented) if self.is_known(&presented) => self.dial_host(None),
            Probed::HostKey(_) => {
                self.remember_stranger();
                ui::warning(&format!("{}; using its other route", self.is_another_machine()));
                self.start_specific_route()
            }
            // Without a host key it may be any machine; where there is no other route, ssh judges it.
            Probed::Closed { spoke: true, .. } => self.start_specific_route(),
            Probed::Closed { closed, .. } => {
                let place = format!("{} port {}", self.target.host, self.target.port);
                let host = self.target.host.clone();
                self.dialled = true;
                match closed {
                    Closed::Ended => self.closed_by_server(&place, ""),
                    closed => self.connection_failed(&host, &closed.to_string()),
                }
                self.address_failed()
            }
        }
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

    /// The VPC has no usable endpoint. `auto` continues without one: with Session Manager, and directly if that fails as
    /// well.
    pub(super) fn no_endpoint(&mut self, error: Error) -> Result<()> {
        if self.target.job.connection.route != Route::Auto {
            return Err(error);
        }
        ui::verbose(|| error.message.clone());
        self.tunnel = TunnelState::Failed(Box::new(error));
        self.lacks_endpoint = true;
        self.start_session()
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

    pub(super) fn has_known_host_key(&self) -> bool {
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

    /// Keeps the route of a connection whose host key ssh has accepted, which its NEWKEYS shows.
    pub(super) fn remember_route(&self, server: &Candidate) {
        let is_accepted = self.client.phase() == Phase::NewKeys;
        let worked = match &server.via {
            _ if self.target.job.connection.route != Route::Auto || !is_accepted => return,
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

    /// Whether a host key is one that is known for the instance.
    fn is_known(&self, presented: &Presented) -> bool {
        let keys = self.known_keys();
        let is_certified = match presented {
            Presented::Certificate(certificate) => {
                keys.authorities.iter().any(|listed| &listed.key == certificate.authority())
                    && certificate.check(self.target.job.id.as_str(), clock::now() / 1000).is_ok()
            }
            Presented::Key(_) => false,
        };
        is_certified || keys.hosts.iter().any(|listed| &listed.key == presented.key())
    }

    fn remember_stranger(&self) {
        if let Some((key, network)) = self.cache_key() {
            routes::keep(self.paths, &key, &network, None, clock::now());
            routes::keep(self.paths, &self.stranger_key(), &network, Some(Worked::Specific), clock::now());
        }
    }

    fn is_another_machine(&self) -> String {
        let (host, name) = (&self.target.host, self.target.job.name());
        format!("{host} is another machine on this network: its host key is not the key of {name}")
    }

    /// Reads whole lines and packets of the server before the client gets them. An error ends the connection with its
    /// message in place of these bytes.
    pub(super) fn check_host_key(&mut self, units: &[u8]) -> Result<()> {
        let Some(server) = &self.server else { return Ok(()) };
        if self.key_exchange.host_key_seen() || server.server.phase() == Phase::Opaque {
            return Ok(());
        }
        let is_direct = matches!(server.via, Via::Direct);
        match self.key_exchange.observe(Sender::Server, units) {
            Some(presented) if is_direct => self.check_direct_host_key(&presented),
            _ => Ok(()),
        }
    }

    /// Compares the host key of a direct connection with the known ones, before the client gets it. ssh has the version
    /// line by then, so that only the next connection can use the other route.
    fn check_direct_host_key(&mut self, presented: &Presented) -> Result<()> {
        let is_auto = self.target.job.connection.route == Route::Auto;
        if !is_auto || !self.has_known_host_key() || self.is_known(presented) || self.is_direct_only {
            return Ok(());
        }
        self.remember_stranger();
        Err(Error::new(Kind::Unreachable, self.is_another_machine())
            .hint("run the command again; it uses another route of the instance if there is one"))
    }
}
