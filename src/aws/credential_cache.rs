//! Temporary credentials shared between processes: read from the cache, or fetched by one process and written.
//!
//! Only credentials from SSO and STS are written, according to the features that the SDK attaches to credentials and to a
//! profile's `role_arn`. Credentials from the environment, a container, instance metadata, a program or a file of
//! long-lived keys are never written.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::attributes::AccountId;
use aws_credential_types::credential_feature::AwsCredentialFeature;

use crate::aws::profiles;
use crate::domain::identity::Identity;
use crate::error::Result;
use crate::store::credentials::{CacheFile, CachedCredentials};
use crate::ui;

/// Seconds before their expiry at which credentials are renewed.
const RENEW_BEFORE_EXPIRY: u64 = 300;
/// Seconds that credentials have to be valid for if they cannot be renewed.
const MINIMUM_LIFETIME: u64 = 60;
/// How long a process waits for another one that fetches the same credentials.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// The cached credentials of the identity, or those that `fetch` returns; and their file in the cache.
///
/// # Errors
///
/// Those of `fetch`. A cache that cannot be written is no error.
pub(super) async fn load_or_fetch(
    identity: &Identity,
    folder: &Path,
    fetch: impl AsyncFnOnce() -> Result<Credentials>,
) -> Result<(Credentials, Option<CacheFile>)> {
    let file = CacheFile::new(folder, &profiles::digest(identity));
    if let Some(cached) = valid_for(&file, RENEW_BEFORE_EXPIRY) {
        return Ok((credentials(cached), Some(file)));
    }
    // Wait for another process only if its credentials will be cached: other providers may run in parallel.
    let temporary = profiles::gives_temporary(identity).await;
    let lock = if temporary { locked(&file).await } else { None };
    if let Some(cached) = valid_for(&file, RENEW_BEFORE_EXPIRY).filter(|_| lock.is_some()) {
        return Ok((credentials(cached), Some(file)));
    }
    match fetch().await {
        Ok(fresh) => {
            let cached = cacheable(&fresh, temporary);
            // The SDK may have renewed the SSO token, which changes the digest.
            let file = CacheFile::new(folder, &profiles::digest(identity));
            if let Some(Err(error)) = cached.as_ref().map(|cached| file.write(cached)) {
                ui::verbose(|| error.message);
            }
            Ok((fresh, cached.map(|_| file)))
        }
        Err(error) => match valid_for(&file, MINIMUM_LIFETIME) {
            Some(cached) => Ok((credentials(cached), Some(file))),
            None => Err(error),
        },
    }
}

fn valid_for(file: &CacheFile, seconds: u64) -> Option<CachedCredentials> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |passed| passed.as_secs());
    file.read().filter(|cached| cached.expires > now.saturating_add(seconds))
}

/// Waits without blocking the other requests of this process. A file system without locks counts as locked.
async fn locked(file: &CacheFile) -> Option<File> {
    let lock = file.lock().ok()?;
    let start = tokio::time::Instant::now();
    while let Err(std::fs::TryLockError::WouldBlock) = lock.try_lock() {
        if start.elapsed() > LOCK_TIMEOUT {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(lock)
}

/// The credentials if they may be written: from SSO or STS, with an expiry. `temporary` is according to the config files,
/// because the SDK attaches no feature of STS to the credentials of a profile's `role_arn` (aws-config 1.13).
fn cacheable(credentials: &Credentials, temporary: bool) -> Option<CachedCredentials> {
    use AwsCredentialFeature as Feature;
    let features = credentials.get_property::<Vec<AwsCredentialFeature>>()?;
    let from_sso_or_sts = |feature: &Feature| {
        matches!(
            feature,
            Feature::CredentialsSso
                | Feature::CredentialsStsAssumeRole
                | Feature::CredentialsStsAssumeRoleWebId
                | Feature::CredentialsProfileStsWebIdToken
                | Feature::CredentialsEnvVarsStsWebIdToken
        )
    };
    let from_elsewhere = |feature: &Feature| {
        matches!(
            feature,
            Feature::CredentialsEnvVars
                | Feature::CredentialsProcess
                | Feature::CredentialsProfileProcess
                | Feature::CredentialsHttp
                | Feature::CredentialsImds
        )
    };
    let assumed = temporary && credentials.session_token().is_some() && !features.iter().any(from_elsewhere);
    let end = credentials.expiry()?.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (assumed || features.iter().any(from_sso_or_sts)).then(|| CachedCredentials {
        access_key: credentials.access_key_id().to_owned(),
        secret_key: credentials.secret_access_key().to_owned(),
        session_token: credentials.session_token().map(str::to_owned),
        expires: end,
        account: credentials.account_id().map(|id| id.as_str().to_owned()),
    })
}

fn credentials(cached: CachedCredentials) -> Credentials {
    let mut builder = Credentials::builder()
        .access_key_id(cached.access_key)
        .secret_access_key(cached.secret_key)
        .expiry(UNIX_EPOCH + Duration::from_secs(cached.expires))
        .provider_name("ssh-eic");
    builder.set_session_token(cached.session_token);
    builder.set_account_id(cached.account.map(AccountId::from));
    builder.build()
}
