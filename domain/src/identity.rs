//! Whose credentials a source uses, as data that crosses processes and stands in the index.

use serde::{Deserialize, Serialize};

use crate::text::shell_word;

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What its trust policy may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// Shown in CloudTrail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
}

/// A role of Identity Center: what a person holds in an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct SsoRole {
    /// The `[sso-session NAME]` of ~/.aws/config.
    pub session: String,
    /// The account, 12 digits.
    pub account: String,
    /// The role's name, which is the permission set's.
    pub role: String,
}

/// Whose credentials to use.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The profile; none: the SSO role, or the ambient chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A role of Identity Center, instead of a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sso: Option<SsoRole>,
    /// A role on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The only account that is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl Identity {
    /// ` --profile NAME` for an AWS command to type, or nothing.
    #[must_use]
    pub fn flag(&self) -> String {
        self.profile.as_deref().map(|profile| format!(" --profile {}", shell_word(profile))).unwrap_or_default()
    }

    /// Without the account that it has to be.
    #[must_use]
    pub fn unpinned(&self) -> Self {
        Self { account: None, ..self.clone() }
    }

    /// The flags of `ssh-eic proxy` that name this identity without any file of ours.
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
