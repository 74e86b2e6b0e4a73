//! OpenSSH host certificates (`*-cert-v01@openssh.com`, PROTOCOL.certkeys): structure, authority, principals, validity.
//!
//! Not here: the authority's signature over the certificate. ssh verifies it while it parses the host key
//! (`cert_parse` in sshkey.c), before it reads any option such as `StrictHostKeyChecking`, and ends the connection if
//! it is wrong; the same applies to the host's signature over the key exchange.

use crate::host_key::{Fingerprint, HostKey, HostKeyType};
use crate::wire::Reader;

/// `SSH2_CERT_TYPE_HOST` (sshkey.h).
const TYPE_HOST: u32 = 2;
const SUFFIX: &str = "-cert-v01@openssh.com";

/// A certificate that has exactly the structure of its type; it may still be invalid for a host or expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    key: HostKey,
    fingerprint: Fingerprint,
    for_host: bool,
    key_id: String,
    principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    critical_options: bool,
    authority: HostKey,
}

/// Why a certificate does not identify an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateProblem {
    /// It is a user certificate.
    NotForHosts,
    /// Its principals do not contain the instance id.
    WrongPrincipal {
        /// The principals that it has.
        principals: Vec<String>,
    },
    /// It is not valid yet: seconds since 1970 from which it is.
    NotYetValid(u64),
    /// It has expired: seconds since 1970 from which it is invalid.
    Expired(u64),
    /// It has critical options; no option exists for host certificates.
    CriticalOptions,
}

impl HostCertificate {
    /// Takes a blob that has exactly the structure of a certificate.
    #[must_use]
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(blob);
        let key_type = certificate_type(reader.text()?)?;
        reader.string()?; // nonce
        let fields = reader;
        key_type.read_fields(&mut reader)?;
        let fields = fields.bytes_until(&reader);
        let _serial = reader.u64()?;
        let for_host = reader.u32()? == TYPE_HOST;
        let key_id = reader.text()?.to_owned();
        let principals = strings(reader.string()?)?;
        let valid_after = reader.u64()?;
        let valid_before = reader.u64()?;
        let critical_options = !reader.string()?.is_empty();
        let _extensions = reader.string()?;
        let _reserved = reader.string()?;
        // A certificate cannot be an authority, so a plain key is required (`cert_parse` requires it too).
        let authority = HostKey::from_blob(reader.string()?)?;
        let signature = reader.string()?;
        let key = HostKey::from_certificate(key_type, fields);
        (reader.is_empty() && !signature.is_empty()).then_some(Self {
            key,
            fingerprint: Fingerprint::of(blob),
            for_host,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical_options,
            authority,
        })
    }

    /// The certified key, as a plain key.
    #[must_use]
    pub fn key(&self) -> &HostKey {
        &self.key
    }

    /// The key that signed the certificate.
    #[must_use]
    pub fn authority(&self) -> &HostKey {
        &self.authority
    }

    /// The name that the authority gave the certificate. Untrusted text: escape it before printing.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The first reason why the certificate does not identify the host `name` at `now` (seconds since 1970).
    ///
    /// A principal has to be equal to the name: stricter than ssh, which also matches patterns.
    ///
    /// # Errors
    /// The certificate is of the wrong type, has other principals, is out of its validity period, or has critical options.
    pub fn check(&self, name: &str, now: u64) -> Result<(), CertificateProblem> {
        if !self.for_host {
            return Err(CertificateProblem::NotForHosts);
        }
        if self.critical_options {
            return Err(CertificateProblem::CriticalOptions);
        }
        if !self.principals.iter().any(|principal| principal == name) {
            return Err(CertificateProblem::WrongPrincipal { principals: self.principals.clone() });
        }
        if now < self.valid_after {
            return Err(CertificateProblem::NotYetValid(self.valid_after));
        }
        if now >= self.valid_before {
            return Err(CertificateProblem::Expired(self.valid_before));
        }
        Ok(())
    }
}

/// What a server presents in the key exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// A plain host key.
    Key(HostKey),
    /// A host key with a certificate.
    Certificate(Box<HostCertificate>),
}

