//! What a sync is run with, and on which occasion.

use std::path::PathBuf;

use crate::domain::config::Config;
use crate::store::paths::Paths;

/// The settings of one sync.
#[derive(Debug)]
pub struct Run<'a> {
    /// All paths.
    pub paths: &'a Paths,
    /// The checked config.
    pub config: &'a Config,
    /// The absolute path of this program, as ssh is to call it.
    pub binary: PathBuf,
    /// Flags that lead the hook and the proxy to other files than the default ones.
    pub flags: Vec<(String, String)>,
    /// Only these sources are queried; the hosts of the others stay.
    pub only: Option<Vec<String>>,
    /// Only if the index is at least this old, in milliseconds, or the config has changed.
    pub if_older_than: Option<u64>,
    /// Who started it.
    pub occasion: Occasion,
    /// Names may move to other accounts and earlier sources.
    pub accept_moves: bool,
}

/// Who started a sync. One whose output is not read reports moves later. One that no user started creates no index if there
/// is none: a user who has just removed everything does not want it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A user who reads the output.
    Person,
    /// A timer, which reports errors only.
    Unread,
    /// A connection that needs the result.
    Connection,
    /// A refresh in the background: it does nothing if another sync is running.
    Background,
}

impl Occasion {
    /// Whether no user started it.
    #[must_use]
    pub fn is_unasked(self) -> bool {
        matches!(self, Self::Connection | Self::Background)
    }
}
