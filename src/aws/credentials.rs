//! Credentials of an identity: those of the profile that a source names, or of the SDK's default chain without a profile.
//!
//! The SDK's default chain prefers the environment to a named profile, so that exported keys would sign for every source;
//! therefore a named profile gets the SDK's provider for profiles. Credentials are resolved before any request, so that
//! their errors differ from those of the service. Nothing here prompts.

use std::path::Path;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_types::error::display::DisplayErrorContext;

use crate::aws::chain::Chain;
use crate::aws::client::{self, RequestLimits};
use crate::aws::credential_cache;
use crate::aws::failure::{self, Explained};
use crate::aws::profiles::{Profiles, Settings};
pub use crate::aws::session::{Session, described};
use crate::aws::sso::RoleCredentials;
use crate::aws::{default_region, http, timeout};
use crate::domain::diagnosis::Cause;
use crate::domain::identity::{Identity, SsoRole};
use crate::domain::ids::{is_account, is_region};
use crate::domain::text::shell_word;
use crate::error::{Error, Kind, Result};
use crate::sys::limits::no_core_dumps;

/// For providers that send requests or run programs.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(20);

/// Resolves credentials and region. `cache` is the folder of temporary credentials; `None` disables caching.
///
/// # Errors
///
/// [`Kind::Credentials`] with the command that signs in; [`Kind::Config`] if no region is set, or it cannot be one.
pub async fn open(
    identity: &Identity,
    region: Option<&str>,
    limits: RequestLimits,
    cache: Option<&Path>,
) -> Result<Session> {
    no_core_dumps();
    let config = client::config(identity.profile.as_deref(), region, limits).await?;
    let Some(region) = config.region().map(ToString::to_string) else { return Err(no_region(identity).await) };
    if !is_region(&region) {
        return Err(Error::new(Kind::Config, format!("{region:?} is not a region such as \"eu-west-1\""))
            .hint("correct AWS_REGION, or region in ~/.aws/config")
            .cause(Cause::NoRegion));
    }
    let (credentials, cache_file) = match cache {
        Some(folder) => {
            credential_cache::load_or_fetch(identity, folder, async || Box::pin(resolve(identity, &config)).await)
                .await?
        }
        None => (Box::pin(resolve(identity, &config)).await?, None),
    };
    let session = Session {
        region,
        access_key: credentials.access_key_id().to_owned(),
        account: credentials.account_id().map(|id| id.as_str().to_owned()).filter(|id| is_account(id)),
        identity: identity.clone(),
        cache_file,
        push_endpoint: match identity.sso {
            None => Profiles::load().await.ok().and_then(|all| all.push_endpoint(identity.profile.as_deref())),
            Some(_) => None,
        },
        config: config.into_builder().credentials_provider(SharedCredentialsProvider::new(credentials)).build(),
    };
    if let (Some(wanted), Some(found)) = (&identity.account, &session.account) {
        check_account(identity, wanted, found)?;
    }
    Ok(session)
}

async fn no_region(identity: &Identity) -> Error {
    if let Ok(profiles) = Profiles::load().await
        && let Some(error) = missing_profile(identity, &profiles)
    {
        return error;
    }
    Error::new(Kind::Config, format!("no region is set for {}", described(identity)))
        .hint("set regions = [\"…\"] for the source in config.toml, or region in ~/.aws/config")
        .cause(Cause::NoRegion)
}

/// The error for a profile of the source or of `AWS_PROFILE` that does not exist.
fn missing_profile(identity: &Identity, profiles: &Profiles) -> Option<Error> {
    if let Some(profile) = &identity.profile {
        return profiles.check_exists(profile).err();
    }
    let selects = || crate::sys::environment::variable("AWS_PROFILE").and_then(|name| name.into_string().ok());
    let selected = if identity.sso.is_none() { selects()? } else { return None };
    let error = profiles.check_exists(&selected).err()?;
    let fix = format!("correct AWS_PROFILE, or aws configure --profile {}", shell_word(&selected));
    Some(Error { hints: vec![fix], ..error })
}

