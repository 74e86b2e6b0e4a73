//! Atomic replacement of files, and locking.
//!
//! Every write goes to a temporary file in the same folder, is synced and renamed over the old one, through symlinks,
//! with the old one's mode and owner, and only if the content differs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::domain::diagnosis::Cause;
use crate::error::{Error, Kind, Result};
use crate::store::trusted;

/// Reads a file; `None` if it does not exist.
///
/// # Errors
///
/// Every failure except a missing file; names the path.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    // Opening a pipe would wait for its writer, for ever if there is none.
    let opened = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path, &error)),
    };
    let mut bytes = Vec::new();
    let read = file.metadata().and_then(|metadata| {
        let is_pipe = metadata.file_type().is_fifo();
        if is_pipe { Err(io::Error::other("it is a pipe")) } else { file.read_to_end(&mut bytes) }
    });
    read.map(|_| Some(bytes)).map_err(|error| Error::file("read", path, &error))
}

/// Creates a folder (and its parents) that only its owner can enter, if it does not exist.
///
/// # Errors
///
/// Names the folder, also if it exists and can be changed by others.
pub fn make_private_folder(path: &Path) -> Result<()> {
    let look = || fs::metadata(path).map_err(|error| Error::file("access", path, &error));
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => metadata,
        _ => make_folder(path).and_then(|()| look())?,
    };
    trusted::check_trusted(path, &metadata)
}

fn make_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| Error::file("make", path, &e))
}

/// Replaces the content of a file of the user's if it differs. A symbolic link is followed. A new file gets `mode`; an
/// old one keeps its own.
///
/// Returns whether anything was written.
///
/// # Errors
///
/// Names the path; the old file is unchanged then.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<bool> {
    if has_length(path, content.len()) && read(path)?.as_deref() == Some(content) {
        return Ok(false);
    }
    overwrite(path, mode, &mut |file| file.write_all(content)).map(|()| true)
}

/// As [`replace`], for a file of this program: a symbolic link in its place is replaced and not followed.
///
/// # Errors
///
/// As [`replace`].
pub fn replace_own(path: &Path, content: &[u8], mode: u32) -> Result<bool> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if is_file && has_length(path, content.len()) && read(path)?.as_deref() == Some(content) {
        return Ok(false);
    }
    overwrite_own(path, mode, &mut |file| file.write_all(content)).map(|()| true)
}

fn has_length(path: &Path, length: usize) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == length as u64)
}

/// As [`replace`], without comparing the content first: for content that always differs. `write` writes it.
///
/// # Errors
///
/// As [`replace`].
pub fn overwrite(path: &Path, mode: u32, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    overwrite_own(&target_of(path)?, mode, write)
}

/// As [`overwrite`], for a file of this program: a symbolic link in its place is replaced and not followed.
///
/// # Errors
///
/// As [`replace`].
pub fn overwrite_own(target: &Path, mode: u32, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    let fail = |error: io::Error| Error::file("write", target, &error);
    let old = match fs::symlink_metadata(target) {
        Ok(metadata) => Some(metadata).filter(|metadata| !metadata.is_symlink()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fail(error)),
    };
    let mode = old.as_ref().map_or(mode, |metadata| metadata.mode() & 0o7777);
    let mut temporary = tempfile::Builder::new().prefix(".ssh-eic-").tempfile_in(folder).map_err(fail)?;
    let mut buffered = io::BufWriter::new(&mut temporary);
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(fail)?;
    drop(buffered);
    let file = temporary.as_file();
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    if let Some(old) = old {
        let new = file.metadata().map_err(fail)?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid())).map_err(fail)?;
        }
    }
    file.sync_all().map_err(fail)?;
    temporary.persist(target).map_err(|error| fail(error.error))?;
    if let Ok(folder) = File::open(folder) {
        // The rename itself survives a power cut only with its folder synced; not every file system can.
        let _ = folder.sync_all();
    }
    Ok(())
}

