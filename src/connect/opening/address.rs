//! The routes to an address, `direct` and `jump`: connecting to what ssh gave, retries, and the query at AWS for another
//! address.

use std::net::IpAddr;
use std::time::Instant;

use super::{AddressFailure, BETWEEN_ATTEMPTS, Candidate, InstanceQuery, Opening, QUERY_AFTER, Target};
use crate::connect::jump;
use crate::connect::push;
use crate::connect::stream_relay::Via;
use crate::connect::worker::{Answer, Request};
use crate::domain::fleet::Instance;
use crate::domain::ids::InstanceId;
use crate::domain::source::{AddressKind, Route};
use crate::domain::ssh_words::{self, Refusal};
use crate::error::{Error, Kind, Result, reason};
use crate::net::{Closed, State, Stream, Tcp};
use crate::sys::running_time;
use crate::ui;

impl Opening<'_> {
    pub(super) fn dial_host(&mut self, speculative: Option<Tcp>) -> Result<()> {
        self.dialled = true;
        let host = self.target.host.clone();
        if self.target.address == AddressKind::Public {
            // A public address goes to any customer of AWS once its instance stops: only AWS knows the present one.
            self.start_query()?;
        } else if let Ok(ip) = host.parse::<IpAddr>() {
            let is_right = |tcp: &Tcp| tcp.address() == (ip, self.target.port).into();
            match speculative.filter(is_right) {
                Some(tcp) => self.racing.push(Candidate::new(Via::Direct, Stream::Tcp(tcp))),
                None => self.dial(&host)?,
            }
        } else if InstanceId::parse(&host).is_some() {
            self.start_query()?;
        } else if matches!(self.target.job.connection.route, Route::Jump(_)) {
            // Resolved by the jump host.
            self.dial(&host)?;
        } else {
            self.resolving = Some(self.ask(&Request::Resolve(host))?);
        }
        Ok(())
    }

    /// Begins to connect to an address, which replaces the present connection.
    fn dial(&mut self, host: &str) -> Result<()> {
        self.racing.retain(|candidate| matches!(candidate.via, Via::Endpoint(_) | Via::Session));
        self.retry = None;
        if let Route::Jump(jump_host) = &self.target.job.connection.route {
            let child =
                jump::start(&self.target.job, self.target.ssh_config.as_deref(), jump_host, host, self.target.port)?;
            self.racing.push(Candidate::new(Via::Jump(jump_host.clone()), Stream::Child(child)));
            return Ok(());
        }
        let Ok(ip) = host.parse::<IpAddr>() else { return Ok(()) };
        match Tcp::start(&[ip], self.target.port, None, running_time::now()) {
            Ok(tcp) => self.racing.push(Candidate::new(Via::Direct, Stream::Tcp(tcp))),
            Err(closed) => self.connection_failed(host, &closed.to_string()),
        }
        Ok(())
    }

    /// A candidate has ended before its version line.
    pub(super) fn candidate_failed(&mut self, candidate: Candidate, closed: &Closed) -> Result<()> {
        let host = self.target.host.clone();
        match (candidate.via, &candidate.stream) {
            (Via::Endpoint(tunnel), _) => return self.tunnel_closed(*tunnel, closed),
            (Via::Session, _) => return self.session_closed(closed, &candidate.server.text_before_version()),
            (Via::Jump(name), _) => {
                let message = format!("{name}: {}", jump::reason(closed));
                self.connection_failed(&host, &message);
                let hint = "test the jump host with ssh: it must reach the instance and allow TCP forwarding";
                self.address_failure = Some(AddressFailure { message, hint: Some(hint) });
            }
            (Via::Direct, Stream::Tcp(tcp)) => {
                let ip = tcp.address().ip().to_string();
                let place = format!("{ip} port {}", tcp.address().port());
                match closed {
                    Closed::Connect { .. } => self.connection_failed(&ip, &closed.to_string()),
                    Closed::Broken { error, .. } => {
                        let error = reason(&std::io::Error::from(*error));
                        self.connection_failed(&ip, &format!("{place}: {error}"));
                    }
                    _ => self.closed_by_server(&place, &candidate.server.text_before_version()),
                }
            }
            (Via::Direct, _) => {}
        }
        self.address_failed()
    }

    /// The server closed the connection before its version line; `line` is what it sent instead.
    pub(super) fn closed_by_server(&mut self, place: &str, line: &str) {
        self.address_failure = Some(if line.is_empty() {
            let message = format!("{place} closed the connection before it sent a version");
            AddressFailure { message, hint: Some(ssh_words::CLOSED_AT_ONCE) }
        } else {
            let message = format!("{place} refused the connection: {line:?}");
            AddressFailure { message, hint: Refusal::of(line).map(Refusal::hint) }
        });
    }

    /// The present attempt has failed before the server sent anything: another one follows if there may be more.
    pub(super) fn connection_failed(&mut self, host: &str, message: &str) {
        self.address_failure = Some(AddressFailure { message: message.to_owned(), hint: None });
        let at = running_time::now() + BETWEEN_ATTEMPTS;
        let is_in_time = self.target.limit.is_none_or(|limit| at < running_time::at(self.target.start + limit));
        if self.attempts < self.target.attempts && is_in_time {
            self.retry = Some((at, host.to_owned()));
        }
    }

    /// The end of the present attempt. Time in the queue for a tunnel, and time in which this process does not run, does
    /// not count, except for ssh's own timeout.
    pub(super) fn attempt_deadline(&self) -> Option<Instant> {
        let own = self.attempt_start + self.target.timeout + self.queued;
        let own = (!self.tunnel.is_queued()).then_some(own);
        let of_ssh = self.target.limit.map(|limit| running_time::at(self.target.start + limit));
        [own, of_ssh].into_iter().flatten().min()
    }

    /// Retries, asks AWS and gives up when it is time to, while the server has sent no version.
    pub(super) fn check_connection_timers(&mut self) -> Result<()> {
        let now = running_time::now();
        if let Some((_, host)) = self.retry.take_if(|(at, _)| now >= *at) {
            self.attempts += 1;
            self.attempt_start = now;
            self.dial(&host)?;
        }
        if self.attempt_deadline().is_some_and(|deadline| now >= deadline) && self.retry.is_none() {
            let connecting = self.racing.iter().position(|candidate| {
                matches!(candidate.via, Via::Direct) && matches!(candidate.stream.state(), State::Connecting)
            });
            if let Some(at) = connecting.filter(|_| self.attempts < self.target.attempts)
                && let Stream::Tcp(tcp) = &self.racing.remove(at).stream
            {
                let address = tcp.address();
                let seconds = self.target.timeout.as_secs_f32();
                let message = format!("{} port {}: no answer within {seconds} s", address.ip(), address.port());
                self.connection_failed(&address.ip().to_string(), &message);
            }
            if self.retry.is_none() {
                return Err(self.unreachable());
            }
        }
        let is_stuck = self.racing.is_empty()
            && self.probe.is_none()
            && self.resolving.is_none()
            && self.retry.is_none()
            && self.tunnel_at.is_none()
            && !self.tunnel.is_pending();
        if is_stuck && matches!(self.query, InstanceQuery::Done) {
            return Err(self.unreachable());
        }
        if is_stuck || running_time::since(self.target.start) >= QUERY_AFTER {
            self.start_query()?;
        }
        Ok(())
    }

    pub(super) fn start_query(&mut self) -> Result<()> {
        if matches!(self.query, InstanceQuery::NotStarted) {
            self.query = InstanceQuery::Running(self.ask(&Request::Describe(Box::new(self.target.job.clone())))?);
        }
        Ok(())
    }

    pub(super) fn unreachable(&self) -> Error {
        let Target { host, port, job, timeout, .. } = self.target;
        let limit = self.target.limit.map_or(*timeout, |limit| limit.min(*timeout)).as_secs_f32();
        if let Some(error) = self.session_error(limit).or_else(|| self.tunnel_error(limit)) {
            return error;
        }
        let direct = self.racing.iter().find(|candidate| !matches!(candidate.via, Via::Endpoint(_) | Via::Session));
        let (what, hint) = match (&self.address_failure, direct) {
            (Some(failure), None) => (failure.message.clone(), failure.hint),
            (_, Some(candidate)) => {
                let place = match (&candidate.via, &candidate.stream) {
                    (Via::Jump(name), _) => name.clone(),
                    (_, Stream::Tcp(tcp)) => format!("{} port {port}", tcp.address().ip()),
                    _ => host.clone(),
                };
                let line = candidate.server.text_before_version();
                let sent = if line.is_empty() { "did not answer" } else { "sent no SSH version" };
                let quote = if line.is_empty() { String::new() } else { format!(", only {line:?}") };
                (format!("{place} {sent} within {limit} s{quote}"), None)
            }
            _ => (format!("no address is known for {host}"), None),
        };
        let attempts = if self.attempts > 1 { format!(" ({} attempts)", self.attempts) } else { String::new() };
        let vpn = || format!("are you on the VPN, and does its security group allow port {port} from here?");
        Error::new(Kind::Unreachable, format!("{} is unreachable: {what}{attempts}", job.name()))
            .hint(hint.map_or_else(vpn, str::to_owned))
    }

    pub(super) fn read_query(&mut self) -> Result<()> {
        let InstanceQuery::Running(worker) = &mut self.query else { return Ok(()) };
        let Some(answer) = worker.read() else { return Ok(()) };
        self.query = InstanceQuery::Done;
        if self.server.is_some() {
            return Ok(());
        }
        let job = &self.target.job;
        match answer {
            Ok(Answer::Instance(Some(instance))) if instance.state == "running" => self.use_address_of(&instance)?,
            Ok(Answer::Instance(Some(instance))) => {
                let region = job.region.as_deref().unwrap_or_default();
                return Err(push::not_running(&instance, &job.label, region, &job.identity));
            }
            Ok(Answer::Instance(None)) => {
                return Err(push::not_there(job, job.region.as_deref().unwrap_or("the profile's region")));
            }
            Ok(_) => {}
            // Without AWS the network's error has to do, unless there was no address at all.
            Err(error) if self.racing.is_empty() && self.has_no_failure() => return Err(error),
            Err(error) => ui::verbose(|| error.message),
        }
        Ok(())
    }

    fn has_no_failure(&self) -> bool {
        self.address_failure.is_none()
            && !self.tunnel.has_failed()
            && !self.session.has_failed()
            && !self.tunnel.is_pending()
    }

    fn use_address_of(&mut self, instance: &Instance) -> Result<()> {
        if !self.dialled {
            return Ok(());
        }
        let address = match self.target.address {
            AddressKind::Private => &instance.private_ip,
            AddressKind::Ipv6 => &instance.ipv6,
            AddressKind::Public => &instance.public_ip,
        };
        let Some(ip) = address.as_deref().and_then(|text| text.parse::<IpAddr>().ok()) else { return Ok(()) };
        let connected = self.racing.iter().find_map(|candidate| match &candidate.stream {
            Stream::Tcp(tcp) => Some(tcp.address().ip()),
            _ => None,
        });
        let tried = connected.or_else(|| self.target.host.parse().ok()).filter(|_| self.has_tried());
        if tried == Some(ip) {
            return Ok(());
        }
        // Another machine may have the old address by now.
        self.moved = tried.is_some();
        self.dial(&ip.to_string())
    }

    /// Whether the address that ssh gave has been tried. A public one never is.
    fn has_tried(&self) -> bool {
        self.target.address != AddressKind::Public || !self.racing.is_empty()
    }

    pub(super) fn read_addresses(&mut self) -> Result<()> {
        let Some(worker) = &mut self.resolving else { return Ok(()) };
        let Some(answer) = worker.read() else { return Ok(()) };
        self.resolving = None;
        match answer? {
            Answer::Addresses(addresses) if !addresses.is_empty() => self.dial(&addresses[0].to_string()),
            _ => {
                let message = format!("{} has no address", self.target.host);
                self.address_failure = Some(AddressFailure { message, hint: None });
                self.address_failed()
            }
        }
    }
}
