//! Proving a new config with the real client before anything is replaced.
//!
//! One `ssh -G` parses every line; then one alias of each distinct set of options is resolved through the user's whole
//! config, and what comes out is compared with what was meant.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::core::duration;
use crate::core::fleet::Host;
use crate::core::render::{Files, OptionSet, Settings};
use crate::core::splice;
use crate::error::{Error, Kind, Result};
use crate::store::paths::Paths;
use crate::store::{files, ssh_config};
use crate::sys::ssh_client::{self, Resolved};

/// What holds for the hosts of a set, according to the user's whole config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Another ProxyCommand or ProxyJump wins.
    pub overridden: bool,
    /// The ConnectTimeout that applies, in seconds.
    pub connect_timeout: Option<u32>,
}

/// The system's own config, which ssh reads behind the user's.
const SYSTEM: &str = "/etc/ssh/ssh_config";

/// Proves the files. Returns a finding for each set of options, by an alias of that set.
///
/// # Errors
///
/// [`Kind::Config`] with ssh's words: nothing may be replaced then.
pub fn prove(
    paths: &Paths,
    effective_uid: u32,
    generated: &Files,
    hosts: &[Host],
    settings: &Settings,
) -> Result<BTreeMap<String, Finding>> {
    let fail = |error: std::io::Error| Error::file("write a trial config beside", &paths.eic, &error);
    files::make_private_folder(&paths.eic)?;
    let trial = tempfile::Builder::new().prefix(".ssh-eic-trial-").tempdir_in(&paths.eic).map_err(fail)?;
    ssh_config::write_generated(trial.path(), generated)?;
    let include = crate::core::render::include_line(&trial.path().to_string_lossy());
    let before = files::read(&paths.ssh_config)?.unwrap_or_default();
    let planned = ssh_config::with_include(paths, effective_uid)?;
    let added_lines = usize::from(planned != before);
    let planned = splice::replace_line(&planned, &ssh_config::include_line(paths)?, &include);
    let alone = trial.path().join("alone");
    fs::write(&alone, format!("{include}\n")).map_err(fail)?;
    ssh_client::resolve(&alone, "localhost").map_err(|error| {
        Error::new(
            Kind::Bug,
            format!("the generated config is not what ssh reads, nothing was changed: {}", error.message),
        )
    })?;
    let whole = trial.path().join("whole");
    let system = if Path::new(SYSTEM).exists() { format!("\nMatch all\nInclude {SYSTEM}\n") } else { String::new() };
    fs::write(&whole, [planned.as_slice(), system.as_bytes()].concat()).map_err(fail)?;
    let mut findings = BTreeMap::new();
    for host in one_of_each(hosts) {
        let resolved = ssh_client::resolve(&whole, host.label()).map_err(|mut error| {
            error.message = in_the_user_s_file(&error.message, &whole, &paths.ssh_config, added_lines);
            error.hint("correct it there; nothing was changed")
        })?;
        findings.insert(host.label().to_owned(), check(host, &resolved, settings)?);
    }
    Ok(findings)
}

/// ssh names the trial file and its line; the user knows their own, in which our line may not stand yet.
fn in_the_user_s_file(message: &str, trial: &Path, own: &Path, added_lines: usize) -> String {
    let trial = trial.display().to_string();
    let Some((before, after)) = message.split_once(&trial) else { return message.to_owned() };
    let after = after.trim_start_matches(':').trim_start();
    let number =
        after.strip_prefix("line ").map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    match number.as_deref().map(|digits| (digits.parse::<usize>(), &after["line ".len() + digits.len()..])) {
        Some((Ok(line), words)) => format!("{before}{}:{}{words}", own.display(), line.saturating_sub(added_lines)),
        _ => format!("{before}{}: {after}", own.display()),
    }
}

fn one_of_each(hosts: &[Host]) -> Vec<&Host> {
    let mut sets: BTreeMap<OptionSet<'_>, &Host> = BTreeMap::new();
    for host in hosts.iter().filter(|host| host.alias.is_some()) {
        sets.entry(OptionSet::of(host)).or_insert(host);
    }
    sets.into_values().collect()
}

/// Spreads the findings over all hosts of each set.
pub fn apply(findings: &BTreeMap<String, Finding>, hosts: &mut [Host]) {
    let keyed: Vec<(Host, Finding)> = one_of_each(hosts)
        .into_iter()
        .filter_map(|host| findings.get(host.label()).map(|finding| (host.clone(), finding.clone())))
        .collect();
    for host in hosts {
        if let Some((_, finding)) = keyed.iter().find(|(of, _)| OptionSet::of(of) == OptionSet::of(host)) {
            host.hook_pushes = finding.overridden;
            host.connect_timeout = finding.connect_timeout;
        }
    }
}

fn check(host: &Host, resolved: &Resolved, settings: &Settings) -> Result<Finding> {
    let first = |keyword: &str| resolved.get(keyword).and_then(|values| values.first()).map_or("", String::as_str);
    let address = host.address.as_deref().unwrap_or(host.id.as_str());
    for (keyword, meant) in [
        ("hostname", address),
        ("hostkeyalias", host.id.as_str()),
        ("user", host.user.as_str()),
        ("port", &host.port.to_string()),
        ("identitiesonly", "yes"),
    ] {
        if first(keyword) != meant {
            let message = format!(
                "ssh reads {keyword} {:?} for {}, not {meant:?}; nothing was changed",
                first(keyword),
                host.label()
            );
            return Err(Error::new(Kind::Config, message)
                .hint("something in your ssh config or the system's comes before ours"));
        }
    }
    let ours = format!("'{}'", settings.binary.replace('%', "%%"));
    let proxy = first("proxycommand");
    let ours_wins = proxy.contains(&ours) && proxy.contains(" proxy ");
    Ok(Finding {
        overridden: !ours_wins || !matches!(first("proxyjump"), "" | "none"),
        connect_timeout: duration::seconds(first("connecttimeout")).and_then(|seconds| u32::try_from(seconds).ok()),
    })
}
