//! The access token of an SSO session (IAM Identity Center), and the credentials that it is exchanged for.
//!
//! The token's file, `~/.aws/sso/cache/<sha1 of the session's name>.json`, is shared with the AWS CLI and the SDKs. The
//! SDK's own provider refreshes the token in every process that finds it expired and overwrites the file in place
//! (aws-config 1.13). Where the service rotates refresh tokens, a refresh whose result is not written ends the sign-in.
//! Therefore: one lock for each session around read, refresh and write; an atomic write; and a process of its own for
//! the refresh, which finishes although the connection that needed it is interrupted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tokio::io::AsyncReadExt;

use crate::aws::client::{self, RequestLimits};
use crate::aws::failure;
use crate::aws::profiles::{Profiles, SsoSession};
use crate::aws::timeout;
use crate::domain::diagnosis::Cause;
use crate::domain::text::shell_word;
use crate::error::{Error, Kind, Result};
use crate::store::files;
use crate::sys::{clock, environment};

/// Seconds before its end at which a token is refreshed, as in the SDKs.
const REFRESH_BEFORE_END: i64 = 300;
/// How long to wait for another process's refresh, and for the process that refreshes.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(18);
/// How long a file that is not complete may be one that another program is just writing.
const WRITING_TIMEOUT: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A token file.
#[derive(Debug, Clone)]
struct TokenFile {
    path: PathBuf,
}

/// The content of a token file. Members that are not known here are kept.
#[derive(Clone)]
struct Token(Map<String, Value>);

impl Token {
    /// A member as the SDKs read it: names in any case.
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str().filter(|text| !text.is_empty())
    }

    fn set(&mut self, name: &str, value: &str) {
        let key = self.0.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        self.0.insert(key.unwrap_or_else(|| name.to_owned()), value.into());
    }

    /// Seconds since 1970; also `2020-06-17T22:40:57UTC`, as older versions of the AWS CLI write it.
    fn time(&self, name: &str) -> Option<i64> {
        let time = self.text(name)?.replace("UTC", "Z").parse::<jiff::Timestamp>();
        time.ok().map(jiff::Timestamp::as_second)
    }

    /// The access token, if it is valid for more than so many seconds.
    fn valid_for(&self, seconds: i64) -> Option<&str> {
        let is_valid = self.time("expiresAt")? > now() + seconds;
        self.text("accessToken").filter(|_| is_valid)
    }

    fn is_refreshable(&self) -> bool {
        let has = |name| self.text(name).is_some();
        has("refreshToken")
            && has("clientId")
            && has("clientSecret")
            && self.time("registrationExpiresAt").is_some_and(|end| end > now())
    }
}

impl TokenFile {
    fn of(session: &str) -> Self {
        let digest = Sha1::digest(session.as_bytes());
        let name = digest.iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
        let home = dirs::home_dir().unwrap_or_default();
        Self { path: home.join(".aws/sso/cache").join(name).with_extension("json") }
    }

    fn read(&self) -> Option<Token> {
        match serde_json::from_slice(&fs::read(&self.path).ok()?) {
            Ok(Value::Object(members)) => Some(Token(members)),
            _ => None,
        }
    }

