//! The file of what background syncs changed since a user last read about it. A sync adds to it with the lock of syncs
//! held; the command that reports it removes it.

use std::fs;
use std::io;
use std::path::Path;

use crate::domain::unread_changes::UnreadChanges;
use crate::error::{Error, Kind, Result};
use crate::store::paths::Paths;
use crate::store::{files, trusted};

/// Reads the changes; none if there is no file, or one of another version of the program.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be read or trusted.
pub fn read(paths: &Paths) -> Result<UnreadChanges> {
    content(&paths.unread_changes())
}

/// Writes the changes.
///
/// # Errors
///
/// [`Kind::File`] naming the file.
pub fn write(paths: &Paths, changes: &UnreadChanges) -> Result<()> {
    let path = paths.unread_changes();
    if changes.is_empty() {
        return remove(&path);
    }
    let text =
        serde_json::to_vec(changes).map_err(|error| Error::new(Kind::Bug, "cannot write JSON").because(error))?;
    files::replace(&path, &text, 0o600).map(drop)
}

/// Reads the changes and removes their file. It is renamed first, so that what a sync writes meanwhile is kept.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be renamed, read or trusted.
pub fn take(paths: &Paths) -> Result<UnreadChanges> {
    let path = paths.unread_changes();
    let taken = path.with_extension("taken");
    match fs::rename(&path, &taken) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(UnreadChanges::default()),
        renamed => renamed.map_err(|error| Error::file("rename", &path, &error))?,
    }
    let changes = content(&taken);
    remove(&taken)?;
    changes
}

fn content(path: &Path) -> Result<UnreadChanges> {
    let bytes = trusted::read(path)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
}
