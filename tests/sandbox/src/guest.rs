//! The instance's guest: its host keys and its console output.

use serde::{Deserialize, Serialize};

/// The generated console output, see [`crate::Instance::console_output`] for other contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Console {
    /// cloud-init's block of public keys.
    #[default]
    Keys,
    /// The same block, each line behind cloud-init's log prefix.
    Prefixed,
    /// Fingerprints only.
    Fingerprints,
    /// Boot messages without any host key.
    Silent,
    /// No output at all.
    Empty,
}

/// A certificate of the instance's host keys, signed by the authority of [`crate::Sandbox::host_ca`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCertificate {
    /// Host names and addresses for which it is valid; empty: all.
    pub principals: Vec<String>,
    /// Validity interval in the form of `ssh-keygen -V`, such as `-1h:+1h` or `always:forever`.
    pub validity: String,
    /// Signed by an authority other than [`crate::Sandbox::host_ca`].
    #[serde(default)]
    pub forged: bool,
}

impl HostCertificate {
    /// A certificate without an expiry.
    #[must_use]
    pub fn new(principals: &[&str]) -> Self {
        Self {
            principals: principals.iter().map(ToString::to_string).collect(),
            validity: String::from("always:forever"),
            forged: false,
        }
    }

    /// The same, signed by another authority.
    #[must_use]
    pub fn forged(principals: &[&str]) -> Self {
        Self { forged: true, ..Self::new(principals) }
    }
}
