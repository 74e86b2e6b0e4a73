//! A real login with the real ssh: whether the instance takes the key that was pushed.

use std::process::Command;
use std::time::{Duration, Instant};

use super::CheckContext;
use super::context::Target;
use crate::aws::client::{self, RequestLimits};
use crate::aws::{credentials, images};
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::host_trust;
use crate::domain::image::{self, Image};
use crate::domain::ssh_words::{self, Login};
use crate::domain::text::shell_word;
use crate::error::{Error, Kind, Result};
use crate::store::images::Images;
use crate::sys::limited::{self, ProgramResult};

/// From the first packet to the end of a command that does nothing.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For the image's name.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing of the user's that would ask, share a master or do more than log in; the rest is as in a real connection.
const OPTIONS: [&str; 11] = [
    "BatchMode=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "SessionType=default",
    "ForkAfterAuthentication=no",
    "LogLevel=INFO",
];

/// ssh logs in.
pub(super) fn real(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Target { name, job, .. } = context.target()?;
    let start = Instant::now();
    let outcome = ssh(context, name)?;
    let user = context.effective("user")?;
    if outcome.timed_out {
        let message = format!("ssh {name} does not end within {} s", TIMEOUT.as_secs());
        return Ok(vec![Finding::problem("login", Cause::LoginFailed, message).fix(format!("ssh -v {name}"))]);
    }
    Ok(vec![match ssh_words::login(outcome.code, &outcome.stderr) {
        Login::In => Finding::ok("login", format!("as {user}, within {:.1} s", start.elapsed().as_secs_f32())),
        Login::NoCommand(code) => {
            let message = format!("{user} logs in, and the command true ends with exit code {code}");
            Finding::problem("login", Cause::NoShell, message)
                .fix(format!("look at the shell and the start-up files of {user} on the instance, or use another user"))
        }
        Login::KeyRefused => refused(context, user)?,
        Login::HostKeyChanged(place) => host_key_changed(context, place.as_deref())?,
        Login::HostKeyRefused(message) => {
            Finding::problem("login", Cause::HostKeyChanged, message).fix(host_trust::REPLACED)
        }
        Login::HostKeyUnknown => {
            let checking = context.effective("stricthostkeychecking")?;
            let message = format!(
                "the host key of {} is not known, and StrictHostKeyChecking {checking} forbids to learn it",
                job.name()
            );
            Finding::problem("login", Cause::HostKeyUnknown, message)
        }
        Login::TooManyKeys => {
            let message = format!("{} hangs up on too many keys before ours is offered", job.name());
            Finding::problem("login", Cause::TooManyKeys, message)
        }
        Login::Failed(message) => {
            Finding::problem("login", Cause::LoginFailed, message).fix(format!("ssh -v {name} shows how far it comes"))
        }
    }])
}

fn ssh(context: &CheckContext<'_>, name: &str) -> Result<ProgramResult> {
    let mut command = Command::new("ssh");
    if let Some(config) = context.named_config() {
        command.arg("-F").arg(config);
    }
    command.args(["-T", "-n"]);
    for option in OPTIONS {
        command.args(["-o", option]);
    }
    // The messages of ssh are parsed, so they have to be in English.
    command.args(["--", name, "true"]).env("LC_ALL", "C").env_remove("SSH_ASKPASS");
    limited::run(&mut command, TIMEOUT)
        .map_err(|error| Error::new(Kind::Config, "ssh cannot be run").because(error).cause(Cause::NoSsh))
}

fn host_key_changed(context: &CheckContext<'_>, place: Option<&str>) -> Result<Finding> {
    let job = &context.target()?.job;
    let own = context.paths.eic.join("known_hosts").display().to_string();
    let files = context.effective("userknownhostsfile")?;
    let (file, place) = ssh_words::known_place(files, place).unwrap_or((&own, &own));
    let message = format!("{} shows another host key than the one in {place}", job.name());
    let file = shell_word(file);
    Ok(Finding::problem("login", Cause::HostKeyChanged, message)
        .fix(format!("if it was replaced on purpose: ssh-keygen -R {} -f {file}", job.id)))
}

/// The key was pushed, and the instance says `Permission denied (publickey)`.
fn refused(context: &CheckContext<'_>, user: &str) -> Result<Finding> {
    let name = context.target()?.job.name();
    let image = image(context);
    let shown = image.as_ref().map(|image| format!("image {}", image.name)).unwrap_or_default();
    let told = image.as_ref().and_then(image::os_user).filter(|told| told.as_str() != user);
    if let Some(told) = told {
        let message = format!("{name} takes no key for {user}; its {shown} has the user {told}");
        return Ok(Finding::problem("login", Cause::WrongUser, message)
            .fix(format!("set user = \"{told}\" in config.toml, or the tag ssh-eic:user; then ssh-eic sync")));
    }
    if image.as_ref().and_then(image::has_instance_connect) == Some(false) {
        let message =
            format!("{name} does not take the key that was pushed; its {shown} comes without EC2 Instance Connect");
        return Ok(Finding::problem("login", Cause::NoInstanceConnect, message).fix(
            "install ec2-instance-connect on it (apt-get, or AWS's RPMs for RHEL and CentOS), by Session Manager for example",
        ));
    }
    let message = format!("{name} does not take the key that was pushed for {user}");
    Ok(Finding::problem("login", Cause::KeyRefused, message).fix(format!(
        "look on it: ec2-instance-connect installed? AuthorizedKeysCommand in its sshd_config its own? a user {user}? its clock right?"
    )))
}

/// The instance's image, as the last sync learnt it, or as AWS says now.
fn image(context: &CheckContext<'_>) -> Option<Image> {
    let Target { job, host, .. } = context.target().ok()?;
    let now = context.instance.get().map(|instance| instance.image.clone());
    let id = now.or_else(|| host.as_ref().map(|host| host.image.clone())).filter(|id| !id.is_empty())?;
    if let Some(image) = Images::read(&context.paths.images()).get(&id) {
        return Some(image.clone());
    }
    let limits = RequestLimits { max_attempts: 1, ..RequestLimits::PUSH };
    let asked = client::run_within(IMAGE_TIMEOUT, async {
        let session = credentials::open(&job.identity, job.region.as_deref(), limits, job.cache.as_deref()).await?;
        images::of_ids(&session, std::slice::from_ref(&id)).await
    });
    asked.ok()?.remove(&id)
}
