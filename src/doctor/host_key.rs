//! The host key: how it came to be trusted, and why a console output cannot verify it.

use super::CheckContext;
use super::context::Target;
use super::instance::no_answer;
use crate::connect::console;
use crate::connect::host_key_check::unusable_cause;
use crate::connect::worker::Request;
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::known_hosts::KnownKeys;
use crate::domain::source::HostKeys;
use crate::error::{Kind, Result};
use crate::store::files;
use crate::store::host_keys::{self, Overview, Trust};

const CHECK: &str = "host-key";

/// The host key is verified, or can be. Reads the console on first contact, as a connection would.
pub(super) fn trust(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Target { job, host, .. } = context.target()?;
    let mode = host.as_ref().map(|host| host.host_keys).unwrap_or_default();
    let launched = host.as_ref().map_or(0, |host| host.launched);
    let mut record = host_keys::load(context.paths, &job.id)?;
    if console::is_needed(mode, record.as_ref(), launched) {
        let answer = context.program.ask(&Request::Console(Box::new(job.clone())), console::TIMEOUT);
        match answer {
            Ok(answer) => drop(answer.ok_or_else(|| no_answer(console::TIMEOUT))?),
            Err(error) if error.kind == Kind::Denied => {
                return Ok(vec![Finding::problem(CHECK, Cause::ConsoleDenied, error.message)]);
            }
            Err(error) => return Err(error),
        }
        record = host_keys::load(context.paths, &job.id)?;
    }
    let unusable = record.and_then(|record| record.unusable()).filter(|_| mode != HostKeys::AcceptNew);
    if let Trust::Verified(source) = Overview::read(context.paths).of(&job.id) {
        return Ok(vec![Finding::ok(CHECK, format!("verified by {source}"))]);
    }
    if let Some(file) = company_file(context)? {
        return Ok(vec![Finding::ok(CHECK, format!("listed in {file}"))]);
    }
    let message = match Overview::read(context.paths).of(&job.id) {
        Trust::FirstUse => "trusted on first use",
        Trust::Verified(_) | Trust::Unknown => "unknown until the first connection",
    };
    Ok(vec![match (unusable, mode) {
        (None, _) => Finding::ok(CHECK, message),
        (Some(reason), HostKeys::RequireConsole) => {
            Finding::problem(CHECK, unusable_cause(reason), reason.describe(&job.name()))
        }
        (Some(reason), _) => {
            let message = format!("{}; {message}", reason.describe(&job.name()));
            Finding::note(CHECK, unusable_cause(reason), message)
        }
    }])
}

/// The first file of the configuration that lists a key or an authority for the instance.
fn company_file(context: &CheckContext<'_>) -> Result<Option<String>> {
    let id = context.target()?.job.id.clone();
    for file in &context.config()?.known_hosts {
        let Some(text) = files::read(file.as_ref())? else { continue };
        let KnownKeys { hosts, authorities, .. } = crate::domain::known_hosts::keys_for(file, &text, id.as_str());
        if !(hosts.is_empty() && authorities.is_empty()) {
            return Ok(Some(file.clone()));
        }
    }
    Ok(None)
}
