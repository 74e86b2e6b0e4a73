//! The trusted authorities (`net::trust`) in the form that the SDK takes.

use aws_smithy_http_client::tls::TrustStore;

use crate::error::Result;
use crate::net::trust;

/// The trust store of the calls to AWS.
///
/// # Errors
///
/// As [`trust::pem`].
pub(super) fn store() -> Result<TrustStore> {
    // What is not in one file is for the SDK to read.
    Ok(trust::pem()?.map_or_else(TrustStore::default, |pem| TrustStore::empty().with_pem_certificate(pem)))
}
