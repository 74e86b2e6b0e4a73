//! The client, and the shell by which it starts us.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::CheckContext;
use crate::domain::diagnosis::{Cause, Finding};
use crate::error::Result;
use crate::sys::{environment, ssh_client};

/// There is an OpenSSH client, new enough.
pub(super) fn version(_: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let (major, minor) = ssh_client::check_version()?;
    Ok(vec![Finding::ok("client", format!("OpenSSH {major}.{minor}"))])
}

/// ssh runs commands with $SHELL (misc.c, readconf.c): without one the hook silently never runs.
pub(super) fn shell(_: &CheckContext<'_>) -> Vec<Finding> {
    let Some(shell) = environment::variable("SHELL") else {
        return vec![Finding::ok("shell", "that of the user database")];
    };
    let path = Path::new(&shell);
    let runs = path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    let message = path.display().to_string();
    vec![if runs {
        Finding::ok("shell", message)
    } else {
        Finding::problem("shell", Cause::ShellUnusable, format!("SHELL={message} is no program that can run"))
    }]
}
