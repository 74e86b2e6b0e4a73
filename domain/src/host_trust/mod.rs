//! The decision on the host key that a server presents: trusted, refused, or left to ssh.
//!
//! Order: a revoked key is refused in every mode. Then a key or certificate that a source lists is trusted. Everything
//! else depends on the mode: `accept-new` leaves the rest to ssh; the console modes refuse as soon as any source lists
//! keys for the instance, or the console output could not be read.
//! Not here: signatures. ssh verifies the host's and the authority's (`host_certificate`).

use std::fmt;

use crate::console::{ConsoleFingerprint, ConsoleKeys, Unusable};
use crate::host_certificate::{CertificateProblem, HostCertificate, Presented};
use crate::host_key::{Fingerprint, HostKey};
use crate::ids::InstanceId;
use crate::known_hosts::{KnownKeys, ListedKey};
use crate::source::HostKeys;

/// What is known of the instance's console output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Console {
    /// The output, now or as it was stored earlier: stored keys stay valid when the block is gone after a reboot.
    Read(ConsoleKeys),
    /// AWS could not be queried (denied, unreachable, timed out). Not the same as an output without keys.
    Unavailable,
}

/// Where a trusted or revoked key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The instance's console output.
    Console,
    /// A line of a `known_hosts` file.
    KnownHosts {
        /// The file.
        file: String,
        /// The line's number, from 1.
        line: usize,
    },
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A source lists the key, or the authority of its valid certificate: relay the reply.
    Trusted {
        /// Of the plain key.
        fingerprint: Fingerprint,
        /// The source of the key or of the authority.
        source: Source,
    },
    /// ssh decides, as with `accept-new`: relay the reply.
    LeftToSsh {
        /// Of the plain key.
        fingerprint: Fingerprint,
        /// Why the console could not be used; `None` in the mode `accept-new`.
        reason: Option<Unusable>,
    },
    /// End the connection before the reply is relayed.
    Refused(Refusal),
}

/// A trusted key that the presented one is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The key type, `ED25519` for example.
    pub label: String,
    /// The trusted fingerprint.
    pub fingerprint: Fingerprint,
    /// Where it is listed.
    pub source: Source,
}

/// The presented key in a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The type of the plain key, `ED25519` for example.
    pub label: &'static str,
    /// Of the plain key, as ssh prints it.
    pub presented: Fingerprint,
    /// Why it is refused.
    pub reason: Reason,
    /// The problem of a certificate of a trusted authority. The plain key is not trusted either.
    pub certificate: Option<CertificateProblem>,
}

/// Why a host key is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A different key of the same type is trusted.
    Mismatch(Expected),
    /// Only keys of other types are trusted; at least one.
    UnlistedType(Vec<Expected>),
    /// The key, or the authority of its certificate, is revoked.
    Revoked(Source),
    /// A trusted authority signed the certificate, which is not valid for the instance; nothing else is listed.
    Certificate,
    /// AWS could not be queried.
    ConsoleUnavailable,
    /// `require-console`, and the console output has no keys.
    NoConsoleKeys(Unusable),
}

/// What the presented key is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The setting.
    pub mode: HostKeys,
    /// The instance's console output; not read in the mode `accept-new`.
    pub console: &'a Console,
    /// The keys that the company's `known_hosts` files list for the instance id.
    pub known: &'a KnownKeys,
}