    /// Reads again for a moment while the content is not complete: other programs write the file in place.
    async fn read_when_complete(&self) -> Option<Token> {
        let start = tokio::time::Instant::now();
        loop {
            let token = self.read();
            if token.is_some() || !self.path.exists() || start.elapsed() > WRITING_TIMEOUT {
                return token;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Opens the lock. The folder is the AWS CLI's, whose mode follows the umask (0775 with umask 002), so that only the file
    /// itself is checked: it must belong to this user and is never a link.
    fn open_lock(&self) -> Result<File> {
        let path = self.path.with_extension("ssh-eic.lock");
        let open = || -> io::Result<File> {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?);
            let metadata = file.metadata()?;
            if metadata.uid() == rustix::process::geteuid().as_raw() && metadata.is_file() {
                Ok(file)
            } else {
                Err(io::Error::other("it belongs to another user or is not a regular file"))
            }
        };
        open().map_err(|error| Error::file("open", &path, &error))
    }

    /// The failure of a refresh at this moment (milliseconds since 1970) or later, written by another process.
    fn failure_since(&self, moment: u64) -> Option<Error> {
        let bytes = fs::read(self.path.with_extension("ssh-eic.lock")).ok()?;
        let (at, error): (u64, Error) = serde_json::from_slice(&bytes).ok()?;
        // A time in the future comes from a clock that was wrong.
        (moment..=clock::now()).contains(&at).then_some(error)
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| i64::try_from(passed.as_secs()).unwrap_or(i64::MAX))
}

/// A file that another process has locked. A file system without locks counts as unlocked.
fn is_locked(file: &File) -> bool {
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => true,
        Ok(()) => {
            let _ = file.unlock();
            false
        }
        Err(std::fs::TryLockError::Error(_)) => false,
    }
}

/// The session's access token, refreshed where it is about to expire and can be.
///
/// # Errors
///
/// [`Kind::Credentials`] with the command that signs in; [`Kind::Unavailable`] where the refresh failed otherwise.
pub async fn access_token(session: &SsoSession) -> Result<String> {
    let file = TokenFile::of(&session.name);
    let asked = clock::now();
    let token = file.read_when_complete().await.ok_or_else(|| expired(&session.name))?;
    if let Some(valid) = token.valid_for(REFRESH_BEFORE_END) {
        return Ok(valid.to_owned());
    }
    let failure = if token.is_refreshable() {
        match timeout::limit(REFRESH_TIMEOUT, refreshed_by_any_process(session, &file, asked)).await {
            Some(Ok(token)) => return Ok(token),
            Some(Err(error)) => error,
            None => unavailable(&session.name, "no response in time"),
        }
    } else {
        expired(&session.name)
    };
    // Another program may have refreshed it meanwhile, and a token that cannot be refreshed is good until its end.
    let token = file.read_when_complete().await;
    token.and_then(|token| token.valid_for(0).map(str::to_owned)).ok_or(failure)
}

async fn refreshed_by_any_process(session: &SsoSession, file: &TokenFile, asked: u64) -> Result<String> {
    let lock = file.open_lock()?;
    while is_locked(&lock) {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    let fresh = |file: &TokenFile| file.read().and_then(|token| token.valid_for(REFRESH_BEFORE_END).map(str::to_owned));
    if let Some(token) = fresh(file) {
        return Ok(token);
    }
    if let Some(error) = file.failure_since(asked) {
        return Err(error);
    }
    drop(lock);
    // Not in this process, which an interrupt or the end of the connection can stop at any moment.
    let mut child = tokio::process::Command::new(environment::own_binary()?)
        .args(["worker", "--refresh-sso-token"])
        .arg(&session.name)
        .arg(asked.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| Error::new(Kind::Bug, "cannot start the process that refreshes the token").because(error))?;
    let mut output = Vec::new();
    if let Some(stdout) = &mut child.stdout {
        let _ = stdout.read_to_end(&mut output).await;
    }
    let _ = child.wait().await;
    let outcome = serde_json::from_slice::<std::result::Result<(), Error>>(&output);
    outcome.unwrap_or_else(|_| Err(unavailable(&session.name, "the refresh ended without a result")))?;
    fresh(file).ok_or_else(|| unavailable(&session.name, "the refreshed token is not there"))
}

/// Refreshes the token of this session in this process, whatever happens to the one that started it. `asked` is when
/// that one needed it, in milliseconds since 1970: a failure since then is returned without another request.
///
/// # Errors
///
/// As [`access_token`].
pub fn refresh(session: &str, asked: u64) -> Result<()> {
    let ignored = std::sync::Arc::default();
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register(signal, std::sync::Arc::clone(&ignored));
    }
    let file = TokenFile::of(session);
    let mut lock = file.open_lock()?;
    if !files::wait_for(&lock, REFRESH_TIMEOUT) {
        return Err(unavailable(session, "another process is still refreshing the token"));
    }
    let token = file.read().ok_or_else(|| expired(session))?;
    if token.valid_for(REFRESH_BEFORE_END).is_some() {
        return Ok(());
    }
    if let Some(error) = file.failure_since(asked) {
        return Err(error);
    }
    if !token.is_refreshable() {
        return Err(expired(session));
    }
    let done = client::run(refresh_and_write(session, &file, token));
    if let Err(error) = &done {
        let record = serde_json::to_vec(&(clock::now(), error)).unwrap_or_default();
        // What cannot be shared costs the next process a request of its own.
        let _ = lock.set_len(0).and_then(|()| lock.write_all(&record));
    }
    done
}

async fn refresh_and_write(session: &str, file: &TokenFile, mut token: Token) -> Result<()> {
    // Proves that the result can be written before the refresh token is spent.
    let target = fs::canonicalize(&file.path).map_err(|error| Error::file("read", &file.path, &error))?;
    let folder = target.parent().unwrap_or(Path::new("/"));
    let fail = |error: std::io::Error| Error::file("write", &target, &error);
    files::sweep_temporaries(folder, false, false);
    let mut temporary = tempfile::Builder::new().prefix(".ssh-eic-").tempfile_in(folder).map_err(fail)?;

    let session = Profiles::load().await?.sso_session(session)?;
    let config = client::config(None, Some(session.region.as_ref()), RequestLimits::PUSH).await?;
    let text = |name: &str| token.text(name).unwrap_or_default().to_owned();
    let response = aws_sdk_ssooidc::Client::new(&config)
        .create_token()
        .grant_type("refresh_token")
        .client_id(text("clientId"))
        .client_secret(text("clientSecret"))
        .refresh_token(text("refreshToken"))
        .send()
        .await;
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            // Another program, which does not know our lock, may have spent the refresh token first.
            let is_fresh = |token: &Token| token.valid_for(REFRESH_BEFORE_END).is_some();
            if file.read_when_complete().await.as_ref().is_some_and(is_fresh) {
                return Ok(());
            }
            return Err(refused(&session.name, &error));
        }
    };
    let access_token = response.access_token().ok_or_else(|| unavailable(&session.name, "no token in the response"))?;
    let end = jiff::Timestamp::from_second(now() + i64::from(response.expires_in()));
    let end = end.map_err(|_| unavailable(&session.name, "no valid lifetime in the response"))?;
    token.set("accessToken", access_token);
    token.set("expiresAt", &end.to_string());
    if let Some(next) = response.refresh_token() {
        token.set("refreshToken", next);
    }
    token.set("region", session.region.as_ref());
    token.set("startUrl", &session.start_url);
    let bytes = serde_json::to_vec(&token.0).unwrap_or_default();
    temporary.write_all(&bytes).and_then(|()| temporary.as_file().sync_all()).map_err(fail)?;
    temporary.persist(&target).map(drop).map_err(|error| fail(error.error))
}

