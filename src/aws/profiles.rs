//! The AWS config files: profiles, SSO sessions, and a digest of everything that determines the credentials.

use std::path::PathBuf;

use aws_config::Region;
use aws_runtime::env_config::property::PropertiesKey;
use aws_runtime::env_config::section::EnvConfigSections;
use aws_types::os_shim_internal::{Env, Fs};

use crate::domain::diagnosis::Cause;
use crate::domain::digest;
use crate::domain::identity::Identity;
use crate::domain::suggestion::nearest;
use crate::domain::text::{first_names, shell_word};
use crate::error::{Error, Kind, Result};
use crate::sys::environment::variable;

/// Profiles that an error lists.
const LISTED: usize = 8;

/// The files, as the SDK reads them.
#[derive(Debug)]
pub struct Profiles(EnvConfigSections);

/// Where an SSO session signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsoSession {
    /// Its name.
    pub name: String,
    /// The portal.
    pub start_url: String,
    /// The portal's region.
    pub region: Region,
}

/// The settings of a profile that concern signing in.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a file")]
pub struct Settings {
    /// Whether the profile exists.
    pub exists: bool,
    /// Whether it needs an MFA code.
    pub mfa: bool,
    /// Whether it assumes a role.
    pub role: bool,
    /// Whether it or its source has an access key.
    pub keys: bool,
    /// Its role and account in Identity Center.
    pub sso_role: Option<(String, String)>,
    sso_session: Option<String>,
    sso: bool,
    start_url: Option<String>,
}

