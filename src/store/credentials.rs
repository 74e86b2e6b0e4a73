//! The cache of temporary credentials: one file (mode 0600) for each identity, so that a connection costs one API call.
//!
//! The name of a file is a digest of everything that its credentials depend on (the identity, the AWS config files, the
//! SSO token), so that outdated ones are not found; `sweep` removes them. Not here: which credentials may be written
//! (`aws::credential_cache`).

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::paths::Paths;
use crate::store::{files, trusted};

/// Credentials in the cache.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedCredentials {
    /// The access key id.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The session token.
    pub session_token: Option<String>,
    /// Their expiry, seconds since 1970.
    pub expires: u64,
    /// The account, if the credentials contain it.
    pub account: Option<String>,
}

impl std::fmt::Debug for CachedCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CachedCredentials({}, until {})", self.access_key, self.expires)
    }
}

/// The file of one identity in the cache.
#[derive(Debug, Clone)]
pub struct CacheFile {
    path: PathBuf,
}

impl CacheFile {
    /// The file for a digest of `aws::profiles`.
    #[must_use]
    pub fn new(folder: &Path, digest: &str) -> Self {
        Self { path: folder.join(format!("{digest}.json")) }
    }

    /// The credentials; none if there is no such file, or if another user could have written it.
    #[must_use]
    pub fn read(&self) -> Option<CachedCredentials> {
        serde_json::from_slice(&trusted::read(&self.path).ok()??).ok()
    }

    /// Writes the credentials.
    ///
    /// # Errors
    ///
    /// Names the file.
    pub fn write(&self, credentials: &CachedCredentials) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            files::make_private_folder(folder)?;
        }
        files::replace_record(&self.path, &serde_json::to_vec(credentials).unwrap_or_default())
    }

    /// Removes the credentials if they have this access key, which AWS refuses.
    pub fn forget(&self, access_key: &str) {
        if self.read().is_some_and(|credentials| credentials.access_key == access_key) {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// The lock file for fetching new credentials, opened but not locked.
    ///
    /// # Errors
    ///
    /// Names the file.
    pub fn lock(&self) -> Result<File> {
        let path = self.path.with_extension("lock");
        if let Some(folder) = path.parent() {
            files::make_private_folder(folder)?;
        }
        files::open_lock(&path).map_err(|error| Error::file("open", &path, &error))
    }
}

/// The folder of temporary credentials, recorded for `logout` if it is not the default one. Failing to record it is no
/// error: `logout` misses the folder then.
#[must_use]
pub fn recorded_folder(paths: &Paths) -> PathBuf {
    let folder = paths.credentials();
    let is_usual = paths.usual_credentials().is_none_or(|usual| usual == folder);
    if !is_usual && !recorded_folders(paths).contains(&folder) {
        let mut line = folder.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = files::make_private_folder(&paths.eic).ok().and_then(|()| {
            let mut options = OpenOptions::new();
            options.append(true).create(true).mode(0o600).custom_flags(no_link);
            options.open(paths.credential_folders()).ok()
        });
        let _ = file.map(|mut file| file.write_all(&line));
    }
    folder
}

fn recorded_folders(paths: &Paths) -> Vec<PathBuf> {
    let record = fs::read(paths.credential_folders()).unwrap_or_default();
    let lines = record.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/"));
    lines.map(|line| PathBuf::from(OsStr::from_bytes(line))).collect()
}

/// Every folder that may contain temporary credentials: of this environment, of one without `XDG_CACHE_HOME`, and of
/// its recorded values. Recorded folders count only if they are named as this program names them.
#[must_use]
pub fn all_folders(paths: &Paths) -> Vec<PathBuf> {
    let recorded = recorded_folders(paths).into_iter().filter(|folder| folder.ends_with("ssh-eic/credentials"));
    let mut folders: Vec<PathBuf> =
        std::iter::once(paths.credentials()).chain(paths.usual_credentials()).chain(recorded).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// Removes files that were last written `age` ago or earlier; temporary credentials do not last longer.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn sweep(folder: &Path, age: Duration) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|time| time.elapsed().is_ok_and(|passed| passed > age)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Removes all that is credentials; how many credentials that were.
///
/// # Errors
///
/// Names the first file that cannot be removed; the others are.
pub fn forget_all(folder: &Path) -> Result<usize> {
    let mut forgotten = 0;
    let mut failed = None;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let left_over = entry.file_name().to_string_lossy().starts_with(".ssh-eic-");
        // A lock stays: somebody may be waiting for it.
        if !left_over && path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match fs::remove_file(&path) {
            Ok(()) => forgotten += usize::from(!left_over),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failed = failed.or(Some(Error::file("remove", &path, &error))),
        }
    }
    failed.map_or(Ok(forgotten), Err)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_kept_is_private_and_what_others_could_have_written_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let entry = CacheFile::new(&dir.path().join("c"), "abc");
        assert_eq!(entry.read(), None);
        let credentials = CachedCredentials {
            access_key: "ASIA".into(),
            secret_key: "s".into(),
            session_token: Some("t".into()),
            expires: 9,
            account: None,
        };
        entry.write(&credentials).unwrap();
        assert_eq!(entry.read(), Some(credentials.clone()));
        let path = dir.path().join("c/abc.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        assert_eq!(entry.read(), None);
        entry.write(&credentials).unwrap();
        entry.forget("another");
        assert!(entry.read().is_some());
        entry.forget("ASIA");
        assert_eq!(entry.read(), None);
        assert!(!format!("{credentials:?}").contains("\"t\""));
    }
}
