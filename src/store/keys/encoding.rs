//! The encodings of private key files: written by this program or by ssh-keygen, and read from every form that either
//! of them has written.

use ed25519::KeypairBytes;
use ed25519::pkcs8::{EncodePrivateKey, PrivateKeyInfo, SecretDocument};
use pkcs1::der::Decode;
use pkcs1::{LineEnding, RsaPrivateKey};
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{HashAlg, Mpint, PrivateKey};
use zeroize::Zeroizing;

use super::PublicKey;
use crate::domain::ssh_client::KeyEncoding;

/// The first line of OpenSSH's own format.
const OPENSSH: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
/// Above the size of an Ed25519 key in PKCS#8 (119 bytes), below the size of one in OpenSSH's format (387 bytes).
pub(super) const LARGEST_PKCS8: u64 = 256;

/// What a key file contains.
pub(super) struct StoredKey {
    pub(super) public: PublicKey,
    /// The private key, if it is an Ed25519 key in PKCS#8, which some clients cannot read.
    pub(super) pkcs8: Option<PrivateKey>,
    pub(super) is_ed25519: bool,
}

impl StoredKey {
    pub(super) fn is_readable_by(&self, encoding: KeyEncoding) -> bool {
        encoding == KeyEncoding::Pkcs8 || self.pkcs8.is_none()
    }
}

/// Writes an Ed25519 key. None is not expected: the key's length is fixed.
pub(super) fn encode(key: &PrivateKey, encoding: KeyEncoding) -> Option<Zeroizing<String>> {
    match encoding {
        KeyEncoding::OpenSsh => key.to_openssh(LineEnding::LF).ok(),
        KeyEncoding::Pkcs8 => {
            let secret_key = key.key_data().ed25519()?.private.to_bytes();
            // OpenSSL does not read the second version of PKCS#8, which has the public key in it.
            KeypairBytes { secret_key, public_key: None }.to_pkcs8_pem(LineEnding::LF).ok()
        }
    }
}

/// Reads a private key; none for anything else.
pub(super) fn decode(bytes: &[u8]) -> Option<StoredKey> {
    if bytes.starts_with(OPENSSH) {
        return stored(&PrivateKey::from_openssh(bytes).ok()?.public_key().clone(), None);
    }
    let (label, document) = SecretDocument::from_pem(std::str::from_utf8(bytes).ok()?).ok()?;
    match label {
        "PRIVATE KEY" => {
            let info = PrivateKeyInfo::try_from(document.as_bytes()).ok()?;
            if info.algorithm.oid == pkcs1::ALGORITHM_OID {
                return decode_rsa(info.private_key);
            }
            let seed = KeypairBytes::try_from(info).ok()?;
            let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed.secret_key));
            stored(&key.public_key().clone(), Some(key))
        }
        "RSA PRIVATE KEY" => decode_rsa(document.as_bytes()),
        _ => None,
    }
}

fn decode_rsa(der: &[u8]) -> Option<StoredKey> {
    let key = RsaPrivateKey::from_der(der).ok()?.public_key();
    let number = |bytes| Mpint::from_positive_bytes(bytes).ok();
    let (n, e) = (number(key.modulus.as_bytes())?, number(key.public_exponent.as_bytes())?);
    stored(&ssh_key::PublicKey::from(KeyData::Rsa(RsaPublicKey { e, n })), None)
}

fn stored(key: &ssh_key::PublicKey, pkcs8: Option<PrivateKey>) -> Option<StoredKey> {
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    // Without the comment.
    let line = ssh_key::PublicKey::from(key.key_data().clone()).to_openssh().ok()?;
    let is_ed25519 = key.key_data().is_ed25519();
    Some(StoredKey { public: PublicKey { line, fingerprint }, pkcs8, is_ed25519 })
}
