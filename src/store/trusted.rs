//! Opening the program's own files, but only where no other user could have written them.
//!
//! The folder is opened first and the file inside it, never through a symbolic link; owner and mode are read from the
//! open descriptors, so that nothing can be exchanged between the check and the use. Not here: files that belong to the
//! user and may be links (`~/.ssh/config`, `config.toml`).

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::domain::diagnosis::Cause;
use crate::error::{Error, Kind, Result};

/// The largest buffer that is allocated for a file before anything is read, in bytes.
const LARGEST_BUFFER: usize = 1024 * 1024;

/// Opens a file for reading; none if it or its folder does not exist.
///
/// # Errors
///
/// [`Kind::File`] if the file or its folder can be changed by others, if it is a link or no regular file, or if it cannot
/// be opened.
pub fn open(path: &Path) -> Result<Option<File>> {
    Ok(open_with_length(path)?.map(|(file, _)| file))
}

/// As [`open`], with the length of the file in bytes.
///
/// # Errors
///
/// As [`open`].
pub fn open_with_length(path: &Path) -> Result<Option<(File, u64)>> {
    match open_in_folder(path, OFlags::RDONLY) {
        Ok(file) => check(path, &file).map(|metadata| Some((file, metadata.len()))),
        Err(Failure::Io(Errno::NOENT)) => Ok(None),
        Err(failure) => Err(failure.explain("read", path)),
    }
}

/// Opens a file for reading and writing and makes it, readable by its owner only, if it does not exist.
///
/// # Errors
///
/// As [`open`]; also if the folder does not exist, or if the file has a second name (hard link): what is written in place
/// would change the other file.
pub fn open_or_make(path: &Path, more: OFlags) -> Result<File> {
    let opened = open_in_folder(path, OFlags::RDWR | OFlags::CREATE | more);
    let file = opened.map_err(|failure| failure.explain("open", path))?;
    let metadata = check(path, &file)?;
    if metadata.nlink() > 1 {
        return Err(Error::new(Kind::File, format!("{} is a hard link to another file", path.display()))
            .hint(format!("remove it: rm {}", path.display()))
            .cause(Cause::FileWritable));
    }
    Ok(file)
}

/// Reads a file; none if it or its folder does not exist.
///
/// # Errors
///
/// As [`open`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let Some((file, length)) = open_with_length(path)? else { return Ok(None) };
    // Larger than the file, so that the buffer is not moved at its end: a private key must not stay behind in memory.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default().min(LARGEST_BUFFER) + 64);
    file.take(u64::MAX).read_to_end(&mut bytes).map_err(|error| Error::file("read", path, &error))?;
    Ok(Some(bytes))
}

/// Refuses a file or folder that another user could have written: the owner has to be the user or root, and others may
/// not write it.
///
/// # Errors
///
/// [`Kind::File`] naming the path.
pub fn check_trusted(path: &Path, metadata: &Metadata) -> Result<()> {
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        let message = format!("{} belongs to user id {}, not to you", path.display(), metadata.uid());
        return Err(Error::new(Kind::File, message)
            .hint("run ssh-eic as yourself, without sudo")
            .hint(format!("sudo chown -R \"$(id -u)\" {}", path.display()))
            .cause(Cause::NotYours));
    }
    if metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let message = format!("other users can write {} (mode {:o})", path.display(), metadata.mode() & 0o777);
    Err(Error::new(Kind::File, message).hint(format!("chmod go-w {}", path.display())).cause(Cause::FileWritable))
}

enum Failure {
    Io(Errno),
    Refused(Error),
}

impl Failure {
    fn explain(self, what: &str, path: &Path) -> Error {
        match self {
            Self::Refused(error) => error,
            // macOS and Linux say LOOP, some BSDs MLINK.
            Self::Io(Errno::LOOP | Errno::MLINK) => {
                Error::new(Kind::File, format!("{} is a symbolic link", path.display()))
                    .hint(format!("remove it: rm {}", path.display()))
                    .cause(Cause::FileWritable)
            }
            Self::Io(errno) => Error::file(what, path, &io::Error::from(errno)),
        }
    }
}

fn open_in_folder(path: &Path, flags: OFlags) -> std::result::Result<File, Failure> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::Io(Errno::INVAL));
    };
    let opened = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let opened = File::from(opened.map_err(Failure::Io)?);
    let metadata = opened.metadata().map_err(|error| Failure::Refused(Error::file("access", folder, &error)))?;
    check_trusted(folder, &metadata).map_err(Failure::Refused)?;
    // NONBLOCK: opening a pipe would wait for its other end. It means nothing for a regular file.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(&opened, name, flags, Mode::RUSR | Mode::WUSR).map(File::from).map_err(Failure::Io)
}

fn check(path: &Path, file: &File) -> Result<Metadata> {
    let metadata = file.metadata().map_err(|error| Error::file("access", path, &error))?;
    if !metadata.is_file() {
        return Err(Error::new(Kind::File, format!("{} is not a regular file", path.display()))
            .hint(format!("remove it: rm -r {}", path.display())));
    }
    check_trusted(path, &metadata).map(|()| metadata)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_regular_files_that_nobody_else_can_write_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(read(&path).unwrap().is_none());
        assert!(read(&dir.path().join("no-folder/file")).unwrap().is_none());
        drop(open_or_make(&path, OFlags::empty()).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "own").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"own");

        let refused = |path: &Path, why: &str| {
            for error in [open(path).unwrap_err(), open_or_make(path, OFlags::empty()).unwrap_err()] {
                assert!(error.message.contains(why), "{}", error.message);
            }
        };
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        refused(&link, "is a symbolic link");
        let nowhere = dir.path().join("nowhere");
        symlink(dir.path().join("made"), &nowhere).unwrap();
        refused(&nowhere, "is a symbolic link");
        assert!(!dir.path().join("made").exists(), "a file was made behind a link");
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        refused(&pipe, "is not a regular file");
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        refused(&path, "other users can write");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        refused(&path, "other users can write");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
            refused(&path, "user id 4242");
        }
    }
}
