//! How a command ended when it did not fail.

use crate::error::Error;
use crate::ui;

/// The exit code, and an error that is printed all the same.
#[derive(Debug, Default)]
pub struct Exit {
    /// The process exit code.
    pub code: u8,
    /// To be printed.
    pub error: Option<Error>,
}

impl Exit {
    /// An exit code without a message.
    #[must_use]
    pub fn code(code: u8) -> Self {
        Self { code, error: None }
    }

    /// The end of a sync in which some sources failed; the exit code is the first failure's.
    #[must_use]
    pub fn of_sources(failures: &[Error]) -> Self {
        let Some(code) = failures.first().map(|error| error.kind.exit_code()) else { return Self::default() };
        failures.iter().for_each(ui::error);
        ui::note("the hosts of these sources are unchanged");
        Self::code(code)
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self { code: error.kind.exit_code(), error: Some(error) }
    }
}
