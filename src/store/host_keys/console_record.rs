//! The record of one instance's console output, as it is stored.

use serde::{Deserialize, Serialize};

use crate::domain::console::{ConsoleFingerprint, ConsoleKeys, Unusable};
use crate::domain::host_key::{Fingerprint, HostKey, HostKeyType};

/// What the console output of one instance had, and when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleRecord {
    /// Milliseconds since 1970.
    pub read: u64,
    /// `TYPE BASE64`, one for each key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    /// Key type as `ssh-keygen -l` prints it, and fingerprint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fingerprints: Vec<(String, String)>,
    /// Why there is neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unusable: Option<Case>,
}

/// [`Unusable`] in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Case {
    NoOutput,
    NoBlock,
    EmptyBlock,
    TruncatedKey,
    UnclosedBlock,
}

impl Case {
    const ALL: [(Self, Unusable); 5] = [
        (Self::NoOutput, Unusable::NoOutput),
        (Self::NoBlock, Unusable::NoBlock),
        (Self::EmptyBlock, Unusable::EmptyBlock),
        (Self::TruncatedKey, Unusable::TruncatedKey),
        (Self::UnclosedBlock, Unusable::UnclosedBlock),
    ];
}

impl ConsoleRecord {
    /// The record of an output that was read at `read` (milliseconds since 1970).
    #[must_use]
    pub fn new(keys: &ConsoleKeys, read: u64) -> Self {
        let mut record = Self { read, keys: Vec::new(), fingerprints: Vec::new(), unusable: None };
        match keys {
            ConsoleKeys::Keys(keys) => record.keys = keys.iter().map(ToString::to_string).collect(),
            ConsoleKeys::Fingerprints(listed) => {
                record.fingerprints =
                    listed.iter().map(|one| (one.label.clone(), one.fingerprint.to_string())).collect();
            }
            ConsoleKeys::Unusable(reason) => {
                record.unusable = Case::ALL.into_iter().find(|(_, one)| one == reason).map(|(case, _)| case);
            }
        }
        record
    }

    /// Whether the output had keys or fingerprints.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !matches!(self.console_keys(), ConsoleKeys::Unusable(_))
    }

    /// Why the output had no keys.
    #[must_use]
    pub fn unusable(&self) -> Option<Unusable> {
        match self.console_keys() {
            ConsoleKeys::Unusable(reason) => Some(reason),
            ConsoleKeys::Keys(_) | ConsoleKeys::Fingerprints(_) => None,
        }
    }

    /// What the output had. A damaged record has nothing.
    #[must_use]
    pub fn console_keys(&self) -> ConsoleKeys {
        let keys: Vec<HostKey> = self.keys.iter().filter_map(|line| HostKey::parse(line)).collect();
        if !keys.is_empty() {
            return ConsoleKeys::Keys(keys);
        }
        let listed = |(label, fingerprint): &(String, String)| {
            let is_known = HostKeyType::ALL.iter().any(|key_type| key_type.label() == label);
            let fingerprint = Fingerprint::parse(fingerprint).filter(|_| is_known)?;
            Some(ConsoleFingerprint { fingerprint, label: label.clone() })
        };
        let fingerprints: Vec<ConsoleFingerprint> = self.fingerprints.iter().filter_map(listed).collect();
        if !fingerprints.is_empty() {
            return ConsoleKeys::Fingerprints(fingerprints);
        }
        let reason = Case::ALL.into_iter().find(|(case, _)| Some(*case) == self.unusable).map(|(_, reason)| reason);
        ConsoleKeys::Unusable(reason.unwrap_or(Unusable::NoBlock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = include_str!("../../../domain/src/testdata/kex/ed25519.pub");
    const RSA: &str = include_str!("../../../domain/src/testdata/kex/rsa.pub");

    #[test]
    fn a_record_keeps_keys_fingerprints_and_reasons() {
        let fingerprint = HostKey::parse(ED25519).unwrap().fingerprint();
        let listed = ConsoleFingerprint { fingerprint, label: "ED25519".to_owned() };
        let keys = [ED25519, RSA].map(|line| HostKey::parse(line).unwrap());
        let mut all = vec![ConsoleKeys::Keys(keys.into()), ConsoleKeys::Fingerprints(vec![listed])];
        all.extend(Case::ALL.map(|(_, reason)| ConsoleKeys::Unusable(reason)));
        for console in all {
            let text = serde_json::to_string(&ConsoleRecord::new(&console, 7)).unwrap();
            let record: ConsoleRecord = serde_json::from_str(&text).unwrap();
            assert_eq!((record.console_keys(), record.read), (console, 7), "{text}");
        }
    }
}
