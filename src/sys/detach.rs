//! A sync in the background that outlives the connection that asked for it.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::OFlags;

use crate::domain::freshness::{is_younger, milliseconds};
use crate::error::{Error, Result};
use crate::store::trusted;

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

/// Whether the last sync in the background was started `age_ms` ago or earlier, according to the modification time of
/// the file at `path`. If so (or if there is no file) the time becomes `now`, so that one of many processes starts a sync.
///
/// # Errors
///
/// If the file cannot be made, or another user could have written it.
pub fn due(path: &Path, now: u64, age_ms: u64) -> Result<bool> {
    let fail = |error: io::Error| Error::file("write", path, &error);
    if let Some(file) = trusted::open(path)? {
        let last = milliseconds(file.metadata().and_then(|metadata| metadata.modified()).map_err(fail)?);
        if is_younger(last, now, age_ms) {
            return Ok(false);
        }
    }
    let file = trusted::open_or_make(path, OFlags::empty())?;
    file.set_modified(UNIX_EPOCH + Duration::from_millis(now)).map_err(fail)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_due_once_for_each_interval_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("refresh");
        let now = 1_700_000_000_000;
        let due = |now| due(&path, now, 60_000).unwrap();
        assert!(due(now) && !due(now) && !due(now + 59_999));
        assert!(due(now + 60_000));
        assert!(due(now), "the time in the file is in the future");
        std::fs::remove_file(&path).unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "content").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(super::due(&path, now, 60_000).unwrap_err().message.contains("is a symbolic link"));
        assert_eq!(std::fs::read(&victim).unwrap(), b"content");
    }
}
