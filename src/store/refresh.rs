//! When a sync in the background is due, shared by all processes through the modification time of one file.

use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::OFlags;

use crate::domain::freshness::{is_younger, milliseconds};
use crate::error::{Error, Result};
use crate::store::trusted;

/// Whether the last sync in the background was started `age_ms` ago or earlier, according to the modification time of
/// the file at `path`. If so (or if there is no file) the time becomes `now`, so that one of many processes starts a sync.
///
/// # Errors
///
/// If the file cannot be made, or another user could have written it.
pub fn is_due(path: &Path, now: u64, age_ms: u64) -> Result<bool> {
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
        let due = |now| is_due(&path, now, 60_000).unwrap();
        assert!(due(now) && !due(now) && !due(now + 59_999));
        assert!(due(now + 60_000));
        assert!(due(now), "the time in the file is in the future");
        std::fs::remove_file(&path).unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "content").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(is_due(&path, now, 60_000).unwrap_err().message.contains("is a symbolic link"));
        assert_eq!(std::fs::read(&victim).unwrap(), b"content");
    }
}
