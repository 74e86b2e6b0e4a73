//! `ssh-eic push`: pushes a key to an instance, for scripts and for clients other than OpenSSH.
//!
//! Without `--public-key` it pushes the key that connections use, unless a recent push is still valid. With
//! `--public-key` it sends a request at every call.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli;
use crate::command::{Context, Exit, is_managed, print, print_json};
use crate::connect::push::{self, Job};
use crate::connect::target::{self, Known, Place};
use crate::domain::freshness::KEY_LIVES;
use crate::domain::ids::OsUser;
use crate::domain::text::shell_word;
use crate::error::{Error, Kind, Result};
use crate::store::{keys, public_key};
use crate::sys::clock;

/// Limit for the push, including the time in the local queue.
const TIMEOUT: Duration = Duration::from_secs(100);

/// The output of `--json`.
#[derive(Serialize)]
struct PushedKey<'a> {
    alias: Option<&'a str>,
    instance: &'a str,
    address: Option<&'a str>,
    port: u16,
    user: &'a str,
    /// The fingerprint, `SHA256:…`.
    key: &'a str,
    /// The path of the private key; `None` with `--public-key`.
    identity_file: Option<String>,
    /// When the instance stops accepting the key, as RFC 3339.
    expires: String,
}

/// Pushes the key and prints until when it is valid.
///
/// # Errors
///
/// [`Kind::NoHost`] for an unknown or ambiguous host, [`Kind::Usage`] for a key or user that EC2 Instance Connect does not
/// accept, and errors from AWS.
pub fn run(context: &Context, args: &cli::Push) -> Result<Exit> {
    let paths = &context.paths;
    let given_key = args.public_key.as_deref().map(public_key::read).transpose()?;
    if let Some((user, host)) = args.host.split_once('@').filter(|(_, host)| is_managed(context, host)) {
        return Err(Error::new(Kind::Usage, "push takes the user as an option")
            .hint(format!("ssh-eic push {host} --user {}", shell_word(user))));
    }
    let id = target::find(paths, &args.host)?;
    let known = Known::read(paths, &id)?;
    let user = match (&args.user, &known.host) {
        (Some(user), _) => target::os_user(user)?,
        (None, Some(host)) => host.user.clone(),
        (None, None) => OsUser::ec2_user(),
    };
    let (job, _) = target::job(paths, &known, &context.program()?, &id, user, &Place::default(), TIMEOUT / 2)?;
    let deadline = Instant::now() + TIMEOUT;
    let (sent, key, file) = if let Some(key) = given_key {
        (push::send_now(paths, &job, &key, deadline)?, key, None)
    } else {
        let sent = push::ensure(paths, &job, deadline)?;
        let key = keys::present(paths, &id)?.ok_or_else(|| {
            Error::new(Kind::File, "the key was removed during the push").hint("run the command again")
        })?;
        (sent, key, Some(paths.key(&id).display().to_string()))
    };
    report(args.json, &known, &job, &key.fingerprint, file, sent)?;
    Ok(Exit::default())
}

/// Prints the result; `sent` is when the push request was sent, in milliseconds since 1970.
fn report(json: bool, known: &Known, job: &Job, key: &str, file: Option<String>, sent: u64) -> Result<()> {
    let end = sent + KEY_LIVES;
    let expires = clock::rfc3339(end - end % 1000);
    let left = end.saturating_sub(clock::now()) / 1000;
    if !json {
        let with = file.map(|file| format!(", ssh -i {file}")).unwrap_or_default();
        let instance = job.name();
        return print(&format!("{instance} accepts {key} for {} until {expires} ({left} s){with}\n", job.user));
    }
    let host = known.host.as_ref();
    print_json(&PushedKey {
        alias: host.and_then(|host| host.alias.as_deref()),
        instance: job.id.as_str(),
        address: host.and_then(|host| host.address.as_deref()),
        port: host.map_or(22, |host| host.port),
        user: job.user.as_str(),
        key,
        identity_file: file,
        expires,
    })
}
