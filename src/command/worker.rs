//! `ssh-eic worker`: one task for another process of this program that needs its own process; then it exits.

use crate::aws::sso;
use crate::cli::Worker;
use crate::command::{Context, Exit, print};
use crate::connect::serve;
use crate::error::{Error, Kind, Result};
use crate::sys::supervise;

/// Runs it.
///
/// # Errors
///
/// If there is no request on stdin; what AWS says goes to stdout, for the process that asked.
pub fn run(context: &Context, args: &Worker) -> Result<Exit> {
    if args.credential_helper {
        return supervise::run().map(Exit::code);
    }
    if let Some([session, since]) = args.refresh_sso_token.as_deref() {
        let since = since.parse().map_err(|_| Error::new(Kind::Usage, "worker is for ssh-eic itself"))?;
        let result = sso::refresh(session, since);
        // The process that asked may have ended: the refresh is done all the same.
        let _ = print(&serde_json::to_string(&result).unwrap_or_default());
        return Ok(Exit::default());
    }
    serve::serve(&context.paths, context.program()?).map(|()| Exit::default())
}
