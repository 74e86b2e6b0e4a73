//! `ssh-eic push`: a key on an instance by hand, for scripts and for clients that are not OpenSSH.
//!
//! Without `--public-key` it is the key that connections use, under the same rules: one that was pushed a moment ago is
//! not pushed again. A person's own key is sent at every call.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli;
use crate::command::{Context, Exit, print};
use crate::connect::push::{self, Job};
use crate::connect::target::{self, Known, Place};
use crate::domain::freshness::KEY_LIVES;
use crate::domain::ids::OsUser;
use crate::error::{Error, Kind, Result};
use crate::store::{keys, public_key};
use crate::sys::clock;

/// The most that a push may take, its queue included.
const PATIENCE: Duration = Duration::from_secs(100);

/// What `--json` prints.
#[derive(Serialize)]
struct Pushed<'a> {
    /// The alias, where it has one.
    alias: Option<&'a str>,
    instance: &'a str,
    address: Option<&'a str>,
    port: u16,
    user: &'a str,
    /// `SHA256:…`
    key: &'a str,
    /// The file of the private half, if it is ours.
    identity_file: Option<String>,
    /// RFC 3339.
    expires: String,
}

/// Runs it.
///
/// # Errors
///
/// [`Kind::NoHost`] for a host that is not known or not the only one, [`Kind::Usage`] for a key or user that EC2 Instance
/// Connect does not take, and what AWS says.
pub fn run(context: &Context, args: &cli::Push) -> Result<Exit> {
    let paths = &context.paths;
    let own = args.public_key.as_deref().map(public_key::read).transpose()?;
    let id = target::find(paths, &args.host)?;
    let known = Known::read(paths, &id)?;
    let user = match (&args.user, &known.host) {
        (Some(user), _) => target::os_user(user)?,
        (None, Some(host)) => host.user.clone(),
        (None, None) => OsUser::ec2_user(),
    };
    let (job, _) = target::job(paths, &known, &context.program()?, &id, user, &Place::default(), PATIENCE / 2)?;
    let deadline = Instant::now() + PATIENCE;
    let (sent, key, file) = if let Some(key) = own {
        (push::send_now(paths, &job, &key, deadline)?, key, None)
    } else {
        let sent = push::ensure(paths, &job, deadline)?;
        let key = keys::present(paths, &id)?
            .ok_or_else(|| Error::new(Kind::File, "the key was removed meanwhile").hint("run it again"))?;
        (sent, key, Some(paths.key(&id).display().to_string()))
    };
    print(&told(args.json, &known, &job, &key.fingerprint, file, sent)?)?;
    Ok(Exit::default())
}

fn told(json: bool, known: &Known, job: &Job, key: &str, file: Option<String>, sent: u64) -> Result<String> {
    let end = sent + KEY_LIVES;
    let expires = clock::rfc3339(end - end % 1000);
    let left = end.saturating_sub(clock::now()) / 1000;
    if !json {
        let with = file.map(|file| format!(", ssh -i {file}")).unwrap_or_default();
        return Ok(format!("{} takes {key} for {} until {expires} ({left} s){with}\n", job.name(), job.user));
    }
    let host = known.host.as_ref();
    let pushed = Pushed {
        alias: host.and_then(|host| host.alias.as_deref()),
        instance: job.id.as_str(),
        address: host.and_then(|host| host.address.as_deref()),
        port: host.map_or(22, |host| host.port),
        user: job.user.as_str(),
        key,
        identity_file: file,
        expires,
    };
    let text =
        serde_json::to_string_pretty(&pushed).map_err(|e| Error::new(Kind::Bug, "cannot write JSON").because(e))?;
    Ok(text + "\n")
}
