//! The region of a source that names none, and the client of the instance metadata service (IMDS).

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;

use crate::aws::http;

/// Off EC2 nothing answers at the metadata address, and the error has to come soon.
const METADATA_TIMEOUT: Duration = Duration::from_millis(600);

/// The region of the environment, of the profile, or of the EC2 instance that this process runs on.
pub(super) fn chain(profile: Option<&str>) -> RegionProviderChain {
    let mut profile_region = ProfileFileRegionProvider::builder();
    if let Some(profile) = profile {
        profile_region = profile_region.profile_name(profile);
    }
    let profile_region = profile_region.build();
    match profile {
        // A named profile's own region comes before the environment's, as its identity does.
        Some(_) => RegionProviderChain::first_try(profile_region).or_else(EnvironmentVariableRegionProvider::new()),
        None => RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile_region),
    }
    .or_else(imds::region::ImdsRegionProvider::builder().imds_client(metadata_client(None)).build())
}

pub(super) fn metadata_client(config: Option<&ProviderConfig>) -> imds::Client {
    let mut builder = imds::Client::builder()
        .max_attempts(1)
        .connect_timeout(METADATA_TIMEOUT)
        .read_timeout(METADATA_TIMEOUT)
        .operation_timeout(METADATA_TIMEOUT);
    if let Some(config) = config {
        builder = builder.configure(config);
    } else if let Ok(http_client) = http::client(None) {
        builder = builder.configure(&ProviderConfig::without_region().with_http_client(http_client));
    }
    builder.build()
}
