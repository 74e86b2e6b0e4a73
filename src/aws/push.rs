//! SendSSHPublicKey: the one request that every cold connection makes.

use aws_sdk_ec2instanceconnect::Client;

use crate::aws::credentials::Session;
use crate::aws::failure::{self, Failure, Resource};
use crate::domain::ids::{InstanceId, OsUser};

/// A key for an OS user of an instance.
#[derive(Debug, Clone, Copy)]
pub struct PushRequest<'a> {
    /// The instance.
    pub id: &'a InstanceId,
    /// Its name, for messages.
    pub label: &'a str,
    /// The OS user.
    pub user: &'a OsUser,
    /// `ssh-ed25519 AAAA…`
    pub public_key: &'a str,
}

/// Sends the key once, without retries. Returns the request id.
///
/// # Errors
///
/// [`Failure`], with whether a retry can help.
pub async fn send(session: &Session, push: PushRequest<'_>) -> Result<Option<String>, Failure> {
    let mut config = aws_sdk_ec2instanceconnect::config::Builder::from(&session.config);
    if let Some(url) = &session.push_endpoint {
        config.set_endpoint_url(Some(url.clone()));
    }
    let response = Client::from_conf(config.build())
        .send_ssh_public_key()
        .instance_id(push.id.as_str())
        .instance_os_user(push.user.as_str())
        .ssh_public_key(push.public_key)
        .send()
        .await
        .map_err(|error| {
            let instance = Resource::Instance { label: push.label, id: push.id };
            failure::explain("ec2-instance-connect:SendSSHPublicKey", instance, session, &error)
        })?;
    Ok(response.request_id().map(str::to_owned))
}
