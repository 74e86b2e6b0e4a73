//! TLS for the AWS stand-in: half of what a client's request costs, and a way for it to fail, so tests and benchmarks
//! need the real thing. The authority exists as long as the sandbox and is trusted inside only; its key is never
//! written.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The authority's certificate inside the sandbox's folder.
pub(crate) const CA: &str = "aws-ca.pem";

/// AWS's own names, so that a proxy can connect a client without a configured endpoint to this server: the plain and
/// FIPS ones of a region, its dual-stack ones, and those of a region of China.
const AWS_NAMES: [&str; 4] = [
    "*.eu-west-1.amazonaws.com",
    "*.eu-west-1.api.aws",
    "*.cn-north-1.amazonaws.com.cn",
    "*.cn-north-1.api.amazonwebservices.com.cn",
];

/// The regions in which an endpoint's certificate is valid.
const ENDPOINT_REGIONS: [&str; 5] = ["eu-west-1", "us-east-1", "us-west-2", "eu-central-1", "ap-southeast-1"];

/// The wildcards for the names of endpoints, which [`crate::Endpoint`] has one label below.
fn endpoint_names() -> impl Iterator<Item = String> {
    ENDPOINT_REGIONS.iter().flat_map(|region| {
        [("", "amazonaws.com"), (".fips", "amazonaws.com"), ("", "api.aws"), (".fips", "api.aws")]
            .map(|(fips, suffix)| format!("*.0123abcd{fips}.ec2-instance-connect-endpoint.{region}.{suffix}"))
    })
}

/// The server's TLS configuration, and the file of its authority.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    pub(super) ca: PathBuf,
}

/// Makes an authority, and a certificate of the stand-in's address and of AWS's own names.
pub(super) fn furnish(dir: &Path) -> io::Result<Tls> {
    let authority = authority().map_err(io::Error::other)?;
    let ca = dir.join(CA);
    fs::write(&ca, authority.pem())?;
    let config = config(&authority)?;
    Ok(Tls { config: Arc::new(config), ca })
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "the sandbox's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    // Strict verifiers (Python 3.13) refuse an authority that does not say what it is for.
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn config(authority: &CertifiedIssuer<'_, KeyPair>) -> io::Result<ServerConfig> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let here = [Ipv4Addr::LOCALHOST.to_string(), String::from("localhost")];
    let names: Vec<String> = here.into_iter().chain(AWS_NAMES.map(String::from)).chain(endpoint_names()).collect();
    let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, "the sandbox's AWS");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, authority).map_err(io::Error::other)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
