//! `ssh-eic worker`: asks AWS on behalf of a proxy, and ends.

use crate::command::{Context, Exit};
use crate::connect::worker;
use crate::error::{Error, Kind, Result};
use crate::sys::environment;

/// Runs it.
///
/// # Errors
///
/// If there is no request on stdin; what AWS says goes to stdout, for the proxy.
pub fn run(context: &Context) -> Result<Exit> {
    let binary =
        environment::own_binary().ok_or_else(|| Error::new(Kind::Bug, "cannot find the program's own path"))?;
    worker::serve(&context.paths, binary, context.flags.clone()).map(|()| Exit::default())
}
