//! Validated identifiers from untrusted input: instance ids, OS users, accounts and regions.
//!
//! A value of these types is safe in paths, command lines and terminal output without further checks. The syntax of OS
//! users is from the API reference of EC2 Instance Connect (SendSSHPublicKey).

use std::fmt;

use serde::{Deserialize, Serialize};

/// An EC2 instance id: `i-` and 8 or 17 lower-case hexadecimal digits.
///
/// Safe as a file name, in `ssh_config` and inside shell quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

impl InstanceId {
    /// Accepts `^i-[0-9a-f]{8}([0-9a-f]{9})?$`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("i-")?;
        let right_length = matches!(digits.len(), 8 | 17);
        let hexadecimal = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (right_length && hexadecimal).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits after `i-`, from which alias suffixes are taken.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0[2..]
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for InstanceId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not an instance id"))
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

/// Whether the text is an AWS account id: 12 digits.
#[must_use]
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the text has only characters of region names, so that it is safe in command lines.
#[must_use]
pub fn is_region(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// An OS user name that EC2 Instance Connect accepts: 1–32 characters of `[A-Za-z0-9@._-]`, not starting with `@`, `.` or `-`, `$`
/// allowed at the end, and not digits only.
///
/// Safe as part of a file name and inside shell quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OsUser(String);

impl OsUser {
    /// The default user of most Linux images, also used for unknown images.
    #[must_use]
    pub fn ec2_user() -> Self {
        Self("ec2-user".to_owned())
    }

    /// Follows `InstanceOSUser` in the API reference of SendSSHPublicKey.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (&first, rest) = bytes.split_first()?;
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'_' | b'-');
        let tail_ok = match rest.split_last() {
            None => true,
            Some((&last, middle)) => (inner(last) || last == b'$') && middle.iter().all(|&b| inner(b)),
        };
        let head_ok = first.is_ascii_alphanumeric() || first == b'_';
        let only_digits = bytes.iter().all(|b| b.is_ascii_digit() || *b == b'$');
        (bytes.len() <= 32 && head_ok && tail_ok && !only_digits).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OsUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for OsUser {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a user name that EC2 Instance Connect accepts"))
    }
}

impl From<OsUser> for String {
    fn from(user: OsUser) -> Self {
        user.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_ids_are_eight_or_seventeen_hex_digits() {
        for good in ["i-0abc12de", "i-0abc12def34567890"] {
            assert!(InstanceId::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "i-",
            "i-0abc12d",
            "i-0ABC12DE",
            "i-0abc12def3456789",
            "i-../../x",
            "j-0abc12de",
            "i-0abc12de\n",
            "i-dev.example.com",
            " i-0abc12de",
            "i-0abc12def34567890a",
        ] {
            assert!(InstanceId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn os_users_have_the_syntax_of_send_ssh_public_key() {
        for good in ["ec2-user", "_svc", "a", "first.last@corp", "machine$", "0day", &"u".repeat(32)] {
            assert!(OsUser::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "-oProxyCommand",
            "$",
            "a$b",
            "a b",
            "a'b",
            "root\n",
            "1234",
            "../x",
            "@a",
            &"u".repeat(33),
            "é",
            "a/b",
        ] {
            assert!(OsUser::parse(bad).is_none(), "{bad:?}");
        }
    }
}
