//! What is wrong with a config, said with its file, its line and the nearest key.

use std::path::Path;

use crate::error::{Error, Kind};

/// Errors that name the file and, where the key is found in it, the line.
#[derive(Clone, Copy)]
pub(super) struct Complaint<'a> {
    pub(super) text: &'a str,
    pub(super) path: &'a Path,
    /// Lines before this one (counted from 0) are of other tables.
    pub(super) from: usize,
}

impl Complaint<'_> {
    /// About the table of that name at this position.
    pub(super) fn in_table(self, name: &str, position: usize) -> Self {
        let header = format!("[[{name}]]");
        let is_table = |line: &str| line.trim_start().starts_with(&header);
        let from =
            self.text.lines().enumerate().filter(|(_, line)| is_table(line)).nth(position).map_or(0, |(at, _)| at);
        Self { from, ..self }
    }

    pub(super) fn about(&self, key: &str, message: impl AsRef<str>) -> Error {
        let message = message.as_ref();
        let is_it = |line: &str| {
            let line = line.trim_start();
            line.starts_with("[[") && line.starts_with(key)
                || line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        // In its own table, else anywhere: it may come from [defaults].
        let lines = || self.text.lines().enumerate();
        let found =
            lines().skip(self.from).find(|(_, line)| is_it(line)).or_else(|| lines().find(|(_, line)| is_it(line)));
        let line = found.map(|(at, _)| format!(":{}", at + 1)).unwrap_or_default();
        Error::new(Kind::Config, format!("{}{line}: {message}", self.path.display()))
    }
}

/// What the TOML parser or serde has against the text.
pub(super) fn syntax_error(text: &str, path: &Path, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    let message = error.message().lines().next().unwrap_or("it cannot be read");
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let complaint = Error::new(Kind::Config, format!("{}{line}: {what}", path.display()));
    match nearest_key(message) {
        Some(key) => complaint.hint(format!("did you mean {key:?}?")),
        None if expected.is_empty() => complaint,
        None => complaint.hint(format!("write {}", expected.replace('`', ""))),
    }
}

/// From serde's "unknown field `regoin`, expected one of `region`, …".
fn nearest_key(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field").then(|| quoted.next())??;
    let (distance, key) = quoted.map(|key| (strsim::damerau_levenshtein(unknown, key), key)).min()?;
    (distance <= 3).then(|| key.to_owned())
}
