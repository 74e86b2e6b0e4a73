//! The AWS identity of a source, as stored in the index and passed between processes.

use serde::{Deserialize, Serialize};

use crate::text::shell_word;

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external id that the trust policy of the role may require.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The session name in CloudTrail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
}

/// A role of IAM Identity Center in one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct SsoRole {
    /// The `[sso-session NAME]` of ~/.aws/config.
    pub session: String,
    /// The account, 12 digits.
    pub account: String,
    /// The role name, which is the name of the permission set.
    pub role: String,
}

/// Which credentials to use.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The profile; `None`: the SSO role, or the default credential chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A role of IAM Identity Center, instead of a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sso: Option<SsoRole>,
    /// A role to assume with these credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The account that the credentials must belong to; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl Identity {
    /// ` --profile NAME` with a leading space, for an AWS CLI command in a hint; empty without a profile.
    #[must_use]
    pub fn flag(&self) -> String {
        self.profile.as_deref().map(|profile| format!(" --profile {}", shell_word(profile))).unwrap_or_default()
    }

    /// The same identity for any account.
    #[must_use]
    pub fn unpinned(&self) -> Self {
        Self { account: None, ..self.clone() }
    }

    /// The options of `ssh-eic proxy` for this identity, for use without config and index.
    #[must_use]
    pub fn arguments(&self) -> Vec<(&'static str, &str)> {
        let mut arguments = Vec::new();
        if let Some(profile) = &self.profile {
            arguments.push(("--profile", profile.as_str()));
        }
        if let Some(SsoRole { session, account, role }) = &self.sso {
            arguments.extend([
                ("--sso-session", session.as_str()),
                ("--sso-account", account.as_str()),
                ("--sso-role", role.as_str()),
            ]);
        }
        if let Some(Role { arn, external_id, session_name }) = &self.role {
            arguments.push(("--role-arn", arn.as_str()));
            arguments.extend(external_id.as_deref().map(|id| ("--external-id", id)));
            arguments.extend(session_name.as_deref().map(|name| ("--role-session-name", name)));
        }
        arguments
    }
}
