//! GetConsoleOutput: the output of an instance's serial console, and the host keys in it.

use aws_sdk_ec2::Client;
use aws_smithy_types::base64;

use crate::aws::credentials::Session;
use crate::aws::failure::{self, Failure, Retry};
use crate::domain::console::{self, ConsoleKeys, Unusable};
use crate::domain::ids::InstanceId;
use crate::error::{Error, Kind};

const ACTION: &str = "ec2:GetConsoleOutput";

/// Reads the host keys of an instance: from the latest output, or from the stored snapshot if the latest has none or is
/// not available (it requires a Nitro instance). `name` is the instance in messages.
///
/// # Errors
///
/// AWS denied or failed one of the requests: nothing is known then, which is not the same as an output without keys.
pub async fn host_keys(session: &Session, id: &InstanceId, name: &str) -> Result<ConsoleKeys, Failure> {
    let latest = match output(session, id, name, true).await {
        Ok(bytes) => Some(console::read(&bytes)),
        Err(failure) if is_unsupported(&failure) => None,
        Err(failure) => return Err(failure),
    };
    if let Some(keys @ (ConsoleKeys::Keys(_) | ConsoleKeys::Fingerprints(_))) = latest {
        return Ok(keys);
    }
    let snapshot = console::read(&output(session, id, name, false).await?);
    Ok(match (latest, snapshot) {
        // A block that was found and could not be used says more than the absence of one.
        (Some(latest), ConsoleKeys::Unusable(Unusable::NoOutput | Unusable::NoBlock)) => latest,
        (_, snapshot) => snapshot,
    })
}

/// The decoded output: at most 64 KiB, empty if there is none yet.
async fn output(session: &Session, id: &InstanceId, name: &str, latest: bool) -> Result<Vec<u8>, Failure> {
    let request = Client::new(&session.config).get_console_output().instance_id(id.as_str());
    // Without the parameter for a snapshot, so that the request is the one that every API version has.
    let request = if latest { request.latest(true) } else { request };
    let response = request.send().await.map_err(|error| failure::explain(ACTION, name, session, &error))?;
    let encoded: String = response.output.unwrap_or_default().split_ascii_whitespace().collect();
    base64::decode(encoded).map_err(|error| Failure {
        error: Error::new(Kind::Unavailable, format!("{ACTION}: the console output of {name} could not be decoded"))
            .because(error),
        retry: Retry::Never,
        code: None,
    })
}

/// Whether AWS refuses `Latest` for this type of instance.
fn is_unsupported(failure: &Failure) -> bool {
    let code = failure.code.as_deref().unwrap_or_default();
    matches!(code, "UnsupportedOperation" | "InvalidParameterCombination" | "InvalidParameterValue")
}
