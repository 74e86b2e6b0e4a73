//! The host by its name, and the options that ssh takes for it against those that were generated.

use super::CheckContext;
use super::context::Target;
use crate::domain::config::PushMode;
use crate::domain::diagnosis::{Cause, Finding, Status};
use crate::domain::source::KeyType;
use crate::domain::ssh_config::options::Effect;
use crate::domain::ssh_config::read;
use crate::domain::ssh_config::shadow::{self, Shadowed};
use crate::domain::ssh_words;
use crate::error::Result;
use crate::store::files;
use crate::store::reach::Reach;
use crate::store::ssh_config;

/// It is managed.
pub(super) fn host(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Target { name, host, job, .. } = context.target()?;
    let region = job.region.as_deref().unwrap_or("the profile's region");
    Ok(vec![match host {
        Some(host) => {
            let address = host.address.as_deref().unwrap_or("no address");
            let message = format!("{name} is {}, {}@{address} port {}, {region}", host.id, host.user, host.port);
            Finding::ok("host", message)
        }
        None => Finding::ok("host", format!("{name} is in no index, and in {region}")),
    }])
}

/// Nothing of the user's wins over ours.
pub(super) fn shadowed(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Target { name, job, .. } = context.target()?;
    let (meant, effective) = context.options()?;
    if meant.get("hostkeyalias").and_then(|values| values.first()).map(String::as_str) != Some(job.id.as_str())
        && name != job.id.as_str()
    {
        let message = format!("[ssh] hosts in {} gives {name} no Host block", context.paths.config.display());
        let fix = format!("ssh {}, or add {name} to hosts and run ssh-eic sync", job.id);
        return Ok(vec![Finding::problem("options", Cause::NameLeftOut, message).fix(fix)]);
    }
    let types: &[&str] = match job.key_type {
        KeyType::Ed25519 => &["ssh-ed25519"],
        KeyType::Rsa => &["rsa-sha2-512", "rsa-sha2-256"],
    };
    let reach = Reach::read(context.paths, &ssh_config::include_line(context.paths)?);
    let tell = |one: Shadowed| found(context, &reach, &one);
    let mut findings = shadow::compare(meant, effective, types).into_iter().map(tell).collect::<Result<Vec<_>>>()?;
    // What else differs is often made of the first: a path with the alias in it.
    let mut is_first = true;
    findings.retain(|one| one.status != Status::Problem || std::mem::take(&mut is_first));
    if findings.is_empty() {
        findings.push(Finding::ok("options", "as generated"));
    }
    Ok(findings)
}

fn found(context: &CheckContext<'_>, reach: &Reach, one: &Shadowed) -> Result<Finding> {
    let Target { name, .. } = context.target()?;
    let Shadowed { keyword, value, effect } = one;
    let place = place(reach, name, keyword);
    let by = place.as_deref().map(|place| format!(" ({place})")).unwrap_or_default();
    let shown = if *keyword == "ProxyCommand" { ssh_words::program(value) } else { value.as_str() };
    let what = format!("ssh takes {keyword} {shown}{by}");
    let remove = place.unwrap_or_else(|| "your ssh config".to_owned());
    Ok(match effect {
        Effect::Breaks => Finding::problem("options", Cause::OptionShadowed, format!("{what}, not the generated one"))
            .fix(format!(
                "remove it from {remove}, or move it below the Include line of ssh-eic; a [[host]] in config.toml can set it"
            )),
        Effect::AnotherWay if hook_pushes(context)? => {
            Finding::note("options", Cause::ProxyShadowed, format!("{what}, so that the hook pushes"))
                .fix("nothing, if that is what you want")
        }
        Effect::AnotherWay => {
            let message =
                format!("{what} in place of the proxy of ssh-eic, unknown to the hook: no key is pushed");
            Finding::problem("options", Cause::ProxyShadowed, message)
                .fix(format!("with push = \"auto\", ssh-eic sync configures the hook; or remove it from {remove}"))
        }
        Effect::KeyType if *keyword == "RequiredRSASize" => {
            let message = format!("{what}, more than the RSA key of ssh-eic has, so ssh does not offer it");
            Finding::problem("options", Cause::KeyTypeRefused, message)
                .fix("set RequiredRSASize 2048 for managed hosts, or key_type = \"ed25519\" in config.toml")
        }
        Effect::KeyType => {
            let message =
                format!("PubkeyAcceptedAlgorithms{by} excludes the type of the key of ssh-eic, so ssh does not offer it");
            Finding::problem("options", Cause::KeyTypeRefused, message)
                .fix("add ssh-ed25519 to it for managed hosts, or set key_type = \"rsa\" in config.toml")
        }
        Effect::Leaks => Finding::note("options", Cause::OptionLeaks, format!("{what}, also for this host"))
            .fix("scp, rsync, git and Ansible need it away: give it to the hosts that it is meant for only"),
        Effect::Weakens => Finding::note("options", Cause::OptionShadowed, format!("{what}, not the generated one")),
    })
}

/// Whether the hook pushes for this host although our proxy does not run: as the last sync has seen it, unless config.toml
/// says who pushes.
fn hook_pushes(context: &CheckContext<'_>) -> Result<bool> {
    Ok(match context.index()?.header.push {
        PushMode::Hook => true,
        PushMode::Proxy => false,
        PushMode::Auto => context.target()?.host.as_ref().is_some_and(|host| host.hook_pushes),
    })
}

/// Where the option is set: the first block about the host that has it.
fn place(reach: &Reach, name: &str, keyword: &str) -> Option<String> {
    let keyword = keyword.to_ascii_lowercase();
    let has = |settings: &[(String, String)]| settings.iter().any(|(one, _)| *one == keyword);
    let block = reach.blocks.iter().find(|block| block.is_about(name) && has(&block.settings))?;
    let config = files::read(&block.file).ok().flatten()?;
    let line = read::setting_line(&config, block.line, &keyword).unwrap_or(block.line);
    Some(format!("{} line {line}", block.file.display()))
}
