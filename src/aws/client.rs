//! The SDK's configuration for a profile and region, and running requests to their end on an event loop of this thread.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use rustix::io::Errno;

pub use crate::aws::http::client as http_client;
use crate::aws::timeout::RunningSleep;
use crate::aws::{default_region, profiles};
use crate::domain::diagnosis::Cause;
use crate::error::{Error, Kind, Result};

/// Timeouts and retries of one request.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// For opening a connection.
    pub connect_timeout: Duration,
    /// For one attempt.
    pub attempt_timeout: Duration,
    /// Attempts that the SDK makes.
    pub max_attempts: u32,
}

impl RequestLimits {
    /// For a push. `connect::push` makes the retries, because all processes share one retry delay.
    pub const PUSH: Self =
        Self { connect_timeout: Duration::from_secs(4), attempt_timeout: Duration::from_secs(10), max_attempts: 1 };
    /// For requests that no connection depends on.
    pub const QUERY: Self =
        Self { connect_timeout: Duration::from_secs(4), attempt_timeout: Duration::from_mins(1), max_attempts: 4 };
}

/// Runs a future to its end on an event loop of this thread.
///
/// # Errors
///
/// [`Kind::Bug`] if the event loop cannot be started; else those of the future.
pub fn run<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_event_loop)?.block_on(future)
}

/// Runs a future for at most `timeout`. Does not wait for what is still running then, not even for a resolver that hangs.
///
/// # Errors
///
/// As [`run`]; [`Kind::Unavailable`] if it takes too long.
pub fn run_within<T>(timeout: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_event_loop)?;
    let result = runtime.block_on(crate::aws::timeout::limit(timeout, future));
    runtime.shutdown_background();
    result.unwrap_or_else(|| {
        let message = format!("AWS did not answer within {} s", timeout.as_secs());
        Err(Error::new(Kind::Unavailable, message)
            .hint("check the network, VPN and HTTPS_PROXY; -v shows the details")
            .cause(Cause::AwsUnreachable))
    })
}

/// The error where there is no event loop: descriptors are what a process runs out of.
fn no_event_loop(error: std::io::Error) -> Error {
    let is_limit = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
    if is_limit {
        Error::new(Kind::File, "the limit of open files is too low for a request to AWS").hint("ulimit -n 1024")
    } else {
        Error::new(Kind::Bug, "cannot start an event loop").because(error)
    }
}

/// The SDK's configuration for a profile and region, without credentials.
///
/// # Errors
///
/// [`Kind::File`] if `AWS_CA_BUNDLE` cannot be read.
pub async fn config(profile: Option<&str>, region: Option<&str>, limits: RequestLimits) -> Result<SdkConfig> {
    let bundle = Box::pin(profiles::ca_bundle(profile)).await;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(limits.connect_timeout)
        .operation_attempt_timeout(limits.attempt_timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client(bundle.as_deref())?)
        .timeout_config(timeouts)
        .sleep_impl(RunningSleep)
        .retry_config(RetryConfig::standard().with_max_attempts(limits.max_attempts))
        .no_credentials();
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    loader = match region {
        Some(region) => loader.region(Region::new(region.to_owned())),
        None => loader.region(default_region::chain(profile)),
    };
    Ok(loader.load().await)
}
