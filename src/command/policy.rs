//! `ssh-eic policy`: the least-privilege IAM policy for the hosts of the index.

use crate::cli;
use crate::command::{Context, Exit, print};
use crate::core::policy::{self, Origin};
use crate::error::{Error, Kind, Result};
use crate::store::index::Index;

/// Runs it.
///
/// # Errors
///
/// [`Kind::NoHost`] if there is no index yet, or nothing in it.
pub fn run(context: &Context, args: &cli::Policy) -> Result<Exit> {
    let hosts = Index::open(&context.paths.index())?.map(|index| index.hosts()).transpose()?.unwrap_or_default();
    if hosts.is_empty() {
        return Err(Error::new(Kind::NoHost, "the index has no instances to write a policy for").hint("ssh-eic sync"));
    }
    let origin = Origin { source_ip: args.source_ip.clone(), source_vpce: args.source_vpce.clone() };
    let text = serde_json::to_string_pretty(&policy::document(&hosts, &origin))
        .map_err(|error| Error::new(Kind::Bug, "cannot write JSON").because(error))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::default())
}
