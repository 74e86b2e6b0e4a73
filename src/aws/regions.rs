//! Which regions an account has enabled (DescribeRegions).

use aws_sdk_ec2::Client;

use crate::aws::credentials::Session;
use crate::aws::failure;
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
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let names = answer.regions.unwrap_or_default().into_iter().filter_map(|region| region.region_name);
    // A region's name goes into a command line.
    let mut names: Vec<String> = names.filter(|name| !name.is_empty() && name.bytes().all(fits)).collect();
    names.sort();
    Ok(names)
}
