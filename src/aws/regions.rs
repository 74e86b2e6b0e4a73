//! Which regions an account has enabled (DescribeRegions).

use aws_sdk_ec2::Client;

use crate::aws::credentials::Session;
use crate::aws::failure;
use crate::domain::ids::is_region;
use crate::error::Result;

/// Names of the enabled regions, sorted.
///
/// # Errors
///
/// In the words of [`failure::explain`].
pub async fn enabled(session: &Session) -> Result<Vec<String>> {
    let answer = Client::new(&session.config)
        .describe_regions()
        .send()
        .await
        .map_err(|error| failure::explain("ec2:DescribeRegions", "*", session, &error).error)?;
    let names = answer.regions.unwrap_or_default().into_iter().filter_map(|region| region.region_name);
    let mut names: Vec<String> = names.filter(|name| is_region(name)).collect();
    names.sort();
    Ok(names)
}