/// The final target of a symlink, also if that does not exist yet. A link of another user is not followed.
fn target_of(path: &Path) -> Result<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    let mut target = path.to_owned();
    for _ in 0..40 {
        let Ok(link) = fs::read_link(&target) else { return Ok(target) };
        let owner = fs::symlink_metadata(&target).map_err(|error| Error::file("access", &target, &error))?.uid();
        if owner != own && owner != 0 {
            let what = format!("{} is a symbolic link of another user (user id {owner})", target.display());
            return Err(Error::new(Kind::File, what)
                .hint(format!("remove it: rm {}", target.display()))
                .cause(Cause::FileWritable));
        }
        target = target.parent().unwrap_or(Path::new("/")).join(link);
    }
    Err(Error::file("follow", path, &io::Error::other("too many symbolic links")))
}

/// Moves or copies the file `from` to `to` unless `to` exists. Returns whether it did.
///
/// # Errors
///
/// The I/O error, on a file system with neither links nor `RENAME_NOREPLACE`, if the file cannot be created either.
pub fn place_new(from: &Path, to: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let exists = |error: &io::Error| error.kind() == io::ErrorKind::AlreadyExists;
    match fs::hard_link(from, to) {
        Ok(()) => return Ok(true),
        Err(error) if exists(&error) => return Ok(false),
        Err(_) => {}
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from) {
        Ok(()) => return Ok(true),
        Err(error) if exists(&error) => return Ok(false),
        Err(_) => {}
    }
    let metadata = fs::metadata(from)?;
    match OpenOptions::new().write(true).create_new(true).mode(metadata.mode() & 0o777).open(to) {
        Ok(mut file) => {
            file.write_all(&fs::read(from)?).and_then(|()| file.set_modified(metadata.modified()?)).map(|()| true)
        }
        Err(error) if exists(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates an empty file that only its owner can read, unless the file exists.
///
/// # Errors
///
/// Names the path.
pub fn make_if_absent(path: &Path) -> Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::file("make", path, &error)),
        _ => Ok(()),
    }
}

