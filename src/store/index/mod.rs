//! The instance index: what the last sync found, laid out so that one host is found without reading the others.
//!
//! A text file. Line 1 is a header as JSON; each further line is a key, a tab and a value as JSON, sorted by key in
//! byte order. A key is an alias, a second name or an instance id; the value is a [`Host`] or the alias that has it.
//! Keys with a first character that no name can have are for other things: `@` a source, `=` a bare name that several
//! hosts share, `~` a name that is remembered, `!` what was proven, `>` what an instance has got while nobody was reading.
//! A lookup is a binary search over line starts, a dozen short reads whatever the size.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::config::PushMode;
use crate::domain::diagnosis::Cause;
use crate::domain::fleet::Host;
use crate::domain::ids::InstanceId;
use crate::domain::names::{Holder, Shared};
use crate::domain::ssh_client::CheckedClient;
use crate::error::{Error, Kind, Result};
use crate::store::{files, trusted};

mod content;
#[cfg(test)]
mod tests;

// For `connect`, until it uses the name of the domain.
pub use crate::domain::fleet::PreviousHost as Known;
pub use content::{Content, Proven, SourceRecord, UntoldMove};
use content::{PROVEN, REMEMBERED, SHARED, SOURCE, UNTOLD};

/// Format of the file; another one is read as no index, and the next sync writes it anew.
const VERSION: u32 = 2;
/// Bytes read at a time: the rest of a line and the one behind it, mostly.
const BLOCK: usize = 1024;

/// What holds for all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    version: u32,
    /// When a sync last saw everything, milliseconds since 1970.
    pub synced: u64,
    /// Who pushes.
    pub push: PushMode,
    /// How old it may be before a connection starts a sync, in seconds; none: as old as it likes.
    pub refresh: Option<u64>,
    /// A digest of the config of that sync: under another one `--if-older-than` syncs at any age.
    #[serde(default)]
    pub made_from: String,
    /// When the last sync was, whether it saw everything or not.
    #[serde(default)]
    pub tried: u64,
    /// The sources that the last sync could not query, in full or in part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// Names have moved that nobody has read of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
    /// The ssh client on PATH, and what it can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<CheckedClient>,
}

impl Header {
    /// The header of an index written at `synced`.
    #[must_use]
    pub fn new(synced: u64, push: PushMode, refresh: Option<u64>, made_from: String) -> Self {
        let (tried, failed, untold, client) = (synced, Vec::new(), false, None);
        Self { version: VERSION, synced, push, refresh, made_from, tried, failed, untold, client }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Alias(String),
    Host(Box<Host>),
}

/// An open index.
#[derive(Debug)]
pub struct Index {
    file: File,
    length: u64,
    first_line: u64,
    /// What holds for all hosts.
    pub header: Header,
}

impl Index {
    /// Opens the index; none where there is none, or one of another version.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if it is there and cannot be read.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let fail = |error: io::Error| Error::file("read", path, &error);
        let Some((file, length)) = trusted::open_with_length(path)? else { return Ok(None) };
        let Some(line) = line_at(&file, 0, length).map_err(fail)? else { return Ok(None) };
        let header = serde_json::from_slice::<Header>(&line).ok().filter(|header| header.version == VERSION);
        Ok(header.map(|header| Self { file, length, first_line: line.len() as u64 + 1, header }))
    }

    /// Opens the index for a command that cannot work without one.
    ///
    /// # Errors
    ///
    /// [`Kind::NoHost`] with [`Cause::NoIndex`] if there is none; else as [`Index::open`].
    pub fn open_existing(path: &Path) -> Result<Self> {
        Self::open(path)?.ok_or_else(|| {
            Error::new(Kind::NoHost, "there is no index of instances yet").hint("ssh-eic sync").cause(Cause::NoIndex)
        })
    }

    /// The host of that alias, second name or id.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if the file cannot be read or is damaged.
    pub fn host(&self, name: &str) -> Result<Option<Host>> {
        if name.starts_with([SOURCE, SHARED, REMEMBERED, PROVEN, UNTOLD]) {
            return Ok(None);
        }
        match self.value(name)? {
            None => Ok(None),
            Some(Value::Host(host)) => Ok(Some(*host)),
            Some(Value::Alias(alias)) => match self.value(&alias)? {
                Some(Value::Host(host)) => Ok(Some(*host)),
                _ => Err(damaged()),
            },
        }
    }

    /// The source of that name at the last sync.
    ///
    /// # Errors
    ///
    /// As [`Index::host`].
    pub fn source(&self, name: &str) -> Result<Option<SourceRecord>> {
        self.value(&format!("{SOURCE}{name}"))
    }

    /// What the client has said to the generated config, and a digest of that.
    ///
    /// # Errors
    ///
    /// As [`Index::host`].
    pub fn proven(&self) -> Result<Proven> {
        self.value(&PROVEN.to_string()).map(Option::unwrap_or_default)
    }

    /// The names that an instance has got while nobody was reading.
    ///
    /// # Errors
    ///
    /// As [`Index::host`].
    pub fn untold(&self, id: &InstanceId) -> Result<Vec<UntoldMove>> {
        if !self.header.untold {
            return Ok(Vec::new());
        }
        self.value(&format!("{UNTOLD}{id}")).map(Option::unwrap_or_default)
    }

    /// Who shares that bare name.
    ///
    /// # Errors
    ///
    /// As [`Index::host`].
    pub fn shared(&self, name: &str) -> Result<Option<Shared>> {
        self.value(&format!("{SHARED}{name}"))
    }

    fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let line = self.search(key.as_bytes()).map_err(|error| damaged().because(error))?;
        line.map(|line| serde_json::from_slice(&line).map_err(|error| damaged().because(error))).transpose()
    }

    /// Binary search over line starts. `low` is always one, `high` the start of a line that is too great, or the end.
    fn search(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let (mut low, mut high) = (self.first_line, self.length);
        while low < high {
            let middle = low.midpoint(high);
            let found = if middle == low { None } else { self.line_behind(middle - 1, high)? };
            let (start, line) = match found {
                Some(found) => found,
                None => (low, line_at(&self.file, low, self.length)?.unwrap_or_default()),
            };
            let end = line.iter().position(|&b| b == b'\t').unwrap_or(line.len());
            match line[..end].cmp(key) {
                std::cmp::Ordering::Equal => return Ok(Some(line[(end + 1).min(line.len())..].to_vec())),
                std::cmp::Ordering::Less => low = start + line.len() as u64 + 1,
                std::cmp::Ordering::Greater if start == low => return Ok(None),
                std::cmp::Ordering::Greater => high = start,
            }
        }
        Ok(None)
    }

    /// The line behind the first newline at or after `at`, with its start, if it begins before `limit`: mostly in one
    /// read.
    fn line_behind(&self, at: u64, limit: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut at = at;
        let mut block = [0; BLOCK];
        while at < limit {
            let count = self.file.read_at(&mut block, at)?;
            if count == 0 {
                return Ok(None);
            }
            let Some(newline) = block[..count].iter().position(|&b| b == b'\n') else {
                at += count as u64;
                continue;
            };
            let start = at + newline as u64 + 1;
            if start >= limit {
                return Ok(None);
            }
            let rest = &block[newline + 1..count];
            let line = match rest.iter().position(|&b| b == b'\n') {
                Some(end) => Some(rest[..end].to_vec()),
                None => line_at(&self.file, start, self.length)?,
            };
            return Ok(line.map(|line| (start, line)));
        }
        Ok(None)
    }

    /// All hosts, in the order of their aliases, those without one last.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if the file cannot be read or is damaged.
    pub fn hosts(&self) -> Result<Vec<Host>> {
        let content: Content = self.content()?;
        if content.damaged > 0 {
            return Err(damaged());
        }
        let mut hosts = content.hosts;
        hosts.sort_unstable_by(Host::order);
        Ok(hosts)
    }

    /// Everything, the hosts in any order. Lines that cannot be read are counted.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if the file cannot be read.
    pub fn content<H: DeserializeOwned>(&self) -> Result<Content<H>> {
        let mut bytes = vec![0; usize::try_from(self.length).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, 0).map_err(|error| damaged().because(error))?;
        let mut content = Content::default();
        for line in bytes.split(|&b| b == b'\n').skip(1).filter(|line| !line.is_empty()) {
            // One line that cannot be read takes nothing else with it.
            if content.add(line).is_none() {
                content.damaged += 1;
            }
        }
        Ok(content)
    }
}

/// The line that starts at `start`, without its end; none at the end of the file.
fn line_at(file: &File, start: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut block = [0; BLOCK];
    while start + (line.len() as u64) < length {
        let count = file.read_at(&mut block, start + line.len() as u64)?;
        if count == 0 {
            break;
        }
        if let Some(newline) = block[..count].iter().position(|&b| b == b'\n') {
            line.extend_from_slice(&block[..newline]);
            return Ok(Some(line));
        }
        line.extend_from_slice(&block[..count]);
    }
    Ok((!line.is_empty()).then_some(line))
}

fn damaged() -> Error {
    Error::new(Kind::File, "the instance index is damaged").hint("ssh-eic sync").cause(Cause::IndexDamaged)
}

/// Renders an index, a line at a time: all of it would be as much memory again as the hosts themselves.
fn render(header: &Header, content: &Content, out: &mut dyn io::Write) -> io::Result<()> {
    // Keys and where their values come from; the values themselves are written one at a time.
    let mut lines: BTreeMap<Cow<'_, str>, Entry<'_>> = BTreeMap::new();
    for host in &content.hosts {
        lines.insert(host.label().into(), Entry::Host(host));
    }
    for host in &content.hosts {
        for name in host.all_names().chain([host.id.as_str()]) {
            lines.entry(name.into()).or_insert(Entry::Alias(host.label()));
        }
    }
    let special = |first: char, name: &str| Cow::Owned(format!("{first}{name}"));
    lines.extend(content.sources.iter().map(|source| (special(SOURCE, &source.name), Entry::Source(source))));
    lines.extend(content.shared.iter().map(|(name, shared)| (special(SHARED, name), Entry::Shared(shared))));
    lines.extend(content.memory.iter().map(|(name, held)| (special(REMEMBERED, name), Entry::Held(held))));
    lines.insert(special(PROVEN, ""), Entry::Proven(&content.proven));
    lines.extend(content.untold.iter().map(|(id, told)| (special(UNTOLD, id.as_str()), Entry::Told(told))));
    serde_json::to_writer(&mut *out, header)?;
    for (key, value) in lines {
        write!(out, "\n{key}\t")?;
        serde_json::to_writer(&mut *out, &value)?;
    }
    writeln!(out)
}

#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Alias(&'a str),
    Host(&'a Host),
    Source(&'a SourceRecord),
    Shared(&'a Shared),
    Held(&'a Holder),
    Proven(&'a Proven),
    Told(&'a [UntoldMove]),
}

/// Writes an index.
///
/// # Errors
///
/// Names the file; the old index is then whole.
pub fn write(path: &Path, header: &Header, content: &Content) -> Result<()> {
    files::overwrite_own(path, 0o600, &mut |out| render(header, content, out))
}
