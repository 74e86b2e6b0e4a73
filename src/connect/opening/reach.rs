//! The part of an opening that finds the instance: dialling the address that ssh gave, and asking AWS for another one
//! when nobody answers there.

use std::io::Write;
use std::net::IpAddr;

use super::{Enquiry, Opening, Target};
use crate::connect::dial::Attempt;
use crate::connect::push;
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
                Some(attempt) => self.attempt = Some(attempt),
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
        match Attempt::start(ip, self.target.port) {
            Ok(mut attempt) => {
                // A connection that stands at once gets what the client has said already; one that breaks here shows it
                // on its reading side.
                if !attempt.connecting {
                    let _ = attempt.stream.write_all(&self.early);
                }
                self.attempt = Some(attempt);
            }
            Err(error) => self.refused = Some(format!("{ip} port {}: {}", self.target.port, reason(&error))),
        }
    }

    pub(super) fn enquire(&mut self) -> Result<()> {
        if matches!(self.enquiry, Enquiry::NotYet) {
            self.enquiry = Enquiry::Running(self.ask(&Request::Describe(Box::new(self.target.job.clone())))?);
        }
        Ok(())
    }

    pub(super) fn unreachable(&self) -> Error {
        let Target { host, port, job, patience, .. } = self.target;
        let what = match (&self.refused, &self.attempt) {
            (Some(refused), None) => refused.clone(),
            (_, Some(attempt)) => {
                format!("{} port {port} did not answer within {} s", attempt.address.ip(), patience.as_secs_f32())
            }
            _ => format!("no address is known for {host}"),
        };
        Error::new(Kind::Unreachable, format!("{} is unreachable: {what}", job.name()))
            .hint(format!("are you on the VPN, and does its security group allow port {port} from here?"))
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
            _ => self.refused = Some(format!("{} has no address", self.target.host)),
        }
        Ok(())
    }
}
