//! The account of a session according to AWS (`GetCallerIdentity`), and how long its credentials are valid.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::ProvideCredentials;
use serde::Deserialize;

use crate::aws::credentials::{self, Session};
use crate::aws::failure::{self, Retry};
use crate::aws::profiles::Profiles;
use crate::domain::identity::Identity;
use crate::error::Result;
use crate::sys::environment::variable;

/// The account of a session and the validity of its credentials.
#[derive(Debug)]
pub struct CallerIdentity {
    /// The account.
    pub account: String,
    /// How long the credentials are valid.
    pub lifetime: Lifetime,
}

/// How long credentials are valid; times in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// A long-lived access key, or a role that can always be assumed again.
    Endless,
    /// Until then; after that a person has to sign in.
    Until(u64),
    /// Until then; the provider renews them until an unknown time.
    Renewed(u64),
    /// Temporary, with an unknown expiry.
    Unknown,
}

/// Sends `GetCallerIdentity`. Without a network, the account of the session if it is known.
///
/// # Errors
///
/// Those of the request; [`crate::error::Kind::Credentials`] for another account than the identity's.
pub async fn get(identity: &Identity, session: &Session) -> Result<CallerIdentity> {
    let response = aws_sdk_sts::Client::new(&session.config).get_caller_identity().send().await;
    let account = match response {
        Ok(response) => response.account.unwrap_or_default(),
        Err(error) => {
            let failure = failure::explain("sts:GetCallerIdentity", "*", session, &error);
            // A network may reach EC2 only, and a known account does not need the response.
            match &session.account {
                Some(account) if failure.retry == Retry::Network => account.clone(),
                _ => return Err(failure.error),
            }
        }
    };
    if let Some(wanted) = &identity.account {
        credentials::check_account(identity, wanted, &account)?;
    }
    Ok(CallerIdentity { account, lifetime: lifetime(identity, session).await })
}

async fn lifetime(identity: &Identity, session: &Session) -> Lifetime {
    let Some(provider) = session.config.credentials_provider() else { return Lifetime::Unknown };
    let Ok(signing) = provider.provide_credentials().await else { return Lifetime::Unknown };
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    let end = signing.expiry().map(seconds);
    let profiles = Profiles::load().await.ok();
    let is_ambient = identity.profile.is_none() && identity.sso.is_none();
    if is_ambient && variable("AWS_SESSION_TOKEN").is_some() {
        return Lifetime::Unknown;
    }
    if signing.session_token().is_none() {
        return Lifetime::Endless;
    }
    let from_environment = is_ambient && variable("AWS_ACCESS_KEY_ID").is_some();
    let portal = profiles.as_ref().filter(|_| !from_environment).and_then(|profiles| profiles.start_url(identity));
    if let Some(token) = portal.and_then(|url| Token::of(&url)) {
        let until = end.unwrap_or(0).max(token.expires);
        return if token.refreshes { Lifetime::Renewed(until) } else { Lifetime::Until(until) };
    }
    let settings = profiles.map(|profiles| profiles.settings(identity.profile.as_deref())).unwrap_or_default();
    match end {
        // Without a sign-in, the keys that assume the role are long-lived.
        _ if from_environment || (settings.keys && (identity.role.is_some() || settings.role)) => Lifetime::Endless,
        Some(end) => Lifetime::Renewed(end),
        None => Lifetime::Unknown,
    }
}

/// An access token of `aws sso login`.
#[derive(Debug)]
struct Token {
    expires: u64,
    refreshes: bool,
}

/// A file of ~/.aws/sso/cache, as the AWS CLI and the SDKs share it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cached {
    start_url: String,
    expires_at: String,
    refresh_token: Option<String>,
    registration_expires_at: Option<String>,
}

impl Token {
    /// The token of a portal with the latest expiry.
    fn of(start_url: &str) -> Option<Self> {
        let folder = dirs::home_dir()?.join(".aws/sso/cache");
        let files = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| fs::read(entry.path()).ok());
        let cached = files.filter_map(|bytes| serde_json::from_slice::<Cached>(&bytes).ok());
        let is_same = |url: &str| url.trim_end_matches('/') == start_url.trim_end_matches('/');
        let one = |cached: Cached| {
            let now = jiff::Timestamp::now().as_second();
            let registered = cached.registration_expires_at.as_deref().and_then(seconds).unwrap_or(0);
            let refreshes = cached.refresh_token.is_some() && registered > now;
            Some(Self { expires: u64::try_from(seconds(&cached.expires_at)?).ok()?, refreshes })
        };
        cached.filter(|cached| is_same(&cached.start_url)).filter_map(one).max_by_key(|token| token.expires)
    }
}

/// Seconds since 1970; also of `2020-06-17T22:40:57UTC`, the format of older versions of the AWS CLI.
fn seconds(time: &str) -> Option<i64> {
    time.replace("UTC", "Z").parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}