/// Like [`replace`], for small records that may be lost in a power cut: not synced.
///
/// # Errors
///
/// Names the path.
pub fn replace_record(path: &Path, content: &[u8]) -> Result<()> {
    let fail = |error: io::Error| Error::file("write", path, &error);
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut temporary = tempfile::Builder::new().prefix(".ssh-eic-").tempfile_in(folder).map_err(fail)?;
    temporary.write_all(content).map_err(fail)?;
    temporary.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// A folder for trial configs inside `parent`, removed when the value is dropped.
///
/// # Errors
///
/// Names the parent.
pub fn trial_folder(parent: &Path) -> Result<tempfile::TempDir> {
    make_folder(parent)?;
    tempfile::Builder::new()
        .prefix(TRIAL)
        // The default mode follows the umask, with which the group may be able to replace the config.
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(|error| Error::file("write a trial config in", parent, &error))
}

/// Age from which a temporary file is removed: no process is still writing it.
const LEFT_OVER: Duration = Duration::from_hours(1);

/// Removes temporary files of processes that were killed; with `all` also recent ones, which requires the lock of all
/// writers. Folders are removed only if `ours`: `folder` contains no file of the user.
pub fn sweep_temporaries(folder: &Path, ours: bool, all: bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        // A time that is far in the future comes from a wrong clock, not from a process that is writing.
        let is_old = metadata.modified().is_ok_and(|time| match time.elapsed() {
            Ok(passed) => passed > LEFT_OVER,
            Err(ahead) => ahead.duration() > LEFT_OVER,
        });
        if (is_old || all) && is_temporary(&entry.file_name().to_string_lossy()) {
            if metadata.is_file() {
                let _ = fs::remove_file(entry.path());
            } else if ours && metadata.is_dir() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Removes the trial folders in `folder` that a killed process left behind, whatever their age. Only for the process that
/// holds the lock under which they are made.
pub fn remove_trial_folders(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && name.starts_with(TRIAL) && is_temporary(&name) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The prefix of the names of trial folders.
const TRIAL: &str = ".ssh-eic-trial-";

/// The prefix and the six random characters of tempfile.
fn is_temporary(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(".ssh-eic-") else { return false };
    let random = rest.strip_prefix("trial-").unwrap_or(rest);
    random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Opens a lock file without locking it.
///
/// # Errors
///
/// The I/O error, without the purpose of the lock.
pub fn open_lock(path: &Path) -> io::Result<File> {
    trusted::open_or_make(path, OFlags::empty()).map_err(|error| io::Error::other(error.message))
}

/// A lock file that this process has locked.
#[derive(Debug)]
pub struct Lock {
    /// The open file; dropping it releases the lock.
    pub file: File,
    /// Whether other processes are excluded: not on a file system without locks.
    pub is_exclusive: bool,
}

/// Locks a file, which is created if it does not exist; `None` if that takes longer than `timeout`.
///
/// A lock file that another process removed in the meantime excludes no process, so that it is opened again.
///
/// # Errors
///
/// [`Kind::File`] if the file or its folder cannot be trusted or opened.
pub fn lock(path: &Path, timeout: Duration) -> Result<Option<Lock>> {
    let start = Instant::now();
    loop {
        let file = trusted::open_or_make(path, OFlags::empty())?;
        match acquire(&file, timeout.saturating_sub(start.elapsed())) {
            Acquired::TimedOut => return Ok(None),
            Acquired::Unsupported => return Ok(Some(Lock { file, is_exclusive: false })),
            Acquired::Locked if is_still_there(&file, path) => return Ok(Some(Lock { file, is_exclusive: true })),
            Acquired::Locked => {}
        }
    }
}

/// Removes a lock file unless another process holds it. A process that waits for it opens it again (see [`lock`]).
pub fn remove_lock(path: &Path) {
    let Ok(Some(file)) = trusted::open(path) else { return };
    if matches!(acquire(&file, Duration::ZERO), Acquired::Locked) && is_still_there(&file, path) {
        let _ = fs::remove_file(path);
    }
}

/// Whether the path still leads to this open file; another process may have removed it.
#[must_use]
pub fn is_still_there(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Whether the lock was taken in time; a file system without locks counts as taken.
#[must_use]
pub fn wait_for(file: &File, timeout: Duration) -> bool {
    !matches!(acquire(file, timeout), Acquired::TimedOut)
}

/// How waiting for a lock ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// This process has it.
    Locked,
    /// Another process still has it.
    TimedOut,
    /// The file system has no locks.
    Unsupported,
}

/// Locks an open file.
///
/// A process waits in the kernel, in the order of arrival: two hundred processes that poll every few milliseconds take
/// processor time from the one that has the lock.
#[must_use]
pub fn acquire(file: &File, timeout: Duration) -> Acquired {
    match file.try_lock() {
        Ok(()) => return Acquired::Locked,
        Err(fs::TryLockError::Error(_)) => return Acquired::Unsupported,
        Err(fs::TryLockError::WouldBlock) if timeout.is_zero() => return Acquired::TimedOut,
        Err(fs::TryLockError::WouldBlock) => {}
    }
    // flock(2) has no timeout, so that a thread waits, with a second descriptor of the same open file: both descriptors
    // hold the lock until both are closed.
    let Ok(same) = file.try_clone() else { return Acquired::TimedOut };
    let (sender, receiver) = mpsc::channel();
    let waiting = thread::Builder::new().stack_size(64 * 1024).spawn(move || {
        let _ = same.lock();
        sender.send(())
    });
    let is_locked = waiting.is_ok() && receiver.recv_timeout(timeout).is_ok();
    if is_locked { Acquired::Locked } else { Acquired::TimedOut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_follows_links_keeps_the_mode_and_happens_only_if_needed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("dotfiles-config");
        let link = dir.path().join("config");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("dotfiles-config", &link).unwrap();
        assert!(replace(&link, b"new", 0o600).unwrap());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        let inode = fs::metadata(&real).unwrap().ino();
        assert!(!replace(&link, b"new", 0o600).unwrap());
        assert_eq!(fs::metadata(&real).unwrap().ino(), inode);
    }

    #[test]
    fn a_dangling_symlink_gets_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("config");
        std::os::unix::fs::symlink("later", &link).unwrap();
        assert!(replace(&link, b"new", 0o600).unwrap());
        assert_eq!(fs::read(dir.path().join("later")).unwrap(), b"new");
    }

    #[test]
    fn a_failed_write_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no-such-folder/config");
        let error = replace(&path, b"new", 0o600).unwrap_err();
        assert!(error.message.contains("no-such-folder/config"), "{}", error.message);
    }
}