fn refused<E>(session: &str, error: &aws_sdk_ssooidc::error::SdkError<E>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let told = match status {
        Some(400 | 401 | 403) => expired(session),
        Some(status) => unavailable(session, &format!("status {status}")),
        None => Error::new(Kind::Unavailable, "sso-oidc:CreateToken: Identity Center could not be reached")
            .hint("check the network, VPN and HTTPS_PROXY; -v shows the details")
            .cause(Cause::AwsUnreachable),
    };
    told.because(failure::causes(error))
}

fn expired(session: &str) -> Error {
    Error::new(Kind::Credentials, format!("the SSO session {session:?} has expired or was never signed in"))
        .hint(format!("aws sso login --sso-session {}", shell_word(session)))
        .cause(Cause::SsoExpired)
}

fn unavailable(session: &str, why: &str) -> Error {
    let words = format!("Identity Center did not refresh the SSO session {session:?} ({why})");
    Error::new(Kind::Unavailable, words).hint("try again in a moment; -v shows the details")
}

/// Credentials of a role that an SSO session holds.
#[derive(Debug)]
pub(super) struct RoleCredentials {
    pub(super) session: SsoSession,
    pub(super) account: String,
    pub(super) role: String,
    pub(super) config: SdkConfig,
}

impl RoleCredentials {
    async fn fetch(&self) -> provider::Result {
        let token = access_token(&self.session)
            .await
            .map_err(|error| CredentialsError::provider_error(failure::Explained(error)))?;
        let config = self.config.to_builder().region(self.session.region.clone()).build();
        let response = aws_sdk_sso::Client::new(&config)
            .get_role_credentials()
            .role_name(&self.role)
            .account_id(&self.account)
            .access_token(token)
            .send()
            .await
            .map_err(CredentialsError::provider_error)?;
        let Some(found) = response.role_credentials else {
            return Err(CredentialsError::unhandled("Identity Center returned no credentials"));
        };
        let (Some(access_key), Some(secret_key)) = (found.access_key_id, found.secret_access_key) else {
            return Err(CredentialsError::unhandled("Identity Center returned incomplete credentials"));
        };
        let end = Duration::from_millis(u64::try_from(found.expiration).unwrap_or_default());
        let mut builder = Credentials::builder()
            .access_key_id(access_key)
            .secret_access_key(secret_key)
            .account_id(self.account.as_str())
            .expiry(UNIX_EPOCH + end)
            .provider_name("SSO");
        builder.set_session_token(found.session_token);
        let mut credentials = builder.build();
        let features = credentials.get_property_mut_or_default::<Vec<AwsCredentialFeature>>();
        features.push(AwsCredentialFeature::CredentialsSso);
        Ok(credentials)
    }
}

impl ProvideCredentials for RoleCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.fetch())
    }
}
