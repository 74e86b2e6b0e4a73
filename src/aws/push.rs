//! SendSSHPublicKey: the one request that every cold connection makes.

use aws_sdk_ec2instanceconnect::Client;

use crate::aws::credentials::Session;
use crate::aws::failure::{self, Failure};
use crate::domain::ids::{InstanceId, OsUser};

/// What is pushed where.
#[derive(Debug, Clone, Copy)]
pub struct PushRequest<'a> {
    /// The instance.
    pub id: &'a InstanceId,
    /// What to call it in messages: `prod-web-1 (i-0abc…)`.
    pub name: &'a str,
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
pub async fn send(session: &Session, push: PushRequest<'_>) -> Result<Option<String>, Failure> {
    let mut config = aws_sdk_ec2instanceconnect::config::Builder::from(&session.config);
    if let Some(url) = &session.push_endpoint {
        config.set_endpoint_url(Some(url.clone()));
    }
    let answer = Client::from_conf(config.build())
        .send_ssh_public_key()
        .instance_id(push.id.as_str())
        .instance_os_user(push.user.as_str())
        .ssh_public_key(push.public_key)
        .send()
        .await
        .map_err(|error| failure::explain("ec2-instance-connect:SendSSHPublicKey", push.name, session, &error))?;
    Ok(answer.request_id().map(str::to_owned))
}
