//! One self-contained `ssh_config` for `ssh -F`, and for clients that expand fewer tokens (paramiko, asyncssh): every
//! option is a literal in the Host of its instance, and the proxy needs neither the index nor config.toml.
//!
//! The proxy pushes. asyncssh reads the key and `known_hosts` before it starts a proxy, so that a `Match exec` for each
//! host, at the end of the file, creates them; ssh and paramiko read them later and do not need it. asyncssh also reads
//! the proxy's stderr as output of the server, so that this proxy writes to stderr for ssh only. User names that must
//! not reach a shell are rejected first, for every host, because the file has managed hosts only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::connection_options::ConnectionOptions;
use crate::fleet::Host;
use crate::ids::InstanceId;
use crate::names::Shared;
use crate::ssh_config::render::{self, Settings, guard};

/// Flags of the proxy for one host, and their values.
pub type Flags<'a> = dyn Fn(&Host) -> Vec<(&'static str, String)> + 'a;

/// Renders the config. `flags` pass the settings of a host's source to the proxy.
#[must_use]
pub fn render(hosts: &[Host], shared: &BTreeMap<String, Shared>, settings: &Settings, flags: &Flags<'_>) -> String {
    // All hosts of this file are managed, so that these need no condition; only ssh expands %n.
    let mut out = format!("{}{}", render::HEADER, guard::refusals(settings, "refused %h %p"));
    let mut early = String::new();
    for host in hosts {
        let mut names: Vec<&str> = Vec::new();
        if settings.names(host) {
            names.extend(host.all_names());
        }
        names.push(host.id.as_str());
        let flags = flags(host);
        block(&mut out, host, &names, settings, &flags);
        make_key_for_asyncssh(&mut early, host, &names, settings, &flags);
    }
    let labels: BTreeMap<&InstanceId, &str> = hosts.iter().map(|host| (&host.id, host.label())).collect();
    for (name, shared) in shared.iter().filter(|(name, _)| settings.names_bare(name)) {
        let label = |id: &InstanceId| labels.get(id).copied().unwrap_or(id.as_str()).to_owned();
        let reason = match shared {
            Shared::By(ids) => format!("--shared-by '{}'", ids.iter().map(label).collect::<Vec<_>>().join(",")),
            Shared::Waits { was, wants, .. } => format!("--waits-for '{},{}'", was.id, label(wants)),
        };
        render::bare(&mut out, name, settings, &format!(" --in-band {reason} -- {name}"));
    }
    out + &early
}

/// The line that creates the key before asyncssh reads it. It names the instance, because asyncssh expands no token in a
/// command (config.py, `_exec`).
///
/// paramiko must not match it: without an optional package it fails on `exec` (config.py, `_does_match`). Its patterns are
/// those of the shell, in which `[!!]*` matches every name; ssh and asyncssh read the brackets literally.
fn make_key_for_asyncssh(
    out: &mut String,
    host: &Host,
    names: &[&str],
    settings: &Settings,
    flags: &[(&'static str, String)],
) {
    let key_type = flags.iter().find(|(flag, _)| *flag == "--key-type").map_or("ed25519", |(_, value)| value);
    let program = render::program(settings);
    let _ = writeln!(
        out,
        "Match originalhost \"{},![!!]*\" exec \"exec {program} match --make-key {} -- {}\"",
        names.join(","),
        render::word(key_type),
        host.id
    );
}

/// The options of one host, keyword and value, in the order of its block.
#[must_use]
pub fn options(host: &Host, settings: &Settings, flags: &[(&'static str, String)]) -> Vec<(String, String)> {
    let (region, source) = (render::word(&host.region), render::flags(flags));
    let connection = render::flags(&ConnectionOptions::of_host(host).proxy_flags());
    let target = format!(" --in-band --region {region}{source}{connection} -- {} %h %p '%r'", host.id);
    let mut lines = Vec::from(render::addresses(host));
    lines.extend(render::options(&host.options, settings));
    lines.extend(render::login(host.user.as_str(), host.port));
    let (user, id) = (host.user.as_str(), host.id.as_str());
    lines.extend(render::shared_as(settings, user, id, Some(&target), host.host_keys));
    lines
}

fn block(out: &mut String, host: &Host, names: &[&str], settings: &Settings, flags: &[(&'static str, String)]) {
    let _ = writeln!(out, "Host {}", names.join(" "));
    render::write_lines(out, options(host, settings, flags));
}
