//! `ssh-eic worker`: asks AWS on behalf of a proxy or a hook, and ends.

use crate::command::{Context, Exit};
use crate::connect::worker;
use crate::error::Result;

/// Runs it.
///
/// # Errors
///
/// If there is no request on stdin; what AWS says goes to stdout, for the proxy.
pub fn run(context: &Context) -> Result<Exit> {
    worker::serve(&context.paths, context.program()?).map(|()| Exit::default())
}
