//! What an index holds, and reading its lines.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::fleet::{Host, Verdict};
use crate::domain::identity::Identity;
use crate::domain::ids::InstanceId;
use crate::domain::names::{Holder, NameHistory, Shared};
use crate::domain::source::{AddressKind, KeyType};

/// What keys of other things begin with; no name can have these.
pub(super) const SOURCE: char = '@';
pub(super) const SHARED: char = '=';
pub(super) const REMEMBERED: char = '~';
pub(super) const PROVEN: char = '!';
pub(super) const UNTOLD: char = '>';

/// A source as it was at the last sync: whose credentials a connection to its hosts uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// Its name, which stands in the generated config.
    pub name: String,
    /// The source of the config file that it came from.
    pub of: String,
    /// Its position among all sources: earlier ones win.
    pub rank: usize,
    /// The account's name in Identity Center.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub account_name: String,
    /// Whose credentials; the account is the one that was found.
    pub identity: Identity,
    /// Which address counts.
    pub address: AddressKind,
    /// How keys are made.
    pub key_type: KeyType,
    /// The regions that were asked.
    pub regions: Vec<String>,
}

impl SourceRecord {
    /// What a proxy without our files has to know of it: flags and their values.
    #[must_use]
    pub fn proxy_flags(&self) -> Vec<(&'static str, String)> {
        let mut flags: Vec<(&'static str, String)> =
            self.identity.arguments().into_iter().map(|(flag, value)| (flag, value.to_owned())).collect();
        flags.extend(self.identity.account.clone().map(|account| ("--account", account)));
        match self.address {
            AddressKind::Private => {}
            AddressKind::Ipv6 => flags.push(("--address", "ipv6".to_owned())),
            AddressKind::Public => flags.push(("--address", "public".to_owned())),
        }
        if self.key_type == KeyType::Rsa {
            flags.push(("--key-type", "rsa".to_owned()));
        }
        flags
    }
}

/// A name that has moved while nobody was reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntoldMove {
    /// The name.
    pub name: String,
    /// Who had it.
    pub was: Holder,
    /// When it moved, milliseconds since 1970.
    pub at: u64,
}

/// What the client has said to the generated config, so that it is asked again only about what is new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// A digest of all that was generated.
    pub generated: String,
    /// A digest of what the user and the system have written, and of what all of ours share.
    pub surroundings: String,
    /// By a digest of each set of options.
    pub sets: BTreeMap<String, Verdict>,
}

/// Everything that an index holds, its hosts whole or as `PreviousHost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content<H = Host> {
    /// In any order.
    pub hosts: Vec<H>,
    /// In any order.
    pub sources: Vec<SourceRecord>,
    /// Each bare name in all its spellings.
    pub shared: BTreeMap<String, Shared>,
    /// Names of instances that are not listed, or gone.
    pub memory: NameHistory,
    /// What was proven.
    pub proven: Proven,
    /// Moves that nobody has read of, by the instance that has the name now.
    pub untold: BTreeMap<InstanceId, Vec<UntoldMove>>,
    /// Lines that could not be read.
    pub damaged: usize,
}

impl<H> Default for Content<H> {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            sources: Vec::new(),
            shared: BTreeMap::new(),
            memory: NameHistory::new(),
            proven: Proven::default(),
            untold: BTreeMap::new(),
            damaged: 0,
        }
    }
}

impl<H: DeserializeOwned> Content<H> {
    /// Takes in one line; none if it cannot be read.
    pub(super) fn add(&mut self, line: &[u8]) -> Option<()> {
        let at = line.iter().position(|&b| b == b'\t')?;
        let (key, value) = (std::str::from_utf8(&line[..at]).ok()?, &line[at + 1..]);
        let mut letters = key.chars();
        match (letters.next(), letters.as_str()) {
            (Some(PROVEN), "") => self.proven = read(value)?,
            (Some(SOURCE), _) => self.sources.push(read(value)?),
            (Some(SHARED), name) => {
                self.shared.insert(name.to_owned(), read(value)?);
            }
            (Some(REMEMBERED), name) => {
                self.memory.insert(name.to_owned(), read(value)?);
            }
            (Some(UNTOLD), id) => {
                self.untold.insert(InstanceId::parse(id)?, read(value)?);
            }
            // An entry that only leads to another one is a text and no object: nothing to parse.
            _ if value.first() == Some(&b'"') => {}
            _ => self.hosts.push(read(value)?),
        }
        Some(())
    }
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}
