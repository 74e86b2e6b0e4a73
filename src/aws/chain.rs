//! The chain of a profile: which roles it assumes, on top of what.
//!
//! The SDK reads chains itself and offers no way to replace the providers at their base, two of which are ours
//! (`sso`, `process`). Chains on another base, and every chain that is not valid, are left to the SDK and its errors.

use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::aws::process::Helper;
use crate::aws::profiles::{Profiles, SsoSession};
use crate::aws::sso::RoleCredentials;

/// A chain on a base that we provide.
#[derive(Debug)]
pub(super) struct Chain {
    base: Base,
    /// In the order in which they are assumed.
    roles: Vec<Role>,
}

#[derive(Debug)]
enum Base {
    Sso { session: SsoSession, account: String, role: String },
    Process(Helper),
}

#[derive(Debug)]
struct Role {
    arn: String,
    external_id: Option<String>,
    session_name: Option<String>,
}

impl Chain {
    /// The profile's chain, by the SDK's rules (aws-config 1.13, profile/credentials/repr.rs); none: the SDK's own.
    pub(super) fn of(profiles: &Profiles, profile: Option<&str>) -> Option<Self> {
        let mut name = profile.unwrap_or_else(|| profiles.selected()).to_owned();
        let mut visited = Vec::new();
        let mut roles = Vec::new();
        loop {
            if visited.contains(&name) {
                return None;
            }
            let value = |key: &str| profiles.value(&name, key);
            // Below the first profile, static keys come before everything else.
            let has_keys = value("aws_access_key_id").is_some() && value("aws_secret_access_key").is_some();
            if (has_keys && !visited.is_empty()) || value("web_identity_token_file").is_some() {
                return None;
            }
            let Some(arn) = value("role_arn") else { break };
            roles.push(Role {
                arn: arn.to_owned(),
                external_id: value("external_id").map(str::to_owned),
                session_name: value("role_session_name").map(str::to_owned),
            });
            let source = value("source_profile").filter(|_| value("credential_source").is_none())?.to_owned();
            if source == name {
                break;
            }
            visited.push(std::mem::replace(&mut name, source));
        }
        roles.reverse();
        base(profiles, &name).map(|base| Self { base, roles })
    }

    /// What gives its credentials.
    pub(super) async fn provider(self, config: &SdkConfig) -> SharedCredentialsProvider {
        let mut provider = match self.base {
            Base::Sso { session, account, role } => {
                SharedCredentialsProvider::new(RoleCredentials { session, account, role, config: config.clone() })
            }
            Base::Process(helper) => SharedCredentialsProvider::new(helper),
        };
        for role in self.roles {
            let mut builder = AssumeRoleProvider::builder(role.arn)
                .configure(config)
                .session_name(role.session_name.as_deref().unwrap_or("ssh-eic"));
            if let Some(external_id) = role.external_id {
                builder = builder.external_id(external_id);
            }
            provider = SharedCredentialsProvider::new(builder.build_from_provider(provider).await);
        }
        provider
    }
}

fn base(profiles: &Profiles, name: &str) -> Option<Base> {
    let value = |key: &str| profiles.value(name, key);
    if value("credential_source").is_some() {
        return None;
    }
    let is_sso = ["sso_account_id", "sso_region", "sso_role_name", "sso_start_url", "sso_session"];
    if is_sso.into_iter().any(|key| value(key).is_some()) {
        // Without a session there is no refresh: the SDK reads that token.
        if value("sso_start_url").is_some() || value("sso_region").is_some() {
            return None;
        }
        let session = profiles.sso_session(value("sso_session")?).ok()?;
        let (account, role) = (value("sso_account_id")?.to_owned(), value("sso_role_name")?.to_owned());
        return Some(Base::Sso { session, account, role });
    }
    if value("login_session").is_some() {
        return None;
    }
    Some(Base::Process(Helper {
        command: value("credential_process")?.to_owned(),
        account: value("aws_account_id").map(str::to_owned),
        profile: name.to_owned(),
    }))
}