impl Profiles {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] if they cannot be read.
    pub async fn load() -> Result<Self> {
        let files = aws_runtime::env_config::file::EnvConfigFiles::default();
        aws_config::profile::load(&Fs::real(), &Env::real(), &files, None).await.map(Self).map_err(|error| {
            Error::new(Kind::Config, "the AWS config files cannot be read")
                .hint("aws configure list shows whether the AWS CLI can read them")
                .because(crate::aws::failure::causes(&error))
        })
    }

    /// The names of all profiles, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.profiles().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The names of all SSO sessions, sorted.
    #[must_use]
    pub fn sso_sessions(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.sso_sessions().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Checks that there is a profile of this name.
    ///
    /// # Errors
    ///
    /// [`Kind::Credentials`] with the nearest name and the list.
    pub fn check_exists(&self, profile: &str) -> Result<()> {
        if self.0.get_profile(profile).is_some() { Ok(()) } else { Err(self.no_such_profile(profile)) }
    }

    /// The error for a profile that does not exist.
    #[must_use]
    pub fn no_such_profile(&self, profile: &str) -> Error {
        let names = self.names();
        let near = nearest(profile, names.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let list = match names.as_slice() {
            [] => String::new(),
            few if few.len() <= LISTED => format!(" (profiles: {})", few.join(", ")),
            many => format!(" (profiles: {} and {} more)", many[..LISTED].join(", "), many.len() - LISTED),
        };
        Error::new(Kind::Credentials, format!("there is no AWS profile {profile:?}{near}{list}"))
            .hint(format!("correct profile in config.toml, or aws configure --profile {}", shell_word(profile)))
            .cause(Cause::NoProfile)
    }

    /// The profile that the environment selects.
    #[must_use]
    pub fn selected(&self) -> &str {
        self.0.selected_profile()
    }

    /// A value of a profile.
    #[must_use]
    pub fn value(&self, profile: &str, key: &str) -> Option<&str> {
        self.0.get_profile(profile)?.get(key)
    }

    /// The SSO session of that name.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`] if there is none, or it has no start URL or region.
    pub fn sso_session(&self, name: &str) -> Result<SsoSession> {
        let section = self.0.sso_session(name).ok_or_else(|| {
            let known = self.sso_sessions();
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let error = Error::new(Kind::Config, format!("there is no [sso-session {name}] in ~/.aws/config{near}"));
            match known.as_slice() {
                [] => error.hint("aws configure sso-session writes one"),
                known => error.hint(format!("it has: {}", first_names(known, LISTED))),
            }
        })?;
        let value = |key: &str| {
            section.get(key).map(str::to_owned).ok_or_else(|| {
                Error::new(Kind::Config, format!("[sso-session {name}] in ~/.aws/config has no {key}"))
                    .hint("aws configure sso-session")
            })
        };
        let (start_url, region) = (value("sso_start_url")?, Region::new(value("sso_region")?));
        Ok(SsoSession { name: name.to_owned(), start_url, region })
    }

    /// The start URL of the portal of an identity, if it uses SSO.
    #[must_use]
    pub fn start_url(&self, identity: &Identity) -> Option<String> {
        let settings = self.settings(identity.profile.as_deref());
        let session = identity.sso.as_ref().map(|role| role.session.clone()).or(settings.sso_session);
        match session {
            Some(name) => self.sso_session(&name).ok().map(|session| session.start_url),
            None => settings.start_url,
        }
    }

    /// The endpoint that a profile names for EC2 Instance Connect alone, by its `services` section: the SDK looks for
    /// `ec2-instance-connect` there, the AWS CLI and AWS's documentation have `ec2_instance_connect` (aws-runtime 1.10).
    #[must_use]
    pub fn push_endpoint(&self, profile: Option<&str>) -> Option<String> {
        let of_environment = ["AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT", "AWS_ENDPOINT_URL"];
        let section = self.0.get_profile(profile.unwrap_or_else(|| self.0.selected_profile()))?;
        // The variable comes before the profile, also where it says false.
        let of_profile = || section.get("ignore_configured_endpoint_urls").map(str::to_owned);
        let ignored = variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").and_then(|value| value.into_string().ok());
        let ignored = ignored.or_else(of_profile).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if ignored || of_environment.into_iter().any(|name| variable(name).is_some()) {
            return None;
        }
        let key = PropertiesKey::builder()
            .section_key("services")
            .section_name(section.get("services")?)
            .property_name("ec2_instance_connect")
            .sub_property_name("endpoint_url")
            .build()
            .ok()?;
        self.0.other_sections().get(&key).cloned()
    }

    /// The settings of a profile; `None` is the selected one.
    #[must_use]
    pub fn settings(&self, profile: Option<&str>) -> Settings {
        let name = profile.unwrap_or_else(|| self.0.selected_profile());
        let Some(mut section) = self.0.get_profile(name) else { return Settings::default() };
        let mut settings = Settings { exists: true, ..Settings::default() };
        // A role's profile signs in where its source does; a chain of profiles can be a loop by mistake.
        for _ in 0..8 {
            settings.mfa |= section.get("mfa_serial").is_some();
            settings.role |= section.get("role_arn").is_some();
            let held = section.get("sso_role_name").zip(section.get("sso_account_id"));
            settings.sso_role =
                settings.sso_role.or_else(|| held.map(|(role, account)| (role.to_owned(), account.to_owned())));
            settings.keys |= section.get("aws_access_key_id").is_some();
            settings.sso |= section.get("sso_start_url").is_some();
            settings.start_url = settings.start_url.or_else(|| section.get("sso_start_url").map(str::to_owned));
            settings.sso_session = settings.sso_session.or_else(|| section.get("sso_session").map(str::to_owned));
            match section.get("source_profile").and_then(|source| self.0.get_profile(source)) {
                Some(source) => section = source,
                None => break,
            }
        }
        settings
    }
}

impl Settings {
    /// Settings if the files cannot be read: the profile may exist.
    #[must_use]
    pub fn unknown() -> Self {
        Self { exists: true, ..Self::default() }
    }

    /// The SSO session for messages, and the command that signs in; none without SSO.
    #[must_use]
    pub fn sso_login(&self, identity: &Identity) -> Option<(String, String)> {
        let session = identity.sso.as_ref().map(|role| &role.session).or(self.sso_session.as_ref());
        match session {
            Some(name) => {
                Some((format!("the SSO session {name:?}"), format!("aws sso login --sso-session {}", shell_word(name))))
            }
            None => self.sso.then(|| {
                let profile = identity.profile.as_deref().unwrap_or("default");
                (format!("the SSO session of profile {profile:?}"), format!("aws sso login{}", identity.flag()))
            }),
        }
    }
}

/// Whether the identity's credentials come from SSO or STS, according to the files and the environment.
pub async fn gives_temporary(identity: &Identity) -> bool {
    if identity.sso.is_some() || identity.role.is_some() {
        return true;
    }
    if identity.profile.is_none() && variable("AWS_ACCESS_KEY_ID").is_some() {
        return false;
    }
    if identity.profile.is_none() && variable("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
        return true;
    }
    let Ok(profiles) = Profiles::load().await else { return false };
    let settings = profiles.settings(identity.profile.as_deref());
    settings.role || settings.sso || settings.sso_session.is_some()
}

/// Variables that determine the credentials of an identity.
const VARIABLES: [&str; 11] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
];

