//! How requests travel: one runtime, one HTTP client with rustls, proxies from the environment, and the SDK's
//! own reading of endpoints, FIPS and dual-stack settings.
//!
//! The stock client of the SDK is not used: it reads every file of the trust folder, spends 31 ms of CPU on building
//! aws-lc's tables, and knows no `HTTPS_PROXY`. The feature `fips` pays for those tables and gets a validated module.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use crate::aws::limit::LimitedClient;
use crate::aws::{profiles, trust};
use crate::domain::diagnosis::Cause;
use crate::error::{Error, Kind, Result};

/// What does the arithmetic of TLS. With the module of FIPS, building the client fails where its self-tests do.
#[cfg(feature = "fips")]
const CRYPTO: CryptoMode = CryptoMode::AwsLcFips;
#[cfg(not(feature = "fips"))]
const CRYPTO: CryptoMode = CryptoMode::Ring;

/// How patient one request is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// For one attempt.
    pub attempt: Duration,
    /// Attempts that the SDK makes by itself.
    pub attempts: u32,
}

impl Patience {
    /// For a push: the retries are ours, since they are shared by all processes.
    pub const PUSH: Self = Self { connect: Duration::from_secs(4), attempt: Duration::from_secs(10), attempts: 1 };
    /// For everything that a person waits for and no connection depends on.
    pub const QUERY: Self = Self { connect: Duration::from_secs(4), attempt: Duration::from_mins(1), attempts: 4 };
}

/// Runs a future to its end on a runtime of this thread.
///
/// # Errors
///
/// [`Kind::Bug`] if there can be no runtime; else the future's own.
pub fn run<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Bug, "cannot start an event loop").because(error))?
        .block_on(future)
}

/// The same, given up after so long: nothing is waited for then, not even a resolver that hangs.
///
/// # Errors
///
/// As [`run`]; [`Kind::Unavailable`] if it takes too long.
pub fn run_within<T>(patience: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Bug, "cannot start an event loop").because(error))?;
    let answer = runtime.block_on(async { tokio::time::timeout(patience, future).await });
    runtime.shutdown_background();
    answer.unwrap_or_else(|_| {
        let words = format!("AWS did not answer within {} s", patience.as_secs());
        Err(Error::new(Kind::Unavailable, words)
            .hint("check the network, VPN and HTTPS_PROXY; -v shows the details")
            .cause(Cause::AwsUnreachable))
    })
}

/// The SDK's configuration for a profile and region, without credentials.
///
/// # Errors
///
/// [`Kind::File`] if `AWS_CA_BUNDLE` cannot be read.
pub async fn config(profile: Option<&str>, region: Option<&str>, patience: Patience) -> Result<SdkConfig> {
    let bundle = Box::pin(profiles::ca_bundle(profile)).await;
    let timeouts =
        TimeoutConfig::builder().connect_timeout(patience.connect).operation_attempt_timeout(patience.attempt).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(bundle.as_deref())?)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(patience.attempts))
        .no_credentials();
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    loader = match region {
        Some(region) => loader.region(Region::new(region.to_owned())),
        None => loader.region(crate::aws::credentials::region_chain(profile)),
    };
    Ok(loader.load().await)
}

/// The HTTP client of this thread, and so of its event loop: one trust store, one pool of connections. `bundle` is the
/// profile's own file of trusted certificates.
///
/// # Errors
///
/// [`Kind::File`] if `AWS_CA_BUNDLE` cannot be read.
pub fn http_client(bundle: Option<&Path>) -> Result<SharedHttpClient> {
    thread_local! {
        static CLIENTS: RefCell<BTreeMap<Option<PathBuf>, SharedHttpClient>> = const { RefCell::new(BTreeMap::new()) };
    }
    let key = bundle.map(Path::to_owned);
    if let Some(client) = CLIENTS.with_borrow(|clients| clients.get(&key).cloned()) {
        return Ok(client);
    }
    let client = new_http_client(bundle)?;
    let client = SharedHttpClient::new(LimitedClient(client));
    CLIENTS.with_borrow_mut(|clients| clients.insert(key, client.clone()));
    Ok(client)
}

fn new_http_client(bundle: Option<&Path>) -> Result<SharedHttpClient> {
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
