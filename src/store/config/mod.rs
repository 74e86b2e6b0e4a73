//! `config.toml`: reading, checking, and the defaults of every key.
//!
//! Two types: what the user typed ([`Raw`]) and what the program works with ([`Config`]). An unknown key or a value of
//! the wrong form is an error with its line; nothing is silently ignored.

use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::config::Config;
use crate::domain::digest;
use crate::error::{Error, Kind, Result};
use crate::store::paths::Paths;
use crate::store::{credentials, files, trusted};

mod check;
mod raw;
mod table;
#[cfg(test)]
mod tests;

use raw::Raw;
use table::File;

/// Reads the user's file over the machine's; the defaults where there is neither.
///
/// # Errors
///
/// [`Kind::Config`] with file, line and what to write instead; [`Kind::File`] if one cannot be read, or others could
/// have written it: it decides about the user's credentials and command lines.
pub fn load(path: &Path, machine: &Path) -> Result<Config> {
    with_text(&read(path)?.unwrap_or_default(), path, machine)
}

/// As [`load`], with `own` in place of the content of the user's file.
///
/// # Errors
///
/// As [`load`].
pub fn with_text(own: &str, path: &Path, machine: &Path) -> Result<Config> {
    let of_machine = read(machine)?;
    let digest = digest::of([of_machine.as_deref().unwrap_or("").as_bytes(), own.as_bytes()]);
    let config = match of_machine {
        None => parse(own, path)?,
        Some(text) => check::config(raw(own, path)?.over(raw(&text, machine)?))?,
    };
    Ok(Config { digest, ..config })
}

/// Checks the text of a file. `path` is for messages.
///
/// # Errors
///
/// [`Kind::Config`], as [`load`].
pub fn parse(text: &str, path: &Path) -> Result<Config> {
    check::config(raw(text, path)?)
}

/// The folder of temporary credentials, if they are cached. One that `XDG_CACHE_HOME` names is recorded for `logout`,
/// which may run without that variable.
#[must_use]
pub fn credentials_folder(config: &Config, paths: &Paths) -> Option<PathBuf> {
    config.credential_cache.then(|| credentials::recorded_folder(paths))
}

/// The text of a config file that no other user could have written; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let metadata = fs::metadata(path).map_err(|error| Error::file("access", path, &error))?;
    trusted::check_trusted(path, &metadata)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::Config, format!("{}: not UTF-8 text", path.display())))?;
    Ok(Some(text))
}

fn raw(text: &str, path: &Path) -> Result<Raw> {
    let file = File::new(path, text);
    let document = file.document()?;
    Raw::read(&file.top(&document))
}
