//! A server's public host key: its type, its blob, its fingerprint and its forms in text.
//!
//! Invariant: the blob has exactly the structure of its type and no byte more, so a truncated or extended key cannot
//! become a value. Certificates are in `host_certificate`, files of keys in `known_hosts`.
//! Sources: RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4, OpenSSH's PROTOCOL.u2f,
//! draft-miller-sshm-mldsa44-ed25519-composite-sigs.

use std::fmt;

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use crate::wire::Reader;

/// The public key types that OpenSSH accepts for hosts and for certificate authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostKeyType {
    /// `ssh-ed25519`.
    Ed25519,
    /// `ecdsa-sha2-nistp256`.
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`.
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`.
    EcdsaP521,
    /// `ssh-rsa`, with every signature algorithm.
    Rsa,
    /// `ssh-dss`; OpenSSH 10 no longer has it, old images still list it.
    Dsa,
    /// `sk-ssh-ed25519@openssh.com`, for a certificate authority.
    SkEd25519,
    /// `sk-ecdsa-sha2-nistp256@openssh.com`, for a certificate authority.
    SkEcdsaP256,
    /// `ssh-mldsa44-ed25519@openssh.com`, post-quantum, since OpenSSH 10.4.
    Mldsa44Ed25519,
}

/// Bytes of an ML-DSA-44 public key and of the Ed25519 key behind it (`MLDSA44_ED25519_PK_SZ`).
const MLDSA44_ED25519_LENGTH: usize = 1312 + 32;

impl HostKeyType {
    /// Every type.
    pub const ALL: [Self; 9] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa,
        Self::Dsa,
        Self::SkEd25519,
        Self::SkEcdsaP256,
        Self::Mldsa44Ed25519,
    ];

    /// The type with this name in a blob or a key line.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key_type| key_type.name() == name)
    }

    /// The name in a blob and in a key line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Rsa => "ssh-rsa",
            Self::Dsa => "ssh-dss",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
            Self::Mldsa44Ed25519 => "ssh-mldsa44-ed25519@openssh.com",
        }
    }

    /// The name that `ssh-keygen -l` prints in parentheses; all ECDSA curves share one.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ed25519 => "ED25519",
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => "ECDSA",
            Self::Rsa => "RSA",
            Self::Dsa => "DSA",
            Self::SkEd25519 => "ED25519-SK",
            Self::SkEcdsaP256 => "ECDSA-SK",
            Self::Mldsa44Ed25519 => "MLDSA44-ED25519",
        }
    }

    /// Reads the fields that follow the type (and the nonce of a certificate), or `None` if they do not fit the type.
    pub(crate) fn read_fields(self, reader: &mut Reader<'_>) -> Option<()> {
        let ed25519 = |reader: &mut Reader<'_>| (reader.string()?.len() == 32).then_some(());
        // An uncompressed point: 4, then two coordinates.
        let point = |reader: &mut Reader<'_>, curve: &str, coordinate: usize| {
            let named = reader.text()? == curve;
            let point = reader.string()?;
            (named && point.len() == 1 + 2 * coordinate && point[0] == 4).then_some(())
        };
        match self {
            Self::Ed25519 => ed25519(reader),
            Self::EcdsaP256 => point(reader, "nistp256", 32),
            Self::EcdsaP384 => point(reader, "nistp384", 48),
            Self::EcdsaP521 => point(reader, "nistp521", 66),
            Self::Rsa => {
                reader.positive()?;
                // OpenSSH's SSH_RSA_MINIMUM_MODULUS_SIZE is 1024 bits.
                (reader.positive()?.len() >= 128).then_some(())
            }
            Self::Dsa => {
                for _ in ["p", "q", "g", "y"] {
                    reader.positive()?;
                }
                Some(())
            }
            Self::SkEd25519 => {
                ed25519(reader)?;
                reader.text().map(drop)
            }
            Self::SkEcdsaP256 => {
                point(reader, "nistp256", 32)?;
                reader.text().map(drop)
            }
            Self::Mldsa44Ed25519 => (reader.string()?.len() == MLDSA44_ED25519_LENGTH).then_some(()),
        }
    }
}

impl fmt::Display for HostKeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The SHA-256 digest of a key blob. It covers the key type too, since the blob starts with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads `SHA256:` and 43 characters of base64 without padding.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digest = Base64Unpadded::decode_vec(text.strip_prefix("SHA256:")?).ok()?;
        digest.try_into().ok().map(Self)
    }

    /// The fingerprint of a key or certificate blob.
    #[must_use]
    pub fn of(blob: &[u8]) -> Self {
        Self(Sha256::digest(blob).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0))
    }
}

