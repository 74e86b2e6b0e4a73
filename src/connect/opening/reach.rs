//! The part of an opening that finds the instance: dialling the address that ssh gave, and asking AWS for another one
//! when nobody answers there.

use std::net::IpAddr;
use std::time::Instant;

use super::{BETWEEN_ATTEMPTS, ENQUIRE_AFTER, Enquiry, Opening, Refused, Target};
use crate::connect::dial::Attempt;
use crate::connect::push;
use crate::connect::queue::Queue;
use crate::connect::worker::{Answer, Request};
use crate::domain::fleet::Instance;
use crate::domain::handshake::Direction;
use crate::domain::ids::InstanceId;
use crate::domain::source::AddressKind;
use crate::error::{Error, Kind, Result, reason};
use crate::ui;

impl Opening<'_> {
    pub(super) fn dial_host(&mut self, dialled: Option<Attempt>) -> Result<()> {
        let host = &self.target.host;
        if self.target.address == AddressKind::Public {
            // A public address goes to any customer of AWS once its instance stops: only AWS's word of now counts.
            self.enquire()?;
        } else if let Ok(ip) = host.parse::<IpAddr>() {
            match dialled.filter(|attempt| attempt.address == (ip, self.target.port).into()) {
                Some(attempt) => {
                    self.to_server = Queue::with(self.early.clone());
                    self.attempt = Some(attempt);
                }
                None => self.dial(ip),
            }
        } else if InstanceId::parse(host).is_some() {
            self.enquire()?;
        } else {
            self.resolving = Some(self.ask(&Request::Resolve(host.clone()))?);
        }
        Ok(())
    }

    pub(super) fn dial(&mut self, ip: IpAddr) {
        self.server = Direction::new();
        self.attempt = None;
        self.retry = None;
        // What the client has sent already; it goes out as soon as the connection stands.
        self.to_server = Queue::with(self.early.clone());
        match Attempt::start(ip, self.target.port) {
            Ok(attempt) => self.attempt = Some(attempt),
            Err(error) => self.connection_failed(ip, &reason(&error)),
        }
    }

    /// The present attempt has failed before the server sent anything: another one follows if there may be more.
    pub(super) fn attempt_failed(&mut self, why: &str) {
        if let Some(attempt) = self.attempt.take() {
            self.connection_failed(attempt.address.ip(), why);
        }
    }

    fn connection_failed(&mut self, ip: IpAddr, why: &str) {
        self.refused = Some(Refused { what: format!("{ip} port {}: {why}", self.target.port), hint: None });
        let at = Instant::now() + BETWEEN_ATTEMPTS;
        let is_in_time = self.target.limit.is_none_or(|limit| at < self.target.start + limit);
        if self.attempts < self.target.attempts && is_in_time {
            self.retry = Some((at, ip));
        }
    }

    /// When the present attempt has had its time.
    pub(super) fn attempt_deadline(&self) -> Instant {
        let own = self.attempt_start + self.target.patience;
        self.target.limit.map_or(own, |limit| own.min(self.target.start + limit))
    }

    /// Retries, asks AWS and gives up when it is time to, while the server has sent no version.
    pub(super) fn connection_alarms(&mut self) -> Result<()> {
        let now = Instant::now();
        if let Some((at, ip)) = self.retry
            && now >= at
        {
            self.attempts += 1;
            self.attempt_start = now;
            self.dial(ip);
        }
        if now >= self.attempt_deadline() && self.retry.is_none() {
            let is_connecting = self.attempt.as_ref().is_some_and(|attempt| attempt.connecting);
            if is_connecting && self.attempts < self.target.attempts {
                let seconds = self.target.patience.as_secs_f32();
                self.attempt_failed(&format!("no answer within {seconds} s"));
            }
            if self.retry.is_none() {
                return Err(self.unreachable());
            }
        }
        let is_stuck = self.attempt.is_none() && self.resolving.is_none();
        if is_stuck && self.retry.is_none() && matches!(self.enquiry, Enquiry::Answered) {
            return Err(self.unreachable());
        }
        if is_stuck || self.target.start.elapsed() >= ENQUIRE_AFTER {
            self.enquire()?;
        }
        Ok(())
    }

    pub(super) fn enquire(&mut self) -> Result<()> {
        if matches!(self.enquiry, Enquiry::NotYet) {
            self.enquiry = Enquiry::Running(self.ask(&Request::Describe(Box::new(self.target.job.clone())))?);
        }
        Ok(())
    }

    pub(super) fn unreachable(&self) -> Error {
        let Target { host, port, job, patience, .. } = self.target;
        let (what, hint) = match (&self.refused, &self.attempt) {
            (Some(refused), None) => (refused.what.clone(), refused.hint),
            (_, Some(attempt)) => {
                let limit = self.target.limit.map_or(*patience, |limit| limit.min(*patience));
                let place = format!("{} port {port}", attempt.address.ip());
                let line = self.server.text_before_version();
                let sent = if line.is_empty() { "did not answer" } else { "sent no SSH version" };
                let quote = if line.is_empty() { String::new() } else { format!(", only {line:?}") };
                (format!("{place} {sent} within {} s{quote}", limit.as_secs_f32()), None)
            }
            _ => (format!("no address is known for {host}"), None),
        };
        let attempts = if self.attempts > 1 { format!(" ({} attempts)", self.attempts) } else { String::new() };
        let vpn = || format!("are you on the VPN, and does its security group allow port {port} from here?");
        Error::new(Kind::Unreachable, format!("{} is unreachable: {what}{attempts}", job.name()))
            .hint(hint.map_or_else(vpn, str::to_owned))
    }

    pub(super) fn enquiry_answers(&mut self) -> Result<()> {
        let Enquiry::Running(worker) = &mut self.enquiry else { return Ok(()) };
        let Some(answer) = worker.read() else { return Ok(()) };
        self.enquiry = Enquiry::Answered;
        if self.server_spoke() {
            return Ok(());
        }
        let job = &self.target.job;
        match answer {
            Ok(Answer::Instance(Some(instance))) if instance.state == "running" => self.use_address_of(&instance),
            Ok(Answer::Instance(Some(instance))) => {
                let region = job.region.as_deref().unwrap_or_default();
                return Err(push::not_running(&instance, &job.label, region, &job.identity));
            }
            Ok(Answer::Instance(None)) => {
                return Err(push::not_there(job, job.region.as_deref().unwrap_or("the profile's region")));
            }
            Ok(_) => {}
            // Without AWS's word what the network says has to do, unless there was nowhere to go at all.
            Err(error) if self.attempt.is_none() && self.refused.is_none() => return Err(error),
            Err(error) => ui::verbose(|| error.message),
        }
        Ok(())
    }

    pub(super) fn use_address_of(&mut self, instance: &Instance) {
        let address = match self.target.address {
            AddressKind::Private => &instance.private_ip,
            AddressKind::Ipv6 => &instance.ipv6,
            AddressKind::Public => &instance.public_ip,
        };
        let Some(ip) = address.as_deref().and_then(|text| text.parse::<IpAddr>().ok()) else { return };
        let tried = self.attempt.as_ref().map(|attempt| attempt.address.ip()).or_else(|| self.target.host.parse().ok());
        if tried == Some(ip) {
            return;
        }
        // Whoever answers at the old address later is a stranger.
        self.moved = tried.is_some();
        self.dial(ip);
    }

    pub(super) fn name_resolved(&mut self) -> Result<()> {
        let Some(worker) = &mut self.resolving else { return Ok(()) };
        let Some(answer) = worker.read() else { return Ok(()) };
        self.resolving = None;
        match answer? {
            Answer::Addresses(addresses) if !addresses.is_empty() => self.dial(addresses[0]),
            _ => self.refused = Some(Refused { what: format!("{} has no address", self.target.host), hint: None }),
        }
        Ok(())
    }
}
