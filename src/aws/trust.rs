//! The trusted authorities (`net::trust`) in the form that the SDK takes.

use std::path::Path;

use aws_smithy_http_client::tls::TrustStore;

use crate::error::Result;
use crate::net::trust;

/// The trust store of the calls to AWS; `of_profile` is the profile's `ca_bundle`.
///
/// # Errors
///
/// As [`trust::pem`].
pub(super) fn store(of_profile: Option<&Path>) -> Result<TrustStore> {
    // What is not in one file is for the SDK to read.
    Ok(trust::pem(of_profile)?.map_or_else(TrustStore::default, |pem| TrustStore::empty().with_pem_certificate(pem)))
}