/// The `ca_bundle` of a profile; `None` is the selected one.
pub async fn ca_bundle(profile: Option<&str>) -> Option<PathBuf> {
    let [config, _] = files();
    // Few configs have one: search for the key before parsing the files.
    let bytes = std::fs::read(config).ok()?;
    memchr::memmem::find(&bytes, b"ca_bundle")?;
    let profiles = Profiles::load().await.ok()?;
    let name = profile.unwrap_or_else(|| profiles.selected());
    profiles.value(name, "ca_bundle").map(|path| expanded(PathBuf::from(path)))
}

/// The config and the credentials file.
fn files() -> [PathBuf; 2] {
    let home = dirs::home_dir().unwrap_or_default().join(".aws");
    [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
        .map(|(name, default)| variable(name).map_or_else(|| home.join(default), |path| expanded(PathBuf::from(path))))
}

/// A path as the SDK reads it: `~` is the home directory.
fn expanded(path: PathBuf) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => dirs::home_dir().unwrap_or_default().join(rest),
        Err(_) => path,
    }
}

/// The web identity token files of the environment and of an AWS config file.
fn token_files(config: &[u8]) -> Vec<PathBuf> {
    let named = String::from_utf8_lossy(config)
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| key.trim().eq_ignore_ascii_case("web_identity_token_file"))
        .map(|(_, value)| PathBuf::from(value.trim()))
        .collect::<Vec<_>>();
    variable("AWS_WEB_IDENTITY_TOKEN_FILE").map(PathBuf::from).into_iter().chain(named).collect()
}

/// A digest of the identity and of all inputs of its credentials: the config files, the SSO and web identity tokens, and
/// the environment. It changes with `aws sso logout` and with every change of ~/.aws/config.
#[must_use]
pub fn digest(identity: &Identity) -> String {
    let mut parts: Vec<Vec<u8>> = vec![serde_json::to_vec(&identity.unpinned()).unwrap_or_default()];
    parts.extend(VARIABLES.map(|name| variable(name).unwrap_or_default().into_encoded_bytes()));
    let home = dirs::home_dir().unwrap_or_default().join(".aws");
    let mut files = files().to_vec();
    let tokens = std::fs::read_dir(home.join("sso/cache")).into_iter().flatten().flatten().map(|entry| entry.path());
    files.extend(tokens.filter(|path| path.extension().is_some_and(|extension| extension == "json")));
    files[2..].sort();
    let config = std::fs::read(&files[0]).unwrap_or_default();
    files.extend(token_files(&config));
    for path in files {
        parts.push(path.as_os_str().as_encoded_bytes().to_vec());
        parts.push(std::fs::read(&path).unwrap_or_default());
    }
    digest::of(parts.iter().map(Vec::as_slice))
}
