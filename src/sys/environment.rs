//! What we take from the environment, as values.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

/// In the environment of an `ssh -G` of our own: the hook has nothing to do then.
pub const HOOK_OFF: &str = "SSH_EIC_HOOK_OFF";

/// A variable that is set and not empty.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The absolute path under which this program was found, symlinks unresolved: a resolved one dies at the next upgrade
/// of a package manager that keeps versions side by side.
///
/// # Errors
///
/// If not even the system knows it.
pub fn own_binary() -> Result<PathBuf> {
    find().ok_or_else(|| Error::new(Kind::Bug, "cannot find the program's own path"))
}

fn find() -> Option<PathBuf> {
    let called = PathBuf::from(env::args_os().next()?);
    if called.is_absolute() {
        return Some(called);
    }
    if called.components().count() > 1 {
        return std::path::absolute(&called).ok();
    }
    let path = env::var_os("PATH")?;
    let found = env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&called))
        .find(|file| file.is_file());
    found.or_else(|| env::current_exe().ok())
}