impl Trust<'_> {
    /// Decides on the host key that the server of `instance` presents. `now` is in seconds since 1970.
    #[must_use]
    pub fn decide(&self, instance: &InstanceId, presented: &Presented, now: u64) -> Verdict {
        let key = presented.key();
        let fingerprint = key.fingerprint();
        let refused = |reason, certificate| {
            Verdict::Refused(Refusal { label: key.key_type().label(), presented: fingerprint, reason, certificate })
        };
        if let Some(source) = self.revoked(presented) {
            return refused(Reason::Revoked(source), None);
        }
        let certificate = match self.check_certificate(instance, presented, now) {
            Some(Ok(source)) => return Verdict::Trusted { fingerprint, source },
            Some(Err(problem)) => Some(problem),
            None => None,
        };
        let trusted = self.trusted();
        if let Some(found) = trusted.iter().find(|expected| expected.fingerprint == fingerprint) {
            return Verdict::Trusted { fingerprint, source: found.source.clone() };
        }
        let reason = match (self.mode, self.console) {
            (HostKeys::AcceptNew, _) => return Verdict::LeftToSsh { fingerprint, reason: None },
            _ if !trusted.is_empty() => mismatch(key, trusted),
            (_, Console::Unavailable) => Reason::ConsoleUnavailable,
            _ if certificate.is_some() => Reason::Certificate,
            (HostKeys::RequireConsole, Console::Read(keys)) => Reason::NoConsoleKeys(unusable(keys)),
            (HostKeys::Console, Console::Read(keys)) => {
                return Verdict::LeftToSsh { fingerprint, reason: Some(unusable(keys)) };
            }
        };
        refused(reason, certificate)
    }

    /// Where the key or the authority of its certificate is revoked.
    fn revoked(&self, presented: &Presented) -> Option<Source> {
        let authority = match presented {
            Presented::Key(_) => None,
            Presented::Certificate(certificate) => Some(certificate.authority()),
        };
        let is_presented = |key: &HostKey| key == presented.key() || Some(key) == authority;
        self.known.revoked.iter().find(|listed| is_presented(&listed.key)).map(source)
    }

    /// The source of the certificate's authority, or the certificate's problem; `None` if no authority is trusted.
    fn check_certificate(
        &self,
        instance: &InstanceId,
        presented: &Presented,
        now: u64,
    ) -> Option<Result<Source, CertificateProblem>> {
        let Presented::Certificate(certificate) = presented else { return None };
        let certificate: &HostCertificate = certificate;
        let listed = self.known.authorities.iter().find(|listed| &listed.key == certificate.authority())?;
        Some(certificate.check(instance.as_str(), now).map(|()| source(listed)))
    }

    /// Every key that is trusted for the instance, the console's first.
    fn trusted(&self) -> Vec<Expected> {
        let console = match (self.mode, self.console) {
            (HostKeys::AcceptNew, _) | (_, Console::Unavailable | Console::Read(ConsoleKeys::Unusable(_))) => {
                Vec::new()
            }
            (_, Console::Read(ConsoleKeys::Keys(keys))) => {
                keys.iter().map(|key| expected(key, Source::Console)).collect()
            }
            (_, Console::Read(ConsoleKeys::Fingerprints(fingerprints))) => {
                fingerprints.iter().map(expected_fingerprint).collect()
            }
        };
        let known = self.known.hosts.iter().map(|listed| expected(&listed.key, source(listed)));
        console.into_iter().chain(known).collect()
    }
}

/// The reason for a key that is not among the trusted ones, of which there is at least one.
fn mismatch(key: &HostKey, trusted: Vec<Expected>) -> Reason {
    let label = key.key_type().label();
    match trusted.iter().find(|expected| expected.label == label) {
        Some(expected) => Reason::Mismatch(expected.clone()),
        None => Reason::UnlistedType(trusted),
    }
}

/// The reason of an output without keys; a list without items is an empty block.
fn unusable(keys: &ConsoleKeys) -> Unusable {
    match keys {
        ConsoleKeys::Unusable(reason) => *reason,
        ConsoleKeys::Keys(_) | ConsoleKeys::Fingerprints(_) => Unusable::EmptyBlock,
    }
}

fn source(listed: &ListedKey) -> Source {
    Source::KnownHosts { file: listed.file.clone(), line: listed.line }
}

fn expected(key: &HostKey, source: Source) -> Expected {
    Expected { label: key.key_type().label().to_owned(), fingerprint: key.fingerprint(), source }
}

fn expected_fingerprint(listed: &ConsoleFingerprint) -> Expected {
    Expected { label: listed.label.clone(), fingerprint: listed.fingerprint, source: Source::Console }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Console => f.write_str("the instance's console output"),
            Self::KnownHosts { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

mod message;
pub use message::{CHANGED, REPLACED};
#[cfg(test)]
mod tests;
