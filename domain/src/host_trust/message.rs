//! What a refusal says to a person: one line that names both fingerprints and the source of the trusted one, and a hint.

use super::{Expected, Reason, Refusal};
use crate::console::Unusable;
use crate::host_certificate::CertificateProblem;
use crate::ids::InstanceId;

/// What the message of another key than the trusted one begins with.
pub const CHANGED: &str = "host identification has changed: ";
/// What to do about it.
pub const REPLACED: &str = "if the host key was replaced on purpose, list the new key for the instance id in a file named in known_hosts in the configuration";

/// Principals of a certificate that a message lists.
const LISTED_PRINCIPALS: usize = 3;

impl Refusal {
    /// What failed, without the alias: lower case, no full stop.
    #[must_use]
    pub fn message(&self, instance: &InstanceId) -> String {
        let Self { label, presented, reason, certificate } = self;
        let id = instance.as_str();
        let text = match reason {
            Reason::Mismatch(Expected { fingerprint, source, .. }) => {
                format!("{CHANGED}{id} presents the {label} host key {presented}, but {source} lists {fingerprint}")
            }
            Reason::UnlistedType(listed) => format!(
                "{CHANGED}{id} presents the {label} host key {presented}, but {} lists only {}",
                listed.first().map(|expected| expected.source.to_string()).unwrap_or_default(),
                listed.iter().map(|key| format!("{} {}", key.label, key.fingerprint)).collect::<Vec<_>>().join(", ")
            ),
            Reason::Revoked(source) => {
                format!("{id} presents the {label} host key {presented}, which {source} revokes")
            }
            Reason::Certificate => {
                format!("{id} presents a host certificate that is not valid for it ({label} {presented})")
            }
            Reason::ConsoleUnavailable => {
                format!("cannot verify the {label} host key {presented}: the console output of {id} could not be read")
            }
            Reason::NoConsoleKeys(reason) => {
                format!("cannot verify the {label} host key {presented}: {}", reason.describe(id))
            }
        };
        match certificate {
            Some(problem) => format!("{text}; {}", describe(problem)),
            None => text,
        }
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match &self.reason {
            Reason::Mismatch(_) | Reason::UnlistedType(_) => REPLACED,
            Reason::Revoked(_) => "replace the host key of the instance",
            Reason::Certificate => "sign a host certificate with the instance id as principal",
            Reason::ConsoleUnavailable => "allow ec2:GetConsoleOutput (ssh-eic policy), then connect again",
            Reason::NoConsoleKeys(Unusable::NoOutput | Unusable::UnclosedBlock) => {
                "wait some minutes after the instance has started, then connect again"
            }
            Reason::NoConsoleKeys(_) => {
                "list its host key in a file named in known_hosts in the configuration, or set host_keys = \"console\" or \"accept-new\""
            }
        }
    }
}

impl Unusable {
    /// The case, with the instance id.
    #[must_use]
    pub fn describe(self, id: &str) -> String {
        match self {
            Self::NoOutput => format!("{id} has no console output yet"),
            Self::NoBlock => format!(
                "the console output of {id} lists no host keys; its image does not print them, or they were lost after a reboot"
            ),
            Self::EmptyBlock => format!("the host key block in the console output of {id} is empty"),
            Self::TruncatedKey => format!("the host keys in the console output of {id} are truncated"),
            Self::UnclosedBlock => format!("the host key block in the console output of {id} is incomplete"),
        }
    }
}

fn describe(problem: &CertificateProblem) -> String {
    match problem {
        CertificateProblem::NotForHosts => "its certificate is a user certificate".to_owned(),
        CertificateProblem::WrongPrincipal { principals } if principals.is_empty() => {
            "its certificate has no principal".to_owned()
        }
        CertificateProblem::WrongPrincipal { principals } => {
            // Text of the server: printable ASCII only, and not much of it.
            let printable = |name: &String| name.chars().filter(char::is_ascii_graphic).take(40).collect::<String>();
            let listed: Vec<String> = principals.iter().take(LISTED_PRINCIPALS).map(printable).collect();
            format!("its certificate is for {}", listed.join(", "))
        }
        CertificateProblem::NotYetValid(_) => "its certificate is not valid yet".to_owned(),
        CertificateProblem::Expired(_) => "its certificate has expired".to_owned(),
        CertificateProblem::CriticalOptions => "its certificate has critical options".to_owned(),
    }
}
