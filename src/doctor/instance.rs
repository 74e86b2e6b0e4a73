//! The instance as AWS describes it now.

use std::net::IpAddr;
use std::time::Duration;

use super::CheckContext;
use super::context::Target;
use crate::connect::push;
use crate::connect::worker::{Answer, Request};
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::fleet::Instance;
use crate::domain::source::{AddressKind, Route};
use crate::error::{Error, Kind, Result};

/// In a child that can be ended whatever it waits for.
const TIMEOUT: Duration = Duration::from_secs(25);

/// What to say of AWS when a child of ours has used up its time.
pub(super) fn no_answer(timeout: Duration) -> Error {
    let message = format!("AWS did not answer within {} s", timeout.as_secs());
    Error::new(Kind::Unavailable, message)
        .hint("check the network, VPN and HTTPS_PROXY; -v shows the details")
        .cause(Cause::AwsUnreachable)
}

/// It exists there, runs, is no Windows, and has an address.
pub(super) fn state(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Target { job, address, .. } = context.target()?;
    let region = job.region.as_deref().unwrap_or("the profile's region");
    let answer = match context.program.ask(&Request::Describe(Box::new(job.clone())), TIMEOUT) {
        Err(error) if error.kind == Kind::Denied => {
            let message = format!("{}; its state is not known", error.message);
            return Ok(vec![Finding::note("instance", Cause::DescribeDenied, message)]);
        }
        answer => answer?.ok_or_else(|| no_answer(TIMEOUT))?,
    };
    let Answer::Instance(Some(instance)) = answer else { return Err(push::not_there(job, region)) };
    if instance.windows {
        let message = format!("{} is Windows, on which EC2 Instance Connect does no SSH", job.name());
        let fix = format!("aws ssm start-session --target {} --region {region}{}", job.id, job.identity.flag());
        return Ok(vec![Finding::problem("instance", Cause::InstanceWindows, message).fix(fix)]);
    }
    if instance.state != "running" {
        return Err(push::not_running(&instance, &job.label, region, &job.identity));
    }
    // Session Manager connects to the agent, by the instance's id.
    if job.connection.route != Route::Ssm && address_of(&instance, *address).is_none() {
        let kind = match address {
            AddressKind::Private => "private",
            AddressKind::Ipv6 => "IPv6",
            AddressKind::Public => "public",
        };
        let message = format!("{} has no {kind} address", job.name());
        return Ok(vec![Finding::problem("instance", Cause::NoAddress, message)]);
    }
    let image = if instance.image.is_empty() { "unknown" } else { &instance.image };
    let found = Finding::ok("instance", format!("{} is running in {}, image {image}", job.name(), instance.az));
    let _ = context.instance.set(instance);
    Ok(vec![found])
}

/// The address that ssh should have.
pub(super) fn address_of(instance: &Instance, kind: AddressKind) -> Option<IpAddr> {
    let text = match kind {
        AddressKind::Private => &instance.private_ip,
        AddressKind::Ipv6 => &instance.ipv6,
        AddressKind::Public => &instance.public_ip,
    };
    text.as_deref().and_then(|text| text.parse().ok())
}
