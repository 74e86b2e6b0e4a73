//! The route through an EC2 Instance Connect Endpoint: the worker that prepares the tunnel, the queue for one of its
//! slots, and the tunnel as a candidate. Its errors are in `connect::tunnel_errors`.

use std::time::{Duration, Instant};

use super::{Candidate, Opening};
use crate::connect::stream_relay::{OpenTunnel, Via};
use crate::connect::tunnel::{PORT, PreparedTunnel, TunnelAnswer, TunnelRequest};
use crate::connect::tunnel_errors;
use crate::connect::worker::{Answer, Request, Worker};
use crate::domain::endpoint::Endpoint;
use crate::domain::source::{AddressKind, Route};
use crate::error::{Error, Kind, Result};
use crate::net::{Closed, Stream};
use crate::store::endpoints;
use crate::store::tunnel_slots::{self, Slot, Slots};
use crate::sys::{clock, limits, running_time};
use crate::ui;

/// Between two requests for a tunnel that the endpoint refuses because there are too many: those of other machines, or
/// one that has just ended.
const REFUSED_RETRY: Duration = Duration::from_millis(500);

/// How far the tunnel is.
#[derive(Debug)]
pub(super) enum TunnelState {
    NotStarted,
    /// A worker prepares it; the slot is kept while an expired URL is replaced.
    Preparing(Worker, Option<Slot>),
    /// Waits for a slot, or until the endpoint accepts another tunnel.
    Queued(Box<Queued>),
    /// It is one of the candidates.
    Started,
    Failed(Box<Error>),
}

/// A prepared tunnel that may not be opened yet.
#[derive(Debug)]
pub(super) struct Queued {
    tunnel: PreparedTunnel,
    since: Instant,
    is_reported: bool,
    next: Instant,
    slot: Option<Slot>,
}

impl Queued {
    fn new(tunnel: PreparedTunnel, slot: Option<Slot>, now: Instant) -> Self {
        Self { tunnel, since: now, is_reported: false, next: now, slot }
    }

    /// A tunnel that the endpoint has refused because there are too many. It keeps its slot and its URL, which expires
    /// meanwhile.
    fn again(open: OpenTunnel, now: Instant) -> Self {
        let OpenTunnel { tunnel, slot, .. } = open;
        let next = now + REFUSED_RETRY.mul_f64(0.5 + fastrand::f64());
        Self { tunnel, since: now, is_reported: true, next, slot: Some(slot) }
    }
}

impl TunnelState {
    pub(super) fn worker(&self) -> Option<&Worker> {
        if let Self::Preparing(worker, _) = self { Some(worker) } else { None }
    }

    /// Whether a candidate may follow.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Preparing(..) | Self::Queued(_))
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self, Self::Queued(_))
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        if let Self::Queued(queued) = self { Some(queued.next) } else { None }
    }
}

