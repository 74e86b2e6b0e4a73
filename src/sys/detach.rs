//! A sync in the background that outlives the connection that asked for it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts `binary` with `args`, away from our terminal, streams and process group. ssh waits for whoever holds its
/// stderr open, so none of ours may stay.
///
/// # Errors
///
/// If it cannot be started.
pub fn start(binary: &Path, args: &[String]) -> io::Result<()> {
    // Through a shell that ends at once: the child is then init's to reap, and not ours for as long as we live.
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

/// Leaves the session of the terminal, so that its end is not ours.
pub fn leave_the_terminal() {
    // Fails only for the leader of a process group, which has nothing to leave then.
    let _ = rustix::process::setsid();
}

/// Whether the stamp at `path` is older than `age_ms` (or absent); touches it if so, so that one of many starts.
///
/// # Errors
///
/// If it cannot be made.
pub fn due(path: &Path, now: u64, age_ms: u64) -> io::Result<bool> {
    let last = fs::metadata(path).and_then(|metadata| metadata.modified()).map(crate::domain::freshness::milliseconds);
    if last.is_ok_and(|last| last <= now && now - last < age_ms) {
        return Ok(false);
    }
    fs::write(path, "")?;
    Ok(true)
}