impl Presented {
    /// Takes the host key field (`K_S`) of a key exchange reply.
    #[must_use]
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let certificate = || HostCertificate::from_blob(blob).map(Box::new).map(Self::Certificate);
        HostKey::from_blob(blob).map(Self::Key).or_else(certificate)
    }

    /// The plain key, also of a certificate.
    #[must_use]
    pub fn key(&self) -> &HostKey {
        match self {
            Self::Key(key) => key,
            Self::Certificate(certificate) => certificate.key(),
        }
    }
}

fn certificate_type(name: &str) -> Option<HostKeyType> {
    match name {
        "sk-ssh-ed25519-cert-v01@openssh.com" => Some(HostKeyType::SkEd25519),
        "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" => Some(HostKeyType::SkEcdsaP256),
        "ssh-mldsa44-ed25519-cert-v01@openssh.com" => Some(HostKeyType::Mldsa44Ed25519),
        name => HostKeyType::parse(name.strip_suffix(SUFFIX)?),
    }
}

/// A list of strings that fills `bytes`.
fn strings(bytes: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(bytes);
    let mut strings = Vec::new();
    while !reader.is_empty() {
        strings.push(reader.text()?.to_owned());
    }
    Some(strings)
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding as _};
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "i-0123456789abcdef0";
    /// 2026-01-01 and 2027-01-01, the validity period in the recording script.
    const AFTER: u64 = 1_767_225_600;
    const BEFORE: u64 = 1_798_761_600;

    fn blob() -> Vec<u8> {
        let line = include_str!("testdata/kex/ed25519-cert.pub");
        Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap()
    }

    #[test]
    fn a_certificate_of_ssh_keygen_is_read() {
        let certificate = HostCertificate::from_blob(&blob()).unwrap();
        assert_eq!(Some(certificate.key()), HostKey::parse(include_str!("testdata/kex/ed25519.pub")).as_ref());
        assert_eq!(Some(certificate.authority()), HostKey::parse(include_str!("testdata/kex/ca.pub")).as_ref());
        assert_eq!(certificate.key_id(), "host");
        assert_eq!(certificate.check(ID, AFTER), Ok(()));
        assert_eq!(certificate.check("web-1", BEFORE - 1), Ok(()));
    }

    #[test]
    fn a_certificate_is_valid_for_its_principals_and_period_only() {
        let certificate = HostCertificate::from_blob(&blob()).unwrap();
        let principals = vec![ID.to_owned(), "web-1".to_owned()];
        for name in ["i-0123456789abcdef1", "", "I-0123456789ABCDEF0", "web"] {
            let problem = CertificateProblem::WrongPrincipal { principals: principals.clone() };
            assert_eq!(certificate.check(name, AFTER), Err(problem), "{name}");
        }
        assert_eq!(certificate.check(ID, AFTER - 1), Err(CertificateProblem::NotYetValid(AFTER)));
        assert_eq!(certificate.check(ID, BEFORE), Err(CertificateProblem::Expired(BEFORE)));
    }

    #[test]
    fn user_certificates_critical_options_and_empty_principals_are_refused() {
        let good = HostCertificate::from_blob(&blob()).unwrap();
        let user = HostCertificate { for_host: false, ..good.clone() };
        assert_eq!(user.check(ID, AFTER), Err(CertificateProblem::NotForHosts));
        let options = HostCertificate { critical_options: true, ..good.clone() };
        assert_eq!(options.check(ID, AFTER), Err(CertificateProblem::CriticalOptions));
        let empty = HostCertificate { principals: Vec::new(), ..good.clone() };
        let problem = CertificateProblem::WrongPrincipal { principals: Vec::new() };
        assert_eq!(empty.check(ID, AFTER), Err(problem));
        // Only an equal principal counts.
        let pattern = HostCertificate { principals: vec!["i-*".to_owned(), "*".to_owned()], ..good };
        assert!(matches!(pattern.check(ID, AFTER), Err(CertificateProblem::WrongPrincipal { .. })));
    }

    #[test]
    fn a_certificate_of_another_length_is_no_certificate() {
        let blob = blob();
        for length in 0..blob.len() {
            assert_eq!(Presented::from_blob(&blob[..length]), None, "{length}");
        }
        assert_eq!(Presented::from_blob(&[&blob[..], b"\0"].concat()), None);
        assert_eq!(HostKey::from_blob(&blob), None);
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_panics(at in 0_usize..500, byte in any::<u8>()) {
            let mut blob = blob();
            let at = at % blob.len();
            blob[at] = byte;
            let _ = Presented::from_blob(&blob);
        }
    }
}
