//! The identity that signs requests in one region.

use aws_config::{Region, SdkConfig};

use crate::domain::identity::{Identity, SsoRole};
use crate::store::credentials::CacheFile;

/// The identity in a message.
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

/// An identity that can sign, for one region.
#[derive(Debug, Clone)]
pub struct Session {
    /// For building clients.
    pub config: SdkConfig,
    /// The region it is for.
    pub region: String,
    /// The access key id that signs.
    pub access_key: String,
    /// The account, where the credentials tell it.
    pub account: Option<String>,
    /// For messages and hints.
    pub identity: Identity,
    /// Where the credentials are kept between processes.
    pub kept: Option<CacheFile>,
    /// Where keys are pushed, if the profile names a place of its own for that.
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
