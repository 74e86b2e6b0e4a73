//! The HTTP client of all requests to AWS: rustls, and proxies from the environment.
//!
//! The SDK's default client is not used: it reads every file of the trust folder, spends 31 ms of CPU on building
//! aws-lc's tables, and ignores `HTTPS_PROXY`. The feature `fips` accepts that cost and gets a validated module.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::aws::limit::LimitedClient;
use crate::aws::trust;
use crate::error::{Error, Kind, Result};

/// The cryptographic module of TLS. With the FIPS module, building the client fails if its self-tests fail.
#[cfg(feature = "fips")]
const CRYPTO: CryptoMode = CryptoMode::AwsLcFips;
#[cfg(not(feature = "fips"))]
const CRYPTO: CryptoMode = CryptoMode::Ring;

/// The HTTP client of this thread and its event loop: one trust store, one pool of connections. `bundle` is the
/// profile's `ca_bundle`.
///
/// # Errors
///
/// [`Kind::File`] if `AWS_CA_BUNDLE` cannot be read.
pub fn client(bundle: Option<&Path>) -> Result<SharedHttpClient> {
    thread_local! {
        static CLIENTS: RefCell<BTreeMap<Option<PathBuf>, SharedHttpClient>> = const { RefCell::new(BTreeMap::new()) };
    }
    let key = bundle.map(Path::to_owned);
    if let Some(client) = CLIENTS.with_borrow(|clients| clients.get(&key).cloned()) {
        return Ok(client);
    }
    let client = new_client(bundle)?;
    let client = SharedHttpClient::new(LimitedClient(client));
    CLIENTS.with_borrow_mut(|clients| clients.insert(key, client.clone()));
    Ok(client)
}

fn new_client(bundle: Option<&Path>) -> Result<SharedHttpClient> {
    let context = TlsContext::builder()
        .with_trust_store(trust::store(bundle)?)
        .build()
        .map_err(|error| Error::new(Kind::File, "the trusted certificates cannot be used").because(error))?;
    Ok(Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(aws_sdk_sts::config::RuntimeComponents::sleep_impl));
        connector.enable_tcp_nodelay(true).tls_provider(Provider::Rustls(CRYPTO)).tls_context(context.clone()).build()
    }))
}
