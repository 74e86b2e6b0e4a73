//! Temporary credentials across processes: looked up, fetched by one of many, written if they may be.
//!
//! Only what SSO and STS hand out is written, by the marks that the SDK puts on credentials, and by the profile that has a
//! `role_arn`. What comes from the environment, a container, instance metadata, a program or a file of long-lived keys
//! stays where it is.

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

/// Seconds before their end at which credentials are renewed.
const RENEW: u64 = 300;
/// Seconds that they have to last at least, where they cannot be renewed.
const LAST: u64 = 60;
/// How long one process waits for another one that is fetching the same.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// The kept credentials of the identity, or those that `fetch` gives. Also where they are kept.
///
/// # Errors
///
/// Those of `fetch`; that nothing can be kept is none.
pub(super) async fn load_or_fetch(
    identity: &Identity,
    folder: &Path,
    fetch: impl AsyncFnOnce() -> Result<Credentials>,
) -> Result<(Credentials, Option<CacheFile>)> {
    let entry = CacheFile::new(folder, &profiles::digest(identity));
    if let Some(kept) = valid_for(&entry, RENEW) {
        return Ok((credentials(kept), Some(entry)));
    }
    // Programs that give credentials may run side by side: only what will be kept is worth waiting for.
    let temporary = profiles::gives_temporary(identity).await;
    let lock = if temporary { locked(&entry).await } else { None };
    if let Some(kept) = valid_for(&entry, RENEW).filter(|_| lock.is_some()) {
        return Ok((credentials(kept), Some(entry)));
    }
    match fetch().await {
        Ok(fresh) => {
            let kept = cacheable(&fresh, temporary);
            // The SDK may have renewed the SSO token on the way, which makes another digest.
            let entry = CacheFile::new(folder, &profiles::digest(identity));
            if let Some(Err(error)) = kept.as_ref().map(|kept| entry.write(kept)) {
                ui::verbose(|| error.message);
            }
            Ok((fresh, kept.map(|_| entry)))
        }
        Err(error) => match valid_for(&entry, LAST) {
            Some(kept) => Ok((credentials(kept), Some(entry))),
            None => Err(error),
        },
    }
}

fn valid_for(entry: &CacheFile, seconds: u64) -> Option<CachedCredentials> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |passed| passed.as_secs());
    entry.read().filter(|kept| kept.expires > now.saturating_add(seconds))
}

/// Waits without holding up the other requests of this process. A file system without locks counts as locked.
async fn locked(entry: &CacheFile) -> Option<File> {
    let file = entry.lock().ok()?;
    let start = tokio::time::Instant::now();
    while let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
        if start.elapsed() > LOCK_TIMEOUT {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(file)
}

/// What may be written: from SSO or STS, with an end. `temporary` is what the config files say, since the SDK puts no
/// mark of STS on what a profile's `role_arn` gives (aws-config 1.13).
fn cacheable(credentials: &Credentials, temporary: bool) -> Option<CachedCredentials> {
    use AwsCredentialFeature as From;
    let marks = credentials.get_property::<Vec<AwsCredentialFeature>>()?;
    let from_sso_or_sts = |mark: &From| {
        matches!(
            mark,
            From::CredentialsSso
                | From::CredentialsStsAssumeRole
                | From::CredentialsStsAssumeRoleWebId
                | From::CredentialsProfileStsWebIdToken
                | From::CredentialsEnvVarsStsWebIdToken
        )
    };
    let from_elsewhere = |mark: &From| {
        matches!(
            mark,
            From::CredentialsEnvVars
                | From::CredentialsProcess
                | From::CredentialsProfileProcess
                | From::CredentialsHttp
                | From::CredentialsImds
        )
    };
    let assumed = temporary && credentials.session_token().is_some() && !marks.iter().any(from_elsewhere);
    let end = credentials.expiry()?.duration_since(UNIX_EPOCH).ok()?.as_secs();
    (assumed || marks.iter().any(from_sso_or_sts)).then(|| CachedCredentials {
        access_key: credentials.access_key_id().to_owned(),
        secret_key: credentials.secret_access_key().to_owned(),
        session_token: credentials.session_token().map(str::to_owned),
        expires: end,
        account: credentials.account_id().map(|id| id.as_str().to_owned()),
    })
}

fn credentials(kept: CachedCredentials) -> Credentials {
    let mut builder = Credentials::builder()
        .access_key_id(kept.access_key)
        .secret_access_key(kept.secret_key)
        .expiry(UNIX_EPOCH + Duration::from_secs(kept.expires))
        .provider_name("ssh-eic");
    builder.set_session_token(kept.session_token);
    builder.set_account_id(kept.account.map(AccountId::from));
    builder.build()
}
