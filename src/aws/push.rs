//! SendSSHPublicKey: the one request that every cold connection makes.

use aws_sdk_ec2instanceconnect::Client;

use crate::aws::credentials::Session;
use crate::aws::failure::{self, Failure};
use crate::core::ids::{InstanceId, OsUser};

/// What is pushed where.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// The instance.
    pub id: &'a InstanceId,
    /// What to call it in messages.
    pub label: &'a str,
    /// The OS user.
    pub user: &'a OsUser,
    /// `ssh-ed25519 AAAA…`
    pub public_key: &'a str,
}

/// Sends the key once, without retries. Returns AWS's request id.
///
/// # Errors
///
/// [`Failure`], which says whether to try again.
pub async fn send(session: &Session, push: Push<'_>) -> Result<Option<String>, Failure> {
    let answer = Client::new(&session.config)
        .send_ssh_public_key()
        .instance_id(push.id.as_str())
        .instance_os_user(push.user.as_str())
        .ssh_public_key(push.public_key)
        .send()
        .await
        .map_err(|error| {
            let resource = if push.label == push.id.as_str() {
                push.label.to_owned()
            } else {
                format!("{} ({})", push.label, push.id)
            };
            failure::explain("ec2-instance-connect:SendSSHPublicKey", &resource, session, &error)
        })?;
    Ok(answer.request_id().map(str::to_owned))
}
