//! The error type: its kind (the exit code), what failed and for which thing, and what to do about it.
//!
//! Not here: printing errors (`ui`) and exiting (`main`).

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::diagnosis::Cause;

/// The kind of a failure; each has its exit code in the man page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 1: the result of a check is negative (a difference, a host that is not managed).
    No,
    /// 2: bad usage.
    Usage,
    /// 3: bad config file: config.toml, or a generated one that ssh refuses.
    Config,
    /// 4: no such host, or more than one.
    NoHost,
    /// 5: no, expired or wrong credentials.
    Credentials,
    /// 6: AWS denied the request.
    Denied,
    /// 7: AWS throttled, failed or could not be reached.
    Unavailable,
    /// 8: instance unreachable or not running.
    Unreachable,
    /// 9: local file problem.
    File,
    /// 70: a bug.
    Bug,
}

impl Kind {
    /// All kinds in the order of their exit codes.
    pub const ALL: [Self; 10] = [
        Self::No,
        Self::Usage,
        Self::Config,
        Self::NoHost,
        Self::Credentials,
        Self::Denied,
        Self::Unavailable,
        Self::Unreachable,
        Self::File,
        Self::Bug,
    ];

    /// The meaning, for the man page.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::No => {
                "There is a difference (sync --diff), a connection would fail (doctor), or the host is not managed (match)"
            }
            Self::Usage => "Usage error",
            Self::Config => "Invalid config file",
            Self::NoHost => "No such host, or ambiguous",
            Self::Credentials => "Missing, expired or wrong credentials",
            Self::Denied => "AWS denied the request: a permission is missing",
            Self::Unavailable => "AWS throttled, failed or could not be reached",
            Self::Unreachable => "The instance is unreachable or not running",
            Self::File => "A problem with a local file",
            Self::Bug => "A bug",
        }
    }

    /// The process exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::No => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::NoHost => 4,
            Self::Credentials => 5,
            Self::Denied => 6,
            Self::Unavailable => 7,
            Self::Unreachable => 8,
            Self::File => 9,
            Self::Bug => 70,
        }
    }
}

/// A failure. Passed between processes as JSON, because the proxy's pushes run in a child process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The kind.
    pub kind: Kind,
    /// What failed, for which thing: lower case, no full stop.
    pub message: String,
    /// What to type or change, the most likely first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// The error of a library, shown under `-v` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Set if the instance does not exist any more, so that another one may have its name: what happened to it, such as
    /// `was terminated at 2026-11-23 03:12:00 GMT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
    /// The cause, for `doctor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The error code of AWS's response, such as `OptInRequired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Box<str>>,
}

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error without hints.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), source: None, gone: None, cause: None, code: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Sets the error of a library, shown under `-v`.
    #[must_use]
    pub fn because(mut self, source: impl fmt::Display) -> Self {
        self.source = Some(source.to_string());
        self
    }

    /// Sets what became of an instance that does not exist any more.
    #[must_use]
    pub fn gone(mut self, what: impl Into<String>) -> Self {
        self.gone = Some(what.into());
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// A file operation that failed; `action` is a verb such as `read`.
    #[must_use]
    pub fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        let plain = Self::new(Kind::File, format!("cannot {action} {}: {}", path.display(), reason(error)));
        match error.kind() {
            io::ErrorKind::PermissionDenied => plain.hint(format!("check who owns {} and its mode", path.display())),
            io::ErrorKind::StorageFull => plain.hint("make room on that file system and run it again"),
            _ => plain,
        }
    }

    /// The message and the first hint in one line, as shown inside the SSH protocol.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        match self.hints.first() {
            Some(hint) => format!("ssh-eic: {}; hint: {hint}", self.message),
            None => format!("ssh-eic: {}", self.message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The reason of an I/O error without its number: `permission denied`, not `Permission denied (os error 13)`.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown reason".to_owned(),
    }
}
