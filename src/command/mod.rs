//! One file for each subcommand; none uses another.

use std::io::{self, Write};

use crate::connect::worker::Program;
use crate::error::{Error, Kind, Result, reason};
use crate::store::paths::Paths;
use crate::sys::environment;
use crate::ui;

pub mod doctor;
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
pub mod worker;

/// What every command gets.
#[derive(Debug)]
pub struct Context {
    /// All paths.
    pub paths: Paths,
    /// Flags that lead another process of ours to the same paths: those that are not the default ones.
    pub flags: Vec<(String, String)>,
}

impl Context {
    /// How to start further processes of ours.
    ///
    /// # Errors
    ///
    /// If the program's own path cannot be found.
    pub fn program(&self) -> Result<Program> {
        Ok(Program { binary: environment::own_binary()?, flags: self.flags.clone() })
    }
}

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

/// How a command ended when it did not fail: the exit code, and an error that is to be told all the same.
#[derive(Debug, Default)]
pub struct Exit {
    /// The process exit code.
    pub code: u8,
    /// To be printed.
    pub error: Option<Error>,
}

impl Exit {
    /// Ends with a code and nothing to say.
    #[must_use]
    pub fn code(code: u8) -> Self {
        Self { code, error: None }
    }

    /// The end of a sync in which some sources failed; the first one's kind is the exit code.
    #[must_use]
    pub fn of_sources(failures: &[Error]) -> Self {
        let Some(code) = failures.first().map(|error| error.kind.exit_code()) else { return Self::default() };
        failures.iter().for_each(ui::error);
        ui::note("the hosts of these sources stay as they were");
        Self::code(code)
    }
}
