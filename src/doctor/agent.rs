//! Whether Session Manager reaches the instance: its agent is connected.

use std::time::Duration;

use super::CheckContext;
use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials;
use crate::aws::network::{self, InstanceNetwork};
use crate::aws::session_manager::{self, Target};
use crate::domain::diagnosis::{Cause, Finding};
use crate::error::Result;

const CHECK: &str = "agent";
/// For all requests together.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The agent is connected; else, whether the instance has the profile that the agent needs. AWS does not report why an
/// agent is not connected.
pub(super) fn connected(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let job = &context.target()?.job;
    let name = job.name();
    let attempts = RequestLimits { max_attempts: 1, ..RequestLimits::PUSH };
    let (is_connected, network) = client::run_within(TIMEOUT, async {
        let cache = job.cache.as_deref();
        let session = credentials::open(&job.identity, job.region.as_deref(), attempts, cache).await?;
        let target = Target { id: &job.id, name: &name };
        let is_connected = session_manager::is_connected(&session, target).await.map_err(|failure| failure.error)?;
        // Only for the hint.
        let network = if is_connected { None } else { network::of_instance(&session, &job.id).await.ok() };
        Ok((is_connected, network))
    })?;
    if is_connected {
        return Ok(vec![Finding::ok(CHECK, format!("the Systems Manager agent of {name} is connected"))]);
    }
    let message = format!("the Systems Manager agent of {name} is not connected");
    Ok(vec![match network {
        Some(InstanceNetwork { instance_profile: None, .. }) => {
            let message = format!("{message}, and the instance has no instance profile");
            Finding::problem(CHECK, Cause::NoInstanceProfile, message)
        }
        Some(InstanceNetwork { instance_profile: Some(profile), .. }) => {
            let profile = profile.rsplit('/').next().unwrap_or_default();
            Finding::problem(CHECK, Cause::AgentNotConnected, message).fix(format!(
                "check that amazon-ssm-agent runs on it, that the instance profile {profile} has \
                 AmazonSSMManagedInstanceCore, and that it reaches ssm and ssmmessages"
            ))
        }
        None => Finding::problem(CHECK, Cause::AgentNotConnected, message),
    }])
}
