//! Host keys that were read from console outputs: a record per instance, and the lines that ssh reads
//! (`known_hosts.console`).
//!
//! A record is written when a console was read, also if it had no keys; a record with keys is never replaced by one
//! without, because the block is lost after some reboots. Beside it is the last key that a proxy accepted.
//! Not here: reading consoles (`aws::console`), the decision on a key (`domain::host_trust`).

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::console::{ConsoleKeys, Unusable};
use crate::domain::host_key::HostKey;
use crate::domain::ids::InstanceId;
use crate::error::{Error, Result};
use crate::store::paths::Paths;
use crate::store::{files, known_hosts, trusted};

mod console_record;

pub use console_record::ConsoleRecord;

/// Extension of the file with the last accepted key.
const ACCEPTED: &str = "accepted";

/// The last key that a proxy with a console mode accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// `SHA256:…`
    pub fingerprint: String,
    /// Where it is listed; `None`: it was left to ssh, which trusts it on first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// How the host key of an instance came to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// This source lists it.
    Verified(String),
    /// ssh recorded it at the first connection.
    FirstUse,
    /// No key is known.
    Unknown,
}

/// The console's name in [`Accepted::source`] and in messages.
pub const CONSOLE: &str = "console output";

/// The record of an instance; `None` if its console has not been read, or the record is damaged.
///
/// # Errors
///
/// [`crate::error::Kind::File`] if the file cannot be trusted or read.
pub fn load(paths: &Paths, id: &InstanceId) -> Result<Option<ConsoleRecord>> {
    read(&paths.host_keys().join(id.as_str()))
}

/// The last accepted key of an instance.
///
/// # Errors
///
/// As [`load`].
pub fn accepted(paths: &Paths, id: &InstanceId) -> Result<Option<Accepted>> {
    read(&accepted_path(paths, id))
}

