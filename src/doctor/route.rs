//! The check between the instance and the push: it follows the host's route.

use super::CheckContext;
use super::{address, agent, endpoint, jump};
use crate::domain::diagnosis::{Cause, Finding, Status};
use crate::domain::source::Route;
use crate::domain::ssh_words;
use crate::error::Result;

/// The route leads to the instance, as far as this can be found out without a connection through it.
pub(super) fn usable(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let jump = context.effective("proxyjump")?;
    let command = context.effective("proxycommand")?;
    let has_own_jump = !matches!(jump, "" | "none");
    // The user's own ProxyCommand may be any program.
    if has_own_jump || command != context.meant("proxycommand")? {
        let program = if has_own_jump { jump } else { ssh_words::program(command) };
        return Ok(vec![Finding::skipped("address", format!("the connection goes by {program}"))]);
    }
    match &context.target()?.job.connection.route {
        Route::Direct => address::reachable(context),
        Route::Endpoint => endpoint::usable(context),
        Route::Ssm => agent::connected(context),
        Route::Jump(host) => jump::usable(context, host),
        Route::Auto => auto(context),
    }
}

/// In the order of a connection: the address, an endpoint, Session Manager where the VPC has no usable endpoint. What
/// the last one finds is the problem; what the others found is a note.
fn auto(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    const NO_ENDPOINT: [Cause; 4] =
        [Cause::EndpointPort, Cause::EndpointMissing, Cause::EndpointState, Cause::EndpointAddressType];
    let mut findings = address::reachable(context)?;
    if problem(&findings).is_none() {
        return Ok(findings);
    }
    as_notes(&mut findings);
    let mut by_endpoint = endpoint::usable(context)?;
    let has_endpoint = problem(&by_endpoint).is_none_or(|cause| !NO_ENDPOINT.contains(&cause));
    if has_endpoint {
        findings.extend(by_endpoint);
        return Ok(findings);
    }
    as_notes(&mut by_endpoint);
    findings.extend(by_endpoint);
    findings.extend(agent::connected(context)?);
    Ok(findings)
}

fn problem(findings: &[Finding]) -> Option<Cause> {
    findings.iter().find(|finding| finding.status == Status::Problem).and_then(|finding| finding.cause)
}

fn as_notes(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|finding| finding.status == Status::Problem) {
        finding.status = Status::Note;
    }
}
