//! A profile's `credential_process`: run, limited, and read as the SDK reads it.
//!
//! The SDK's own provider lets the helper inherit stdin, puts its stderr into the error, and leaves it running at a
//! timeout (aws-config 1.13). Here it runs under a supervisor (`sys::supervise`), which ends it with this process.

use std::process::Stdio;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::attributes::AccountId;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::aws::failure;
use crate::error::{Error, Kind, Result};
use crate::sys::environment;

/// The most that a helper's output may have: credentials are a few kilobytes.
const OUTPUT_LIMIT: u64 = 256 * 1024;

/// Credentials that a program prints.
pub(super) struct Helper {
    /// For `sh -c`.
    pub(super) command: String,
    /// The account, where the program does not name it.
    pub(super) account: Option<String>,
    /// The profile, for messages.
    pub(super) profile: String,
}

// The command line may hold secrets.
impl std::fmt::Debug for Helper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Helper of {}", self.profile)
    }
}

impl Helper {
    async fn run(&self) -> Result<Credentials> {
        let output = self.output().await?;
        let mut credentials = parse(&output, self.account.as_deref()).map_err(|what| self.failed(&what))?;
        let features = credentials.get_property_mut_or_default::<Vec<AwsCredentialFeature>>();
        features.extend([AwsCredentialFeature::CredentialsProfileProcess, AwsCredentialFeature::CredentialsProcess]);
        Ok(credentials)
    }

    async fn output(&self) -> Result<Vec<u8>> {
        let io = |error: std::io::Error| self.failed(&format!("cannot be run: {}", crate::error::reason(&error)));
        let mut child = tokio::process::Command::new(environment::own_binary()?)
            .args(["worker", "--credential-helper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(io)?;
        // Held until the end: the supervisor ends the helper when it is closed, also by the end of this process.
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &mut stdin {
            let line = serde_json::to_string(&self.command).unwrap_or_default() + "\n";
            stdin.write_all(line.as_bytes()).await.map_err(io)?;
        }
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(OUTPUT_LIMIT + 1).read_to_end(&mut output).await.map_err(io)?;
        }
        if output.len() as u64 > OUTPUT_LIMIT {
            return Err(self.failed("printed too much"));
        }
        let status = child.wait().await.map_err(io)?;
        drop(stdin);
        match status.code() {
            Some(0) => Ok(output),
            Some(code) => Err(self.failed(&format!("exited with status {code}"))),
            None => Err(self.failed("was ended by a signal")),
        }
    }

    fn failed(&self, what: &str) -> Error {
        let profile = &self.profile;
        let flag = crate::domain::text::shell_word(profile);
        Error::new(Kind::Credentials, format!("the credential_process of profile {profile:?} {what}"))
            .hint(format!("aws sts get-caller-identity --profile {flag} shows its error"))
    }
}

impl ProvideCredentials for Helper {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let run: provider::Result =
                self.run().await.map_err(|error| CredentialsError::provider_error(failure::Explained(error)));
            run
        })
    }
}

/// Reads the output: member names in any case, `Version` 1, `Expiration` in RFC 3339. The error never repeats it.
fn parse(output: &[u8], account: Option<&str>) -> std::result::Result<Credentials, String> {
    let members: Map<String, Value> =
        serde_json::from_slice(output).map_err(|_| "printed something that is not JSON".to_owned())?;
    let member = |name: &str| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let text = |name: &str| member(name).and_then(Value::as_str);
    let needed = |name: &str| text(name).ok_or_else(|| format!("printed no {name}"));
    match member("Version") {
        None => return Err("printed no Version".to_owned()),
        Some(version) if version.as_i64() == Some(1) => {}
        Some(_) => return Err("printed a Version other than 1".to_owned()),
    }
    let mut builder = Credentials::builder()
        .access_key_id(needed("AccessKeyId")?)
        .secret_access_key(needed("SecretAccessKey")?)
        .provider_name("CredentialProcess");
    builder.set_session_token(text("SessionToken").map(str::to_owned));
    let end = text("Expiration").map(str::parse::<jiff::Timestamp>).transpose();
    let end = end.map_err(|_| "printed an Expiration that is not a time such as 2026-01-31T12:00:00Z".to_owned())?;
    builder.set_expiry(end.map(SystemTime::from));
    builder.set_account_id(text("AccountId").or(account).map(AccountId::from));
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_read_as_the_sdk_reads_it() {
        let full = br#"{"version":1,"accesskeyid":"A","SecretAccessKey":"S","SessionToken":"T",
            "Expiration":"2022-05-02T18:36:00+00:00","AccountId":"111122223333","More":[1]}"#;
        let found = parse(full, Some("444455556666")).unwrap();
        assert_eq!((found.access_key_id(), found.secret_access_key(), found.session_token()), ("A", "S", Some("T")));
        assert_eq!(found.account_id().unwrap().as_str(), "111122223333");
        let end = found.expiry().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(end, 1_651_516_560);
        let least = parse(br#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S"}"#, Some("444455556666")).unwrap();
        assert_eq!((least.session_token(), least.expiry()), (None, None));
        assert_eq!(least.account_id().unwrap().as_str(), "444455556666");
        for wrong in ["", "[]", "{}", r#"{"Version":"1","AccessKeyId":"A","SecretAccessKey":"S"}"#] {
            assert!(parse(wrong.as_bytes(), None).is_err(), "{wrong}");
        }
    }
}