fn accepted_path(paths: &Paths, id: &InstanceId) -> PathBuf {
    paths.host_keys().join(format!("{id}.{ACCEPTED}"))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    Ok(trusted::read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Stores what the consoles of instances had, and writes the lines that ssh reads. The first record of an instance, and
/// the first one with keys, also removes what ssh recorded for it on first use.
///
/// # Errors
///
/// [`crate::error::Kind::File`] if a file cannot be written.
pub fn store(paths: &Paths, read: &[(InstanceId, ConsoleRecord)]) -> Result<()> {
    let mut new = Vec::new();
    for (id, record) in read {
        match load(paths, id)? {
            Some(old) if old.has_keys() => {}
            old => new.push((id, record, old.is_none() || record.has_keys())),
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    files::make_private_folder(&paths.host_keys())?;
    let [recorded_by_ssh, _] = paths.known_hosts();
    let switched: HashSet<&InstanceId> =
        new.iter().filter(|(_, _, is_switch)| *is_switch).map(|(id, _, _)| *id).collect();
    known_hosts::remove(&recorded_by_ssh, &|id| switched.contains(id))?;
    let lines: Vec<String> = new
        .iter()
        .flat_map(|(id, record, _)| match record.console_keys() {
            ConsoleKeys::Keys(keys) => keys.iter().map(|key| key.known_hosts_line(id.as_str())).collect(),
            ConsoleKeys::Fingerprints(_) | ConsoleKeys::Unusable(_) => Vec::new(),
        })
        .collect();
    add_lines(paths, &lines)?;
    for (id, record, _) in new {
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        files::replace_record(&paths.host_keys().join(id.as_str()), &bytes)?;
    }
    Ok(())
}

/// Lists a key that matched a fingerprint of the console.
///
/// # Errors
///
/// As [`store`].
pub fn add_key(paths: &Paths, id: &InstanceId, key: &HostKey) -> Result<()> {
    add_lines(paths, &[key.known_hosts_line(id.as_str())])
}

/// Appends lines that are not in `known_hosts.console` yet, in one write.
fn add_lines(paths: &Paths, lines: &[String]) -> Result<()> {
    let [_, path] = paths.known_hosts();
    let old = trusted::read(&path)?.unwrap_or_default();
    let listed: HashSet<&[u8]> = old.split_inclusive(|&b| b == b'\n').collect();
    let mut text: String = lines.iter().filter(|line| !listed.contains(line.as_bytes())).map(String::as_str).collect();
    if text.is_empty() {
        return Ok(());
    }
    if old.last().is_some_and(|&last| last != b'\n') {
        text.insert(0, '\n');
    }
    let mut file = trusted::open_or_make(&path, OFlags::APPEND)?;
    file.write_all(text.as_bytes()).map_err(|error| Error::file("write", &path, &error))
}

/// Records the key that a proxy accepted, unless that is recorded already.
///
/// # Errors
///
/// As [`store`].
pub fn set_accepted(paths: &Paths, id: &InstanceId, new: &Accepted) -> Result<()> {
    if accepted(paths, id)?.as_ref() == Some(new) {
        return Ok(());
    }
    files::make_private_folder(&paths.host_keys())?;
    files::replace_record(&accepted_path(paths, id), &serde_json::to_vec(new).unwrap_or_default())
}

/// Removes the records of instances that are `gone`.
pub fn remove(paths: &Paths, gone: &dyn Fn(&InstanceId) -> bool) {
    for entry in fs::read_dir(paths.host_keys()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if id_of_file(&name.to_string_lossy()).is_some_and(|id| gone(&id)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The instance that a file in the folder of records is about.
#[must_use]
pub fn id_of_file(name: &str) -> Option<InstanceId> {
    InstanceId::parse(name.strip_suffix(ACCEPTED).and_then(|name| name.strip_suffix('.')).unwrap_or(name))
}

/// cloud-init prints the keys near the end of the first boot, so an output without a block is final only if it was read
/// this long after the launch, in milliseconds.
pub const BOOT: u64 = 15 * 60 * 1000;

/// Whether the console has not been read, or has no keys and was read before the first boot was over.
#[must_use]
pub fn is_unread(record: Option<&ConsoleRecord>, launched: i64) -> bool {
    let Some(record) = record else { return true };
    let booted = u64::try_from(launched).unwrap_or(0).saturating_mul(1000).saturating_add(BOOT);
    match record.unusable() {
        None | Some(Unusable::EmptyBlock | Unusable::TruncatedKey) => false,
        Some(Unusable::NoOutput | Unusable::NoBlock | Unusable::UnclosedBlock) => record.read < booted,
    }
}

/// How the host keys of all instances came to be trusted, for a list.
#[derive(Debug, Default)]
pub struct Overview {
    verified: BTreeMap<InstanceId, String>,
    first_use: HashSet<InstanceId>,
}

impl Overview {
    /// Reads all records. One that cannot be read has no part in it.
    #[must_use]
    pub fn read(paths: &Paths) -> Self {
        let mut overview = Self::default();
        for entry in fs::read_dir(paths.host_keys()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Some(id) = id_of_file(&name) else { continue };
            if name.ends_with(ACCEPTED) {
                match accepted(paths, &id) {
                    Ok(Some(Accepted { source: Some(source), .. })) => {
                        overview.verified.insert(id, source);
                    }
                    Ok(Some(Accepted { source: None, .. })) => {
                        overview.first_use.insert(id);
                    }
                    Ok(None) | Err(_) => {}
                }
            } else if load(paths, &id).is_ok_and(|record| record.is_some_and(|record| record.has_keys())) {
                overview.verified.entry(id).or_insert_with(|| CONSOLE.to_owned());
            }
        }
        let [recorded_by_ssh, _] = paths.known_hosts();
        let text = trusted::read(&recorded_by_ssh).ok().flatten().unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let names = line.split_ascii_whitespace().next().unwrap_or_default();
            overview.first_use.extend(names.split(',').filter_map(InstanceId::parse));
        }
        overview
    }

    /// How the key of one instance came to be trusted.
    #[must_use]
    pub fn of(&self, id: &InstanceId) -> Trust {
        match self.verified.get(id) {
            Some(source) => Trust::Verified(source.clone()),
            None if self.first_use.contains(id) => Trust::FirstUse,
            None => Trust::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::paths::Environment;

    const ED25519: &str = include_str!("../../../domain/src/testdata/kex/ed25519.pub");
    const RSA: &str = include_str!("../../../domain/src/testdata/kex/rsa.pub");

    fn paths(home: &Path) -> Paths {
        let environment = Environment { own_home: Some(home.to_owned()), ..Environment::default() };
        let paths = Paths::new(&environment).unwrap();
        files::make_private_folder(&paths.eic).unwrap();
        paths
    }

    fn id(text: &str) -> InstanceId {
        InstanceId::parse(text).unwrap()
    }

    fn keys(lines: &[&str]) -> ConsoleKeys {
        ConsoleKeys::Keys(lines.iter().map(|line| HostKey::parse(line).unwrap()).collect())
    }

    #[test]
    fn keys_are_listed_for_ssh_once_and_stay_when_the_block_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir.path().join("eic"));
        let [recorded_by_ssh, of_console] = paths.known_hosts();
        let (one, other) = (id("i-0abc12de"), id("i-0abc12df"));
        files::replace(&recorded_by_ssh, format!("{one} {RSA}{other} {RSA}").as_bytes(), 0o600).unwrap();
        files::replace(&of_console, b"i-0abc12ee ssh-ed25519 no-newline", 0o600).unwrap();
        let record = ConsoleRecord::new(&keys(&[ED25519]), 1);
        store(&paths, &[(one.clone(), record.clone())]).unwrap();
        let expected = format!(
            "i-0abc12ee ssh-ed25519 no-newline\n{}",
            HostKey::parse(ED25519).unwrap().known_hosts_line(one.as_str())
        );
        assert_eq!(fs::read_to_string(&of_console).unwrap(), expected);
        assert_eq!(fs::read_to_string(&recorded_by_ssh).unwrap(), format!("{other} {RSA}"));
        let lost = ConsoleRecord::new(&ConsoleKeys::Unusable(Unusable::NoBlock), 2);
        store(&paths, &[(one.clone(), lost)]).unwrap();
        assert_eq!(load(&paths, &one).unwrap(), Some(record));
        add_key(&paths, &one, &HostKey::parse(ED25519).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&of_console).unwrap(), expected);
    }

    #[test]
    fn a_key_of_first_use_is_removed_when_the_mode_is_switched_and_when_keys_appear_only() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir.path().join("eic"));
        let [recorded_by_ssh, _] = paths.known_hosts();
        let one = id("i-0abc12de");
        let by_ssh = || fs::write(&recorded_by_ssh, format!("{one} {RSA}")).unwrap();
        let unusable = ConsoleRecord::new(&ConsoleKeys::Unusable(Unusable::NoOutput), 1);
        let with_keys = ConsoleRecord::new(&keys(&[ED25519]), 2);
        for (record, is_removed) in [(&unusable, true), (&unusable, false), (&with_keys, true), (&with_keys, false)] {
            by_ssh();
            store(&paths, &[(one.clone(), record.clone())]).unwrap();
            assert_eq!(fs::read_to_string(&recorded_by_ssh).unwrap().is_empty(), is_removed, "{record:?}");
        }
    }

    #[test]
    fn the_overview_tells_verified_keys_from_those_of_first_use() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(&dir.path().join("eic"));
        let [by_console, by_file, by_ssh, unknown] = ["i-0abc12d0", "i-0abc12d1", "i-0abc12d2", "i-0abc12d3"].map(id);
        let record = ConsoleRecord::new(&keys(&[ED25519]), 1);
        let none = ConsoleRecord::new(&ConsoleKeys::Unusable(Unusable::EmptyBlock), 1);
        store(&paths, &[(by_console.clone(), record), (unknown.clone(), none)]).unwrap();
        let accepted = Accepted { fingerprint: "SHA256:x".to_owned(), source: Some("/etc/known:3".to_owned()) };
        set_accepted(&paths, &by_file, &accepted).unwrap();
        files::replace(&paths.known_hosts()[0], format!("{by_ssh} {RSA}").as_bytes(), 0o600).unwrap();
        let overview = Overview::read(&paths);
        assert_eq!(overview.of(&by_console), Trust::Verified(CONSOLE.to_owned()));
        assert_eq!(overview.of(&by_file), Trust::Verified("/etc/known:3".to_owned()));
        assert_eq!(overview.of(&by_ssh), Trust::FirstUse);
        assert_eq!(overview.of(&unknown), Trust::Unknown);
        remove(&paths, &|id| id == &by_console || id == &by_file);
        assert!(load(&paths, &by_console).unwrap().is_none());
        assert!(super::accepted(&paths, &by_file).unwrap().is_none());
        assert!(load(&paths, &unknown).unwrap().is_some());
    }
}
