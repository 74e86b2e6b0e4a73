//! The identity that signs requests in one region.

use aws_config::{Region, SdkConfig};

use crate::domain::identity::{Identity, SsoRole};
use crate::store::credentials::CacheFile;

/// The identity for messages, such as `profile "prod"`.
#[must_use]
pub fn described(identity: &Identity) -> String {
    match (&identity.profile, &identity.sso) {
        (Some(profile), _) => format!("profile {profile:?}"),
        (None, Some(SsoRole { session, account, role })) => {
            format!("role {role:?} in account {account} (SSO session {session:?})")
        }
        (None, None) => match crate::sys::environment::variable("AWS_PROFILE") {
            Some(profile) => format!("the environment or profile {}", profile.to_string_lossy()),
            None => "the environment or the default profile".to_owned(),
        },
    }
}

/// Resolved credentials in one region.
#[derive(Debug, Clone)]
pub struct Session {
    /// For building clients.
    pub config: SdkConfig,
    /// The region.
    pub region: String,
    /// The access key id.
    pub access_key: String,
    /// The account, if the credentials contain it.
    pub account: Option<String>,
    /// For messages and hints.
    pub identity: Identity,
    /// The file that caches the credentials.
    pub cache_file: Option<CacheFile>,
    /// The endpoint for pushes, if the profile has one for EC2 Instance Connect alone.
    pub push_endpoint: Option<String>,
}

impl Session {
    /// The same identity in another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        let config = self.config.clone().into_builder().region(Region::new(region.to_owned())).build();
        Self { config, region: region.to_owned(), ..self.clone() }
    }
}
