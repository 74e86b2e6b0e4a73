//! One file for each subcommand; none uses another.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::{Error, Kind, Result, reason};
use crate::store::index::Index;

pub mod config;
mod context;
pub mod doctor;
mod exit;
pub mod generate;
pub mod init;
pub mod inventory;
pub mod list;
pub mod logout;
pub mod match_hook;
pub mod policy;
pub mod proxy;
pub mod push;
pub mod remove;
pub mod sync;
pub mod values;
pub mod worker;

pub use context::Context;
pub use exit::Exit;

/// Writes data to stdout; a reader that has seen enough is no failure.
///
/// # Errors
///
/// [`crate::error::Kind::File`] if it cannot be written.
pub fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// The same for what need not be text.
///
/// # Errors
///
/// As [`print`].
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::File, format!("cannot write to stdout: {}", reason(&error))))
        }
        _ => Ok(()),
    }
}

/// Writes pretty JSON and a newline to stdout.
///
/// # Errors
///
/// As [`print`].
pub fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Kind::Bug, "cannot write JSON").because(error))?;
    print(&(text + "\n"))
}

/// Whether the index has this alias or instance id.
#[must_use]
pub fn is_managed(context: &Context, name: &str) -> bool {
    let index = Index::open(&context.paths.index()).ok().flatten();
    index.is_some_and(|index| index.host(name).is_ok_and(|host| host.is_some()))
}