/// Refuses credentials of another account than the one of the source or of the first sync.
///
/// # Errors
///
/// [`Kind::Credentials`] naming both.
pub fn check_account(identity: &Identity, wanted: &str, found: &str) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(Error::new(
        Kind::Credentials,
        format!("{} has credentials for account {found}, not for {wanted}", described(identity)),
    )
    .hint("sign in to the right account, or correct account and profile of the source in config.toml")
    .cause(Cause::WrongAccount))
}

/// The account of a session, from STS if the credentials do not contain it.
///
/// # Errors
///
/// As for any request.
pub async fn account(session: &Session) -> Result<String> {
    if let Some(account) = &session.account {
        return Ok(account.clone());
    }
    let response = aws_sdk_sts::Client::new(&session.config)
        .get_caller_identity()
        .send()
        .await
        .map_err(|error| crate::aws::failure::explain("sts:GetCallerIdentity", "*", session, &error).error)?;
    let account = response.account.filter(|id| is_account(id)).unwrap_or_default();
    if let Some(wanted) = &session.identity.account {
        check_account(&session.identity, wanted, &account)?;
    }
    Ok(account)
}

async fn resolve(identity: &Identity, config: &SdkConfig) -> Result<Credentials> {
    let http_client = config.http_client().map_or_else(|| http::client(None), |client| Ok(client.clone()))?;
    let provider_config =
        ProviderConfig::without_region().with_region(config.region().cloned()).with_http_client(http_client);
    let base: SharedCredentialsProvider = if let Some(SsoRole { session, account, role }) = &identity.sso {
        let session = Profiles::load().await?.sso_session(session)?;
        let (account, role) = (account.clone(), role.clone());
        SharedCredentialsProvider::new(RoleCredentials { session, account, role, config: config.clone() })
    } else if let Some(chain) = own_chain(identity).await {
        chain.provider(config).await
    } else if let Some(profile) = &identity.profile {
        let provider = ProfileFileCredentialsProvider::builder().configure(&provider_config).profile_name(profile);
        SharedCredentialsProvider::new(provider.build())
    } else {
        let chain = DefaultCredentialsChain::builder()
            .imds_client(default_region::metadata_client(Some(&provider_config)))
            .region(config.region().cloned())
            .configure(provider_config);
        SharedCredentialsProvider::new(chain.build().await)
    };
    let provider = match &identity.role {
        None => base,
        Some(role) => {
            let mut builder = AssumeRoleProvider::builder(&role.arn)
                .configure(config)
                .session_name(role.session_name.as_deref().unwrap_or("ssh-eic"));
            if let Some(external_id) = &role.external_id {
                builder = builder.external_id(external_id);
            }
            SharedCredentialsProvider::new(builder.build_from_provider(base).await)
        }
    };
    match timeout::limit(PROVIDER_TIMEOUT, provider.provide_credentials()).await {
        Some(Ok(credentials)) => Ok(credentials),
        Some(Err(error)) => Err(explain(identity, &error).await),
        None => Err(Error::new(
            Kind::Credentials,
            format!("{} returned no credentials within {} s", described(identity), PROVIDER_TIMEOUT.as_secs()),
        )
        .hint("check its credential_process or sign-in service")),
    }
}

/// The chain of the identity's profile, if its base is a provider of this program. Exported keys take precedence over
/// the profile that the environment selects, as in the SDK's default chain.
async fn own_chain(identity: &Identity) -> Option<Chain> {
    let is_set = |name: &str| crate::sys::environment::variable(name).is_some();
    let has_keys = is_set("AWS_ACCESS_KEY_ID") && (is_set("AWS_SECRET_ACCESS_KEY") || is_set("SECRET_ACCESS_KEY"));
    if identity.profile.is_none() && has_keys {
        return None;
    }
    Chain::of(&Profiles::load().await.ok()?, identity.profile.as_deref())
}

/// The error of a provider of this program, which needs no further explanation.
fn explained(error: &CredentialsError) -> Option<Error> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(Explained(error)) = error.downcast_ref() {
            return Some(error.clone());
        }
        cause = error.source();
    }
    None
}

