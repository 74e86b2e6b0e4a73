//! Removing entries of terminated instances from our `known_hosts` files, which ssh appends to at any time and without a
//! lock.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::domain::ids::InstanceId;
use crate::error::{Error, Result};
use crate::store::{files, trusted};

/// How often a file is read anew because another process appended to it.
const ATTEMPTS: usize = 5;

/// Removes the lines that are only about instances that are `gone`. Returns how many; none if the file does not exist, or
/// if other processes kept appending to it.
///
/// # Errors
///
/// [`crate::error::Kind::File`] if the file cannot be trusted, read or written; it is then as it was.
pub fn remove(path: &Path, gone: &dyn Fn(&InstanceId) -> bool) -> Result<usize> {
    for _ in 0..ATTEMPTS {
        if let Some(removed) = try_to_remove(path, gone, &mut || {})? {
            return Ok(removed);
        }
    }
    Ok(0)
}

/// None if the file changed meanwhile. `before_check` is called before that is checked.
fn try_to_remove(
    path: &Path,
    gone: &dyn Fn(&InstanceId) -> bool,
    before_check: &mut dyn FnMut(),
) -> Result<Option<usize>> {
    let fail = |error: std::io::Error| Error::file("write", path, &error);
    let Some(mut file) = trusted::open(path)? else { return Ok(Some(0)) };
    let mut old = Vec::new();
    file.read_to_end(&mut old).map_err(|error| Error::file("read", path, &error))?;
    let (kept, removed) = without(&old, gone);
    if removed == 0 {
        return Ok(Some(0));
    }
    let mode = file.metadata().map_err(fail)?.mode() & 0o777;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::Builder::new().prefix(".ssh-eic-").tempfile_in(folder).map_err(fail)?;
    new.write_all(&kept).map_err(fail)?;
    new.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(fail)?;
    new.as_file().sync_all().map_err(fail)?;
    before_check();
    let is_unchanged = file.metadata().is_ok_and(|now| now.len() == old.len() as u64);
    if !is_unchanged || !files::is_still_there(&file, path) {
        return Ok(None);
    }
    new.persist(path).map_err(|error| fail(error.error))?;
    // Appended between the check and the rename, to the file that no longer has a name.
    let mut late = Vec::new();
    file.read_to_end(&mut late).map_err(fail)?;
    if !late.is_empty() {
        trusted::open_or_make(path, OFlags::APPEND)?.write_all(&late).map_err(fail)?;
    }
    Ok(Some(removed))
}

fn without(text: &[u8], gone: &dyn Fn(&InstanceId) -> bool) -> (Vec<u8>, usize) {
    let mut kept = Vec::with_capacity(text.len());
    let mut removed = 0;
    for line in text.split_inclusive(|&b| b == b'\n') {
        if is_of(line, gone) {
            removed += 1;
        } else {
            kept.extend_from_slice(line);
        }
    }
    (kept, removed)
}

/// Whether all names of a line (sshd(8), `SSH_KNOWN_HOSTS FILE FORMAT`) are instances that are gone.
fn is_of(line: &[u8], gone: &dyn Fn(&InstanceId) -> bool) -> bool {
    let Ok(line) = str::from_utf8(line) else { return false };
    // A marker in front (@revoked, @cert-authority) is a person's own line.
    let names = line.split_whitespace().next().unwrap_or_default();
    names.split(',').all(|name| {
        let bare = name.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(name);
        InstanceId::parse(bare).is_some_and(|id| gone(&id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "i-0abc12de ssh-ed25519 A\n# a comment\n[i-0abc12de]:2222 ssh-rsa B\ni-0abc12df ssh-ed25519 C\n\
        i-0abc12de,i-0abc12df ssh-rsa D\n@revoked i-0abc12de ssh-rsa E\n\n";
    const LEFT: &str = "# a comment\ni-0abc12df ssh-ed25519 C\ni-0abc12de,i-0abc12df ssh-rsa D\n\
        @revoked i-0abc12de ssh-rsa E\n\n";

    fn gone(id: &InstanceId) -> bool {
        id.as_str() == "i-0abc12de"
    }

    #[test]
    fn only_lines_of_gone_instances_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        assert_eq!(remove(&path, &gone).unwrap(), 0);
        fs::write(&path, TEXT).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(remove(&path, &gone).unwrap(), 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), LEFT);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o644);
        assert_eq!(remove(&path, &gone).unwrap(), 0);
        assert_eq!(fs::metadata(&path).unwrap().ino(), metadata.ino(), "written although nothing changed");
    }

    #[test]
    fn a_file_that_another_process_appended_to_is_left_and_the_next_attempt_keeps_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known_hosts");
        fs::write(&path, TEXT).unwrap();
        let append = || {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(b"i-0abc12e0 ssh-ed25519 F\n").unwrap();
        };
        assert_eq!(try_to_remove(&path, &gone, &mut || append()).unwrap(), None);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{TEXT}i-0abc12e0 ssh-ed25519 F\n"));
        assert_eq!(remove(&path, &gone).unwrap(), 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{LEFT}i-0abc12e0 ssh-ed25519 F\n"));
    }
}