/// A public key, without a comment. Its text form is `TYPE BASE64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKey {
    key_type: HostKeyType,
    blob: Vec<u8>,
}

impl HostKey {
    /// Takes a blob that has exactly the structure of its type. Certificates are refused.
    #[must_use]
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(blob);
        let key_type = HostKeyType::parse(reader.text()?)?;
        key_type.read_fields(&mut reader)?;
        reader.is_empty().then(|| Self { key_type, blob: blob.to_vec() })
    }

    /// Takes the type and the base64 field of a `known_hosts` or `authorized_keys` line.
    #[must_use]
    pub fn from_fields(type_name: &str, base64: &str) -> Option<Self> {
        let key = Self::from_blob(&Base64::decode_vec(base64).ok()?)?;
        (key.key_type.name() == type_name).then_some(key)
    }

    /// Takes `TYPE BASE64`, which a comment may follow: a `.pub` file's line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        Self::from_fields(fields.next()?, fields.next()?)
    }

    /// The type of the key.
    #[must_use]
    pub fn key_type(&self) -> HostKeyType {
        self.key_type
    }

    /// The bytes that SSH sends.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The SHA-256 fingerprint that ssh prints.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.blob)
    }

    /// The line of a `known_hosts` file that lists this key for `name`, with its newline.
    #[must_use]
    pub fn known_hosts_line(&self, name: &str) -> String {
        format!("{name} {self}\n")
    }

    /// Builds a key whose fields were read from a certificate.
    pub(crate) fn from_certificate(key_type: HostKeyType, fields: &[u8]) -> Self {
        let name = key_type.name().as_bytes();
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        Self { key_type, blob: [&length.to_be_bytes(), name, fields].concat() }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type, Base64::encode_string(&self.blob))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ED25519: &str = include_str!("testdata/kex/ed25519.pub");
    const ECDSA: &str = include_str!("testdata/kex/ecdsa.pub");
    const RSA: &str = include_str!("testdata/kex/rsa.pub");
    const MLDSA44_ED25519: &str = include_str!("testdata/kex/mldsa44-ed25519.pub");

    #[test]
    fn keys_of_ssh_keygen_are_read_and_written_unchanged() {
        for (line, key_type) in [
            (ED25519, HostKeyType::Ed25519),
            (ECDSA, HostKeyType::EcdsaP256),
            (RSA, HostKeyType::Rsa),
            (MLDSA44_ED25519, HostKeyType::Mldsa44Ed25519),
        ] {
            let key = HostKey::parse(line).unwrap();
            assert_eq!(key.key_type(), key_type);
            assert!(line.starts_with(&format!("{key} ")), "{key}");
            assert_eq!(key.known_hosts_line("i-1"), format!("i-1 {key}\n"));
            assert_eq!(HostKey::from_blob(key.blob()), Some(key));
        }
    }

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        // `ssh-keygen -l -f ed25519.pub`, kept in a file next to the key.
        let printed = include_str!("testdata/kex/fingerprints");
        for (line, printed) in [ED25519, ECDSA, RSA, MLDSA44_ED25519].into_iter().zip(printed.lines()) {
            let expected = printed.split(' ').nth(1).unwrap();
            let fingerprint = HostKey::parse(line).unwrap().fingerprint();
            assert_eq!(fingerprint.to_string(), expected);
            assert_eq!(Fingerprint::parse(expected), Some(fingerprint));
        }
    }

    #[test]
    fn a_key_of_another_length_or_type_is_no_key() {
        for line in [ED25519, ECDSA, RSA, MLDSA44_ED25519] {
            let key = HostKey::parse(line).unwrap();
            for length in 0..key.blob().len() {
                assert_eq!(HostKey::from_blob(&key.blob()[..length]), None, "{length} bytes of {key}");
            }
            assert_eq!(HostKey::from_blob(&[key.blob(), b"\0"].concat()), None);
            let base64 = line.split(' ').nth(1).unwrap();
            assert_eq!(HostKey::from_fields("ssh-dss", base64), None);
            assert_eq!(HostKey::from_fields(key.key_type().name(), &base64[..base64.len() - 1]), None);
        }
        assert_eq!(Fingerprint::parse("MD5:00:11"), None);
        assert_eq!(Fingerprint::parse("SHA256:AAAA"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,100}") {
            if let Some(key) = HostKey::from_blob(&bytes) {
                prop_assert_eq!(key.blob(), &bytes[..]);
            }
            let _ = HostKey::parse(&text);
            let _ = Fingerprint::parse(&text);
        }
    }
}