/// Why there are no credentials, and what to type.
async fn explain(identity: &Identity, error: &CredentialsError) -> Error {
    if let Some(error) = explained(error) {
        return error;
    }
    let details = DisplayErrorContext(error).to_string();
    let profiles = Profiles::load().await.ok();
    let settings = match &profiles {
        Some(profiles) => profiles.settings(identity.profile.as_deref()),
        None => Settings::unknown(),
    };
    let who = described(identity);
    // Matched, but never shown: it has the body of the response, which may contain keys.
    let whole = details;
    let details = failure::causes(error);
    let failed = |message: String| Error::new(Kind::Credentials, message).because(&details);
    if let Some(error) = profiles.as_ref().and_then(|profiles| missing_profile(identity, profiles)) {
        return error.because(&details);
    }
    if settings.mfa {
        return failed(format!("{who} needs an MFA code, for which ssh-eic cannot prompt"))
            .hint("use a credential_process in ~/.aws/config that asks for it and caches the session")
            .cause(Cause::NeedsMfa);
    }
    let lower = whole.to_lowercase();
    if lower.contains("dispatch failure") || lower.contains("dispatchfailure") || lower.contains("timed out") {
        let error = Error::new(
            Kind::Unavailable,
            format!("the service that issues the credentials of {who} could not be reached"),
        )
        .cause(Cause::AwsUnreachable);
        if identity.profile.is_some() {
            return error.hint("check the network, VPN and HTTPS_PROXY; -v shows the details").because(&details);
        }
    }
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let login = settings.sso_login(identity);
    if let Some((session, login)) = &login
        && let Some(error) = refused_by_sso(&settings, (session, login), &who, &has)
    {
        return error.because(&details);
    }
    if has(&["expiredtoken", "expired token"]) {
        return failed(format!("the source credentials of {who} have expired"))
            .hint(format!("aws sso login{0}, or replace the access key of the profile", identity.flag()))
            .cause(Cause::CredentialsExpired);
    }
    if has(&["assumerole", "assume role", "accessdenied"]) {
        return failed(format!("{who} cannot assume its role"))
            .hint("check role_arn, its trust policy and external_id")
            .cause(Cause::RoleRefused);
    }
    if login.is_some() {
        return Error::new(Kind::Unavailable, format!("Identity Center returned no credentials for {who}"))
            .hint("try again in a moment; -v shows its response")
            .because(&details);
    }
    // The default chain tries instance metadata last: its error means that no provider has credentials.
    let by_metadata = identity.profile.is_none() && lower.contains("imds");
    if by_metadata || matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        return failed(format!("there are no AWS credentials in {who}"))
            .hint(format!("aws configure{0} or aws sso login{0}", identity.flag()));
    }
    failed(format!("{who} has no AWS credentials: {}", first_cause(error)))
        .hint(format!("aws sts get-caller-identity{} shows whether the AWS CLI can use it", identity.flag()))
}

/// Refusals of Identity Center: the session has expired, or the role is not assigned.
fn refused_by_sso(
    settings: &Settings,
    (session, login): (&str, &str),
    who: &str,
    has: &dyn Fn(&[&str]) -> bool,
) -> Option<Error> {
    if has(&["unauthorizedexception", "sso token", "token expired", "token has expired", "refresh", "cached"])
        && !has(&["forbiddenexception", "toomanyrequests", "assumerole"])
    {
        let message = format!("{session} has expired or was never signed in");
        return Some(Error::new(Kind::Credentials, message).hint(login).cause(Cause::SsoExpired));
    }
    if has(&["forbiddenexception", "no access"]) {
        let held =
            settings.sso_role.as_ref().map(|(role, account)| format!("role {role:?} in account {account} for {who}"));
        let held = held.unwrap_or_else(|| who.to_owned());
        return Some(
            Error::new(Kind::Denied, format!("{held} is not assigned to you in Identity Center"))
                .hint("ssh-eic sync, or ask the administrator of Identity Center")
                .cause(Cause::RoleRefused),
        );
    }
    None
}

/// The message of the innermost error.
fn first_cause(error: &CredentialsError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    crate::domain::handshake::one_line(&cause.to_string())
}
