//! A background process that outlives the connection that starts it.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts `binary` with `args`, without this process's terminal, streams and process group: ssh does not end while a
/// process has its stderr open.
///
/// # Errors
///
/// If it cannot be started.
pub fn start(binary: &Path, args: &[String]) -> io::Result<()> {
    // Through a shell that ends at once, so that init reaps the process.
    Command::new("/bin/sh")
        .args(["-c", "\"$0\" \"$@\" &"])
        .arg(binary)
        .args(args)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// Leaves the terminal's session, so that the process does not end with it.
pub fn leave_the_terminal() {
    // Fails only for the leader of a process group, which is in no terminal's session then.
    let _ = rustix::process::setsid();
}
