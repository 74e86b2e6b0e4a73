//! The throw-away home folder: nothing of the real one is read or written.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde_json::json;

use crate::identity::{Credential, SignIn};
use crate::model::{ACCOUNT, REGION, STAGING_ACCOUNT, STAGING_REGION};
use crate::program::{find, random_word};

const PROFILES: [(&str, &str, &str); 3] =
    [("default", ACCOUNT, REGION), ("prod", ACCOUNT, REGION), ("staging", STAGING_ACCOUNT, STAGING_REGION)];

/// Where the server learns about the profiles' keys.
const CREDENTIALS: &str = "credentials.json";

/// The access keys by profile.
pub(crate) type Credentials = BTreeMap<String, Credential>;

/// Makes `DIR/home` with the AWS files of the profiles `default`, `prod` and `staging`.
///
/// The access keys are random: in the loopback form a known one would allow logging in as the
/// current user.
pub(crate) fn create(dir: &Path) -> io::Result<Credentials> {
    let home = dir.join("home");
    DirBuilder::new().recursive(true).mode(0o700).create(home.join(".aws"))?;
    let mut credentials = Credentials::new();
    for (profile, account, region) in PROFILES {
        credentials.insert(profile.into(), add_profile(&home, profile, account, region)?);
    }
    write_private(&dir.join(CREDENTIALS), &serde_json::to_vec(&credentials)?)?;
    Ok(credentials)
}

/// Appends a profile to the AWS files, with a fresh access key.
pub(crate) fn add_profile(home: &Path, profile: &str, account: &str, region: &str) -> io::Result<Credential> {
    let credential = Credential::long_lived(&format!("AKIA{}", random_word()?), account, "alice");
    let section = if profile == "default" { profile } else { &format!("profile {profile}") };
    let (key, secret) = (&credential.access_key_id, &credential.secret_access_key);
    let append = |name: &str, text: String| {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(home.join(".aws").join(name))?.write_all(text.as_bytes())
    };
    append("config", format!("[{section}]\nregion = {region}\n\n"))?;
    append("credentials", format!("[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n\n"))?;
    Ok(credential)
}

/// The access keys that [`create`] made.
pub(crate) fn credentials(dir: &Path) -> io::Result<Credentials> {
    Ok(serde_json::from_slice(&fs::read(dir.join(CREDENTIALS))?)?)
}

fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(contents)
}

/// Writes the token where the SDKs and the CLI look for it: `~/.aws/sso/cache/<sha1 of the session's name>.json`.
pub(crate) fn cache_sso_token(home: &Path, session: &str, sign_in: &SignIn) -> io::Result<()> {
    let expires = sign_in.expires.unwrap_or_else(|| Timestamp::now().as_second() + 8 * 3600);
    let mut token = json!({
        "startUrl": "https://example.awsapps.com/start",
        "region": REGION,
        "accessToken": sign_in.access_token,
        "expiresAt": Timestamp::from_second(expires).map_err(io::Error::other)?.to_string(),
    });
    if !sign_in.refresh_token.is_empty() {
        token["refreshToken"] = sign_in.refresh_token.as_str().into();
        token["clientId"] = "sandbox-client".into();
        token["clientSecret"] = "sandbox-client-secret".into();
        token["registrationExpiresAt"] = "2099-01-01T00:00:00Z".into();
    }
    let cache = home.join(".aws/sso/cache");
    DirBuilder::new().recursive(true).mode(0o700).create(&cache)?;
    let path = cache.join(format!("{}.json", sha1(session)?));
    write_private(&path, token.to_string().as_bytes())
}

/// The SHA-1 of a text in hex, by whichever program the system has.
fn sha1(text: &str) -> io::Result<String> {
    let (program, args): (_, &[&str]) = match find("sha1sum") {
        Ok(program) => (program, &[]),
        Err(_) => (find("shasum")?, &["-a", "1"]),
    };
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout).chars().take(40).collect())
}
