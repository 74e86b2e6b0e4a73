//! Who can call: access keys and SSO sign-ins.

use serde::{Deserialize, Serialize};

/// An access key and whose it is. Signatures are not verified, only the key's id and its session token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credential {
    /// `AKIA…` or `ASIA…`.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: String,
    /// Must come with each request if there is one.
    #[serde(default)]
    pub session_token: Option<String>,
    /// The account it belongs to.
    pub account: String,
    /// The identity's ARN.
    pub arn: String,
    /// The identity's unique id.
    pub user_id: String,
    /// Unix seconds.
    #[serde(default)]
    pub expires: Option<i64>,
}

impl Credential {
    /// A long-lived key of an IAM user.
    #[must_use]
    pub fn long_lived(access_key_id: &str, account: &str, user: &str) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: format!("secret/of/{access_key_id}/that/nobody/verifies"),
            session_token: None,
            account: account.into(),
            arn: format!("arn:aws:iam::{account}:user/{user}"),
            user_id: format!("AIDA{account}{user}"),
            expires: None,
        }
    }
}

/// One account that an SSO sign-in offers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Permission sets that the person holds there.
    pub roles: Vec<String>,
}

/// A person signed in with IAM Identity Center.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SignIn {
    /// The bearer token.
    pub access_token: String,
    /// Lets the client get a new token, if not empty.
    #[serde(default)]
    pub refresh_token: String,
    /// Unix seconds.
    #[serde(default)]
    pub expires: Option<i64>,
    /// What the portal offers.
    pub accounts: Vec<Account>,
}
