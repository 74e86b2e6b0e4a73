//! The trusted certificate authorities: one file, named by the environment or where the system keeps it.
//!
//! One file is a fifth of the work of a folder. A certificate that cannot be used is skipped, as OpenSSL does: the SDK
//! ends the program at a single damaged one (aws-smithy-http-client 1.5). Shared by the calls to AWS and the tunnels.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::domain::diagnosis::Cause;
use crate::error::{Error, Kind, Result};
use crate::sys::environment::variable;

/// Bundles of trusted certificates where systems keep them.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The authorities that `AWS_CA_BUNDLE`, `ca_bundle` of the profile (`of_profile`) or `SSL_CERT_FILE` names, in this
/// order, else the system's, as PEM. `None` if they are not in one file (`SSL_CERT_DIR`, the keychain of macOS).
///
/// # Errors
///
/// [`Kind::File`] if the file that a variable names cannot be read, or no certificate in it.
pub fn pem(of_profile: Option<&Path>) -> Result<Option<Vec<u8>>> {
    if let Some(path) = of_profile.filter(|_| variable("AWS_CA_BUNDLE").is_none()) {
        return from_file(path).map(Some).map_err(|error| {
            let hint = "ca_bundle in ~/.aws/config must be a file of PEM certificates; correct or remove it";
            error.hint(hint).cause(Cause::CaBundle)
        });
    }
    for name in ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] {
        if let Some(path) = variable(name) {
            return from_file(Path::new(&path)).map(Some).map_err(|error| {
                let hint = format!("{name} must be a file of PEM certificates; correct or unset it");
                error.hint(hint).cause(Cause::CaBundle)
            });
        }
    }
    let bundle = BUNDLES.iter().map(Path::new).find(|path| variable("SSL_CERT_DIR").is_none() && path.is_file());
    Ok(bundle.and_then(|bundle| from_file(bundle).ok()))
}

/// The same authorities for a TLS connection of our own.
///
/// # Errors
///
/// As [`pem`].
pub fn roots(of_profile: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match pem(of_profile)? {
        Some(pem) => {
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(std::result::Result::ok));
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn from_file(path: &Path) -> Result<Vec<u8>> {
    let text = std::fs::read(path).map_err(|error| Error::file("read", path, &error))?;
    let good: Vec<u8> = certificates(&text).flat_map(|one| [one, b"\n"].concat()).collect();
    if good.is_empty() {
        return Err(Error::new(Kind::File, format!("{} contains no readable certificate", path.display())));
    }
    Ok(good)
}

/// The blocks that hold a certificate which can be an authority.
fn certificates(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    let blocks = std::iter::from_fn(move || {
        let begin = memchr::memmem::find(rest, BEGIN)?;
        let length = memchr::memmem::find(&rest[begin..], END)? + END.len();
        let block = &rest[begin..begin + length];
        rest = &rest[begin + length..];
        Some(block)
    });
    blocks
        .filter(|block| CertificateDer::from_pem_slice(block).is_ok_and(|one| RootCertStore::empty().add(one).is_ok()))
}