impl Opening<'_> {
    pub(super) fn start_tunnel(&mut self) -> Result<()> {
        if self.target.port != PORT {
            return Err(Error::new(
                Kind::Usage,
                format!(
                    "{}: an endpoint opens tunnels to port 22 only, not {}",
                    self.target.job.name(),
                    self.target.port
                ),
            )
            .hint("set port = 22, or another route for the host in config.toml"));
        }
        if self.target.address == AddressKind::Public {
            return Err(Error::new(
                Kind::Usage,
                format!("{}: an endpoint reaches private and IPv6 addresses only", self.target.job.name()),
            )
            .hint("set address = \"private\" for the source in config.toml"));
        }
        self.prepare_tunnel(None)
    }

    fn prepare_tunnel(&mut self, slot: Option<Slot>) -> Result<()> {
        let target = self.target;
        let request = TunnelRequest {
            job: target.job.clone(),
            address: target.host.parse().ok(),
            kind: target.address,
            network: target.network.clone(),
            max_duration: target.job.connection.max_tunnel_duration,
            refresh: self.refreshed,
        };
        self.tunnel = TunnelState::Preparing(self.ask(&Request::Tunnel(Box::new(request)))?, slot);
        Ok(())
    }

    pub(super) fn read_tunnel(&mut self) -> Result<()> {
        let TunnelState::Preparing(worker, _) = &mut self.tunnel else { return Ok(()) };
        let Some(answer) = worker.read() else { return Ok(()) };
        let TunnelState::Preparing(worker, slot) = std::mem::replace(&mut self.tunnel, TunnelState::NotStarted) else {
            return Ok(());
        };
        self.finished.push(worker);
        match answer {
            Ok(Answer::Tunnel(TunnelAnswer::Prepared(tunnel))) => {
                limits::no_core_dumps();
                let now = running_time::now();
                self.tunnel = TunnelState::Queued(Box::new(Queued::new(*tunnel, slot, now)));
                self.check_tunnel_timers()
            }
            Ok(Answer::Tunnel(TunnelAnswer::NoEndpoint(error))) => self.no_endpoint(*error),
            Ok(_) => Err(Error::new(Kind::Bug, "the worker did not answer the request for a tunnel")),
            Err(error) => self.tunnel_failed(error),
        }
    }

    /// Opens a queued tunnel once there is a slot for it.
    pub(super) fn check_tunnel_timers(&mut self) -> Result<()> {
        let now = running_time::now();
        if self.tunnel_at.is_some_and(|at| now >= at) {
            self.start_specific_route()?;
        }
        let TunnelState::Queued(queued) = &mut self.tunnel else { return Ok(()) };
        if now < queued.next {
            return Ok(());
        }
        if queued.slot.is_none() {
            queued.slot = Slots::new(self.paths, &queued.tunnel.endpoint.id).try_take();
        }
        if queued.slot.is_some() {
            return self.open_tunnel();
        }
        queued.next = now + tunnel_slots::RETRY;
        if !queued.is_reported && now >= queued.since + tunnel_slots::REPORT_AFTER {
            queued.is_reported = true;
            let Endpoint { id, .. } = &queued.tunnel.endpoint;
            ui::warning(&format!("all {} tunnels of {id} are in use; waiting for one to end", tunnel_slots::LIMIT));
        }
        Ok(())
    }

    fn open_tunnel(&mut self) -> Result<()> {
        let TunnelState::Queued(queued) = std::mem::replace(&mut self.tunnel, TunnelState::Started) else {
            return Ok(());
        };
        let now = running_time::now();
        self.queued += now - queued.since;
        let Queued { tunnel, slot, .. } = *queued;
        let Some(slot) = slot else { return Ok(()) };
        if !tunnel.is_usable(clock::now()) {
            return self.prepare_tunnel(Some(slot));
        }
        let started = tunnel.start(self.target.timeout, now)?;
        let max_duration = self.target.job.connection.max_tunnel_duration;
        let open = OpenTunnel { tunnel, slot, opened: Instant::now(), max_duration };
        match started {
            Ok(stream) => {
                self.racing.push(Candidate::new(Via::Endpoint(Box::new(open)), Stream::Tunnel(Box::new(stream))));
                Ok(())
            }
            Err(closed) => self.tunnel_closed(open, &closed),
        }
    }

    /// The tunnel has ended before the server's version line.
    pub(super) fn tunnel_closed(&mut self, open: OpenTunnel, closed: &Closed) -> Result<()> {
        if tunnel_errors::is_limit(closed) {
            self.tunnel = TunnelState::Queued(Box::new(Queued::again(open, running_time::now())));
            return Ok(());
        }
        let OpenTunnel { tunnel, slot, .. } = open;
        let is_outdated = matches!(
            closed,
            Closed::Refused(_) | Closed::Connect { .. } | Closed::TimedOut(_) | Closed::Tls(_) | Closed::NotHttp(_)
        );
        if is_outdated {
            endpoints::forget(self.paths, &tunnel.endpoint.vpc);
        }
        if is_outdated && tunnel.cached && !self.refreshed {
            self.refreshed = true;
            ui::verbose(|| format!("{}: {closed}; querying AWS for the endpoint again", tunnel.endpoint.id));
            return self.prepare_tunnel(Some(slot));
        }
        if matches!(closed, Closed::Refused(_)) && !tunnel.is_usable(clock::now()) {
            // The machine was suspended between the signature and the request.
            return self.prepare_tunnel(Some(slot));
        }
        self.tunnel_failed(tunnel_errors::explain(
            &self.target.job,
            &tunnel,
            self.target.job.connection.max_tunnel_duration,
            closed,
        ))
    }

    /// The tunnel cannot be opened. Another candidate may still win, and for an instance that cannot be reached AWS may
    /// know the cause.
    pub(super) fn tunnel_failed(&mut self, error: Error) -> Result<()> {
        self.tunnel_at = None;
        if self.target.job.connection.route == Route::Auto {
            ui::verbose(|| error.message.clone());
            self.tunnel = TunnelState::Failed(Box::new(error));
            return self.start_session();
        }
        let others =
            !self.racing.is_empty() || self.probe.is_some() || self.resolving.is_some() || self.retry.is_some();
        if !others && error.kind != Kind::Unreachable {
            return Err(error);
        }
        ui::verbose(|| error.message.clone());
        self.tunnel = TunnelState::Failed(Box::new(error));
        Ok(())
    }

    /// The tunnel's error, if that explains best why there is no connection; `seconds` is the timeout.
    pub(super) fn tunnel_error(&self, seconds: f32) -> Option<Error> {
        let error = match &self.tunnel {
            TunnelState::NotStarted => return None,
            TunnelState::Failed(error) => (**error).clone(),
            TunnelState::Started => {
                let via = self.racing.iter().find_map(|candidate| match &candidate.via {
                    Via::Endpoint(open) => Some(open),
                    _ => None,
                })?;
                let id = &via.tunnel.endpoint.id;
                let name = self.target.job.name();
                Error::new(Kind::Unreachable, format!("{id} cannot reach {name}: no answer within {seconds} s"))
                    .hint(tunnel_errors::security_group_hint(&via.tunnel))
            }
            TunnelState::Queued(queued) => {
                let id = &queued.tunnel.endpoint.id;
                let limit = tunnel_slots::LIMIT;
                Error::new(Kind::Unavailable, format!("all {limit} tunnels of {id} stayed in use for {seconds} s"))
                    .hint("end other sessions, or raise ConnectTimeout")
            }
            TunnelState::Preparing(..) => {
                let name = self.target.job.name();
                Error::new(Kind::Unavailable, format!("no tunnel to {name} within {seconds} s: AWS did not answer"))
                    .hint("check the network and HTTPS_PROXY, or raise connect_timeout in config.toml")
            }
        };
        let direct = self.address_failure.as_ref().filter(|_| self.target.job.connection.route == Route::Auto);
        Some(match direct {
            Some(failure) => error.hint(format!("directly: {}", failure.message)),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::paths::{Environment, Paths};

    #[test]
    fn a_refused_tunnel_keeps_the_age_of_its_url_in_the_queue() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::new(&Environment { home: Some(home.path().to_owned()), ..Environment::default() }).unwrap();
        let tunnel = serde_json::json!({
            "endpoint": Endpoint::default(), "address": "10.0.3.7", "url": "wss://e/", "hop": [], "cached": false,
            "ca_bundle": null, "signed": 1_000_000,
        });
        let tunnel: PreparedTunnel = serde_json::from_value(tunnel).unwrap();
        let now = Instant::now();
        let slot = Slots::new(&paths, "eice-1").try_take();
        let Queued { tunnel, slot, .. } = Queued::new(tunnel, slot, now);
        let open = OpenTunnel { tunnel, slot: slot.unwrap(), opened: now, max_duration: 3600 };
        let again = Queued::again(open, now);
        assert!(again.slot.is_some() && again.next > now);
        assert!(again.tunnel.is_usable(1_000_000) && again.tunnel.is_usable(1_030_000));
        assert!(!again.tunnel.is_usable(1_060_000), "the endpoint would refuse the URL");
    }
}
